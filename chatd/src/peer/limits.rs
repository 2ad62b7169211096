//! What the node at the other end of a link may cost: bytes and frames in a time, refusals, failures.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto::ids::NodeId;
use proto::wire::frame::Frame;

use crate::link::CloseCode;
use crate::link::LinkSender;
use crate::policy::failures::{FailureGate, Verdict};
use crate::policy::limits::Limits;
use crate::policy::rate::RateLimits;
use crate::policy::rate::frames::weight;

/// The failures of all nodes, counted. Clones share the count.
#[derive(Debug, Clone)]
pub(super) struct Failures(Arc<Mutex<FailureGate<NodeId>>>);

impl Failures {
    pub fn new(limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(FailureGate::new(limits))))
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, FailureGate<NodeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long a node is refused, if it is; by the limits that are in force now.
    pub fn banned(&self, peer: &NodeId, limits: &Limits) -> Option<Duration> {
        let mut gate = self.gate();
        gate.configure(limits);
        gate.banned(peer, Instant::now())
    }

    pub fn ban(&self, peer: NodeId) {
        self.gate().ban(peer, Instant::now());
    }

    /// Counts a failure of the peer; `false` when it was one too many, and its link is closed.
    pub fn blame(&self, peer: NodeId, link: &LinkSender) -> bool {
        if self.gate().failed(peer, Instant::now()) == Verdict::Drop {
            tracing::warn!(often = "failures", %peer, "too many failures: the peer is dropped for a while");
            link.close(CloseCode::RateLimited, "too many failures");
            return false;
        }
        true
    }
}

/// Reads on when the peer may have sent so much; `false`: a frame of its kind is one too many, and the peer's fault. `known`:
/// somebody's contact is at the other end.
pub(super) async fn within(limits: &RateLimits, peer: &NodeId, known: bool, frame: &Frame) -> bool {
    let bytes = if known { &limits.known_bytes } else { &limits.stranger_bytes };
    // The link is read no further for so long: that slows an honest sender down without losing anything.
    while let Err(over) = bytes.check(peer, weight(frame)) {
        tokio::time::sleep(over.0).await;
    }
    if let Frame::Ack { entries, ids, .. } = frame {
        while let Err(over) = limits.frames.acks(peer, entries.len() + ids.len()) {
            tokio::time::sleep(over.0).await;
        }
    }
    limits.frames.check(peer, frame).is_ok()
}
