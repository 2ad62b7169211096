//! Forgetting: messages of one conversation are deleted, by whoever owns the account.
//!
//! Invariants: what waits for its recipient stays until it is delivered or given up; what was received is still known by its
//! number, so that nothing that was forgotten comes back; one operation deletes a bounded number.

use proto::time::Timestamp;
use rusqlite::params;

use crate::model::ids::PeerId;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;
use crate::store::peers::usage;

/// Messages that one operation deletes at most.
const SLICE: i64 = 512;
/// What a message weighs beside its text, where it was counted as stored.
const OVERHEAD: i64 = 160;

/// What one operation forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Messages.
    pub messages: u64,
    /// There may be more.
    pub more: bool,
}

/// Deletes messages of a contact's conversation, own and received, that were stored before a time; all without one. To be
/// called again while there is more.
///
/// # Errors
/// When it fails, nothing is deleted.
pub fn forget(tx: &mut Tx<'_>, contact: PeerId, before: Option<Timestamp>) -> Result<Forgotten, StoreError> {
    let before = before.map_or(i64::MAX, |before| before.0);
    let direct = peers::direct(tx.conn, contact)?;
    let rows: Vec<(i64, i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT id, sender, length(CAST(body AS BLOB)) + length(tags) FROM messages m
             WHERE conversation = ?1 AND received_at < ?2
             AND NOT (sender = 0 AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = m.stream AND o.seq = m.seq))
             ORDER BY id LIMIT ?3",
        )?
        .query_map(params![direct, before, SLICE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let read_upto: i64 = tx
        .conn
        .prepare_cached("SELECT read_upto FROM conversations WHERE id = ?1")?
        .query_row([direct], |row| row.get(0))?;
    let mut usage = usage::usage(tx, contact)?;
    let mut unread = 0;
    for (id, sender, bytes) in &rows {
        tx.conn.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
        tx.conn.prepare_cached("INSERT INTO search_deletions (message) VALUES (?1)")?.execute([id])?;
        if *sender > 0 {
            usage.all_messages = (usage.all_messages - 1).max(0);
            usage.all_bytes = (usage.all_bytes - bytes - OVERHEAD).max(0);
            unread += i64::from(*id > read_upto);
        }
    }
    usage::keep_usage(tx, contact, &usage)?;
    tx.conn
        .prepare_cached("UPDATE conversations SET unread = max(0, unread - ?2) WHERE id = ?1")?
        .execute(params![direct, unread])?;
    if let Some((newest, ..)) = rows.last() {
        // The index looks at what was deleted when it is told of something.
        tx.stored_message(*newest);
    }
    Ok(Forgotten { messages: rows.len() as u64, more: rows.len() as i64 == SLICE })
}
