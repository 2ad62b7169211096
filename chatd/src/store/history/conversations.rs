//! What the owner did with a conversation: read up to where, muted until when.

use proto::ids::MessageId;
use proto::time::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::store::delivery::control;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::{account, peers};

/// Marks messages of a conversation as read up to one of them (or all), and queues a receipt. Answers how many were
/// newly marked.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such message in it.
pub fn mark_read(tx: &mut Tx<'_>, contact: PeerId, upto: Option<MessageId>) -> Result<u64, StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let row: Option<i64> = match upto {
        Some(id) => Some(
            tx.conn
                .prepare_cached(
                    "SELECT id FROM messages WHERE msgid = ?1 AND conversation = ?2 ORDER BY sender DESC LIMIT 1",
                )?
                .query_row(params![id.as_bytes(), direct], |row| row.get(0))
                .optional()?
                .ok_or(StoreError::NotFound("such a message in this conversation"))?,
        ),
        None => tx
            .conn
            .prepare_cached("SELECT max(id) FROM messages WHERE conversation = ?1")?
            .query_row([direct], |row| row.get(0))?,
    };
    let Some(row) = row else { return Ok(0) };
    let before: i64 = tx
        .conn
        .prepare_cached("SELECT read_upto FROM conversations WHERE id = ?1")?
        .query_row([direct], |row| row.get(0))?;
    if row <= before {
        return Ok(0);
    }
    let newly: i64 = tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM messages WHERE conversation = ?1 AND id > ?2 AND id <= ?3 AND sender > 0",
        )?
        .query_row(params![direct, before, row], |r| r.get(0))?;
    tx.conn
        .prepare_cached("UPDATE conversations SET read_upto = ?2, unread = max(0, unread - ?3) WHERE id = ?1")?
        .execute(params![direct, row, newly])?;
    if newly > 0 && account::tells_reads(tx)? && peers::load(tx.conn, contact)?.state.may_talk() {
        control::queue_receipt(tx, contact, row)?;
    }
    Ok(newly as u64)
}

/// Mutes until a time, or unmutes.
pub fn set_muted(tx: &mut Tx<'_>, contact: PeerId, until: Option<Timestamp>) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE conversations SET muted_until = ?2 WHERE id = ?1",
        params![peers::direct(tx.conn, contact)?, until.map(|time| time.0)],
    )?;
    Ok(())
}
