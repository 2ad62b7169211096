//! What is not kept for ever, by these rules:
//!
//! - **`events`**: the newest stay, and more of those that a durable consumer has not handled or has among its dead letters, as many as
//!   [`Retention`] says. The newest row always stays: it says where numbers go on.
//! - **`consumers`**: one goes that has handled nothing for [`Retention::consumer_ms`] and lies more than [`Retention::events`] behind, so
//!   that no clock alone makes it go, and that nobody reads.
//! - **`unseen`**: of the newest [`STREAMS_WITH_UNSEEN`] streams of each contact; of older ones a number that is used twice is
//!   noticed only where a message had it.
//! - **`marks`** that lie side by side with the same cause become one, which keeps the time of each part (`runs`). Those that
//!   only count what was issued again go after two days.
//! - **`attempts`** below which nothing of their stream waits go into packs, which `trace` reads (`packs`): the state of their
//!   messages, its time and how far was sent stand in marks by then.
//! - **`streams_in`** is never pruned: it is what makes a message visible once. It grows by 256 new streams of a contact a day at
//!   most (`crate::store::log::incoming`).
//!
//! Messages go only when their owner says so (`crate::store::history::forget`).
//!
//! Invariants: history and the trace of each message are the same before and after; a slice is one short transaction, between any
//! two of which others get their turn; what was pruned once costs nothing the next time but to be read past.

use rusqlite::{OptionalExtension, params};

use crate::model::ids::OutStreamRow;
use crate::policy::limits::Retention;
use crate::store::delivery::{packs, runs};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::feed::consumers;

/// Streams of each contact of which unseen numbers are kept.
pub const STREAMS_WITH_UNSEEN: i64 = 16;
/// Rows that one slice looks at.
const SLICE: i64 = 512;

/// How far a round has come; begins with the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is done yet, or not all of the events.
    #[default]
    Events,
    /// Events are done.
    Consumers,
    /// Up to this stream.
    Unseen(i64),
    /// Up to this mark.
    Marks(OutStreamRow, i64, i64),
    /// Up to this attempt: stream, high, id.
    Attempts(OutStreamRow, i64, i64),
}

/// Prunes one slice and says where to go on; `None`: the round is done. Consumers that are `read` now stay.
///
/// # Errors
/// When it fails, nothing of the slice is done.
pub fn prune(tx: &mut Tx<'_>, at: Progress, keep: &Retention, read: &[String]) -> Result<Option<Progress>, StoreError> {
    Ok(Some(match at {
        Progress::Events if prune_events(tx, keep)? => Progress::Events,
        Progress::Events => Progress::Consumers,
        Progress::Consumers => {
            prune_consumers(tx, keep, read)?;
            Progress::Unseen(0)
        }
        Progress::Unseen(stream) => match prune_unseen(tx, stream)? {
            Some(next) => Progress::Unseen(next),
            None => Progress::Marks(OutStreamRow(0), 0, 0),
        },
        Progress::Marks(stream, state, high) => match runs::merge_marks(tx, (stream, state, high), SLICE)? {
            Some((stream, state, high)) => Progress::Marks(stream, state, high),
            None => Progress::Attempts(OutStreamRow(0), 0, 0),
        },
        Progress::Attempts(stream, high, id) => match packs::pack_attempts(tx, (stream, high, id), SLICE)? {
            Some((stream, high, id)) => Progress::Attempts(stream, high, id),
            None => return Ok(None),
        },
    }))
}

/// `true`: there are more.
fn prune_events(tx: &mut Tx<'_>, keep: &Retention) -> Result<bool, StoreError> {
    let head: i64 =
        tx.conn.prepare_cached("SELECT coalesce(max(last), 0) FROM events")?.query_row([], |row| row.get(0))?;
    let wanted: Option<i64> = tx
        .conn
        .prepare_cached(
            "SELECT min(seq) FROM (SELECT min(seq) AS seq FROM consumers UNION ALL SELECT min(seq) - 1 FROM dead_letters)",
        )?
        .query_row([], |row| row.get(0))?;
    let kept = head - keep.events;
    let upto = wanted.map_or(kept, |wanted| kept.min(wanted.max(head - keep.consumer_events)));
    let gone = tx
        .conn
        .prepare_cached(
            "DELETE FROM events WHERE last IN (SELECT last FROM events WHERE last <= ?1 ORDER BY last LIMIT ?2)",
        )?
        .execute(params![upto, SLICE])?;
    Ok(gone as i64 == SLICE)
}

fn prune_consumers(tx: &mut Tx<'_>, keep: &Retention, read: &[String]) -> Result<(), StoreError> {
    let head: i64 =
        tx.conn.prepare_cached("SELECT coalesce(max(last), 0) FROM events")?.query_row([], |row| row.get(0))?;
    let idle: Vec<String> = tx
        .conn
        .prepare_cached("SELECT name FROM consumers WHERE at < ?1 AND seq < ?2")?
        .query_map(params![tx.now.0.saturating_sub(keep.consumer_ms), head - keep.events], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in idle.iter().filter(|name| !read.contains(name)) {
        tracing::info!(name, "a consumer that nobody has read for long is forgotten");
        consumers::consumer_remove(tx, name)?;
    }
    Ok(())
}

/// Looks at the next stream; `None`: there is none.
fn prune_unseen(tx: &mut Tx<'_>, after: i64) -> Result<Option<i64>, StoreError> {
    let next: Option<i64> = tx
        .conn
        .prepare_cached("SELECT stream FROM unseen WHERE stream > ?1 ORDER BY stream LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    let Some(stream) = next else { return Ok(None) };
    let newer: i64 = tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM streams_in n JOIN streams_in o ON o.peer = n.peer
               WHERE o.id = ?1 AND n.id > ?1 LIMIT ?2)",
        )?
        .query_row(params![stream, STREAMS_WITH_UNSEEN], |row| row.get(0))?;
    if newer < STREAMS_WITH_UNSEEN {
        return Ok(Some(stream));
    }
    let gone = tx
        .conn
        .prepare_cached(
            "DELETE FROM unseen WHERE stream = ?1
             AND seq IN (SELECT seq FROM unseen WHERE stream = ?1 ORDER BY seq LIMIT ?2)",
        )?
        .execute(params![stream, SLICE])?;
    Ok(Some(if gone as i64 == SLICE { after } else { stream }))
}
