//! Consumers of the feed, and their dead letters.

use proto::rpc::types::{Consumer, ConsumersResult, DeadLetter};

use crate::model;

impl From<model::ConsumerNow> for Consumer {
    fn from(now: model::ConsumerNow) -> Self {
        let model::ConsumerNow { consumer, reading } = now;
        let model::Consumer { name, seq, at, waiting, attempts, dead_letters } = consumer;
        Self { name, seq, at, waiting, attempts, dead_letters, reading }
    }
}

impl From<model::Page<model::ConsumerNow>> for ConsumersResult {
    fn from(page: model::Page<model::ConsumerNow>) -> Self {
        let model::Page { entries, next } = page;
        Self { consumers: entries.into_iter().map(Into::into).collect(), next }
    }
}

impl From<model::DeadLetter> for DeadLetter {
    fn from(letter: model::DeadLetter) -> Self {
        let model::DeadLetter { seq, at, attempts, reason, event } = letter;
        Self { seq, at, attempts, reason, event: event.map(Into::into) }
    }
}
