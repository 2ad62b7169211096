//! What can go wrong in a store, and what of it is told to whom.

use std::path::PathBuf;

use crate::store::disk::checksum;
use crate::store::disk::share::Used;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed; the transaction was rolled back.
    #[error("the message store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The disk is full: nothing was written.
    #[error("the disk is full: free some space; nothing was stored")]
    Full,
    /// The user to whom the account belongs has stored as much as the operator grants.
    #[error(
        "the share of this user is used up ({} of {} MiB): forget what is no longer needed, or have the operator raise user_mib in \
         [space]; nothing was stored",
        .0.bytes >> 20,
        .0.most >> 20
    )]
    ShareUsed(Used),
    /// The transaction around the operation failed.
    #[error("nothing was stored: {0}")]
    NotStored(String),
    /// The database was made by a newer version.
    #[error(
        "the store has schema {found}, newer than {newest} which this version knows: install the newer version again"
    )]
    NewerSchema {
        /// Its version.
        found: i64,
        /// The newest known here.
        newest: i64,
    },
    /// Somebody else has it open.
    #[error("another program has {} open: close it", .0.display())]
    InUse(PathBuf),
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
    /// Bytes on the disk are not what was written.
    #[error("{0}")]
    Corrupt(String),
    /// The store is damaged: what is intact can be read, and nothing is written.
    #[error("{0}")]
    ReadOnly(String),
    /// What is stored breaks the schema's own rules.
    #[error("the store is damaged: {0}")]
    Damaged(&'static str),
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A client chose an id that one of its messages to somebody else has.
    #[error("the id {0} belongs to a message to somebody else: leave it out, or choose another")]
    IdTaken(proto::ids::MessageId),
    /// No such row.
    #[error("{0} is not there")]
    NotFound(&'static str),
    /// The rules of contacts forbid it.
    #[error(transparent)]
    Contact(#[from] crate::policy::contact::ContactError),
    /// Full-text search failed.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl StoreError {
    /// SQLITE_FULL becomes [`StoreError::Full`], so that it can be told as what it is; so does the failure to make the
    /// WAL's index larger, which is what a full disk looks like there.
    pub(in crate::store) fn classify(self) -> Self {
        if self.is_full() { Self::Full } else { self }
    }

    /// What all are told whose operations end with this one.
    pub(in crate::store) fn for_neighbours(&self) -> Self {
        match self {
            error if error.is_full() => Self::Full,
            Self::NotStored(text) => Self::NotStored(text.clone()),
            Self::ReadOnly(text) => Self::ReadOnly(text.clone()),
            error => Self::NotStored(error.to_string()),
        }
    }

    /// Whether bytes on the disk are not what was written.
    pub fn is_damage(&self) -> bool {
        let rusqlite_error = match self {
            Self::Corrupt(_) => return true,
            Self::Sqlite(error) => error,
            Self::Search(SearchError::Main { source, .. }) => source,
            _ => return false,
        };
        checksum::is_damage(rusqlite_error)
    }

    pub(in crate::store) fn is_full(&self) -> bool {
        use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMSIZE};
        match self {
            Self::Full => true,
            Self::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => {
                matches!(error.extended_code, SQLITE_FULL | SQLITE_IOERR_SHMSIZE)
            }
            _ => false,
        }
    }
}

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The query holds nothing to look for.
    #[error("the search has no words: give at least one letter or digit")]
    NoWords,
    /// The query is longer than `max`.
    #[error("the search text is {got} bytes; the limit is {max}")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The query has more words and phrases than `max`.
    #[error("the search has {got} words; the limit is {max}")]
    TooManyWords {
        /// Words and phrases given.
        got: usize,
        /// Words and phrases allowed.
        max: usize,
    },
    /// The index is being built and is not there yet.
    #[error("the search index is being built (messages left: {remaining}); try again in a moment")]
    Building {
        /// Message ids between the index and the newest message.
        remaining: i64,
    },
    /// The indexer cannot do its work (a full disk, permissions).
    #[error("the search index cannot be written: {reason}")]
    Unavailable {
        /// The indexer's last error.
        reason: String,
    },
    /// The daemon is stopping.
    #[error("the search index is closed: the daemon is stopping")]
    Stopped,
    /// The account's message store cannot be read.
    #[error("cannot read the message store {}", path.display())]
    Main {
        /// `messages.db`.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The index cannot be read, and is not damaged in a way that a rebuild cures.
    #[error("cannot read the search index {}", path.display())]
    Index {
        /// `search.db`.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}
