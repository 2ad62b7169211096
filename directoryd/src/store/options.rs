//! How the store is opened, and what it refuses by.

use std::path::PathBuf;

use crate::cluster::Monotonic;

/// What mailboxes may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Envelopes from contacts for an account.
    pub envelopes: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Envelopes from strangers for an account; as many again with proof of work.
    pub strangers: u64,
    /// Work that is asked for when that room is full, in bits.
    pub work_bits: u8,
    /// Bytes in all mailboxes of the directory.
    pub total_bytes: u64,
}

/// What logs of groups may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBounds {
    /// Logs of one account.
    pub per_account: u64,
    /// Entries of a log.
    pub entries: u64,
    /// Bytes in a log.
    pub bytes: u64,
    /// Bytes in all logs of the directory.
    pub total_bytes: u64,
    /// Entries that one writer appends to a log in a minute.
    pub appends_per_minute: u64,
}

/// What the store refuses by, and may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Accounts at most.
    pub max_accounts: u64,
    /// Mail at most.
    pub quotas: Quotas,
    /// Logs of groups at most.
    pub groups: GroupBounds,
}

impl Bounds {
    /// Those of the options.
    pub fn of(options: &Options) -> Self {
        Self { max_accounts: options.max_accounts, quotas: options.quotas, groups: options.groups }
    }
}

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where; made if it is not there.
    pub data_dir: PathBuf,
    /// Accounts at most.
    pub max_accounts: u64,
    /// Mail at most.
    pub quotas: Quotas,
    /// Logs of groups at most.
    pub groups: GroupBounds,
    /// Go on with another identity key than members know, or without the one that they know.
    pub new_identity: bool,
    /// What the mailbox's clock runs by.
    pub clock: Monotonic,
    /// Pages that the database may have, for tests of a full disk.
    pub max_pages: Option<u32>,
}
