//! Holes in the streams of others: what comes after one is held back for a while, then shown after a `message.gap` event.
//!
//! Not its job: to ask for what is missing (`peer::holes` has the timer, delivery the link).
//!
//! Invariants: a hole that is given up is told, with the number of what is missing, before anything above it is shown;
//! it stays unacknowledged, so that its sender keeps what it has of it.

use proto::ids::sha256;
use proto::time::Timestamp;
use proto::wire::envelope::Core;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::policy::limits::Quotas;
use crate::store::engine::emit;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::append::{self, Place, Shown};
use crate::store::log::streams::{self, InStream, StreamKey};
use crate::store::log::taking::{CHAIN_BROKEN, Received, Taking};
use crate::store::peers::usage::{self, Usage};

/// A core is held so long for its predecessor once the mailbox was drained.
pub const HOLD_MS: i64 = 60_000;
/// And so long when the mailbox cannot be drained: what is missing may lie there, but nobody should wait for a day.
pub const HOLD_UNDRAINED_MS: i64 = 3_600_000;

/// Cores that one operation shows at most: whoever holds back thousands and then fills the hole stops nobody for long.
const SLICE: usize = 512;

/// A contact with a hole before something that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Whose.
    pub contact: PeerId,
    /// Since when (the oldest, if there are several).
    pub since: Timestamp,
}

/// Who has holes now.
pub fn holes(conn: &Connection) -> Result<Vec<Hole>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT s.peer, min(h.at) FROM reorder_buffer h JOIN streams_in s ON s.id = h.stream GROUP BY s.peer",
    )?;
    Ok(select
        .query_map([], |row| Ok(Hole { contact: row.get(0)?, since: Timestamp(row.get(1)?) }))?
        .collect::<Result<_, _>>()?)
}

/// Whether something of a contact is held because of a hole before it.
pub fn has_hole(conn: &Connection, contact: PeerId) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM streams_in s WHERE s.peer = ?1 AND EXISTS (SELECT 1 FROM reorder_buffer h WHERE h.stream = s.id)",
        )?
        .exists([contact])?)
}

/// Keeps a core until its predecessor comes.
pub(in crate::store) fn hold(
    tx: &mut Tx<'_>,
    stream: &InStream,
    seq: u64,
    core: &[u8],
    usage: &mut Usage,
) -> Result<(), StoreError> {
    let added = tx
        .conn
        .prepare_cached("INSERT OR IGNORE INTO reorder_buffer (stream, seq, core, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![stream.id, seq as i64, core, tx.now.0])?;
    if added > 0 {
        usage.held += 1;
        usage.held_bytes += core.len() as i64;
    }
    Ok(())
}

/// Shows what waited for what is there now, as far as one operation may; whether something of it does not link.
pub(in crate::store) fn release_held(
    tx: &mut Tx<'_>,
    stream: &mut InStream,
    taking: &mut Taking,
) -> Result<bool, StoreError> {
    release(tx, stream, 0, taking)
}

/// The first that is shown has `missing` before it.
fn release(tx: &mut Tx<'_>, stream: &mut InStream, mut missing: u64, taking: &mut Taking) -> Result<bool, StoreError> {
    let mut broken = false;
    while let Some(high) = stream.ready() {
        let room = SLICE.saturating_sub(taking.shown.placed);
        if room == 0 {
            break;
        }
        // The numbers first: a range can hold more cores than should be in memory at a time, and a skipped one none.
        let held: Vec<i64> = tx
            .conn
            .prepare_cached(
                "SELECT seq FROM reorder_buffer WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq LIMIT ?4",
            )?
            .query_map(params![stream.id, (stream.shown + 1) as i64, high as i64, room as i64], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let whole = held.len() < room;
        for seq in held {
            let bytes: Vec<u8> = tx
                .conn
                .prepare_cached("DELETE FROM reorder_buffer WHERE stream = ?1 AND seq = ?2 RETURNING core")?
                .query_row(params![stream.id, seq], |row| row.get(0))?;
            taking.usage.held -= 1;
            taking.usage.held_bytes -= bytes.len() as i64;
            let core = Core::decode(&bytes).map_err(|_| StoreError::Damaged("held core"))?;
            if core.seq != stream.shown + 1 {
                stream.prev = None;
            }
            broken |= !stream.joins(&core);
            let before = taking.shown.ids.len();
            append::show(tx, taking.contact, stream, &core, Place { late: false, missing }, &mut taking.shown)?;
            if taking.shown.ids.len() > before {
                missing = 0;
            }
            (stream.shown, stream.prev) = (core.seq, Some(sha256(&[&bytes])));
        }
        if whole && stream.shown < high {
            (stream.shown, stream.prev) = (high, None);
        }
    }
    Ok(broken)
}

/// Streams of which something is held, and whose they are.
fn streams_with_held(tx: &mut Tx<'_>) -> Result<Vec<(PeerId, StreamKey)>, StoreError> {
    type Row = (PeerId, Vec<u8>, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> = tx
        .conn
        .prepare_cached(
            "SELECT s.peer, s.device, v.conversation, s.epoch FROM streams_in s JOIN conversations v ON v.id = s.conversation
             WHERE s.id IN (SELECT DISTINCT stream FROM reorder_buffer) ORDER BY s.id",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let key = |(contact, device, conversation, epoch): Row| {
        let key = streams::stream_key(&device, &conversation, &epoch).ok_or(StoreError::Damaged("stream key"))?;
        Ok((contact, key))
    };
    rows.into_iter().map(key).collect()
}

fn taking(tx: &Tx<'_>, contact: PeerId) -> Result<Taking, StoreError> {
    let usage = usage::usage(tx, contact)?;
    let quotas = Quotas::default();
    Ok(Taking { contact, usage, quotas, shown: Shown::default(), result: Received::default() })
}

/// Goes on showing what one operation could not show alone; `true`: there may be more.
///
/// # Errors
/// When it fails, nothing more is shown.
pub fn show_ready(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    for (contact, key) in streams_with_held(tx)? {
        let Some(mut stream) = streams::in_stream(tx, &key)?.filter(|stream| stream.ready().is_some()) else {
            continue;
        };
        let mut taking = taking(tx, contact)?;
        let broken = release_held(tx, &mut stream, &mut taking)?;
        streams::close_stream(tx, key, stream)?;
        usage::keep_usage(tx, contact, &taking.usage)?;
        append::tell_shown(tx, contact, taking.shown)?;
        if broken {
            emit::gap(tx, contact, 0, Some(CHAIN_BROKEN));
        }
        return Ok(true);
    }
    Ok(false)
}

/// Gives up the holes whose time is over: tells of each, and shows what was held back by it. `drained` says that
/// nothing lies in the account's mailbox. Answers when to look again; `None`: nothing is held.
///
/// # Errors
/// When it fails, no hole was given up.
pub fn give_up_gaps(tx: &mut Tx<'_>, now: Timestamp, drained: bool) -> Result<Option<Timestamp>, StoreError> {
    let wait = if drained { HOLD_MS } else { HOLD_UNDRAINED_MS };
    // A clock that was set back must not make anybody wait for it to come round again.
    tx.conn.prepare_cached("UPDATE reorder_buffer SET at = ?1 WHERE at > ?1")?.execute([now.0])?;
    let mut again: Option<Timestamp> = None;
    let mut placed = 0;
    for (contact, key) in streams_with_held(tx)? {
        let Some(mut stream) = streams::in_stream(tx, &key)? else { continue };
        let mut changed = false;
        while let Some((seq, since)) = first_held(tx, &stream)? {
            let due = since.saturating_add(wait);
            // What is ready waits for nothing but its turn.
            if due > now.0 || stream.ready().is_some() {
                let due = if stream.ready().is_some() { now } else { Timestamp(due) };
                again = Some(again.map_or(due, |at| at.min(due)));
                break;
            }
            placed += give_up(tx, contact, &mut stream, seq)?;
            changed = true;
            if placed >= SLICE {
                break;
            }
        }
        if changed {
            streams::close_stream(tx, key, stream)?;
        }
        if placed >= SLICE {
            return Ok(Some(now));
        }
    }
    Ok(again)
}

/// The first core that is held, and since when the oldest of its run is.
fn first_held(tx: &mut Tx<'_>, stream: &InStream) -> Result<Option<(u64, i64)>, StoreError> {
    let first: Option<i64> = tx
        .conn
        .prepare_cached("SELECT seq FROM reorder_buffer WHERE stream = ?1 ORDER BY seq LIMIT 1")?
        .query_row([stream.id], |row| row.get(0))
        .optional()?;
    let Some(first) = first else { return Ok(None) };
    let run = stream.ranges.iter().find(|(low, high)| (*low..=*high).contains(&(first as u64)));
    let high = run.map_or(first, |(_, high)| *high as i64);
    let since: i64 = tx
        .conn
        .prepare_cached("SELECT min(at) FROM reorder_buffer WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3")?
        .query_row(params![stream.id, first, high], |row| row.get(0))?;
    Ok(Some((first as u64, since)))
}

/// Gives up what is missing before a held core, and shows what follows up to the next hole, or as much of it as one
/// operation may. Answers how many cores that were.
fn give_up(tx: &mut Tx<'_>, contact: PeerId, stream: &mut InStream, seq: u64) -> Result<usize, StoreError> {
    let missing = stream.missing_below(seq);
    stream.give_up_to(seq - 1);
    stream.given_up = tx.now.0;
    let mut taking = taking(tx, contact)?;
    let broken = release(tx, stream, missing, &mut taking)?;
    let Taking { usage, shown, .. } = taking;
    let placed = shown.placed;
    usage::keep_usage(tx, contact, &usage)?;
    // Everything that was held came another way meanwhile (its sender began a new epoch): nothing is missing.
    if missing > 0 && (shown.known == 0 || !shown.ids.is_empty()) {
        tracing::warn!(often = "missing", %contact, missing, "messages are missing; what follows them is shown");
        emit::gap(tx, contact, missing, None);
    }
    append::tell_shown(tx, contact, shown)?;
    if broken {
        emit::gap(tx, contact, 0, Some(CHAIN_BROKEN));
    }
    Ok(placed)
}
