//! Delivery: everything of an account that waits goes to where it belongs, as soon as that is possible, and again until it
//! is acknowledged. One task per account owns all timers and the state of each contact's route.
//!
//! Its job: finding a way (`reach`), claims and resume, packing what waits into envelopes (`pack`), redialling with
//! backoff. Not its job: storing (the store wakes it), receiving, deciding who is a contact.
//!
//! Invariants: what is in the outbox stays there until the recipient's acknowledgement is committed; within a stream,
//! cores leave in order; what is in flight is bounded per contact; a slow peer holds only its own route back.

mod acks;
mod again;
mod engine;
mod finished;
mod links;
mod mailbox;
mod pack;
mod proofs;
mod reach;
mod resume;
mod route;
mod routes;
mod timers;
mod work;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use proto::ids::{AccountId, DeviceId, MessageId, NodeId};
use proto::wire::envelope::AckEntry;
use proto::wire::frame::{Frame, RefuseCode};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::crypto::keys::SigningKey;
use crate::directory::Directories;
use crate::link::{CloseCode, LinkError, LinkSender, PeerTable};
use crate::model::ids::PeerId;
use crate::policy::timekeeper::AccountClock;
use crate::store::Store;

/// News that wait for the task at most. Links wait for room: that is backpressure on the peer.
const QUEUE: usize = 512;
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
    /// Notified when there is doubt whether the other end still lives: whoever runs the link asks it.
    pub doubt: Arc<Notify>,
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

/// What delivery is told.
#[derive(Debug)]
pub enum News {
    /// A link to some node is up.
    LinkUp(OpenLink),
    /// It is down.
    LinkDown(u64),
    /// A contact's device proved itself on a link.
    Claimed {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// The link.
        link: OpenLink,
    },
    /// What a contact's device has of our streams.
    Resume {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// The link.
        link: u64,
        /// Its marks.
        entries: Vec<AckEntry>,
    },
    /// Something of a contact is missing before what is held: it is asked to send what is not acknowledged.
    Hole(PeerId),
    /// A contact's device committed something.
    Ack {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// Marks of streams.
        entries: Vec<AckEntry>,
        /// Cores outside of any stream.
        ids: Vec<MessageId>,
    },
    /// A peer answered a ping: it has read what was sent before it.
    Pong {
        /// The link.
        link: u64,
        /// The ping's number.
        nonce: u64,
    },
    /// A peer refused a claim or an envelope.
    Refused {
        /// The link.
        link: u64,
        /// Why.
        code: RefuseCode,
        /// Number of the refused envelope.
        envelope: Option<u64>,
        /// The device that the refusal is about.
        device: Option<DeviceId>,
    },
    /// A peer takes our request with work only.
    Work {
        /// The link.
        link: u64,
        /// Number of the refused envelope.
        envelope: u64,
        /// How much.
        bits: u8,
        /// The window that it is there.
        window: u64,
    },
    /// The contact came online: try now.
    Online(PeerId),
    /// The contact went offline: what waits goes to its mailbox.
    Offline(PeerId),
    /// Try everything now (network changed, directory back).
    TryAll,
    /// The account's directory session has this bearer token (none when it is down).
    Bearer(Option<String>),
}

/// What a delivery task needs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The account.
    pub account: AccountId,
    /// Its device here.
    pub device: DeviceId,
    /// The device's key.
    pub device_key: Arc<SigningKey>,
    /// This node.
    pub node: NodeId,
    /// Its store.
    pub store: Store,
    /// Its clock: by it, whether keys may still be sealed to.
    pub clock: Arc<AccountClock>,
    /// The links.
    pub table: PeerTable,
    /// The directories that it may ask.
    pub directories: Directories,
    /// Whether its own directory is reached over loopback.
    pub directory_is_local: bool,
    /// Private addresses may be dialled whoever named them.
    pub allow_private: bool,
}

/// A handle to an account's delivery; cheap to clone.
#[derive(Debug, Clone)]
pub struct Delivery {
    news: mpsc::Sender<News>,
}

impl Delivery {
    /// Starts the task with the links that are open already; it ends with `stop`.
    pub fn spawn(context: Context, links: Vec<OpenLink>, stop: CancellationToken) -> Self {
        let (news, queue) = mpsc::channel(QUEUE);
        let engine = engine::Engine::new(context, links, stop);
        tokio::spawn(engine.run(queue));
        Self { news }
    }

    /// One that nobody runs, with what it is told: for tests of others.
    #[cfg(test)]
    pub fn unattended() -> (Self, mpsc::Receiver<News>) {
        let (news, queue) = mpsc::channel(QUEUE);
        (Self { news }, queue)
    }

    /// Waits until the task has ended.
    pub async fn ended(&self) {
        self.news.closed().await;
    }

    /// Tells it something, waiting for room.
    pub async fn tell(&self, news: News) {
        // A task that ended needs no news.
        let _ = self.news.send(news).await;
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
