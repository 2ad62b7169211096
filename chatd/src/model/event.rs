//! Events of an account: facts, published after commit, numbered without holes.

use proto::ids::MessageId;
use proto::time::Timestamp;

use super::{Called, Contact, Message, MessageState};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A message came.
    MessageReceived,
    /// An own message reached a state.
    MessageState,
    /// Messages are missing in a sequence.
    MessageGap,
    /// Something about a contact.
    Contact(ContactChange),
    /// A contact came online or went.
    Presence,
    /// The oldest events are no longer stored.
    FeedLagged,
}

/// What happened about a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContactChange {
    /// It asks.
    Requested,
    /// It and the account can write to each other.
    Accepted,
    /// It refused.
    Rejected,
    /// It ended what was.
    Removed,
    /// Its key changed.
    KeyChanged,
    /// Its profile changed.
    Profile,
    /// Our request to it is not repeated any more.
    GivenUp,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Number in the account's feed, from 1, without holes; 0 for one that has no number yet.
    pub seq: u64,
    /// When this daemon committed it.
    pub at: Timestamp,
    /// Name of the account that it happened to.
    pub account: String,
    /// The other person; `None` when it is about nobody, or about one who is not there any more.
    pub about: Option<Called>,
    /// What happened.
    pub body: EventBody,
}

/// What happened, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum EventBody {
    /// A message came.
    Received {
        /// The message.
        message: Box<Message>,
        /// The conversation is muted: do not ring.
        muted: bool,
    },
    /// An own message reached a state.
    State {
        /// The message.
        id: MessageId,
        /// Its new state.
        state: MessageState,
        /// Why.
        reason: Option<String>,
    },
    /// Messages are missing, or (with a reason) something else is wrong with their sequence.
    Gap {
        /// How many are missing.
        count: u64,
        /// What else is wrong.
        reason: Option<String>,
    },
    /// Something about a contact.
    Contact {
        /// What.
        change: ContactChange,
        /// The contact as it is now, if it is still there.
        contact: Option<Box<Contact>>,
        /// Why.
        reason: Option<String>,
    },
    /// A contact came online or went.
    Presence {
        /// Whether it is online.
        online: bool,
    },
    /// Events are no longer stored; the feed goes on after them.
    Lagged {
        /// The last that is gone.
        upto: u64,
    },
}

impl Event {
    /// What kind of thing happened.
    pub fn kind(&self) -> EventKind {
        match &self.body {
            EventBody::Received { .. } => EventKind::MessageReceived,
            EventBody::State { .. } => EventKind::MessageState,
            EventBody::Gap { .. } => EventKind::MessageGap,
            EventBody::Contact { change, .. } => EventKind::Contact(*change),
            EventBody::Presence { .. } => EventKind::Presence,
            EventBody::Lagged { .. } => EventKind::FeedLagged,
        }
    }

    /// The message that came, if one did.
    pub fn message(&self) -> Option<&Message> {
        match &self.body {
            EventBody::Received { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Why it happened, if it says so.
    pub fn reason(&self) -> Option<&str> {
        match &self.body {
            EventBody::State { reason, .. } | EventBody::Gap { reason, .. } | EventBody::Contact { reason, .. } => {
                reason.as_deref()
            }
            EventBody::Received { .. } | EventBody::Presence { .. } | EventBody::Lagged { .. } => None,
        }
    }

    /// Bytes of the text that it carries.
    pub fn text_bytes(&self) -> usize {
        self.message().map_or(0, |message| message.body.len())
    }
}
