//! Whether an acknowledgement can change anything: looked up by a reader, so that what changes nothing never stands in the
//! writer's queue.
//!
//! Invariant: whatever [`crate::store::log::acks::acknowledged`] or [`crate::store::delivery::control::signals_done`] would change, this says `true` of; what it says
//! `false` of changes nothing. It costs a few look-ups for each entry, however much waits.

use proto::ids::{DeviceId, MessageId};
use proto::time::Timestamp;
use proto::wire::envelope::AckEntry;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::owed;
use crate::store::delivery::owed::MAX_SEQ;
use crate::store::error::StoreError;
use crate::store::log::recovery::{highest, room_for_epochs};
use crate::store::peers::usage::{DAY_MS, MAX_RENEWALS};

/// Whether one of the ids ends a signal that waits for a contact.
pub fn ends_signals(conn: &Connection, contact: PeerId, ids: &[MessageId]) -> Result<bool, StoreError> {
    // A few at most: of each kind, the newest.
    let mut waiting = conn.prepare_cached("SELECT msgid FROM signals WHERE contact = ?1")?;
    let mut rows = waiting.query([contact])?;
    while let Some(row) = rows.next()? {
        let id: Vec<u8> = row.get(0)?;
        if ids.iter().any(|known| known.as_bytes()[..] == id[..]) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether entries of a device, about streams of our `device`, would change anything at `now`.
pub fn would_change(
    conn: &Connection,
    from: PeerDevice,
    device: DeviceId,
    entries: &[AckEntry],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let contact = from.peer;
    if contact == PeerId::SELF {
        // Nobody but the owner: what an own device says is worth a look.
        return Ok(entries.iter().any(|entry| entry.from_device == device && highest(entry) > 0));
    }
    let budget: Option<(i64, i64, bool)> = conn
        .prepare_cached("SELECT day, renewals, owed FROM usage WHERE contact = ?1")?
        .query_row([contact], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    if let Some((day, renewals, true)) = budget {
        // A new epoch is owed: nothing counts before it has begun, and it does with the next entry that may begin it.
        return Ok(!entries.is_empty() && (day != now.0.div_euclid(DAY_MS) || renewals < MAX_RENEWALS));
    }
    let Some((direct, conversation)) = conn
        .prepare_cached(
            "SELECT v.id, v.conversation FROM contacts c JOIN conversations v ON v.id = c.conversation WHERE c.peer = ?1",
        )?
        .query_row([contact], |row| Ok((row.get::<_, ConversationRow>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?
    else {
        return Ok(false);
    };
    let newest: Option<OutStreamRow> = conn
        .prepare_cached("SELECT max(id) FROM streams_out WHERE conversation = ?1")?
        .query_row([direct], |row| row.get(0))?;
    let mut stream_of =
        conn.prepare_cached("SELECT id, seq FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?;
    let mut has_room: Option<bool> = None;
    let ours = |entry: &&AckEntry| entry.from_device == device && entry.conversation.as_bytes()[..] == conversation[..];
    for entry in entries.iter().filter(ours).filter(|entry| highest(entry) > 0) {
        let known: Option<(OutStreamRow, i64)> = stream_of
            .query_row(params![direct, entry.epoch.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let changes = match known {
            None if has_room.is_some() => has_room == Some(true),
            None => *has_room.insert(room_for_epochs(conn, contact)? > 0),
            Some((stream, last)) => {
                (Some(stream) == newest && highest(entry) > last as u64) || settles(conn, stream, from, entry)?
            }
        };
        if changes {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something of a stream waits that an entry covers or may tell of: a core, what lies in a mailbox, or a message that had
/// ended and may have arrived.
fn settles(conn: &Connection, stream: OutStreamRow, from: PeerDevice, entry: &AckEntry) -> Result<bool, StoreError> {
    let several = owed::of_stream(conn, stream)?;
    if !several.is_empty() {
        let Some(own) = several.into_iter().find(|one| one.to == from) else { return Ok(false) };
        let last: i64 =
            conn.prepare_cached("SELECT seq FROM streams_out WHERE id = ?1")?.query_row([stream], |row| row.get(0))?;
        let beyond = [(last as u64 + 1, u64::MAX)];
        return Ok(!owed::without(&owed::without(&owed::covered(entry), &beyond), &own.has).is_empty());
    }
    let mut core = conn.prepare_cached("SELECT 1 FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 LIMIT 1")?;
    for (low, high) in owed::covered(entry) {
        if core.exists(params![stream, low as i64, high.min(MAX_SEQ) as i64])? {
            return Ok(true);
        }
    }
    let upto = highest(entry) as i64;
    let mut deposit = conn.prepare_cached("SELECT 1 FROM deposits WHERE stream = ?1 AND high <= ?2 LIMIT 1")?;
    let mut skip = conn.prepare_cached("SELECT 1 FROM outbox WHERE stream = ?1 AND message = 0 LIMIT 1")?;
    Ok(deposit.exists(params![stream, upto])? || skip.exists([stream])?)
}
