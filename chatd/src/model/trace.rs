//! The way of one message.

use proto::time::Timestamp;

use super::MessageState;

/// One thing that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: Step,
    /// Outcome or cause; the word of a `Reason`, `sent`, `deposited`, or words.
    pub detail: Option<String>,
}

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It reached a state.
    State(MessageState),
    /// It came here, from somebody else.
    Received,
    /// It was put on a way.
    Attempt {
        /// `direct`, `local`, `relay` or `mailbox`.
        path: String,
        /// How many other messages shared the attempt.
        others: u64,
    },
}
