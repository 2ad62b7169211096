//! Consumers of the feed, and their dead letters.

use proto::rpc::types::{Consumer, DeadLetter};

use crate::model;

/// As one that nobody reads: who knows of a reader says so.
impl From<model::Consumer> for Consumer {
    fn from(consumer: model::Consumer) -> Self {
        let model::Consumer { name, seq, at, waiting, attempts, dead_letters } = consumer;
        Self { name, seq, at, waiting, attempts, dead_letters, reading: false }
    }
}

impl From<model::DeadLetter> for DeadLetter {
    fn from(letter: model::DeadLetter) -> Self {
        let model::DeadLetter { seq, at, attempts, reason, event } = letter;
        Self { seq, at, attempts, reason, event: event.map(Into::into) }
    }
}
