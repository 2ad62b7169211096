//! Writing what waits into a new own stream, under the old message ids.
//!
//! Invariants: whatever was in the outbox is in it afterwards, in its order, or was a skip; a message keeps its id, its
//! lifetime and its place in history; the new stream repeats everything above the first core of the old one that is not
//! acknowledged, so that its reader never has to wait for the old one.

use std::collections::HashMap;

use proto::reason::Reason;
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Skip};
use rusqlite::{OptionalExtension, params};

use crate::model::MessageState;
use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::core::{Addressing, COLUMNS, Words};
use crate::store::delivery::{marks, owed, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::own_streams::{self, OutStream};
use crate::store::log::recovery::Placed;
use crate::store::peers;

/// Messages that are repeated for the order's sake in one new epoch at most.
const MAX_REPEATED: usize = 10_000;
/// What a mark says of messages that never were acknowledged, and go again.
const REISSUED: &str = Reason::IssuedAgain.as_str();

/// Why a core goes into the new stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It is in the outbox; `message` is 0 if it belongs to none that is shown as waiting.
    Waits,
    /// It was acknowledged, but above something that was not: repeated for the order's sake. It waits again, for what holds
    /// for its place must hold for what is around it.
    Repeated,
    /// The contact had it and lost it.
    Lost,
}

/// Begins a new epoch with a contact and issues again what waits, and messages that the contact lost. Answers how many
/// cores that were.
pub(in crate::store) fn renew(
    tx: &mut Tx<'_>,
    contact: PeerId,
    cause: &str,
    lost: &[Placed],
) -> Result<usize, StoreError> {
    debug_assert!(lost.is_sorted());
    let mut all: Vec<(Placed, Why)> = lost.iter().map(|placed| (*placed, Why::Lost)).collect();
    let direct = peers::direct(tx.conn, contact)?;
    let waiting: Vec<Placed> = tx
        .conn
        .prepare_cached(
            "SELECT o.stream, o.seq, o.message FROM streams_out s JOIN outbox o ON o.stream = s.id
             WHERE s.conversation = ?1 ORDER BY o.stream, o.seq",
        )?
        .query_map([direct], |row| Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? }))?
        .collect::<Result<_, _>>()?;
    // What a contact lost is a hole in the old stream, too: it holds what it has above it.
    let mut first: Vec<Placed> = lost.iter().chain(&waiting).copied().collect();
    first.sort_unstable();
    let holes = holes_of(tx, &first)?;
    let lost_too = |placed: &Placed| lost.binary_search(placed).is_ok();
    let above = acknowledged_above(tx, contact, &holes)?.into_iter().filter(|placed| !lost_too(placed));
    all.extend(above.map(|placed| (placed, Why::Repeated)));
    all.extend(waiting.into_iter().map(|placed| (placed, Why::Waits)));
    all.sort_unstable();
    let rows = all.len();
    let sent_upto = sent_upto(tx, contact)?;
    let to = Addressing::load(tx.conn, contact)?;
    let mut stream = own_streams::new_epoch(tx, direct)?;
    // What became queued again, for events.
    let mut queued: Vec<i64> = Vec::new();
    let mut again = 0;
    // What one of several devices has stays delivered when it goes to the others in a new place.
    let mut kept: Vec<(u64, MessageState)> = Vec::new();
    let mut several: HashMap<OutStreamRow, bool> = HashMap::new();
    for (placed, why) in all {
        let goes_to_several = match several.get(&placed.stream) {
            Some(several) => *several,
            None => *several.entry(placed.stream).or_insert(!owed::of_stream(tx.conn, placed.stream)?.is_empty()),
        };
        let before = match goes_to_several && placed.message != 0 {
            true => Some(trace::state_at(tx.conn, contact, placed.stream, placed.seq)?.0),
            false => None,
        };
        if !issue_again(tx, &to, &mut stream, placed, why)? {
            continue;
        }
        if let Some(state @ (MessageState::Delivered | MessageState::Read)) = before {
            kept.push((stream.seq, state));
            again += u64::from(why == Why::Lost);
            continue;
        }
        again += u64::from(why == Why::Lost);
        let was_sent = sent_upto.iter().any(|(of, high)| *of == placed.stream && placed.seq <= *high);
        if placed.message != 0 && (why != Why::Waits || was_sent) {
            queued.push(placed.message);
        }
    }
    let (newest, last) = (stream.id, stream.seq);
    own_streams::keep_out_stream(tx, direct, stream)?;
    // For `trace`, and for what may be issued again in a day: what was lost comes first in the new stream, mostly.
    for (low, high, cause) in [(1, again, cause), (again + 1, last, REISSUED)] {
        if high >= low {
            marks::mark(tx, newest, MessageState::Queued, (low, high), cause)?;
        }
    }
    for run in kept.chunk_by(|(one, state), (next, other)| one + 1 == *next && state == other) {
        if let (Some((low, state)), Some((high, _))) = (run.first(), run.last()) {
            marks::mark(tx, newest, *state, (*low, *high), "on another device")?;
        }
    }
    tx.conn
        .prepare_cached(
            "DELETE FROM owed WHERE stream IN (SELECT id FROM streams_out WHERE conversation = ?1 AND id < ?2)",
        )?
        .execute(params![direct, newest])?;
    tx.conn
        .prepare_cached(
            "DELETE FROM deposits WHERE stream IN (SELECT id FROM streams_out WHERE conversation = ?1 AND id < ?2)",
        )?
        .execute(params![direct, newest])?;
    let messages = marks::with_ids(tx, queued.into_iter())?;
    marks::tell(tx, contact, MessageState::Queued, Some(cause), messages)?;
    tx.wake_delivery(contact);
    Ok(rows)
}

/// Puts one core at the end of the new stream; `false` if it has no place there.
fn issue_again(
    tx: &mut Tx<'_>,
    to: &Addressing,
    stream: &mut OutStream,
    placed: Placed,
    why: Why,
) -> Result<bool, StoreError> {
    let stored: Vec<u8> = match why {
        Why::Waits => tx
            .conn
            .prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq = ?2 RETURNING core")?
            .query_row(params![placed.stream, placed.seq], |row| row.get(0))?,
        Why::Repeated | Why::Lost => {
            marks::unmark(tx, placed.stream, (placed.seq as u64, placed.seq as u64))?;
            Vec::new()
        }
    };
    let again = if stored.is_empty() {
        words_of(tx, placed.message)?.with(to, |core| stream.append(core))?
    } else {
        let core = Core::decode(&stored).map_err(|_| StoreError::Damaged("outbox core"))?;
        // It names numbers of the old stream: nobody waits for them in the new one.
        if Kind::parse(core.kind) == Some(Kind::Skip) {
            return Ok(false);
        }
        stream.append(Core { from_device: to.device, ..core })
    };
    let message = placed.message;
    own_streams::queue(tx, stream, &again, (message != 0).then_some(message))?;
    if message != 0 {
        tx.conn.prepare_cached("UPDATE messages SET stream = ?2, seq = ?3 WHERE id = ?1")?.execute(params![
            message,
            stream.id,
            stream.seq as i64
        ])?;
        tx.conn
            .prepare_cached("UPDATE lifetimes SET stream = ?3, seq = ?4 WHERE stream = ?1 AND seq = ?2")?
            .execute(params![placed.stream, placed.seq, stream.id, stream.seq as i64])?;
    }
    Ok(true)
}

/// What history has of an own message.
fn words_of(tx: &Tx<'_>, message: i64) -> Result<Words, StoreError> {
    tx.conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM messages m WHERE m.id = ?1"))?
        .query_row([message], |row| Words::read(row, 0))
        .optional()?
        .flatten()
        .ok_or(StoreError::Damaged("a message that waits"))
}

/// The lowest number of each stream that the contact may still wait for: what waits here, and what a skip names of
/// which the contact may not know.
fn holes_of(tx: &mut Tx<'_>, waiting: &[Placed]) -> Result<Vec<(OutStreamRow, i64)>, StoreError> {
    let mut lowest: Vec<(OutStreamRow, i64)> = Vec::new();
    for placed in waiting {
        let mut seq = placed.seq;
        if placed.message == 0 {
            let bytes: Vec<u8> = tx
                .conn
                .prepare_cached("SELECT core FROM outbox WHERE stream = ?1 AND seq = ?2")?
                .query_row(params![placed.stream, placed.seq], |row| row.get(0))?;
            let skip = Core::decode(&bytes).ok().filter(|core| Kind::parse(core.kind) == Some(Kind::Skip));
            let low = skip.and_then(|core| Skip::decode(core.payload).ok().map(|skip| skip.low));
            seq = low.and_then(|low| i64::try_from(low).ok()).map_or(seq, |low| low.min(seq));
        }
        match lowest.last_mut() {
            Some((stream, low)) if *stream == placed.stream => *low = seq.min(*low),
            _ => lowest.push((placed.stream, seq)),
        }
    }
    Ok(lowest)
}

/// Messages that were acknowledged above the lowest hole of their stream, the newest if there are too many: one that
/// acknowledges everything but the first must not have all of history written again. What is left out is shown by the
/// contact when it gives the hole up.
fn acknowledged_above(
    tx: &mut Tx<'_>,
    contact: PeerId,
    holes: &[(OutStreamRow, i64)],
) -> Result<Vec<Placed>, StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let mut out = Vec::new();
    for (stream, low) in holes.iter().rev() {
        let room = MAX_REPEATED.saturating_sub(out.len());
        let found: Vec<Placed> = tx
            .conn
            .prepare_cached(
                "SELECT m.stream, m.seq, m.id FROM messages m
                 WHERE m.stream = ?2 AND m.seq > ?3 AND m.conversation = ?1 AND m.sender = 0
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.stream = m.stream AND o.seq = m.seq)
                 ORDER BY m.seq DESC LIMIT ?4",
            )?
            .query_map(params![direct, stream, low, room as i64], |row| {
                Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
        for placed in found {
            let (state, _) = trace::state_at(tx.conn, contact, placed.stream, placed.seq)?;
            if matches!(state, MessageState::Delivered | MessageState::Read) {
                out.push(placed);
            }
        }
    }
    Ok(out)
}

/// Up to where each own stream of a contact was ever put on the way.
fn sent_upto(tx: &mut Tx<'_>, contact: PeerId) -> Result<Vec<(OutStreamRow, i64)>, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT a.stream, max(a.high) FROM streams_out s JOIN attempts a ON a.stream = s.id
             WHERE s.conversation = ?1 AND a.outcome IN ('sent', 'deposited')
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) GROUP BY a.stream",
        )?
        .query_map([peers::direct(tx.conn, contact)?], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?)
}
