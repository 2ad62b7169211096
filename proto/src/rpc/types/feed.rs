//! The stream of events, and the consumers that it keeps a place for.

use serde::{Deserialize, Serialize};

use super::super::event::Event;
use crate::time::Timestamp;

/// `feed.subscribe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Begin after this event; with neither `since` nor `consumer`, begin with what comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// A durable consumer's name: begin after what `feed.ack` acknowledged under it. A new name begins at the present, or
    /// after `since`. A name has one reader at a time; its place is free when the subscription or its connection ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// With `consumer`: begin after this event if that is later. For a reader that lost its connection, and has not
    /// acknowledged all that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<u64>,
    /// Only events about this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Only these types; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Name of the notification; `feed.event` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// `feed.subscribe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscribeResult {
    /// Names the subscription in `feed.unsubscribe`.
    pub subscription: u64,
    /// Events up to this one lie before the subscription.
    pub seq: u64,
    /// The newest event at this moment.
    pub head: u64,
}

/// `feed.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeParams {
    /// From [`SubscribeResult`].
    pub subscription: u64,
}

/// `feed.ack`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedAckParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// Everything up to this event was dealt with. Never goes back.
    pub seq: u64,
}

/// `feed.attempt`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedAttemptParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// The event that it is about to deal with: the first that is not acknowledged.
    pub seq: u64,
}

/// `feed.attempt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedAttemptResult {
    /// Attempts on this event with this one, over all connections and restarts; 1 for the first.
    pub attempts: u64,
}

/// `feed.give_up`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedGiveUpParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// The event. Everything up to it counts as acknowledged.
    pub seq: u64,
    /// Why, in at most 256 bytes.
    pub reason: String,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Whether somebody reads it at the moment.
    pub reading: bool,
}

/// `consumer.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumersResult {
    /// In the order of names.
    pub consumers: Vec<Consumer>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `consumer.reset`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerResetParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its name.
    pub consumer: String,
    /// Go on after this event; from the present if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// `consumer.remove`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its name.
    pub consumer: String,
}

/// `consumer.dead_letters`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The consumer.
    pub consumer: String,
    /// Begin after this event: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Dead letters at most, 1..=1,000; 100 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `consumer.dead_letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLettersResult {
    /// Oldest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// An event that a consumer gave up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The event's number.
    pub seq: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// Attempts that were made.
    pub attempts: u64,
    /// Why the last one failed.
    pub reason: String,
    /// The event; absent when its message was deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}
