//! The event hub of one account: batches of events that were committed, on a bounded broadcast.
//!
//! Not its job: storing events (the store does, before it publishes here) or filtering them (the feed does).
//!
//! Invariants: a batch is published after its COMMIT and in the order of sequence numbers; a reader that falls behind
//! misses nothing, because every event can be read from the store by its number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Event;
use tokio::sync::broadcast;

/// Batches kept for readers that are not quite as fast as the writer. A batch is one commit; a reader that lags further
/// reads from the store, so this bounds memory and nothing else.
const HUB_BATCHES: usize = 16;

/// The events of one commit.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// Number of the first.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// The events, if anybody listened while they were made; else they are read from the store.
    pub events: Option<Arc<Vec<Event>>>,
}

/// Publishes batches to whoever listens.
#[derive(Debug)]
pub struct EventHub {
    sender: broadcast::Sender<EventBatch>,
    head: AtomicU64,
}

impl EventHub {
    /// A hub whose newest event is `head`.
    pub fn new(head: u64) -> Self {
        Self { sender: broadcast::channel(HUB_BATCHES).0, head: AtomicU64::new(head) }
    }

    /// Number of the newest published event.
    pub fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Whether it is worth building events in memory.
    pub fn has_listeners(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Publishes a committed batch.
    pub fn publish(&self, batch: EventBatch) {
        self.head.store(batch.last, Ordering::Release);
        // No listener is no failure.
        let _ = self.sender.send(batch);
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<EventBatch> {
        self.sender.subscribe()
    }
}
