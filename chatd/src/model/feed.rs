//! Durable consumers of the events, and what they gave up.

use proto::time::Timestamp;

use super::{Event, EventKind};

/// A durable consumer. Whether somebody reads it at the moment is not part of it: that is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Everything up to this event is acknowledged.
    pub seq: u64,
    /// When it last acknowledged something.
    pub at: Timestamp,
    /// Events since, of all types.
    pub waiting: u64,
    /// Attempts on the first event that is not acknowledged, if it counts them.
    pub attempts: u64,
    /// Events that it gave up.
    pub dead_letters: u64,
}

/// An event that a consumer gave up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The event's number.
    pub seq: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// Attempts that were made.
    pub attempts: u64,
    /// Why the last one failed.
    pub reason: String,
    /// The event; `None` when its message was deleted since.
    pub event: Option<Event>,
}

/// A consumer, and whether somebody reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerNow {
    /// What is stored.
    pub consumer: Consumer,
    /// Somebody reads it.
    pub reading: bool,
}

/// What a subscription is to bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Behind this event; `None`: from now on.
    pub since: Option<u64>,
    /// For this consumer.
    pub consumer: Option<String>,
    /// The consumer has had everything up to here, acknowledged or not.
    pub resume: Option<u64>,
    /// Only what is about this person: a word that means somebody.
    pub who: Option<String>,
    /// Only these kinds; all if there is none.
    pub kinds: Vec<EventKind>,
}
