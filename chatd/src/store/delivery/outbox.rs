//! Cores that their recipient has not acknowledged, as delivery reads them.

use rusqlite::{Connection, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::core::{self, Addressing};
use crate::store::error::StoreError;
use crate::store::peers;

/// A core that waits.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// `streams_out.id`.
    pub stream: OutStreamRow,
    /// Its seq.
    pub seq: u64,
    /// The exact bytes.
    pub core: Vec<u8>,
}

/// What waits for a contact after a place in its streams, oldest first, up to `max_bytes` of cores (one at least).
///
/// # Errors
/// Those of the database.
pub fn outbox_after(
    conn: &Connection,
    contact: PeerId,
    (stream, seq): (OutStreamRow, u64),
    max_bytes: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut out = Vec::new();
    let mut room = max_bytes;
    let to = Addressing::load(conn, contact)?;
    // Two plain range scans: one query with OR would walk over everything that is in flight.
    if !scan(conn, &to, stream, seq, &mut room, &mut out)? {
        return Ok(out);
    }
    let later: Vec<OutStreamRow> = conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND id > ?2 ORDER BY id")?
        .query_map(params![peers::direct(conn, contact)?, stream], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for stream in later {
        if !scan(conn, &to, stream, 0, &mut room, &mut out)? {
            break;
        }
    }
    Ok(out)
}

/// Reads one stream after `seq`; `false` when the room is used up.
fn scan(
    conn: &Connection,
    to: &Addressing,
    stream: OutStreamRow,
    seq: u64,
    room: &mut usize,
    out: &mut Vec<OutboxRow>,
) -> Result<bool, StoreError> {
    let from = i64::try_from(seq).unwrap_or(i64::MAX).saturating_add(1);
    core::each_waiting(conn, to, stream, (from, i64::MAX), |seq, core| keep(stream, seq, core, room, out))
}

/// Takes one up; `false` when the room is used up.
fn keep(stream: OutStreamRow, seq: u64, core: Vec<u8>, room: &mut usize, out: &mut Vec<OutboxRow>) -> bool {
    *room = room.saturating_sub(core.len());
    out.push(OutboxRow { stream, seq, core });
    *room > 0
}

/// Whether anything waits for a contact's acknowledgement.
///
/// # Errors
/// Those of the database.
pub fn anything_waits(conn: &Connection, contact: PeerId) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM signals WHERE contact = ?1 UNION ALL
             SELECT 1 FROM contacts WHERE peer = ?1 AND ack_due = 1 UNION ALL
             SELECT 1 FROM streams_out s JOIN contacts c ON c.conversation = s.conversation WHERE c.peer = ?1
               AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) LIMIT 1",
        )?
        .exists([contact])?)
}

/// What waits for a contact and does not lie in its mailbox, oldest first, up to `max_bytes` of cores (one at least).
///
/// # Errors
/// Those of the database.
pub fn undeposited(conn: &Connection, contact: PeerId, max_bytes: usize) -> Result<Vec<OutboxRow>, StoreError> {
    let streams: Vec<OutStreamRow> = conn
        .prepare_cached(
            "SELECT id FROM streams_out s WHERE conversation = ?1
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) ORDER BY id",
        )?
        .query_map([peers::direct(conn, contact)?], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let to = Addressing::load(conn, contact)?;
    let mut room = max_bytes;
    let mut out = Vec::new();
    for stream in streams {
        let covered: Vec<(i64, i64)> = conn
            .prepare_cached("SELECT low, high FROM deposits WHERE stream = ?1 ORDER BY low")?
            .query_map([stream], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut from = 1;
        let ends = covered.into_iter().chain([(i64::MAX, i64::MAX)]);
        for (low, high) in ends {
            if !core::each_waiting(conn, &to, stream, (from, low), |seq, core| {
                keep(stream, seq, core, &mut room, &mut out)
            })? {
                return Ok(out);
            }
            from = from.max(high.saturating_add(1));
        }
    }
    Ok(out)
}
