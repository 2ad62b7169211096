//! How a run ends: exit codes, and the errors that lead to them.
//!
//! Not the job: printing. [`crate::run`] prints an error once, with its hint.

use std::io;

use proto::rpc::client::ClientError;
use proto::rpc::{ErrorCode, RpcError};

use crate::show::words::advice;
use crate::term::escape;
use crate::term::output::OutputError;

/// Exit codes of the program; scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed, for a reason that none of the others names.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// No daemon answers.
    Unreachable = 3,
    /// The other side's key is not trusted, or changed.
    KeyNotTrusted = 4,
    /// Over a rate limit.
    RateLimited = 5,
    /// Not in time; the message stays queued.
    TimedOut = 6,
    /// The other side refused.
    Refused = 7,
}

impl Exit {
    /// The exit code for an error of the daemon.
    pub fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidParams | ErrorCode::AmbiguousAccount | ErrorCode::AmbiguousWho => Self::Usage,
            ErrorCode::ShuttingDown => Self::Unreachable,
            ErrorCode::KeyNotTrusted => Self::KeyNotTrusted,
            ErrorCode::RateLimited => Self::RateLimited,
            ErrorCode::TimedOut => Self::TimedOut,
            ErrorCode::Refused => Self::Refused,
            ErrorCode::Malformed
            | ErrorCode::UnknownMethod
            | ErrorCode::NotAllowed
            | ErrorCode::NoAccount
            | ErrorCode::AlreadyExists
            | ErrorCode::NameNotAllowed
            | ErrorCode::NameTaken
            | ErrorCode::NotFound
            | ErrorCode::NotAContact
            | ErrorCode::LoggedOut
            | ErrorCode::AlreadyLoggedIn
            | ErrorCode::InvalidText
            | ErrorCode::DirectoryUnreachable
            | ErrorCode::PeerUnreachable
            | ErrorCode::DirectoryRefused
            | ErrorCode::LimitReached
            | ErrorCode::InUse
            | ErrorCode::BackupUnusable
            | ErrorCode::StoreUnavailable
            | ErrorCode::Internal => Self::Failed,
        }
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The daemon said no; its words may be those of a directory, or of a peer.
    #[error("{}", said(.0))]
    Rpc(RpcError),
    /// The connection to the daemon ended, or carried nonsense.
    #[error("{0}")]
    Client(#[source] ClientError),
    /// Anything that is said in full here.
    #[error("{text}")]
    Other {
        /// How the program ends.
        exit: Exit,
        /// What failed, and where.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// Whoever read standard output has seen enough: no error.
    #[error("standard output is closed")]
    ClosedPipe,
}

impl Failure {
    /// Exit 1, without a hint.
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other { exit: Exit::Failed, text: text.into(), hint: None }
    }

    /// The code that the program ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Rpc(error) => Exit::of(error.code),
            Self::Client(ClientError::Connect { .. } | ClientError::Disconnected { .. }) => Exit::Unreachable,
            Self::Client(_) | Self::Output(_) => Exit::Failed,
            Self::Other { exit, .. } => *exit,
            Self::ClosedPipe => Exit::Ok,
        }
    }

    /// What to do about it, where this program knows more than the error's own text says.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Rpc(error) => {
                let (command, hint) = match error.code {
                    ErrorCode::NoAccount => ("chatctl register", "make one with `chatctl register NAME`"),
                    ErrorCode::AmbiguousAccount => ("--account", "name one with `--account NAME` or CHATD_ACCOUNT"),
                    ErrorCode::LoggedOut => ("chatctl login", "log in with `chatctl login`"),
                    ErrorCode::UnknownMethod => {
                        ("restart", "if the daemon is older than this chatctl, restart it after the upgrade")
                    }
                    _ => return None,
                };
                (!said(error).contains(command)).then(|| hint.to_owned())
            }
            Self::Client(ClientError::Disconnected { .. }) => {
                Some("the daemon stopped or was restarted; `chatctl status` tells whether it is back".to_owned())
            }
            Self::Other { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// Whether the daemon serves as many clients as it can, or more want in than its socket lets wait.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Rpc(error) => error.code == ErrorCode::LimitReached,
            Self::Client(ClientError::Connect { source, .. }) => source.kind() == io::ErrorKind::WouldBlock,
            _ => false,
        }
    }

    /// Whether the connection ended under the call, so that a new one may do better.
    pub fn is_disconnect(&self) -> bool {
        self.exit() == Exit::Unreachable
    }
}

/// What the daemon said, as one line of bounded length, with the command that helps.
fn said(error: &RpcError) -> String {
    escape::foreign(&advice::told(&error.text, error.advice.as_deref()))
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Closed => Self::ClosedPipe,
            OutputError::Write(error) => Self::Output(error),
            error @ OutputError::Json(_) => Self::other(error.to_string()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Rpc(error) => Self::Rpc(error),
            other => Self::Client(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proto::advice::Step;

    #[test]
    fn every_error_code_has_its_exit_code() {
        let table = [
            (ErrorCode::Malformed, 1),
            (ErrorCode::UnknownMethod, 1),
            (ErrorCode::InvalidParams, 2),
            (ErrorCode::NotAllowed, 1),
            (ErrorCode::NoAccount, 1),
            (ErrorCode::AmbiguousAccount, 2),
            (ErrorCode::AmbiguousWho, 2),
            (ErrorCode::AlreadyExists, 1),
            (ErrorCode::NameNotAllowed, 1),
            (ErrorCode::NameTaken, 1),
            (ErrorCode::NotFound, 1),
            (ErrorCode::NotAContact, 1),
            (ErrorCode::LoggedOut, 1),
            (ErrorCode::AlreadyLoggedIn, 1),
            (ErrorCode::InvalidText, 1),
            (ErrorCode::DirectoryUnreachable, 1),
            (ErrorCode::PeerUnreachable, 1),
            (ErrorCode::DirectoryRefused, 1),
            (ErrorCode::KeyNotTrusted, 4),
            (ErrorCode::RateLimited, 5),
            (ErrorCode::LimitReached, 1),
            (ErrorCode::InUse, 1),
            (ErrorCode::TimedOut, 6),
            (ErrorCode::Refused, 7),
            (ErrorCode::BackupUnusable, 1),
            (ErrorCode::StoreUnavailable, 1),
            (ErrorCode::ShuttingDown, 3),
            (ErrorCode::Internal, 1),
        ];
        for (code, exit) in table {
            let failure = Failure::from(ClientError::Rpc(RpcError::new(code, "bob")));
            assert_eq!(failure.exit() as u8, exit, "{code:?}");
            assert_eq!(failure.to_string(), "bob");
        }
    }

    #[test]
    fn a_hint_repeats_nothing() {
        let hint = |code, text: &str| Failure::Rpc(RpcError::new(code, text)).hint();
        for (code, command) in [
            (ErrorCode::NoAccount, "chatctl register"),
            (ErrorCode::AmbiguousAccount, "--account"),
            (ErrorCode::LoggedOut, "chatctl login"),
        ] {
            assert!(hint(code, "no").unwrap().contains(command), "{code:?}");
            assert_eq!(hint(code, &format!("no: {command} helps")), None, "{code:?}");
        }
        let advised = RpcError::new(ErrorCode::LoggedOut, "alice is logged out").advise(Some(Step::LogIn.alone()));
        let failure = Failure::Rpc(advised);
        assert_eq!(failure.to_string(), "alice is logged out: run chatctl login first");
        assert_eq!(failure.hint(), None, "it is said already");
    }

    #[test]
    fn the_others_have_theirs() {
        assert_eq!(Failure::Usage(String::new()).exit() as u8, 2);
        assert_eq!(Failure::ClosedPipe.exit() as u8, 0);
        assert_eq!(Failure::other("x").exit() as u8, 1);
        let refused = ClientError::Connect { path: "/x".into(), source: io::ErrorKind::ConnectionRefused.into() };
        assert_eq!(Failure::from(refused).exit() as u8, 3);
    }
}
