//! What each contact has cost: what is stored of it, today and in all, and how often it made us work in proportion to our own
//! history.
//!
//! Not its job: to say what is too much of what is stored; the configuration does (`policy::limits`).
//!
//! Invariants: one row for each contact; counts of a day go back to zero with the next; whatever a contact says, the outbox
//! is written anew for it no more often, and by no more rows, than is said here.

use rusqlite::{OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::policy::limits::Quotas;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;

/// How often a contact can have what waits for it written into a new epoch in a day. An honest one needs that once for each
/// time that one of the two disks went back.
pub(in crate::store) const MAX_RENEWALS: i64 = 16;
/// What is written for that in a day, after the first time: cores, each KiB of them as one more. What waited the first time is our
/// own doing.
pub(in crate::store) const MAX_REWRITTEN: i64 = 10_000;
/// Cores of one contact that wait for what is missing before them at most. What is beyond stays with its sender.
pub(in crate::store) const MAX_HELD: i64 = 8_192;
/// And their bytes.
pub(in crate::store) const MAX_HELD_BYTES: i64 = 16 << 20;

pub(in crate::store) const DAY_MS: i64 = 86_400_000;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store) struct Usage {
    /// The day of the counts of today.
    day: i64,
    /// Messages taken today, and their bytes.
    pub messages: i64,
    pub bytes: i64,
    /// The same in all, less what was forgotten.
    pub all_messages: i64,
    pub all_bytes: i64,
    /// New streams of it today.
    pub epochs: i64,
    /// New epochs of ours that were begun today because of what it said, and the rows that were written for them.
    pub renewals: i64,
    pub rewritten: i64,
    /// A new epoch is owed to it: what it says does not count before that has begun.
    pub owed: bool,
    /// The owner was told today that it is over its quota.
    pub told: bool,
    /// What is in `held` of it.
    pub held: i64,
    pub held_bytes: i64,
}

impl Usage {
    /// Whether one more core may be stored.
    pub fn has_room(&self, bytes: usize, quotas: &Quotas) -> bool {
        let bytes = bytes as i64;
        self.messages < quotas.messages_a_day
            && self.bytes + bytes <= quotas.bytes_a_day
            && self.all_messages < quotas.messages
            && self.all_bytes + bytes <= quotas.bytes
    }

    /// Whether one more core may wait for its predecessor.
    pub fn may_hold(&self, bytes: usize) -> bool {
        self.held < MAX_HELD && self.held_bytes + bytes as i64 <= MAX_HELD_BYTES
    }

    pub fn stored(&mut self, bytes: usize) {
        let bytes = bytes as i64;
        self.messages += 1;
        self.all_messages += 1;
        self.bytes += bytes;
        self.all_bytes += bytes;
    }
}

pub(in crate::store) fn usage(tx: &Tx<'_>, contact: PeerId) -> Result<Usage, StoreError> {
    let today = tx.now.0.div_euclid(DAY_MS);
    let found = tx
        .conn
        .prepare_cached(
            "SELECT day, messages, bytes, all_messages, all_bytes, epochs, renewals, rewritten, owed, told, held,
               held_bytes FROM usage WHERE contact = ?1",
        )?
        .query_row([contact], |row| {
            Ok(Usage {
                day: row.get(0)?,
                messages: row.get(1)?,
                bytes: row.get(2)?,
                all_messages: row.get(3)?,
                all_bytes: row.get(4)?,
                epochs: row.get(5)?,
                renewals: row.get(6)?,
                rewritten: row.get(7)?,
                owed: row.get(8)?,
                told: row.get(9)?,
                held: row.get(10)?,
                held_bytes: row.get(11)?,
            })
        })
        .optional()?;
    let usage = found.unwrap_or_default();
    if usage.day == today {
        return Ok(usage);
    }
    let Usage { all_messages, all_bytes, owed, held, held_bytes, .. } = usage;
    Ok(Usage { day: today, all_messages, all_bytes, owed, held, held_bytes, ..Usage::default() })
}

pub(in crate::store) fn keep_usage(tx: &mut Tx<'_>, contact: PeerId, usage: &Usage) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO usage
               (contact, day, messages, bytes, all_messages, all_bytes, epochs, renewals, rewritten, owed, told, held,
                held_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            contact,
            usage.day,
            usage.messages,
            usage.bytes,
            usage.all_messages,
            usage.all_bytes,
            usage.epochs,
            usage.renewals,
            usage.rewritten,
            usage.owed,
            usage.told,
            usage.held,
            usage.held_bytes
        ])?;
    Ok(())
}

/// Whether what a contact says may make us write what waits for it anew. Cheap once the answer of a day is no.
pub(in crate::store) fn may_renew(tx: &mut Tx<'_>, contact: PeerId) -> Result<bool, StoreError> {
    let mut usage = usage(tx, contact)?;
    if usage.renewals >= MAX_RENEWALS {
        return Ok(false);
    }
    if usage.renewals == 0 {
        return Ok(true);
    }
    let room = (MAX_REWRITTEN - usage.rewritten).max(0);
    let waiting: i64 = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(weight), 0) FROM (
               SELECT 1 + o.bytes / 1024 AS weight FROM streams_out s JOIN outbox o ON o.stream = s.id
               WHERE s.conversation = ?1 LIMIT ?2)",
        )?
        .query_row(params![peers::direct(tx.conn, contact)?, room + 1], |row| row.get(0))?;
    if waiting > room {
        usage.renewals = MAX_RENEWALS;
        keep_usage(tx, contact, &usage)?;
        tracing::warn!(%contact, "the contact has doubted our numbers often enough for today");
        return Ok(false);
    }
    Ok(true)
}

/// What waits for a contact was written anew because of what it said.
pub(in crate::store) fn renewed(tx: &mut Tx<'_>, contact: PeerId, rows: usize) -> Result<(), StoreError> {
    // All of it waits in the new epoch now.
    let weight: i64 = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(1 + o.bytes / 1024), 0) FROM streams_out s JOIN outbox o ON o.stream = s.id
             WHERE s.conversation = ?1",
        )?
        .query_row([peers::direct(tx.conn, contact)?], |row| row.get(0))?;
    let mut usage = usage(tx, contact)?;
    usage.renewals += 1;
    usage.rewritten += weight.max(rows as i64);
    usage.owed = false;
    keep_usage(tx, contact, &usage)
}

/// A new epoch is owed to a contact, and not begun today.
pub(in crate::store) fn owe_epoch(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    let mut usage = usage(tx, contact)?;
    if !usage.owed {
        usage.owed = true;
        keep_usage(tx, contact, &usage)?;
    }
    Ok(())
}
