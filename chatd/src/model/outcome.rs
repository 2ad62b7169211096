//! What came of an attempt to bring messages to somebody.

use std::fmt;

use proto::reason::Reason;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer's daemon has the frame.
    Sent,
    /// The mailbox took it.
    Deposited,
    /// It did not come there, or is there no longer.
    Failed(Failure),
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: Reason,
    /// For people who look for the cause, in the words of whoever found out; empty if there is nothing to add.
    pub detail: String,
}

impl Outcome {
    /// It came to nothing, for this reason.
    pub fn failed(reason: Reason) -> Self {
        Self::Failed(Failure { reason, detail: String::new() })
    }

    /// The same with details.
    pub fn failed_with(reason: Reason, detail: impl fmt::Display) -> Self {
        Self::Failed(Failure { reason, detail: detail.to_string() })
    }

    /// Why it came to nothing, if it did.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Sent | Self::Deposited => None,
            Self::Failed(failure) => Some(failure.reason),
        }
    }
}

impl fmt::Display for Failure {
    /// As a reason is told everywhere: its word, or its word, a colon and details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => self.reason.fmt(f),
            detail => f.write_str(&self.reason.with(detail)),
        }
    }
}
