//! A link as delivery uses it, and the claims that went out on it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proto::ids::{DeviceId, NodeId};
use proto::wire::frame::Frame;
use tokio::sync::{Notify, Semaphore};

use crate::link::{CloseCode, LinkError, LinkSender};

/// Answers to claims that wait for room on one link at most: one for each pair of accounts, on a link full of messages.
const MAX_ANSWERS: usize = 64;

/// A link as delivery sees it.
#[derive(Debug, Clone)]
pub struct OpenLink {
    /// The node at the other end.
    pub peer: NodeId,
    /// Who dialled, who accepted: what claims are bound to.
    pub dialer: NodeId,
    /// See `dialer`.
    pub acceptor: NodeId,
    /// The TLS exporter.
    pub exporter: [u8; 32],
    /// The way out.
    pub sender: LinkSender,
    /// Which of our claims went out on it.
    pub claims: Arc<ClaimBook>,
    /// Raised when there is doubt whether the other end still lives: whoever runs the link asks it.
    pub doubt: Arc<Doubt>,
}

/// Whether a link still leads to somebody.
#[derive(Debug, Default)]
pub struct Doubt {
    raised: Notify,
    is_strong: AtomicBool,
}

impl Doubt {
    /// There is some. `is_strong`: something was seen that ends links, and nobody waits long for the answer.
    pub fn raise(&self, is_strong: bool) {
        self.is_strong.fetch_or(is_strong, Ordering::Relaxed);
        self.raised.notify_one();
    }

    /// Waits for the next; one that was raised since the last wait counts. `true`: a strong one.
    pub async fn raised(&self) -> bool {
        self.raised.notified().await;
        self.is_strong.swap(false, Ordering::Relaxed)
    }
}

impl OpenLink {
    /// Sends a claim, or what answers one, in order. Never waits: a peer that does not read must not hold up the routes to others,
    /// nor two daemons each other.
    pub fn answer(&self, frames: Vec<Frame>) {
        let mut frames = frames.into_iter();
        let mut rest = Vec::new();
        for frame in frames.by_ref() {
            match self.sender.try_send(frame.clone()) {
                Ok(()) => {}
                Err(LinkError::Full) => {
                    rest.push(frame);
                    break;
                }
                Err(_) => return,
            }
        }
        rest.extend(frames);
        if rest.is_empty() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.claims.answers).try_acquire_owned() else {
            self.sender.close(CloseCode::TooSlow, "claims, and nobody who reads the answers");
            return;
        };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            for frame in rest {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
            drop(permit);
        });
    }
}

/// The claims that went out on one link: who answers a claim with one knows whether that is needed.
#[derive(Debug)]
pub struct ClaimBook {
    sent: Mutex<HashSet<(DeviceId, DeviceId)>>,
    changed: Notify,
    answers: Arc<Semaphore>,
}

impl Default for ClaimBook {
    fn default() -> Self {
        Self { sent: Mutex::default(), changed: Notify::new(), answers: Arc::new(Semaphore::new(MAX_ANSWERS)) }
    }
}

impl ClaimBook {
    /// Notes a claim of our device towards theirs; `false` if it went out before.
    pub fn note(&self, own: DeviceId, theirs: DeviceId) -> bool {
        let new = self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert((own, theirs));
        self.changed.notify_one();
        new
    }

    /// Something about claims changed on this link, ours or theirs.
    pub fn touch(&self) {
        self.changed.notify_one();
    }

    /// Waits for the next change; one that happened since the last wait counts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// It was refused: it may go out again when the other side has changed its mind.
    pub fn forget(&self, own: DeviceId, theirs: DeviceId) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&(own, theirs));
    }

    /// Forgets all claims of one of our devices.
    pub fn forget_device(&self, own: DeviceId) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).retain(|(device, _)| *device != own);
    }

    /// To which devices one of ours has claimed.
    pub fn peers_of(&self, own: DeviceId) -> Vec<DeviceId> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().filter(|(device, _)| *device == own).map(|(_, theirs)| *theirs).collect()
    }

    /// Whether it went out.
    pub fn has(&self, own: DeviceId, theirs: DeviceId) -> bool {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).contains(&(own, theirs))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::link::{SEND_QUEUE_FRAMES, in_process_pair};

    #[tokio::test]
    async fn answers_wait_for_room_beside_the_task_and_not_without_end() {
        let (near, mut far) = in_process_pair(NodeId([1; 32]));
        let node = near.peer;
        let (exporter, sender) = (near.exporter, near.sender.clone());
        let (claims, doubt) = (Arc::default(), Arc::default());
        let link = OpenLink { peer: node, dialer: node, acceptor: node, exporter, sender, claims, doubt };
        let frame = |nonce| Frame::Ping { nonce, reply: false };
        for nonce in 0..SEND_QUEUE_FRAMES as u64 - 1 {
            link.sender.try_send(frame(nonce)).unwrap();
        }
        let next = SEND_QUEUE_FRAMES as u64 - 1;
        // Bob does not read: one of these fits, and this returns all the same.
        link.answer(vec![frame(next), frame(next + 1), frame(next + 2)]);
        for nonce in 0..next + 3 {
            assert_eq!(far.receiver.recv().await.unwrap(), Some(frame(nonce)), "whole and in order");
        }

        for nonce in 0..SEND_QUEUE_FRAMES as u64 {
            link.sender.try_send(frame(nonce)).unwrap();
        }
        for nonce in 0..MAX_ANSWERS as u64 {
            link.answer(vec![frame(nonce)]);
        }
        assert!(!link.sender.is_closed());
        link.answer(vec![frame(0)]);
        assert!(link.sender.is_closed(), "more claims than answers that he takes");
        drop(near);
    }
}
