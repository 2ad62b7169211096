//! What becomes of own messages: acknowledgements, receipts, rejections, attempts.
//!
//! A message's state is not a column: it follows from the marks and attempts that cover its (stream, seq), so that one
//! acknowledgement of 10,000 messages writes one row and deletes the outbox rows.

use std::collections::HashSet;

use proto::ids::{ConversationId, Epoch, MessageId};
use proto::reason::Reason;
use proto::wire::envelope::AckEntry;
use rusqlite::{OptionalExtension, params};

use crate::model::MessageState;
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::owed::{self, Owed};
use crate::store::delivery::runs::subtract;
use crate::store::delivery::{deposits, marks, trace};
use crate::store::engine::numbers;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::recovery::{devices, epochs};
use crate::store::log::{expiry, own_streams};
use crate::store::{account, peers};

/// A device committed these: what all have to whom it goes leaves the outbox, a mark per run stays. It speaks for itself only.
pub fn acknowledged(tx: &mut Tx<'_>, from: PeerDevice, entries: &[AckEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    if from.peer != PeerId::SELF {
        devices::follow(tx, from.peer)?;
        // Before anything is taken out: an acknowledgement of what we do not know of may mean other messages than ours.
        if !epochs::heed_epochs(tx, from.peer, entries)? {
            return Ok(());
        }
    }
    let device = account::own(tx)?.device;
    let ours = |entry: &&AckEntry| entry.from_device == device;
    let mut done: HashSet<(ConversationId, Epoch)> = HashSet::new();
    // The last word of each stream: whoever says the same a hundred times in a frame makes no more work.
    for entry in entries.iter().rev().filter(ours).filter(|entry| done.insert((entry.conversation, entry.epoch))) {
        let Some((stream, last, contact)) = stream_named(tx, entry)? else { continue };
        let owed = owed::of_stream(tx.conn, stream)?;
        if !owed.is_empty() {
            deposits::acknowledged_deposits(tx, from, stream, entry)?;
            // Beyond what was sent nobody has anything.
            let has = owed::without(&owed::covered(entry), &[(last + 1, u64::MAX)]);
            one_of_several_has(tx, contact, from, stream, owed, &has, "acknowledged")?;
        } else if contact == from.peer {
            deposits::acknowledged_deposits(tx, from, stream, entry)?;
            let contiguous = (1, entry.contiguous);
            for (low, high) in std::iter::once(contiguous).chain(entry.ranges.iter().copied()) {
                // Beyond an i64 there is nothing of ours.
                if high >= low && i64::try_from(low).is_ok() {
                    settle(tx, contact, stream, (low, high), MessageState::Delivered, "acknowledged", &[])?;
                }
            }
        }
        if contact == from.peer {
            expiry::acknowledged_expired(tx, contact, stream, entry)?;
        }
    }
    Ok(())
}

/// The own stream that an entry names, its last number, and with whom it is.
fn stream_named(tx: &Tx<'_>, entry: &AckEntry) -> Result<Option<(OutStreamRow, u64, PeerId)>, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT s.id, s.seq, c.peer FROM conversations v JOIN streams_out s ON s.conversation = v.id
             JOIN contacts c ON c.conversation = v.id WHERE v.conversation = ?1 AND s.epoch = ?2",
        )?
        .query_row(params![entry.conversation.as_bytes(), entry.epoch.as_bytes()], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
        })
        .optional()?)
}

/// One of the devices to which a stream goes has ranges of it: they are delivered if it is the recipient's, and leave the
/// outbox where it was the last to get them.
fn one_of_several_has(
    tx: &mut Tx<'_>,
    contact: PeerId,
    from: PeerDevice,
    stream: OutStreamRow,
    mut owed: Vec<Owed>,
    has: &[(u64, u64)],
    cause: &str,
) -> Result<(), StoreError> {
    let Some(at) = owed.iter().position(|one| one.to == from) else { return Ok(()) };
    let fresh = owed::without(has, &owed[at].has);
    if fresh.is_empty() {
        return Ok(());
    }
    if from.peer != PeerId::SELF {
        let mut new = Vec::new();
        for range in &fresh {
            // Another device of the recipient may have had it, in this place or in another.
            new.extend(subtract(*range, &marks::marked(tx, stream, MessageState::Delivered, *range)?));
        }
        for (low, high) in new {
            let rows = rows_between(
                tx,
                "SELECT seq, message FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
                (stream, low, high),
            )?;
            reached(tx, contact, stream, rows, MessageState::Delivered, cause)?;
        }
    }
    owed[at].has = owed::union(&owed[at].has, has);
    owed::keep(tx, stream, &owed[at])?;
    let missing = owed::without(&fresh, &owed::common(&owed));
    for (low, high) in owed::without(&fresh, &missing) {
        tx.conn.prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3")?.execute(params![
            stream,
            low as i64,
            i64::try_from(high).unwrap_or(i64::MAX)
        ])?;
    }
    Ok(())
}

/// Numbers of a stream and their messages, as a statement gives them.
fn rows_between(
    tx: &Tx<'_>,
    sql: &str,
    (stream, low, high): (OutStreamRow, u64, u64),
) -> Result<Vec<(u64, i64)>, StoreError> {
    let mut statement = tx.conn.prepare_cached(sql)?;
    let high = i64::try_from(high).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![stream, low as i64, high])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push((row.get::<_, i64>(0)? as u64, row.get(1)?));
    }
    Ok(out)
}

/// Takes a range out of the outbox with a final or delivered state, and tells, but for what is `delivered` already.
fn settle(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: OutStreamRow,
    (low, high): (u64, u64),
    state: MessageState,
    cause: &str,
    delivered: &[(u64, u64)],
) -> Result<(), StoreError> {
    let mut gone = rows_between(
        tx,
        "DELETE FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 RETURNING seq, message",
        (stream, low, high),
    )?;
    gone.retain(|(seq, _)| delivered.iter().all(|(low, high)| !(low..=high).contains(&seq)));
    gone.sort_unstable();
    reached(tx, contact, stream, gone, state, cause)
}

/// Marks numbers, which are sorted, as having reached a state, and tells.
fn reached(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: OutStreamRow,
    rows: Vec<(u64, i64)>,
    state: MessageState,
    cause: &str,
) -> Result<(), StoreError> {
    for run in rows.chunk_by(|(one, _), (next, _)| one + 1 == *next) {
        if let (Some((low, _)), Some((high, _))) = (run.first(), run.last()) {
            marks::mark(tx, stream, state, (*low, *high), cause)?;
        }
    }
    let reason = (state >= MessageState::Rejected).then_some(cause);
    let messages = marks::with_ids(tx, rows.into_iter().map(|(_, message)| message))?;
    marks::tell(tx, contact, state, reason, messages)
}

/// Everything that waits for a contact will never be sent: it ends as `rejected`, or as `withdrawn` if that was the
/// owner's doing, and the conversation goes on in a new epoch, because the old one would show the recipient a hole. What
/// has left, to the recipient or into its mailbox, cannot be called back: its cause says that too.
pub fn reject_queued(tx: &mut Tx<'_>, contact: PeerId, state: MessageState, cause: Reason) -> Result<(), StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let stream = own_streams::out_stream(tx, direct)?;
    let waiting: Vec<OutStreamRow> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM streams_out s WHERE conversation = ?1
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) ORDER BY id",
        )?
        .query_map([direct], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for stream in waiting {
        let left: i64 = tx
            .conn
            .prepare_cached(
                "SELECT coalesce(max(high), 0) FROM attempts WHERE stream = ?1 AND outcome IN ('sent', 'deposited')",
            )?
            .query_row([stream], |row| row.get(0))?;
        let left = left.max(0) as u64;
        let mut delivered = marks::marked(tx, stream, MessageState::Delivered, (1, u64::MAX))?;
        delivered.extend(marks::marked(tx, stream, MessageState::Read, (1, u64::MAX))?);
        settle(tx, contact, stream, (1, left), state, &cause.with_copy(), &delivered)?;
        settle(tx, contact, stream, (left + 1, i64::MAX as u64), state, cause.as_str(), &delivered)?;
        owed::end(tx, stream)?;
    }
    if stream.seq > 0 {
        own_streams::new_epoch(tx, direct)?;
    }
    Ok(())
}

/// A contact read everything up to a message of ours, on one of its devices.
pub fn read_by(tx: &mut Tx<'_>, from: PeerDevice, upto: &MessageId) -> Result<(), StoreError> {
    let contact = from.peer;
    let direct = peers::direct(tx.conn, contact)?;
    let last: Option<(i64, OutStreamRow, i64)> = tx
        .conn
        .prepare_cached("SELECT id, stream, seq FROM messages WHERE msgid = ?1 AND sender = 0 AND conversation = ?2")?
        .query_row(params![upto.as_bytes(), direct], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((row, stream, seq)) = last else { return Ok(()) };
    let before: i64 = tx
        .conn
        .prepare_cached("SELECT coalesce(max(high), 0) FROM marks WHERE stream = ?1 AND state = ?2")?
        .query_row(params![stream, numbers::state_number(MessageState::Read)], |row| row.get(0))?;
    // A receipt names one message; of those before it that had expired, nobody knows whether they came.
    let back = expiry::arrived_after_all(tx, contact, stream, seq, MessageState::Read)?;
    if seq <= before {
        let messages = marks::with_ids(tx, back.then_some(row).into_iter())?;
        return marks::tell(tx, contact, MessageState::Read, None, messages);
    }
    // What was read was received, even if the acknowledgement itself is still on its way.
    let owed = owed::of_stream(tx.conn, stream)?;
    if owed.is_empty() {
        settle(tx, contact, stream, (1, seq as u64), MessageState::Delivered, "read", &[])?;
    } else {
        one_of_several_has(tx, contact, from, stream, owed, &[(1, seq as u64)], "read")?;
    }
    marks::mark(tx, stream, MessageState::Read, (before as u64 + 1, seq as u64), "read")?;
    let mut rows = Vec::new();
    {
        let mut walk = tx.conn.prepare_cached(
            "SELECT id, stream, seq FROM messages WHERE conversation = ?1 AND id <= ?2 AND sender = 0 ORDER BY id DESC",
        )?;
        let mut found = walk.query(params![direct, row])?;
        while let Some(r) = found.next()? {
            let (id, of, seq): (i64, OutStreamRow, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
            if of != stream || seq <= before {
                break;
            }
            if !trace::is_expired(tx.conn, stream, seq)? {
                rows.push(id);
            }
        }
    }
    rows.reverse();
    let messages = marks::with_ids(tx, rows.into_iter())?;
    marks::tell(tx, contact, MessageState::Read, None, messages)
}
