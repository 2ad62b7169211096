//! The same of the logs of groups. Whatever takes room in a log is counted for the log, and for whoever wrote it.

use proto::directory::groups::{EntryKind, Running};
use proto::ids::{AccountId, LogId};

use super::queries::{Applied, Queries};

/// Whoever wrote something, as its share is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// A member of this directory.
    Account(AccountId),
    /// Somebody else: the network that it came from, hashed with a key of this directory.
    Place([u8; 8]),
}

/// Whoever may append events alone for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Who.
    pub of: Writer,
    /// Until when, by the mailbox's clock.
    pub until: u64,
}

/// What lies in a log, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Entries that are there.
    pub entries: u64,
    /// Entries of which the hash is left.
    pub dropped: u64,
    /// Slots.
    pub slots: u64,
    /// Bytes of all, with what a row takes.
    pub bytes: u64,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub log: LogId,
    /// Who made it.
    pub account: AccountId,
    /// The exact bytes of its signed root.
    pub root: Vec<u8>,
    /// Its number.
    pub root_number: u64,
    /// The root key in force.
    pub root_key: [u8; 32],
    /// The log key in force.
    pub log_key: [u8; 32],
    /// The exact bytes of its signed header.
    pub header: Vec<u8>,
    /// The number of the root whose log key signed that.
    pub header_root: u64,
    /// Its own number.
    pub header_number: u64,
    /// The hash of the token that reads.
    pub read: [u8; 32],
    /// The hash of the token that writes.
    pub write: [u8; 32],
    /// How often the tokens have changed.
    pub changes: u64,
    /// The newest entry.
    pub head: Running,
    /// The number of the newest event, or 0.
    pub event: u64,
    /// Entries up to here may have left nothing.
    pub floor: u64,
    /// The minute in which was counted last.
    pub minute: u64,
    /// Appends in it.
    pub appended: u64,
    /// Who may append alone.
    pub turn: Option<Turn>,
    /// No turn is given before.
    pub next_turn: u64,
    /// Since when its account is gone.
    pub orphaned: Option<u64>,
    /// What lies in it. Counted, not set.
    pub room: Room,
}

/// What somebody has of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Entries that are there. Counted, not set.
    pub entries: u64,
    /// Slots. Counted, not set.
    pub slots: u64,
    /// Bytes. Counted, not set.
    pub bytes: u64,
    /// The minute in which was counted last.
    pub minute: u64,
    /// Appends in it.
    pub appended: u64,
    /// Races that were lost in a row.
    pub lost: u64,
    /// No turn is given to it before.
    pub next_turn: u64,
}

/// An entry to keep.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// In which log.
    pub log: LogId,
    /// Its number, and the running hash there.
    pub place: Running,
    /// What it is.
    pub kind: EntryKind,
    /// Who wrote it.
    pub writer: Writer,
    /// Its hash.
    pub hash: &'a [u8; 32],
    /// Until when, by the mailbox's clock.
    pub expires: Option<u64>,
    /// Its bytes.
    pub entry: &'a [u8],
}

/// An entry that is known by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its number, and the running hash there.
    pub place: Running,
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Its hash.
    pub hash: [u8; 32],
    /// Itself, if it is there.
    pub entry: Option<Vec<u8>>,
}

/// What is asked of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntriesFetch {
    /// Of which log.
    pub log: LogId,
    /// Numbers above this one.
    pub after: u64,
    /// Messages, too.
    pub messages: bool,
    /// Keys, too.
    pub keys: bool,
    /// Entries at most.
    pub count: usize,
    /// Bytes at most, unless it is one entry.
    pub bytes: usize,
    /// What has expired by then is not there.
    pub now: u64,
}

/// Entries in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    /// Those.
    pub entries: Vec<Entry>,
    /// Whether there was one that did not fit any more.
    pub more: bool,
}

/// A slot, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptSlot {
    /// Its counter.
    pub counter: u64,
    /// Its bytes, with what a row takes.
    pub size: u64,
    /// Who wrote it.
    pub writer: Writer,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
}

/// Slots in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    /// Keys and exact bytes.
    pub slots: Vec<([u8; 32], Vec<u8>)>,
    /// Whether there was one that did not fit any more.
    pub more: bool,
}

/// An entry that waits for its event: who staged it, until when, and itself.
pub type Waiting = (Writer, u64, Vec<u8>);

/// What is there of logs. Also asked outside of transactions that write.
pub trait GroupQueries: Queries {
    /// A log.
    fn group(&self, log: LogId) -> Applied<Option<Group>, Self::Error>;
    /// Whether this hash is of a token that was in force, and if it writes.
    fn old_token(&self, log: LogId, hash: &[u8; 32]) -> Applied<Option<bool>, Self::Error>;
    /// Entries of it.
    fn entries(&self, fetch: &EntriesFetch) -> Applied<Entries, Self::Error>;
    /// The running hash at a number that it still knows.
    fn running(&self, log: LogId, number: u64) -> Applied<Option<[u8; 32]>, Self::Error>;
    /// Slots with keys above one, `count` and `bytes` at most.
    fn slots(&self, log: LogId, after: Option<&[u8; 32]>, count: usize, bytes: usize) -> Applied<Slots, Self::Error>;
    /// One slot, its bytes.
    fn slot_bytes(&self, log: LogId, key: &[u8; 32]) -> Applied<Option<Vec<u8>>, Self::Error>;
    /// Who wrote these, as far as they are there.
    fn writers(&self, log: LogId, numbers: &[u64]) -> Applied<Vec<(u64, Writer)>, Self::Error>;
}

/// What one transaction does to logs.
pub trait GroupCommands: GroupQueries {
    /// How many logs an account has made, and their bytes.
    fn groups_of(&self, account: AccountId) -> Applied<(u64, u64), Self::Error>;
    /// A new log, with nothing in it.
    fn add_group(&mut self, new: &Group) -> Applied<(), Self::Error>;
    /// All of a log, but what is counted.
    fn set_group(&mut self, group: &Group) -> Applied<(), Self::Error>;
    /// A log with all that is in it.
    fn remove_group(&mut self, log: LogId) -> Applied<(), Self::Error>;
    /// The account of these logs is gone since `since`; with `None` it is back.
    fn orphan_groups(&mut self, account: AccountId, since: Option<u64>) -> Applied<(), Self::Error>;
    /// Logs whose account is gone since `until` or longer: `limit` at most.
    fn orphaned(&self, until: u64, limit: usize) -> Applied<Vec<LogId>, Self::Error>;

    /// What somebody has of a log.
    fn share(&self, log: LogId, writer: Writer) -> Applied<Share, Self::Error>;
    /// All of that, but what is counted.
    fn set_share(&mut self, log: LogId, writer: Writer, share: &Share) -> Applied<(), Self::Error>;
    /// Forgets shares with nothing in them and nothing to remember at `minute` and `now`: `limit` at most; how many.
    fn forget_shares(&mut self, minute: u64, now: u64, limit: usize) -> Applied<usize, Self::Error>;

    /// An entry that is there, or has left its hash.
    fn known(&self, log: LogId, hash: &[u8; 32]) -> Applied<Option<Known>, Self::Error>;
    /// Keeps an entry, counted for its log and its writer.
    fn append(&mut self, new: &NewEntry<'_>) -> Applied<(), Self::Error>;
    /// Drops an entry's bytes; whether it had any.
    fn drop_entry(&mut self, log: LogId, number: u64) -> Applied<bool, Self::Error>;
    /// All keys that do not expire do so then.
    fn supersede_keys(&mut self, log: LogId, expires: u64) -> Applied<(), Self::Error>;
    /// Drops the bytes of what has expired by `now`, the oldest first: `limit` entries at most; how many.
    fn expire_entries(&mut self, now: u64, limit: usize) -> Applied<usize, Self::Error>;
    /// Forgets entries that have left their hash, in the order of numbers: `limit` at most; the highest number.
    fn forget_entries(&mut self, log: LogId, limit: usize) -> Applied<Option<u64>, Self::Error>;

    /// Stages an entry, counted for its log and its writer.
    fn stage(
        &mut self,
        log: LogId,
        writer: Writer,
        hash: &[u8; 32],
        expires: u64,
        entry: &[u8],
    ) -> Applied<(), Self::Error>;
    /// What is staged under a hash.
    fn staged(&self, log: LogId, hash: &[u8; 32]) -> Applied<Option<Waiting>, Self::Error>;
    /// It is staged no longer.
    fn unstage(&mut self, log: LogId, hash: &[u8; 32]) -> Applied<(), Self::Error>;
    /// What was staged and has expired by `now` is so no longer: `limit` at most; how many.
    fn expire_staged(&mut self, now: u64, limit: usize) -> Applied<usize, Self::Error>;

    /// A slot that is there.
    fn slot(&self, log: LogId, key: &[u8; 32]) -> Applied<Option<KeptSlot>, Self::Error>;
    /// Keeps a slot, in the place of an earlier one.
    fn set_slot(
        &mut self,
        log: LogId,
        key: &[u8; 32],
        writer: Writer,
        counter: u64,
        slot: &[u8],
    ) -> Applied<(), Self::Error>;
    /// Drops a slot; whether there was one.
    fn remove_slot(&mut self, log: LogId, key: &[u8; 32]) -> Applied<bool, Self::Error>;

    /// A token that was in force until the change with this number.
    fn add_old_token(&mut self, log: LogId, hash: &[u8; 32], writes: bool, change: u64) -> Applied<(), Self::Error>;
    /// Forgets tokens that were in force until the change with this number, or an earlier one.
    fn forget_tokens(&mut self, log: LogId, change: u64) -> Applied<(), Self::Error>;
}

/// Bytes that a log takes with nothing in it: its statements, and tokens that were in force.
pub const LOG_BYTES: u64 = 4_096;
/// Bytes that a row takes beside what is in it, rounded up: what is small is not free.
pub const ROW_BYTES: u64 = 128;
