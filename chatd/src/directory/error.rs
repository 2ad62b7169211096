//! What can go wrong with a directory, in the words of its caller.

use std::time::Duration;

use proto::advice::{Advice, Step};
use proto::directory::api::{ErrorAnswer, ErrorCode};
use proto::time::Timestamp;

use super::net::trust::TrustError;

/// Why a request to a directory did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Not a URL of a directory.
    #[error(
        "{url:?} is no directory such as example.org, https://dir.example.org:7470 or http://127.0.0.1:7470: {reason}"
    )]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Names and presence would cross a network unprotected.
    #[error("{0} is not this machine: elsewhere a directory is asked over https alone; write https://{0}")]
    PlainHttp(String),
    /// A domain without a directory.
    #[error("{0}")]
    NoDirectory(String),
    /// A directory of another domain than was asked for.
    #[error("the directory at {url} serves {serves}, and not {wanted}")]
    OtherDomain {
        /// Where.
        url: String,
        /// What it says.
        serves: String,
        /// What it was to be.
        wanted: String,
    },
    /// Whoever answers does not prove to be the directory.
    #[error("the directory at {url} is not trusted: {why}. Nothing was sent to it")]
    NotTrusted {
        /// Where.
        url: String,
        /// What is wrong.
        why: TrustError,
    },
    /// No answer.
    #[error("the directory at {url} cannot be reached")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No such account, or not for us.
    #[error("the directory knows no such account")]
    NotFound,
    /// Somebody else has the name.
    #[error("the name is taken")]
    NameTaken,
    /// Somebody gave the name up, and it rests.
    #[error("the name was given up and rests until {until}")]
    NameRests {
        /// When it is free for everybody.
        until: Timestamp,
    },
    /// The directory has a record that ours does not supersede.
    #[error("the directory has another record: {message}")]
    Conflict {
        /// The directory's words.
        message: String,
        /// The stored record's exact bytes, if it sent them.
        stored: Option<Vec<u8>>,
    },
    /// Too many requests.
    #[error("the directory asks to wait {} s", .retry_after.as_secs())]
    RateLimited {
        /// For how long.
        retry_after: Duration,
    },
    /// A mailbox is full of strangers' requests, and takes one more with work.
    #[error("requests of strangers fill the mailbox; {bits} bits of work open it")]
    WorkWanted {
        /// How much.
        bits: u8,
        /// The window that it is there.
        window: u64,
    },
    /// The directory is not the one that was pinned.
    #[error(
        "the directory at {url} is not the one that this account knows: its key was {known}, and now it is {shown}. Nothing is sent \
         to it"
    )]
    KeyChanged {
        /// Where.
        url: String,
        /// In hex.
        known: String,
        /// In hex.
        shown: String,
    },
    /// Another refusal.
    #[error("the directory refuses: {message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// The directory's words.
        message: String,
    },
    /// An answer that is not of this API.
    #[error("the directory at {url} answered something that is not its API: {reason}")]
    Protocol {
        /// Where.
        url: String,
        /// What.
        reason: String,
    },
}

impl DirectoryError {
    /// Whether the directory is down or in trouble, so that the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::Protocol { .. }
            | Self::NotTrusted { .. }
            | Self::NoDirectory(_) => true,
            Self::Refused { code, .. } => matches!(code, ErrorCode::Unavailable | ErrorCode::StaleNonce),
            _ => false,
        }
    }

    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::KeyChanged { shown, .. } => Some(Step::AcceptDirectoryKey.of(shown)),
            _ => None,
        }
    }

    pub(super) fn of_answer(answer: ErrorAnswer) -> Self {
        let error = answer.error;
        match error.code {
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::NameTaken => match error.reserved_until {
                Some(until) => Self::NameRests { until: Timestamp(until.saturating_mul(1_000)) },
                None => Self::NameTaken,
            },
            ErrorCode::Conflict => {
                Self::Conflict { message: told(&error.message), stored: error.record.map(|record| record.0) }
            }
            ErrorCode::MailboxFull if error.work.is_some() => {
                let (bits, window) = error.work.map_or((0, 0), |work| (work.bits, work.window));
                Self::WorkWanted { bits, window }
            }
            ErrorCode::RateLimited => {
                let seconds = error.retry_after.unwrap_or(60).clamp(1, MOST_SECONDS);
                Self::RateLimited { retry_after: Duration::from_secs(seconds) }
            }
            code => Self::Refused { code, message: told(&error.message) },
        }
    }
}

/// Seconds that a directory may ask to wait, at most: it could as well ask for a century.
const MOST_SECONDS: u64 = 3_600;

/// Characters of a directory's own words that are passed on.
const MAX_TOLD: usize = 300;

/// A directory's own words, as part of a line of ours: one line, and no longer than it takes to say why.
pub(super) fn told(text: &str) -> String {
    let mut told: String = text.chars().take(MAX_TOLD).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_TOLD).is_some() {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_says_little_and_in_one_line() {
        let hostile = format!("no\nchatd: all is well\x1b[2J{}", "\u{301}".repeat(20_000));
        let told = told(&hostile);
        assert!(told.starts_with("no chatd: all is well [2J") && told.ends_with('…'), "{told}");
        assert_eq!(told.chars().count(), MAX_TOLD + 1);
        assert_eq!(super::told("the name is taken"), "the name is taken");
    }
}
