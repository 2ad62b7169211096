//! What was tried for own messages, and with which outcome.

use proto::time::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::model::{MessageState, Outcome};
use crate::store::delivery::marks::{self, with_ids};
use crate::store::engine::numbers::{outcome_detail, outcome_word};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;

/// Remembers an envelope that was put on the way (or could not be).
pub fn attempt(tx: &mut Tx<'_>, contact: PeerId, note: &AttemptNote) -> Result<(), StoreError> {
    // What lies in a mailbox is further than `sent`.
    let told_before: i64 = tx
        .conn
        .prepare_cached(
            "SELECT max((SELECT coalesce(max(high), 0) FROM attempts WHERE stream = ?1 AND outcome = 'sent'),
                        (SELECT coalesce(max(high), 0) FROM deposits WHERE stream = ?1))",
        )?
        .query_row([note.stream], |row| row.get(0))?;
    note_attempt(tx, note)?;
    if note.outcome != Outcome::Sent {
        return Ok(());
    }
    let rows: Vec<i64> = tx
        .conn
        .prepare_cached("SELECT message FROM outbox WHERE stream = ?1 AND seq > ?2 AND seq BETWEEN ?3 AND ?4")?
        .query_map(params![note.stream, told_before, note.low as i64, note.high as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let messages = with_ids(tx, rows.into_iter())?;
    marks::tell(tx, contact, MessageState::Sent, None, messages)
}

/// Somebody who is away for a month is not a month of rows, nor is one who has the same sent again and again: of equal
/// attempts the first and the last are kept.
pub(in crate::store) fn note_attempt(tx: &mut Tx<'_>, note: &AttemptNote) -> Result<(), StoreError> {
    let (low, high) = (note.low as i64, note.high as i64);
    let (outcome, detail) = (outcome_word(&note.outcome), outcome_detail(&note.outcome));
    let same: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM attempts WHERE stream = ?1 AND high = ?2 AND low = ?3 AND path = ?4 AND outcome = ?5
             AND detail = ?6 ORDER BY id DESC LIMIT 2",
        )?
        .query_map(params![note.stream, high, low, note.path, outcome, detail], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if let [newest, _] = same[..] {
        tx.conn.prepare_cached("UPDATE attempts SET at = ?2 WHERE id = ?1")?.execute(params![newest, note.at.0])?;
        return Ok(());
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO attempts (stream, low, high, at, path, outcome, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![note.stream, low, high, note.at.0, note.path, outcome, detail])?;
    Ok(())
}

/// Remembers that a contact, or its mailbox, was not reached: one row for everything that waits for it.
pub fn attempt_failed(
    tx: &mut Tx<'_>,
    contact: PeerId,
    path: &'static str,
    outcome: Outcome,
) -> Result<(), StoreError> {
    let waiting: Option<(OutStreamRow, i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT o.stream, min(o.seq), max(o.seq) FROM streams_out s JOIN outbox o ON o.stream = s.id
             WHERE s.conversation = ?1 GROUP BY o.stream ORDER BY o.stream DESC LIMIT 1",
        )?
        .query_row([peers::direct(tx.conn, contact)?], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((stream, low, high)) = waiting else { return Ok(()) };
    let (low, high, at) = (low as u64, high as u64, tx.now);
    note_attempt(tx, &AttemptNote { stream, low, high, path, outcome, at })
}

/// The part of a stream that was put on the way in one envelope.
#[derive(Debug, Clone)]
pub struct AttemptNote {
    /// `streams_out.id`.
    pub stream: OutStreamRow,
    /// First seq.
    pub low: u64,
    /// Last seq.
    pub high: u64,
    /// `direct`, `local`, `mailbox`.
    pub path: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// When, which is a little before it is written down.
    pub at: Timestamp,
}
