//! Own messages that end by themselves, by the sender's wish and clock.
//!
//! A lifetime is a duration. It is counted by the *agreed* clock, so that a clock that jumps ends nothing; where no clock
//! is agreed on, counting has not begun, and the row holds the duration itself, negative, until it does.
//!
//! Invariants: nothing without a row here expires. What expires leaves the outbox in the transaction that marks it and
//! puts a `skip` in its place, so that the recipient sees no hole. What may have left before ends with a reason that says
//! so; proof that exactly this message arrived takes its end back.

use proto::reason::Reason;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Skip};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::MessageState;
use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::{marks, trace};
use crate::store::engine::numbers;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::own_streams;
use crate::store::peers;

/// Cause of an end: nothing of the message has left.
pub const LIFETIME_ENDED: &str = Reason::LifetimeEnded.as_str();
/// Cause of an end: a copy was on its way, or lies in a mailbox.
pub const COPY_MAY_ARRIVE: &str = Reason::CopyMayArrive.as_str();
/// Cause of a delivery that became known after the message had expired.
const ARRIVED_AFTER_ALL: &str = "arrived before it expired";

/// Messages that expire in one transaction at most.
const MAX_AT_ONCE: usize = 256;

/// Seconds of a lifetime at most: ten years, which nobody waits for.
pub const MAX_LIFETIME_SECONDS: u64 = 315_360_000;

/// When the next message expires, or signal is given up, if a clock is agreed on; and whether any count has yet to begin.
pub fn next(conn: &Connection) -> Result<(Option<i64>, bool), StoreError> {
    let least = |sql| -> Result<Option<i64>, StoreError> {
        Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.flatten())
    };
    let signals = least("SELECT min(expires) FROM signals WHERE expires >= 0")?;
    let next = least("SELECT min(expires) FROM lifetimes WHERE expires >= 0")?.into_iter().chain(signals).min();
    let uncounted = least("SELECT min(expires) FROM lifetimes WHERE expires < 0")?.is_some()
        || least("SELECT min(expires) FROM signals WHERE expires < 0")?.is_some();
    Ok((next, uncounted))
}

/// What `lifetimes` holds for a message that begins to live now.
pub fn expiry(seconds: u64, agreed: Option<i64>) -> i64 {
    let seconds = seconds.min(MAX_LIFETIME_SECONDS) as i64;
    agreed.filter(|now| *now >= 0).map_or(-seconds, |now| now.saturating_add(seconds))
}

/// Begins the counts that have not begun, and ends what is over at the agreed time `now` (Unix seconds). `true`: there
/// may be more.
pub(in crate::store) fn expire_messages(tx: &mut Tx<'_>, now: i64) -> Result<bool, StoreError> {
    tx.conn.prepare_cached("UPDATE lifetimes SET expires = ?1 - expires WHERE expires < 0")?.execute([now.max(0)])?;
    let due: Vec<(OutStreamRow, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT stream, seq FROM lifetimes WHERE expires BETWEEN 0 AND ?1 ORDER BY stream, seq LIMIT ?2",
        )?
        .query_map(params![now, MAX_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut run: Option<(OutStreamRow, u64, u64)> = None;
    for (stream, seq) in &due {
        tx.conn
            .prepare_cached("DELETE FROM lifetimes WHERE stream = ?1 AND seq = ?2")?
            .execute(params![stream, seq])?;
        if !expire(tx, *stream, *seq)? {
            continue;
        }
        let seq = *seq as u64;
        run = match run {
            Some((of, low, high)) if of == *stream && high + 1 == seq => Some((of, low, seq)),
            other => {
                skip_run(tx, other)?;
                Some((*stream, seq, seq))
            }
        };
    }
    skip_run(tx, run)?;
    Ok(due.len() == MAX_AT_ONCE)
}

/// Ends one message; `false` when it is not waiting any more.
fn expire(tx: &mut Tx<'_>, stream: OutStreamRow, seq: i64) -> Result<bool, StoreError> {
    let message: Option<i64> = tx
        .conn
        .prepare_cached("SELECT message FROM outbox WHERE stream = ?1 AND seq = ?2 AND message <> 0")?
        .query_row(params![stream, seq], |row| row.get(0))
        .optional()?;
    let Some(message) = message else { return Ok(false) };
    let contact = contact_of(tx, stream)?;
    let (before, _) = trace::state_at(tx.conn, contact, stream, seq)?;
    if matches!(before, MessageState::Delivered | MessageState::Read) {
        // Another device of the recipient has it: only the ones that have not are told that it does not come.
        tx.conn.prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq = ?2")?.execute(params![stream, seq])?;
        return Ok(true);
    }
    let has_left = matches!(before, MessageState::Sent | MessageState::Mailboxed);
    let cause = if has_left { COPY_MAY_ARRIVE } else { LIFETIME_ENDED };
    tx.conn.prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq = ?2")?.execute(params![stream, seq])?;
    // A mark of its own for each: one of them may turn out to have arrived.
    marks::mark(tx, stream, MessageState::Expired, (seq as u64, seq as u64), cause)?;
    let messages = marks::with_ids(tx, std::iter::once(message))?;
    marks::tell(tx, contact, MessageState::Expired, Some(cause), messages)?;
    Ok(true)
}

/// Tells the recipient that a run of seqs will never come. In a stream that is not in use any more nobody waits for
/// them: what was not acknowledged of it was issued again.
fn skip_run(tx: &mut Tx<'_>, run: Option<(OutStreamRow, u64, u64)>) -> Result<(), StoreError> {
    let Some((stream, low, high)) = run else { return Ok(()) };
    let contact = contact_of(tx, stream)?;
    let direct = peers::direct(tx.conn, contact)?;
    if own_streams::out_stream(tx, direct)?.id != stream {
        return Ok(());
    }
    own_streams::append_core(tx, contact, Kind::Skip, &Skip { low, high, reason: "expired" }.encode())?;
    tx.wake_delivery(contact);
    Ok(())
}

fn contact_of(tx: &Tx<'_>, stream: OutStreamRow) -> Result<PeerId, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT c.peer FROM streams_out s JOIN contacts c ON c.conversation = s.conversation WHERE s.id = ?1",
        )?
        .query_row([stream], |row| row.get(0))?)
}

/// An acknowledgement covers messages that had expired. It proves that one arrived only if it does not cover the skip
/// that stands for it: a recipient that has the skip counts the message as done, whether it came or not.
pub(in crate::store) fn acknowledged_expired(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: OutStreamRow,
    entry: &AckEntry,
) -> Result<(), StoreError> {
    let covers = |seq: u64| seq <= entry.contiguous || entry.ranges.iter().any(|(l, h)| (*l..=*h).contains(&seq));
    let waiting: Vec<(i64, Vec<u8>)> = tx
        .conn
        .prepare_cached("SELECT seq, core FROM outbox WHERE stream = ?1 AND message = 0 ORDER BY seq LIMIT 64")?
        .query_map([stream], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (at, core) in waiting {
        let Ok(core) = Core::decode(&core) else { continue };
        let Some(Ok(skip)) = (core.kind == Kind::Skip.as_str()).then(|| Skip::decode(core.payload)) else {
            continue;
        };
        if covers(at as u64) {
            continue;
        }
        for seq in (skip.low..=skip.high).take(MAX_AT_ONCE).filter(|seq| covers(*seq)) {
            arrived_after_all(tx, contact, stream, seq as i64, MessageState::Delivered)?;
        }
    }
    Ok(())
}

/// Takes the end of one message back, if it had expired: it is known to have arrived.
pub(in crate::store) fn arrived_after_all(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: OutStreamRow,
    seq: i64,
    state: MessageState,
) -> Result<bool, StoreError> {
    let taken = tx
        .conn
        .prepare_cached("DELETE FROM marks WHERE stream = ?1 AND state = ?2 AND high = ?3 AND low = ?3")?
        .execute(params![stream, numbers::state_number(MessageState::Expired), seq])?;
    if taken == 0 {
        return Ok(false);
    }
    marks::mark(tx, stream, MessageState::Delivered, (seq as u64, seq as u64), ARRIVED_AFTER_ALL)?;
    if state == MessageState::Delivered {
        let row: Option<i64> = tx
            .conn
            .prepare_cached(
                "SELECT id FROM messages WHERE conversation = ?1 AND stream = ?2 AND seq = ?3 AND sender = 0
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(params![peers::direct(tx.conn, contact)?, stream, seq], |row| row.get(0))
            .optional()?;
        let messages = marks::with_ids(tx, row.into_iter())?;
        marks::tell(tx, contact, state, None, messages)?;
    }
    Ok(true)
}
