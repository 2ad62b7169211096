//! What the rules ask of whatever keeps the data: small commands of one transaction, which decide nothing.
//!
//! An implementation keeps what it is given, counts what it is told to count, and is exact about what is there. What
//! may be, and what follows from it, is the rules' (`rules`). All commands of a transaction take effect together or not
//! at all, and whoever reads within it sees what it has written.
//!
//! Numbers that are read and written again (`mailbox`, `counted`) must not change in between by another transaction: with
//! one writer they cannot, and with several the row is locked when it is read. They are of one mailbox or one token, so
//! only those who write to the same one wait for each other. Nothing is counted for the directory as a whole but in
//! `SHARDS` rows that are added up.

mod commands;
mod groups;
mod queries;

pub use commands::Commands;
pub use groups::{
    Entries, EntriesFetch, Entry, Group, GroupCommands, GroupQueries, KeptSlot, Known, LOG_BYTES, NewEntry, ROW_BYTES,
    Room, Share, Slots, Turn, Waiting, Writer,
};
pub use queries::{
    Account, Amount, Applied, Failure, Fetch, Former, Held, Keep, Lane, Mail, Mailbox, Newcomer, Queries, Resting, Sums,
};
