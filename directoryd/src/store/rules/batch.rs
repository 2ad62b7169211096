//! What the requests of one transaction share.

use crate::cluster::Change;
use crate::store::command::{Amount, Applied, Commands};
use crate::store::error::StoreError;
use crate::store::options::Bounds;

/// What the requests of one transaction go by, and what they did.
#[derive(Debug)]
pub struct Batch {
    /// What is refused.
    pub bounds: Bounds,
    /// The mailbox's clock.
    pub now: u64,
    /// The disk was full a moment ago: no deposits.
    pub disk_full: bool,
    /// What look-ups have to know of it after COMMIT.
    pub changes: Vec<Change>,
    /// Envelopes were left.
    pub deposited: bool,
    /// Envelopes that their devices have deleted.
    pub deleted: u64,
    /// Envelopes that have expired.
    pub expired: u64,
    /// Mail of devices or accounts that are no more went.
    pub dropped: bool,
    /// Something of a log has changed.
    pub logged: bool,
    /// Entries that were appended to logs.
    pub appended: u64,
    /// Entries of logs that were dropped, or have expired.
    pub cut: u64,
    /// Races for the next event that were lost.
    pub raced: u64,
    /// Bytes in all mailboxes: read once for all requests, and kept up with what they did. Another writer's deposits
    /// meanwhile are not seen, so with `w` writers the bound for the directory may be passed by what `w - 1` of them
    /// commit at once, which is 40 MiB each at most (`BATCH` envelopes of the largest size).
    lying: Option<u64>,
}

impl Batch {
    /// One with nothing done.
    pub fn new(bounds: Bounds, now: u64, disk_full: bool) -> Self {
        Self {
            bounds,
            now,
            disk_full,
            changes: Vec::new(),
            deposited: false,
            deleted: 0,
            expired: 0,
            dropped: false,
            logged: false,
            appended: 0,
            cut: 0,
            raced: 0,
            lying: None,
        }
    }

    /// Whether there is room on the disk, as far as is known.
    pub fn has_disk(&self) -> Result<(), StoreError> {
        if self.disk_full { Err(StoreError::Unavailable("the disk is full; try again later".into())) } else { Ok(()) }
    }

    /// Whether mailboxes or logs hold something else than before.
    pub fn touched(&self) -> bool {
        self.deposited || self.dropped || self.deleted > 0 || self.expired > 0 || self.logged
    }

    /// Bytes in all mailboxes.
    pub fn lying<C: Commands>(&mut self, db: &C) -> Applied<u64, C::Error> {
        if let Some(lying) = self.lying {
            return Ok(lying);
        }
        let lying = db.sums()?.mail.bytes;
        self.lying = Some(lying);
        Ok(lying)
    }

    /// Mail came.
    pub fn came(&mut self, bytes: u64) {
        self.deposited = true;
        self.lying = self.lying.map(|lying| lying.saturating_add(bytes));
    }

    /// Mail went.
    pub fn went(&mut self, gone: Amount) {
        self.lying = self.lying.map(|lying| lying.saturating_sub(gone.bytes));
    }
}
