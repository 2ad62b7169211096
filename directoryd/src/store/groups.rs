//! What the store is asked for of the logs of groups, and what it answers.

use proto::directory::groups::{Append, Header, Root, Running, SignedSlot};
use proto::ids::{AccountId, LogId};
use tokio::sync::oneshot;

use super::command::Writer;
use super::error::StoreError;

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Something signed, and by which key it was found to be. Whether that is the key in force, the store looks.
#[derive(Debug, Clone)]
pub struct Stated<T> {
    /// What it says.
    pub says: T,
    /// Whose signature it has.
    pub by: [u8; 32],
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

/// By what statements of a log are verified.
#[derive(Debug, Clone)]
pub struct GroupKeys {
    /// The exact bytes of the root in force.
    pub root: Vec<u8>,
    /// The root key that it names.
    pub root_key: [u8; 32],
    /// The log key that it names.
    pub log_key: [u8; 32],
}

/// A log to make.
#[derive(Debug)]
pub struct NewGroup {
    /// By whom.
    pub account: AccountId,
    /// Its first root.
    pub root: Stated<Root>,
    /// Its first header.
    pub header: Stated<Header>,
}

/// What is to hold of a log from now on.
#[derive(Debug, Default)]
pub struct Statements {
    /// Another root.
    pub root: Option<Stated<Root>>,
    /// Another header.
    pub header: Option<Stated<Header>>,
}

/// An entry on its way in, to be appended or staged.
#[derive(Debug)]
pub struct GroupAppend {
    /// To which log.
    pub log: LogId,
    /// The hash of the token that was shown.
    pub token: [u8; 32],
    /// Who writes it.
    pub writer: Writer,
    /// It comes from this machine, and such are not limited in how often.
    pub exempt: bool,
    /// As it was asked for.
    pub append: Append,
    /// The entry's hash.
    pub hash: [u8; 32],
    /// The key by which the proof was found to be.
    pub proved_by: Option<[u8; 32]>,
    /// Of an event; `None` if a signature in them is by no key in force. It may have been when this was appended before.
    pub statements: Option<Statements>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Whether it was not there before.
    pub created: bool,
    /// Its number, and the running hash there.
    pub place: Running,
}

/// What staging did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staged {
    /// Whether it was not there before.
    pub created: bool,
    /// Seconds that it waits.
    pub expires_in: u64,
}

/// A slot on its way in, whose signature holds.
#[derive(Debug)]
pub struct PutSlot {
    /// The hash of the token that was shown.
    pub token: [u8; 32],
    /// Who writes it.
    pub writer: Writer,
    /// Itself.
    pub slot: SignedSlot,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

/// What whoever has the log key wants to know, or gone.
#[derive(Debug)]
pub struct Keep {
    /// Of which log.
    pub log: LogId,
    /// By which key it is signed.
    pub by: [u8; 32],
    /// Whether they are dropped.
    pub drop: bool,
    /// Entries.
    pub numbers: Vec<u64>,
    /// Slots.
    pub slots: Vec<[u8; 32]>,
}

/// What was told, or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Who wrote the entries that are there.
    pub writers: Vec<(u64, Writer)>,
    /// Entries and slots that were dropped.
    pub dropped: u64,
}

#[derive(Debug)]
pub(crate) enum GroupRequest {
    Create(Box<NewGroup>, Reply<bool>),
    State(LogId, Box<Statements>, Reply<()>),
    Append(Box<GroupAppend>, Reply<Appended>),
    Stage(Box<GroupAppend>, Reply<Staged>),
    Slot(Box<PutSlot>, Reply<u64>),
    Keep(Box<Keep>, Reply<Kept>),
    Remove { account: AccountId, log: LogId, reply: Reply<()> },
}
