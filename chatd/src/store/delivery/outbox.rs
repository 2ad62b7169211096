//! Cores that their recipient has not acknowledged, as delivery reads them.

use rusqlite::{Connection, params};

use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::core::{self, Addressing};
use crate::store::delivery::owed;
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

/// What waits for a device after a place in the streams to it, oldest first, up to `max_bytes` of cores (one at least).
pub fn outbox_after(
    conn: &Connection,
    to: PeerDevice,
    (stream, seq): (OutStreamRow, u64),
    max_bytes: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut out = Vec::new();
    let mut room = max_bytes;
    let from = i64::try_from(seq).unwrap_or(i64::MAX).saturating_add(1);
    // Two plain range scans: one query with OR would walk over everything that is in flight.
    if !scan(conn, to, stream, from, &mut room, &mut out)? {
        return Ok(out);
    }
    for stream in streams_after(conn, to, stream)? {
        if !scan(conn, to, stream, 1, &mut room, &mut out)? {
            break;
        }
    }
    Ok(out)
}

/// Own streams after one that may go to a device.
fn streams_after(conn: &Connection, to: PeerDevice, after: OutStreamRow) -> Result<Vec<OutStreamRow>, StoreError> {
    if to.peer == PeerId::SELF {
        return Ok(owed::streams_to(conn, to)?.into_iter().filter(|stream| *stream > after).collect());
    }
    Ok(conn
        .prepare_cached(
            "SELECT id FROM streams_out s WHERE conversation = ?1 AND id > ?2
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) ORDER BY id",
        )?
        .query_map(params![peers::direct(conn, to.peer)?, after], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}

/// Reads what a device has not of one stream, from `low` on; `false` when the room is used up.
fn scan(
    conn: &Connection,
    to: PeerDevice,
    stream: OutStreamRow,
    low: i64,
    room: &mut usize,
    out: &mut Vec<OutboxRow>,
) -> Result<bool, StoreError> {
    let Some(has) = owed::has(conn, stream, to)? else { return Ok(true) };
    let Some(addressing) = Addressing::of_stream(conn, stream)? else { return Ok(true) };
    scan_between(
        conn,
        &addressing,
        stream,
        low,
        has.iter().map(|(low, high)| (*low as i64, *high as i64)),
        |seq, core| keep(stream, seq, core, room, out),
    )
}

/// Reads what of a stream from `low` on is not in ranges, which are sorted; `false`: `take` said no.
fn scan_between(
    conn: &Connection,
    to: &Addressing,
    stream: OutStreamRow,
    mut low: i64,
    ranges: impl Iterator<Item = (i64, i64)>,
    mut take: impl FnMut(u64, Vec<u8>) -> bool,
) -> Result<bool, StoreError> {
    for (begin, end) in ranges.chain([(i64::MAX, i64::MAX)]) {
        if low < begin && !core::each_waiting(conn, to, stream, (low, begin), &mut take)? {
            return Ok(false);
        }
        low = low.max(end.saturating_add(1));
    }
    Ok(true)
}

/// Takes one up; `false` when the room is used up.
fn keep(stream: OutStreamRow, seq: u64, core: Vec<u8>, room: &mut usize, out: &mut Vec<OutboxRow>) -> bool {
    *room = room.saturating_sub(core.len());
    out.push(OutboxRow { stream, seq, core });
    *room > 0
}

/// Whether anything waits for a contact's acknowledgement.
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

/// What waits for a device and does not lie in its mailbox, oldest first, up to `max_bytes` of cores (one at least).
pub fn undeposited(conn: &Connection, to: PeerDevice, max_bytes: usize) -> Result<Vec<OutboxRow>, StoreError> {
    let mut room = max_bytes;
    let mut out = Vec::new();
    for stream in streams_after(conn, to, OutStreamRow(0))? {
        let Some(has) = owed::has(conn, stream, to)? else { continue };
        let Some(addressing) = Addressing::of_stream(conn, stream)? else { continue };
        let lie: Vec<(u64, u64)> = conn
            .prepare_cached("SELECT low, high FROM deposits WHERE stream = ?1 AND device = ?2 ORDER BY low")?
            .query_map(params![stream, to.device.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })?
            .collect::<Result<_, _>>()?;
        let covered = owed::union(&has, &lie);
        let covered = covered.iter().map(|(low, high)| (*low as i64, *high as i64));
        if !scan_between(conn, &addressing, stream, 1, covered, |seq, core| {
            keep(stream, seq, core, &mut room, &mut out)
        })? {
            break;
        }
    }
    Ok(out)
}
