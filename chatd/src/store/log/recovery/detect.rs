//! What a contact had and lost: messages that it acknowledged once and shows no longer are found in our history, so that
//! they can be issued again.
//!
//! Not its job: to issue them (`crate::store::log::recovery::resend`), or to notice (`crate::store::log::recovery::epochs`).
//!
//! Invariant: whatever a contact says to have lost costs no more than [`MAX_REISSUED`] messages a day.

use std::collections::HashMap;

use proto::ids::Epoch;
use proto::wire::MAX_ACK_ENTRIES;
use proto::wire::envelope::AckEntry;
use rusqlite::params;

use crate::model::MessageState;
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::marks::unmark;
use crate::store::delivery::owed;
use crate::store::delivery::owed::MAX_SEQ;
use crate::store::delivery::runs::subtract;
use crate::store::engine::numbers;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::recovery::{self, NUMBERS_UNKNOWN, Placed, RECIPIENT_RESTORED};
use crate::store::peers;

/// Messages that one contact gets again in a day at most: one that says again and again that it has nothing costs no more
/// than that. The newest count.
pub(in crate::store) const MAX_REISSUED: u64 = 10_000;

const DAY_MS: i64 = 86_400_000;

/// Messages that the contact acknowledged and that its entries no longer cover, oldest first. Their marks go: whoever
/// says the same again finds nothing.
pub(in crate::store) fn lost_by_peer(
    tx: &mut Tx<'_>,
    from: PeerDevice,
    entries: &[AckEntry],
) -> Result<Vec<Placed>, StoreError> {
    let contact = from.peer;
    let shown: HashMap<Epoch, &AckEntry> =
        recovery::of_ours(tx, contact, entries)?.into_iter().map(|entry| (entry.epoch, entry)).collect();
    // A list that is full may leave old streams out.
    let complete = entries.len() < MAX_ACK_ENTRIES;
    let direct = peers::direct(tx.conn, contact)?;
    let streams: Vec<(OutStreamRow, Vec<u8>)> = tx
        .conn
        .prepare_cached("SELECT id, epoch FROM streams_out WHERE conversation = ?1")?
        .query_map([direct], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    // Of several devices, each lost what it had itself: that is known of the streams that still go to all of them.
    let several = owed::devices_of(tx.conn, direct)?.len() > 1;
    let mut missing: HashMap<OutStreamRow, Vec<(u64, u64)>> = HashMap::new();
    for (stream, epoch) in streams {
        let entry = Epoch::from_slice(&epoch).and_then(|epoch| shown.get(&epoch));
        if entry.is_none() && !complete {
            continue;
        }
        let have: Vec<(u64, u64)> = entry.map(|entry| owed::covered(entry)).unwrap_or_default();
        if let Some(mut owed) = owed::of_stream(tx.conn, stream)?.into_iter().find(|one| one.to == from) {
            let gone = owed::without(&owed.has, &have);
            if !gone.is_empty() {
                owed.has = owed::without(&owed.has, &gone);
                owed::keep(tx, stream, &owed)?;
                missing.insert(stream, gone);
            }
            continue;
        }
        if several {
            continue;
        }
        let contiguous = entry.map_or(0, |entry| entry.contiguous.min(MAX_SEQ));
        let marked: Vec<(i64, i64)> = tx
            .conn
            .prepare_cached("SELECT low, high FROM marks WHERE stream = ?1 AND state = ?2 AND high > ?3")?
            .query_map(params![stream, numbers::state_number(MessageState::Delivered), contiguous as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        let gone: Vec<(u64, u64)> =
            marked.into_iter().flat_map(|(low, high)| subtract((low as u64, high as u64), &have)).collect();
        if !gone.is_empty() {
            missing.insert(stream, gone);
        }
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let room = MAX_REISSUED.saturating_sub(reissued_today(tx, contact)?) as usize;
    let mut found = Vec::new();
    // By their numbers, the newest first: what a contact names must not be searched for in all of history.
    let mut places: Vec<(OutStreamRow, (u64, u64))> =
        missing.iter().flat_map(|(stream, ranges)| ranges.iter().map(|range| (*stream, *range))).collect();
    places.sort_unstable();
    for (stream, (low, high)) in places.into_iter().rev() {
        let left = (room - found.len()) as i64;
        let rows: Vec<Placed> = tx
            .conn
            .prepare_cached(
                "SELECT stream, seq, id FROM messages m WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3
                 AND sender = 0 AND conversation = ?4
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.stream = m.stream AND o.seq = m.seq)
                 ORDER BY seq DESC LIMIT ?5",
            )?
            .query_map(params![stream, low as i64, high as i64, direct, left], |row| {
                Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
        found.extend(rows);
        if found.len() >= room {
            break;
        }
    }
    if found.len() == room {
        tracing::warn!(%contact, "the contact lost more than is sent again in a day");
    } else if !several {
        // Nothing but what was found has these marks: whoever says the same again is not searched for.
        for (stream, ranges) in missing {
            for range in ranges {
                unmark(tx, stream, range)?;
            }
        }
    }
    found.reverse();
    Ok(found)
}

pub(in crate::store) fn reissued_today(tx: &mut Tx<'_>, contact: PeerId) -> Result<u64, StoreError> {
    let count: i64 = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(m.high - m.low + 1), 0) FROM streams_out s JOIN marks m ON m.stream = s.id
             WHERE s.conversation = ?1 AND m.state = ?2 AND m.cause IN (?3, ?4) AND m.at > ?5",
        )?
        .query_row(
            params![
                peers::direct(tx.conn, contact)?,
                numbers::state_number(MessageState::Queued),
                RECIPIENT_RESTORED,
                NUMBERS_UNKNOWN,
                tx.now.0.saturating_sub(DAY_MS)
            ],
            |row| row.get(0),
        )?;
    Ok(count as u64)
}
