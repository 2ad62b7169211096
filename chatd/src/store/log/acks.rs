//! What becomes of own messages: acknowledgements, receipts, rejections, attempts.
//!
//! A message's state is not a column: it follows from the marks and attempts that cover its (stream, seq), so that one
//! acknowledgement of 10,000 messages writes one row and deletes the outbox rows.

use std::collections::HashSet;

use proto::ids::{Epoch, MessageId};
use proto::reason::Reason;
use proto::wire::envelope::AckEntry;
use rusqlite::{OptionalExtension, params};

use crate::model::MessageState;
use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::{deposits, marks, trace};
use crate::store::engine::numbers;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::recovery::epochs;
use crate::store::log::{expiry, outgoing};
use crate::store::{account, peers};

/// A contact's device committed these: their outbox rows go, a mark per run stays.
///
/// # Errors
/// Those of the database.
pub fn acknowledged(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    // Before anything is taken out: an acknowledgement of what we do not know of may mean other messages than ours.
    if !epochs::heed_epochs(tx, contact, entries)? {
        return Ok(());
    }
    let device = account::own(tx)?.device;
    let row = peers::load(tx.conn, contact)?;
    let ours = |entry: &&AckEntry| entry.from_device == device && entry.conversation == row.conversation;
    let mut done: HashSet<Epoch> = HashSet::new();
    // The last word of each stream: whoever says the same a hundred times in a frame makes no more work.
    for entry in entries.iter().rev().filter(ours).filter(|entry| done.insert(entry.epoch)) {
        let stream: Option<OutStreamRow> = tx
            .conn
            .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
            .query_row(params![row.direct, entry.epoch.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(stream) = stream else { continue };
        deposits::acknowledged_deposits(tx, contact, stream, entry)?;
        let contiguous = (1, entry.contiguous);
        for (low, high) in std::iter::once(contiguous).chain(entry.ranges.iter().copied()) {
            // Beyond an i64 there is nothing of ours.
            if high >= low && i64::try_from(low).is_ok() {
                settle(tx, contact, stream, low, high, MessageState::Delivered, "acknowledged")?;
            }
        }
        expiry::acknowledged_expired(tx, contact, stream, entry)?;
    }
    Ok(())
}

/// Takes a range out of the outbox with a final or delivered state, and tells.
fn settle(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: OutStreamRow,
    low: u64,
    high: u64,
    state: MessageState,
    cause: &str,
) -> Result<(), StoreError> {
    let mut gone: Vec<(u64, i64)> = Vec::new();
    {
        let mut delete = tx
            .conn
            .prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 RETURNING seq, message")?;
        let high = i64::try_from(high).unwrap_or(i64::MAX);
        let mut rows = delete.query(params![stream, low as i64, high])?;
        while let Some(row) = rows.next()? {
            gone.push((row.get::<_, i64>(0)? as u64, row.get(1)?));
        }
    }
    gone.sort_unstable();
    let mut run: Option<(u64, u64)> = None;
    for (seq, _) in &gone {
        run = match run {
            Some((low, high)) if high + 1 == *seq => Some((low, *seq)),
            Some(done) => {
                marks::mark(tx, stream, state, done, cause)?;
                Some((*seq, *seq))
            }
            None => Some((*seq, *seq)),
        };
    }
    if let Some(done) = run {
        marks::mark(tx, stream, state, done, cause)?;
    }
    let reason = (state >= MessageState::Rejected).then_some(cause);
    let messages = marks::with_ids(tx, gone.into_iter().map(|(_, message)| message))?;
    marks::tell(tx, contact, state, reason, messages)
}

/// Everything that waits for a contact will never be sent: it ends as `rejected`, or as `withdrawn` if that was the
/// owner's doing, and the conversation goes on in a new epoch, because the old one would show the recipient a hole. What
/// has left, to the recipient or into its mailbox, cannot be called back: its cause says that too.
///
/// # Errors
/// Those of the database.
pub fn reject_queued(tx: &mut Tx<'_>, contact: PeerId, state: MessageState, cause: Reason) -> Result<(), StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let stream = outgoing::out_stream(tx, direct)?;
    let waiting: Vec<OutStreamRow> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM streams_out s WHERE conversation = ?1
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) ORDER BY id",
        )?
        .query_map([direct], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for stream in waiting {
        let left: i64 = tx
            .conn
            .prepare_cached(
                "SELECT coalesce(max(high), 0) FROM attempts WHERE stream = ?1 AND outcome IN ('sent', 'deposited')",
            )?
            .query_row([stream], |row| row.get(0))?;
        let left = left.max(0) as u64;
        settle(tx, contact, stream, 1, left, state, &cause.with_copy())?;
        settle(tx, contact, stream, left + 1, i64::MAX as u64, state, cause.as_str())?;
    }
    if stream.seq > 0 {
        outgoing::new_epoch(tx, direct)?;
    }
    Ok(())
}

/// A contact read everything up to a message of ours.
///
/// # Errors
/// Those of the database.
pub fn read_by(tx: &mut Tx<'_>, contact: PeerId, upto: &MessageId) -> Result<(), StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let last: Option<(i64, OutStreamRow, i64)> = tx
        .conn
        .prepare_cached("SELECT id, stream, seq FROM messages WHERE msgid = ?1 AND sender = 0 AND conversation = ?2")?
        .query_row(params![upto.as_bytes(), direct], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((row, stream, seq)) = last else { return Ok(()) };
    let before: i64 = tx
        .conn
        .prepare_cached("SELECT coalesce(max(high), 0) FROM marks WHERE stream = ?1 AND state = ?2")?
        .query_row(params![stream, numbers::state_number(MessageState::Read)], |row| row.get(0))?;
    // A receipt names one message; of those before it that had expired, nobody knows whether they came.
    let back = expiry::arrived_after_all(tx, contact, stream, seq, MessageState::Read)?;
    if seq <= before {
        let messages = marks::with_ids(tx, back.then_some(row).into_iter())?;
        return marks::tell(tx, contact, MessageState::Read, None, messages);
    }
    // What was read was received, even if the acknowledgement itself is still on its way.
    settle(tx, contact, stream, 1, seq as u64, MessageState::Delivered, "read")?;
    marks::mark(tx, stream, MessageState::Read, (before as u64 + 1, seq as u64), "read")?;
    let mut rows = Vec::new();
    {
        let mut walk = tx.conn.prepare_cached(
            "SELECT id, stream, seq FROM messages WHERE conversation = ?1 AND id <= ?2 AND sender = 0 ORDER BY id DESC",
        )?;
        let mut found = walk.query(params![direct, row])?;
        while let Some(r) = found.next()? {
            let (id, of, seq): (i64, OutStreamRow, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
            if of != stream || seq <= before {
                break;
            }
            if !trace::is_expired(tx.conn, stream, seq)? {
                rows.push(id);
            }
        }
    }
    rows.reverse();
    let messages = marks::with_ids(tx, rows.into_iter())?;
    marks::tell(tx, contact, MessageState::Read, None, messages)
}
