//! Durable consumers of the feed: how far each came, what it tried in vain, and what it gave up (dead letters).
//!
//! Not the job: who reads a consumer's events at the moment (the service), and when to try again (the reader).
//!
//! Invariants: a place never goes back but by [`crate::store::feed::consumers::consumer_reset`]; a dead letter and the place behind it are one commit.

use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::{Consumer, DeadLetter, Event};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::feed;

/// Consumers of one account at most.
pub const MAX_CONSUMERS: u64 = 1_000;
/// Bytes of texts in one page of dead letters at most, so that it fits one RPC message with room for escapes and fields.
const MAX_PAGE_BYTES: usize = 400_000;

/// How far a durable consumer came; `None` for a new name.
pub fn place(conn: &Connection, name: &str) -> Result<Option<u64>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT seq FROM consumers WHERE name = ?1")?
        .query_row([name], |row| row.get::<_, i64>(0))
        .optional()?
        .map(|seq| seq as u64))
}

const COLUMNS: &str = "SELECT name, seq, at, tried, attempts,
    (SELECT count(*) FROM dead_letters WHERE consumer = consumers.name) FROM consumers";

/// A row of [`COLUMNS`]; `head` is the newest event.
fn consumer(row: &Row<'_>, head: u64) -> Result<Consumer, rusqlite::Error> {
    let (seq, tried) = (row.get::<_, i64>(1)? as u64, row.get::<_, i64>(3)? as u64);
    let attempts = row.get::<_, i64>(4)? as u64;
    Ok(Consumer {
        name: row.get(0)?,
        seq,
        at: Timestamp(row.get(2)?),
        waiting: head.saturating_sub(seq),
        attempts: if tried > seq { attempts } else { 0 },
        dead_letters: row.get::<_, i64>(5)? as u64,
    })
}

/// One consumer.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn one(conn: &Connection, name: &str, head: u64) -> Result<Consumer, StoreError> {
    conn.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?
        .query_row([name], |row| consumer(row, head))
        .optional()?
        .ok_or(StoreError::NotFound("a consumer of that name"))
}

/// Consumers in the order of names, behind `after`.
pub fn page(conn: &Connection, after: &str, limit: usize, head: u64) -> Result<Vec<Consumer>, StoreError> {
    let mut select = conn.prepare_cached(&format!("{COLUMNS} WHERE name > ?1 ORDER BY name LIMIT ?2"))?;
    let rows = select.query_map(params![after, limit as i64], |row| consumer(row, head))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A consumer's dead letters, oldest first, behind the event `after`; whether there are more. An event whose message was
/// deleted since is not there any more.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn dead_letters(
    conn: &Connection,
    name: &str,
    after: u64,
    limit: usize,
) -> Result<(Vec<DeadLetter>, bool), StoreError> {
    place(conn, name)?.ok_or(StoreError::NotFound("a consumer of that name"))?;
    let mut select = conn.prepare_cached(
        "SELECT seq, at, attempts, reason FROM dead_letters WHERE consumer = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let after = after.min(i64::MAX as u64);
    let mut rows = select.query(params![name, after as i64, limit as i64 + 1])?;
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? as u64;
        let event = event(conn, seq)?;
        bytes += event.as_ref().map_or(0, Event::text_bytes);
        if letters.len() == limit || (bytes > MAX_PAGE_BYTES && !letters.is_empty()) {
            return Ok((letters, true));
        }
        let attempts = row.get::<_, i64>(2)? as u64;
        letters.push(DeadLetter { seq, at: Timestamp(row.get(1)?), attempts, reason: row.get(3)?, event });
    }
    Ok((letters, false))
}

fn event(conn: &Connection, seq: u64) -> Result<Option<Event>, StoreError> {
    let page = feed::read_events(conn, seq.saturating_sub(1), 1)?;
    Ok(page.events.into_iter().find(|event| event.seq == seq))
}

/// Remembers how far a consumer came. Never goes back, and not beyond the newest event.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn consumer_ack(tx: &mut Tx<'_>, name: &str, seq: u64, head: u64) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE consumers SET seq = max(seq, ?2), at = ?3 WHERE name = ?1")?
        .execute(params![name, seq.min(head) as i64, tx.now.0])?;
    if changed == 0 { Err(StoreError::NotFound("a consumer of that name")) } else { Ok(()) }
}

/// Makes a consumer that begins behind `seq`, unless there is one; how many there are.
///
/// # Errors
/// Nothing is made when there are [`MAX_CONSUMERS`] others, which the count then says.
pub fn consumer_begin(tx: &mut Tx<'_>, name: &str, seq: u64) -> Result<u64, StoreError> {
    tx.needs_room()?;
    tx.conn
        .prepare_cached(
            "INSERT INTO consumers (name, seq, at) SELECT ?1, ?2, ?3
             WHERE (SELECT count(*) FROM consumers) < ?4 ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![name, seq as i64, tx.now.0, MAX_CONSUMERS as i64])?;
    let others = "SELECT count(*) FROM consumers WHERE name <> ?1";
    Ok(tx.conn.prepare_cached(others)?.query_row([name], |row| row.get::<_, i64>(0))? as u64 + 1)
}

/// Counts one more attempt on an event, before it is made; how many there are with it.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn consumer_attempt(tx: &mut Tx<'_>, name: &str, seq: u64) -> Result<u64, StoreError> {
    let seq = seq.min(i64::MAX as u64) as i64;
    tx.conn
        .prepare_cached(
            "UPDATE consumers SET attempts = CASE WHEN tried = ?2 THEN attempts + 1 ELSE 1 END, tried = ?2
             WHERE name = ?1 RETURNING attempts",
        )?
        .query_row(params![name, seq], |row| row.get::<_, i64>(0))
        .optional()?
        .map(|attempts| attempts as u64)
        .ok_or(StoreError::NotFound("a consumer of that name"))
}

/// Gives an event up: it becomes a dead letter, and the consumer goes on behind it. Of one that lies behind the
/// consumer already, nothing changes: saying it twice is saying it once.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn consumer_give_up(tx: &mut Tx<'_>, name: &str, seq: u64, reason: &str, head: u64) -> Result<(), StoreError> {
    let place = place(tx.conn, name)?.ok_or(StoreError::NotFound("a consumer of that name"))?;
    if seq <= place || seq > head {
        return Ok(());
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO dead_letters (consumer, seq, at, attempts, reason)
             SELECT name, ?2, ?3, CASE WHEN tried = ?2 THEN attempts ELSE 0 END, ?4 FROM consumers WHERE name = ?1",
        )?
        .execute(params![name, seq as i64, tx.now.0, reason])?;
    consumer_ack(tx, name, seq, head)
}

/// Puts a consumer behind `seq`, whatever it did; attempts and dead letters are forgotten.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn consumer_reset(tx: &mut Tx<'_>, name: &str, seq: u64) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE consumers SET seq = ?2, at = ?3, tried = 0, attempts = 0 WHERE name = ?1")?
        .execute(params![name, seq as i64, tx.now.0])?;
    if changed == 0 {
        return Err(StoreError::NotFound("a consumer of that name"));
    }
    tx.conn.prepare_cached("DELETE FROM dead_letters WHERE consumer = ?1")?.execute([name])?;
    Ok(())
}

/// Forgets a consumer with its dead letters.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such consumer.
pub fn consumer_remove(tx: &mut Tx<'_>, name: &str) -> Result<(), StoreError> {
    if tx.conn.prepare_cached("DELETE FROM consumers WHERE name = ?1")?.execute([name])? == 0 {
        return Err(StoreError::NotFound("a consumer of that name"));
    }
    tx.conn.prepare_cached("DELETE FROM dead_letters WHERE consumer = ?1")?.execute([name])?;
    Ok(())
}
