//! Cores that their recipient has not acknowledged, as delivery reads them.

use rusqlite::{Connection, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::error::StoreError;

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
    // Two plain range scans: one query with OR would walk over everything that is in flight.
    if !scan(conn, stream, seq, &mut room, &mut out)? {
        return Ok(out);
    }
    let later: Vec<OutStreamRow> = conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND id > ?2 ORDER BY id")?
        .query_map(params![contact, stream], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for stream in later {
        if !scan(conn, stream, 0, &mut room, &mut out)? {
            break;
        }
    }
    Ok(out)
}

/// Reads one stream after `seq`; `false` when the room is used up.
fn scan(
    conn: &Connection,
    stream: OutStreamRow,
    seq: u64,
    room: &mut usize,
    out: &mut Vec<OutboxRow>,
) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached("SELECT seq, core FROM outbox WHERE stream = ?1 AND seq > ?2 ORDER BY seq")?;
    let mut rows = select.query(params![stream, seq as i64])?;
    while let Some(row) = rows.next()? {
        let core: Vec<u8> = row.get(1)?;
        *room = room.saturating_sub(core.len());
        out.push(OutboxRow { stream, seq: row.get::<_, i64>(0)? as u64, core });
        if *room == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether anything waits for a contact's acknowledgement.
///
/// # Errors
/// Those of the database.
pub fn anything_waits(conn: &Connection, contact: PeerId) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM signals WHERE contact = ?1 UNION ALL
             SELECT 1 FROM contacts WHERE id = ?1 AND ack_due = 1 UNION ALL
             SELECT 1 FROM streams_out s WHERE s.conversation = ?1
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
        .query_map([contact], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut room = max_bytes;
    let mut out = Vec::new();
    for stream in streams {
        let covered: Vec<(i64, i64)> = conn
            .prepare_cached("SELECT low, high FROM deposits WHERE stream = ?1 ORDER BY low")?
            .query_map([stream], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut from = 1;
        let ends = covered.into_iter().chain([(i64::MAX, i64::MAX)]);
        let mut select = conn
            .prepare_cached("SELECT seq, core FROM outbox WHERE stream = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq")?;
        for (low, high) in ends {
            let mut rows = select.query(params![stream, from, low])?;
            while let Some(row) = rows.next()? {
                let core: Vec<u8> = row.get(1)?;
                room = room.saturating_sub(core.len());
                out.push(OutboxRow { stream, seq: row.get::<_, i64>(0)? as u64, core });
                if room == 0 {
                    return Ok(out);
                }
            }
            from = from.max(high.saturating_add(1));
        }
    }
    Ok(out)
}
