//! What can go wrong in the service, in words that say what to do next. Only the RPC room turns these into codes.

use proto::advice::{Advice, Step};

use crate::crypto::CryptoError;
use crate::crypto::archive::ArchiveError;
use crate::crypto::keyfile::KeyFileError;
use crate::directory::DirectoryError;
use crate::link::LinkError;
use crate::model::Damage;
use crate::store::StoreError;
use crate::store::snapshot::SnapshotError;

/// What is told when another copy of the account has taken this one's place.
pub(super) const SUPERSEDED: &str = "this account also runs on another machine, where it was restored from a backup or its folder was copied to: that one \
     took its place in the directory, and this copy is stopped for good. Go on there";

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The caller has no account, or none of that name.
    #[error("{0}")]
    NoAccount(String),
    /// Several, and none was named.
    #[error("several accounts are yours ({0})")]
    AmbiguousAccount(String),
    /// A word that means two people.
    #[error("{0}")]
    AmbiguousWho(String),
    /// Exists on this daemon.
    #[error("{0}")]
    AlreadyExists(String),
    /// The directory gave it to somebody else.
    #[error("the name {0} is taken in the directory: choose another one")]
    NameTaken(String),
    /// Given up, and kept for who had it.
    #[error(
        "the name {name} was given up by its account and rests until {until}: choose another one, wait, or take it back at once \
         with the recovery key of that account"
    )]
    NameRests {
        /// The name.
        name: String,
        /// When it is free for everybody.
        until: proto::time::Timestamp,
    },
    /// Not a name.
    #[error("this cannot be a name: {0}")]
    Name(#[from] proto::name::NameError),
    /// Nobody, nothing of that name.
    #[error("{0}")]
    NotFound(String),
    /// A word that means nobody whom the account knows.
    #[error("you know nobody called {word}{}", .nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    Nobody {
        /// The word.
        word: String,
        /// The nearest one that means somebody.
        nearest: Option<String>,
    },
    /// Known, but no contact.
    #[error("{0}")]
    NotAContact(String),
    /// The account is offline by the user's own wish.
    #[error("{0} is logged out")]
    LoggedOut(String),
    /// Another copy of the account took this one's place.
    #[error("{SUPERSEDED}")]
    Superseded,
    /// It is offline already.
    #[error("{0} is logged out already")]
    AlreadyLoggedOut(String),
    /// It is online already.
    #[error("{0} is logged in already")]
    AlreadyLoggedIn(String),
    /// Text that cannot be sent.
    #[error("{0}")]
    InvalidText(String),
    /// A parameter out of range.
    #[error("{0}")]
    InvalidParams(String),
    /// The key is not to be trusted.
    #[error("{0}")]
    KeyNotTrusted(String),
    /// Whoever is meant is not there now.
    #[error("{0}")]
    PeerUnreachable(String),
    /// Blocked, or refused by the other side.
    #[error("{0}")]
    Refused(String),
    /// A contact's daemon that does not answer.
    #[error("{0}")]
    Unanswered(String),
    /// Over a rate.
    #[error("{0}")]
    TooOften(String),
    /// The token of the connection is not for that.
    #[error("{0}")]
    NotGranted(String),
    /// The token of the connection is over its rate.
    #[error("{0}")]
    TooFast(String),
    /// Over a cap.
    #[error("{0}")]
    LimitReached(String),
    /// Somebody else does that already.
    #[error("{0}")]
    InUse(String),
    /// A backup that cannot be made or opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is in a backup cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// Cryptography.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The transport.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A record of our own that breaks the rules.
    #[error("cannot make a record: {0}")]
    Record(#[from] proto::directory::RecordError),
    /// A reach of our own that breaks the rules.
    #[error("cannot make a reach: {0}")]
    Reach(#[from] proto::directory::ReachError),
    /// A file operation.
    #[error("{path}: {source}")]
    Io {
        /// On what.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory is not fit.
    #[error("{0}")]
    DataDir(String),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    ShuttingDown,
    /// Another one, and what can be done about it.
    #[error("{error}")]
    Advised {
        /// What went wrong.
        error: Box<ServiceError>,
        /// For the program of the caller, which words it.
        advice: Advice,
    },
}

impl ServiceError {
    /// The same with advice.
    pub fn advise(self, advice: Advice) -> Self {
        Self::Advised { error: Box::new(self), advice }
    }

    /// Of an account that can only be read.
    pub(super) fn damaged(damage: Damage) -> Self {
        let error = Self::Store(StoreError::ReadOnly(damage.text));
        match damage.advice {
            Some(advice) => error.advise(advice),
            None => error,
        }
    }

    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::Advised { advice, .. } => Some(advice.clone()),
            Self::AmbiguousAccount(_) => Some(Step::ChooseAccount.alone()),
            Self::LoggedOut(_) => Some(Step::LogIn.alone()),
            Self::NameRests { name, .. } => Some(Step::Reclaim.of(name)),
            Self::Nobody { word, nearest: None } => Some(Step::Ask.of(word)),
            Self::Superseded => Some(Step::GoOnHere.alone()),
            Self::Directory(error) => error.advice(),
            Self::Store(StoreError::ReadOnly(_)) => Some(Step::Restore.alone()),
            _ => None,
        }
    }

    /// Whether somebody or something is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Nobody { .. } => true,
            Self::Advised { error, .. } => error.is_not_found(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::name::Name;

    use super::*;

    /// What is said of a name is said once, whatever is wrong with it.
    #[test]
    fn what_is_wrong_with_a_name_is_said_once() {
        let long = "b".repeat(33);
        for bad in [
            "",
            &long,
            "a b",
            "-a",
            "\u{5e2}a",
            "ab\u{661}",
            "b\u{43e}b",
            "a\u{307}i\u{307}",
            "\u{640}",
            "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}",
        ] {
            let Err(error) = Name::parse(bad) else { panic!("{bad:?} is a name") };
            let text = ServiceError::Name(error).to_string();
            let (what, why) = text.split_once(": ").unwrap_or_default();
            assert_eq!(what, "this cannot be a name");
            assert!(!why.contains("not allowed by") && !why.starts_with("the name is"), "{text}");
            assert!(text.matches("this cannot be").count() == 1 && why.len() > 20, "{text}");
        }
    }
}
