//! What the parts of one link share: who it is, and whether and how it ended.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{VarInt, WeakConnectionHandle};
use tokio::sync::{oneshot, watch};

use super::caps::Slot;
use super::config::RECEIVE_WINDOW;
use super::error::{CloseCode, CloseOrigin, CloseReason};

/// Pings of the caller's on one link that wait for their answer at most.
const MAX_PINGS: usize = 16;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What carries the frames.
#[derive(Debug)]
pub(super) enum Carrier {
    /// Weak, so that a sender that is kept after the end keeps no dead connection alive.
    Quic(WeakConnectionHandle),
    /// The other end of an in-process link.
    Local(OnceLock<Weak<Shared>>),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) carrier: Carrier,
    slot: Option<Slot>,
    ended: watch::Sender<Option<CloseReason>>,
    /// It ended because nobody answers.
    abandoned: AtomicBool,
    pongs: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Shared {
    pub(super) fn new(carrier: Carrier, slot: Option<Slot>) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            id,
            carrier,
            slot,
            ended: watch::Sender::new(None),
            abandoned: AtomicBool::new(false),
            pongs: Mutex::default(),
        })
    }

    /// Ends the link; only the first reason counts. The other end of an in-process link ends with it.
    pub(super) fn end(&self, reason: CloseReason) {
        let mut first = false;
        self.ended.send_if_modified(|ended| {
            first = ended.is_none();
            if first {
                *ended = Some(reason.clone());
            }
            first
        });
        if !first {
            return;
        }
        if let Carrier::Local(other) = &self.carrier {
            self.release();
            if let Some(other) = other.get().and_then(Weak::upgrade)
                && reason.origin == CloseOrigin::Local
            {
                other.end(CloseReason::peer(reason.code, &reason.text));
            }
        }
    }

    /// Ends the link as one on which nobody answers.
    pub(super) fn abandon(&self, text: &str) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.end(CloseReason::local(CloseCode::Idle, text));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Somebody waits for the answer to a ping; `None` when as many do as may.
    pub(super) fn await_pong(&self, nonce: u64) -> Option<oneshot::Receiver<()>> {
        let mut pongs = self.pongs.lock().unwrap_or_else(PoisonError::into_inner);
        pongs.retain(|_, waiting| !waiting.is_closed());
        if pongs.len() >= MAX_PINGS {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        pongs.insert(nonce, answer);
        Some(answered)
    }

    /// An answer came; whether somebody waited for it.
    pub(super) fn pong(&self, nonce: u64) -> bool {
        let waiting = self.pongs.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        waiting.is_some_and(|waiting| waiting.send(()).is_ok())
    }

    /// The end, if it came.
    pub(super) fn reason(&self) -> Option<CloseReason> {
        self.ended.borrow().clone()
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<CloseReason>> {
        self.ended.subscribe()
    }

    /// Waits for the end.
    pub(super) async fn wait_ended(&self) -> CloseReason {
        let mut ended = self.subscribe();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(unreachable_end),
            // The sender lives in `self`.
            Err(_) => unreachable_end(),
        }
    }

    /// The owner trusts an account of the peer.
    pub(super) fn authenticate(&self) {
        if let Some(slot) = &self.slot {
            slot.authenticate();
        }
        if let Carrier::Quic(connection) = &self.carrier
            && let Some(connection) = connection.upgrade()
        {
            connection.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW));
        }
    }

    /// Whether this is an inbound link without an authenticated account.
    pub(super) fn is_on_probation(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| !slot.is_authenticated())
    }

    /// Gives the inbound link's place back.
    pub(super) fn release(&self) {
        if let Some(slot) = &self.slot {
            slot.release();
        }
    }

    pub(super) fn has_relay(&self) -> bool {
        let Carrier::Quic(connection) = &self.carrier else { return false };
        connection.upgrade().is_some_and(|connection| connection.paths().iter().any(|path| path.is_relay()))
    }

    pub(super) fn path(&self) -> Path {
        let Carrier::Quic(connection) = &self.carrier else {
            return Path { kind: PathKind::InProcess, round_trip: None };
        };
        let none = Path { kind: PathKind::None, round_trip: None };
        let Some(connection) = connection.upgrade() else { return none };
        let paths = connection.paths();
        let Some(path) = paths.iter().find(|path| path.is_selected()).or_else(|| paths.iter().next()) else {
            return none;
        };
        let kind = match path.remote_addr() {
            TransportAddr::Ip(address) => PathKind::Direct(*address),
            TransportAddr::Relay(url) => PathKind::Relay(url.to_string()),
            _ => PathKind::None,
        };
        Path { kind, round_trip: Some(path.rtt()) }
    }
}

fn unreachable_end() -> CloseReason {
    CloseReason::local(CloseCode::Normal, "")
}

/// The way that frames take now; it may change while a link lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Over what.
    pub kind: PathKind,
    /// The transport's estimate.
    pub round_trip: Option<Duration>,
}

/// See [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKind {
    /// Straight to this address of the peer.
    Direct(SocketAddr),
    /// Through the relay at this URL.
    Relay(String),
    /// Both accounts are on this node.
    InProcess,
    /// None at the moment.
    None,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PathKind::Direct(address) => write!(f, "direct {address}")?,
            PathKind::Relay(url) => write!(f, "relay {url}")?,
            PathKind::InProcess => f.write_str("in process")?,
            PathKind::None => f.write_str("no path")?,
        }
        match self.round_trip {
            Some(time) => write!(f, ", {:.1} ms", time.as_secs_f64() * 1e3),
            None => Ok(()),
        }
    }
}
