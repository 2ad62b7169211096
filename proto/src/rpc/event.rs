//! Events of the feed: facts, published after commit, numbered without holes per account.

use serde::{Deserialize, Serialize};

use super::types::{Contact, Message, MessageState};
use crate::ids::{AccountId, MessageId};
use crate::time::Timestamp;

/// The notification that carries an [`Event`] unless the subscriber names another.
pub const FEED_EVENT: &str = "feed.event";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// `message` came.
    #[serde(rename = "message.received")]
    MessageReceived,
    /// The message `id` to `who` is now in `state`.
    #[serde(rename = "message.state")]
    MessageState,
    /// `count` messages of `who` are missing in a sequence.
    #[serde(rename = "message.gap")]
    MessageGap,
    /// `contact` asks.
    #[serde(rename = "contact.request")]
    ContactRequest,
    /// `contact` and the account can write to each other.
    #[serde(rename = "contact.accepted")]
    ContactAccepted,
    /// `contact` refused.
    #[serde(rename = "contact.rejected")]
    ContactRejected,
    /// `contact` ended it.
    #[serde(rename = "contact.removed")]
    ContactRemoved,
    /// The key of `contact` changed.
    #[serde(rename = "contact.key_changed")]
    ContactKeyChanged,
    /// The profile of `contact` changed.
    #[serde(rename = "contact.profile")]
    ContactProfile,
    /// `who` came online or went.
    #[serde(rename = "presence")]
    Presence,
    /// Events up to `upto` are no longer stored; the feed goes on after them.
    #[serde(rename = "feed.lagged")]
    FeedLagged,
    /// Our request to `contact` is not repeated any more, because of `reason`: `request_expired` or `account_gone`.
    #[serde(rename = "contact.given_up")]
    ContactGivenUp,
}

impl EventType {
    /// All, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::MessageReceived,
        Self::MessageState,
        Self::MessageGap,
        Self::ContactRequest,
        Self::ContactAccepted,
        Self::ContactRejected,
        Self::ContactRemoved,
        Self::ContactKeyChanged,
        Self::ContactProfile,
        Self::Presence,
        Self::FeedLagged,
        Self::ContactGivenUp,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageReceived => "message.received",
            Self::MessageState => "message.state",
            Self::MessageGap => "message.gap",
            Self::ContactRequest => "contact.request",
            Self::ContactAccepted => "contact.accepted",
            Self::ContactRejected => "contact.rejected",
            Self::ContactRemoved => "contact.removed",
            Self::ContactKeyChanged => "contact.key_changed",
            Self::ContactProfile => "contact.profile",
            Self::Presence => "presence",
            Self::FeedLagged => "feed.lagged",
            Self::ContactGivenUp => "contact.given_up",
        }
    }

    /// The type of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// One event. Flat, because a flattened tagged enum decodes ten times slower; which fields are there depends on `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number in the account's feed, from 1, without holes. Absent where `chatctl watch` prints what waited before it began:
    /// those events were numbered when they happened.
    #[serde(default, skip_serializing_if = "is_unnumbered")]
    pub seq: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When this daemon committed it.
    pub at: Timestamp,
    /// Name of the account that it happened to.
    pub account: String,
    /// The other person, as `chatctl` takes it. Never a name that is not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The other person's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<AccountId>,
    /// The owner's label for the other person, if it has one that names nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The received message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// The conversation is muted: do not ring.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// The message whose state changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Its new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The contact as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Whether `who` is online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// How many messages are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The last event that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<u64>,
}

fn is_unnumbered(seq: &u64) -> bool {
    *seq == 0
}

impl Event {
    /// An event with no optional field set; 0 for one without a number.
    pub fn new(seq: u64, kind: EventType, at: Timestamp, account: String) -> Self {
        Self {
            seq,
            kind,
            at,
            account,
            who: None,
            peer: None,
            label: None,
            message: None,
            muted: false,
            id: None,
            state: None,
            reason: None,
            contact: None,
            online: None,
            count: None,
            upto: None,
        }
    }
}
