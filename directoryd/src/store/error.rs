//! What can go wrong with the store.

use std::path::PathBuf;

use proto::directory::api::{Base64, EntryAnswer};
use proto::name::Name;

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another account has the name, or gave it up less than 30 days ago.
    #[error("the name belongs to another account")]
    NameTaken,
    /// It was given up, and rests until then, in Unix seconds.
    #[error("the name was given up by another account")]
    Resting(i64),
    /// It looks like this one.
    #[error("the name looks like {0}, which is taken")]
    LooksLike(Name),
    /// The account has another name here.
    #[error("the account is registered as {0}; give that name up first")]
    OtherName(Name),
    /// The record does not take the stored one's place.
    #[error("{reason}")]
    Conflict {
        /// In words.
        reason: String,
        /// The record that is stored.
        stored: Option<Base64>,
    },
    /// No such name or account.
    #[error("not found")]
    NotFound,
    /// More accounts or tokens than allowed.
    #[error("{0}")]
    Full(String),
    /// The account does not honour this deposit token.
    #[error("the account does not honour this deposit token, or no longer does; ask for a new one")]
    TokenRevoked,
    /// No room in a mailbox.
    #[error("{0}")]
    MailboxFull(String),
    /// No room for a stranger, unless it shows work.
    #[error("as many requests of strangers wait for this account as may; one with proof of work is taken")]
    StrangersFull {
        /// How much.
        bits: u8,
    },
    /// A statement, a proof or a slot is not by the key that may sign it.
    #[error("{0}")]
    BadSignature(&'static str),
    /// No such log, or not for this token.
    #[error("there is no such log here, or it is not for this token")]
    NoSuchGroup,
    /// The token was in force and is no longer.
    #[error("this token is no longer in force: read the events with the old one, and get the new one from a member")]
    OldToken,
    /// No room in the log of a group.
    #[error("{0}")]
    GroupFull(String),
    /// An event that is not the next.
    #[error("{}", if .wait.is_some() { "somebody who lost several races has the next moment for itself; try again then" } else {
        "another event came first: look at what is new, judge again, and append behind it" })]
    LostRace {
        /// What came first, or the beginning of it.
        newer: Vec<EntryAnswer>,
        /// Seconds until the turn of somebody else ends.
        wait: Option<u64>,
    },
    /// Too many appends in this minute.
    #[error("too many appends to this log; try again in {0} s")]
    TooOften(u64),
    /// The disk or the database refuses; nothing was changed.
    #[error("the store cannot write now: {0}")]
    Unavailable(String),
}

/// What failed of a copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Why the store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory's own key.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// The directory cannot be made or read.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may write to it.
    #[error("the data directory {path} can be written by others (mode {mode:03o}); run: chmod go-w {path}", path = .path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it.
    #[error("the data directory {0} is in use by another directoryd; stop it, or give this one another --data-dir")]
    Locked(PathBuf),
    /// SQLite says no.
    #[error("cannot open the database {path}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Nothing was changed: without a copy of the old database it is not brought to the new schema.
    #[error("cannot copy the database to {path} before it is brought to a newer schema; is there room on the disk?")]
    Backup {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: BackupError,
    },
    /// Made by a newer program.
    #[error("the database {path} has schema {found}, and this program knows up to {known}; install a newer directoryd")]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// What is stored cannot be understood.
    #[error(
        "the database {path} holds a record that cannot be read ({reason}); put a backup of it in its place, and start again"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no thread.
    #[error("cannot start the store's thread")]
    Thread(#[source] std::io::Error),
}
