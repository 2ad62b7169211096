//! The way of one message.

use proto::ids::{AccountId, MessageId};
use proto::time::Timestamp;

use super::{MessageState, Outcome};

/// One thing that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: Step,
}

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It reached a state.
    State {
        /// Which.
        state: MessageState,
        /// Why: a `Reason`, where there is one.
        reason: Option<String>,
    },
    /// It came here, from somebody else.
    Received,
    /// It was put on a way.
    Attempt {
        /// `direct`, `local`, `relay` or `mailbox`.
        path: String,
        /// What came of it.
        outcome: Outcome,
        /// How many other messages shared the attempt.
        others: u64,
    },
}

/// The way of one message, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Which message.
    pub id: MessageId,
    /// Own message, or one of theirs.
    pub own: bool,
    /// The other person, as the owner calls it.
    pub who: String,
    /// The same by its account.
    pub peer: AccountId,
    /// Where the message stands.
    pub state: MessageState,
    /// Why.
    pub reason: Option<String>,
    /// Oldest first.
    pub steps: Vec<TraceStep>,
}
