//! Cores of others: seen once, shown in the order of their sender, acknowledged as they lie on disk.
//!
//! A core whose predecessor is missing waits in `held` and is acknowledged as a range; it gets its place in history when
//! the hole is filled or given up (`super::gaps`). What comes for a hole that was given up is shown at once, marked late.
//! The watermark of a stream is kept for ever, independently of history, so that a replay of anything that was ever shown
//! (or deleted) is recognised.
//!
//! Invariants: what is acknowledged is on disk, shown or held; a hole is not acknowledged, nor is a core for which there
//! is no room.

use crate::store::account;
use crate::store::gaps;
use crate::store::shown::{self, Place, Shown};
use crate::store::signals;
use crate::store::streams::{InStream, MAX_SEQ, StreamKey, decode_ranges, encode_ranges, fill_skipped, told_ranges};
use crate::store::usage::{self, Usage};
use crate::store::{StoreError, Tx};
use proto::ids::{DeviceId, MessageId, sha256};
use proto::reason::Reason;
use proto::wire::envelope::{AckEntry, Core};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::policy::limits::Quotas;

/// The reason in a `message.gap` event that names no missing messages: consecutive ones do not link.
pub const CHAIN_BROKEN: &str = Reason::ChainBroken.as_str();

/// The reason in a `message.gap` event of a contact that has used up its quota: what it sends is not stored.
pub const OVER_QUOTA: &str = Reason::OverQuota.as_str();

/// Numbers of a stream that were taken by something unseen are remembered so long.
const UNSEEN: i64 = 4_096;
/// New streams of one contact in a day. Each is remembered for ever. A device begins one when it may have lost count.
const MAX_NEW_EPOCHS: i64 = 256;

/// What an envelope's chain cores did.
#[derive(Debug, Default)]
pub struct Received {
    /// The state of each touched stream after it, to be acknowledged after COMMIT.
    pub entries: Vec<AckEntry>,
    /// Messages newly shown.
    pub shown: usize,
    /// Cores that were there before.
    pub duplicates: usize,
    /// Cores for which there is no room to remember them: they are not stored and not acknowledged, and whoever has them
    /// must keep them.
    pub refused: usize,
    /// Some of these because the contact has used up what may be stored of it.
    pub over_quota: bool,
    /// Cores stored whose predecessor is missing.
    pub held: usize,
    /// More could be shown than one operation shows; [`crate::store::gaps::show_ready`] goes on.
    pub unfinished: bool,
    /// Consecutive cores whose hashes do not link: the sender is broken or lies.
    pub chain_broken: bool,
}

/// What one envelope has done so far.
pub(super) struct Taking {
    pub contact: PeerId,
    pub usage: Usage,
    pub quotas: Quotas,
    pub shown: Shown,
    pub result: Received,
}

/// Takes the chain cores of one verified envelope. `cores` are all of one device of this contact.
///
/// # Errors
/// Those of the database; then nothing of it is stored, and nothing may be acknowledged.
pub fn receive(
    tx: &mut Tx<'_>,
    contact: PeerId,
    cores: &[(&[u8], &Core<'_>)],
    quotas: &Quotas,
) -> Result<Received, StoreError> {
    if !cores.is_empty() {
        tx.needs_room()?;
    }
    let mut taking = Taking {
        contact,
        usage: usage::usage(tx, contact)?,
        quotas: *quotas,
        shown: Shown::default(),
        result: Received::default(),
    };
    let before = taking.usage.clone();
    let mut current: Option<(StreamKey, InStream)> = None;
    for (bytes, core) in cores {
        if !(1..=MAX_SEQ).contains(&core.seq) {
            continue;
        }
        let key = StreamKey { device: core.from_device, conversation: core.conversation, epoch: core.epoch };
        let mut stream = match current.take() {
            Some((open, stream)) if open == key => stream,
            other => {
                if let Some((key, stream)) = other {
                    close_stream(tx, key, stream, &mut taking.result)?;
                }
                let found = match in_stream(tx, &key)? {
                    Some(stream) => Some(stream),
                    None => new_stream(tx, &key, &mut taking)?,
                };
                let Some(stream) = found else {
                    taking.result.refused += 1;
                    taking.result.over_quota = true;
                    continue;
                };
                stream
            }
        };
        take_core(tx, &mut stream, (bytes, core), &mut taking)?;
        current = Some((key, stream));
    }
    if let Some((key, stream)) = current {
        close_stream(tx, key, stream, &mut taking.result)?;
    }
    let Taking { mut usage, shown, result, .. } = taking;
    let tell_quota = result.over_quota && !usage.told;
    usage.told |= tell_quota;
    if usage != before {
        usage::keep_usage(tx, contact, &usage)?;
    }
    let result = Received { shown: shown.ids.len(), ..result };
    shown::tell_shown(tx, contact, shown)?;
    if result.chain_broken {
        tx.event_gap(contact, 0, Some(CHAIN_BROKEN));
    }
    if tell_quota {
        tx.event_gap(contact, 0, Some(OVER_QUOTA));
    }
    if result.held > 0 || result.unfinished {
        // The hole may be filled on request.
        tx.wake_delivery(contact);
    }
    Ok(result)
}

fn take_core(
    tx: &mut Tx<'_>,
    stream: &mut InStream,
    (bytes, core): (&[u8], &Core<'_>),
    taking: &mut Taking,
) -> Result<(), StoreError> {
    if stream.has(core.seq) {
        taking.result.duplicates += 1;
        if !stream.reused && is_another(tx, taking.contact, stream, core)? {
            let contact = taking.contact;
            tracing::warn!(
                often = "number",
                %contact,
                seq = core.seq,
                "a number came again with another message: its sender is told"
            );
            stream.reused = true;
        }
        return Ok(());
    }
    // A core that waits for its turn behind others waits as one that has a hole before it.
    let waits = core.seq > stream.shown + 1;
    let has_room = taking.usage.has_room(bytes.len(), &taking.quotas);
    if !has_room || (waits && !taking.usage.may_hold(bytes.len())) {
        taking.result.refused += 1;
        taking.result.over_quota |= !has_room;
        return Ok(());
    }
    if !fill_skipped(stream, core, tx.now.0) {
        taking.result.refused += 1;
        return Ok(());
    }
    taking.result.chain_broken |= gaps::release_held(tx, stream, taking)?;
    if !stream.take(core.seq, core.seq, tx.now.0) {
        taking.result.refused += 1;
        return Ok(());
    }
    taking.usage.stored(bytes.len());
    if core.seq <= stream.shown {
        // What follows it was shown without it; whether it links can no longer be told.
        shown::show(tx, taking.contact, stream, core, Place { late: true, missing: 0 }, &mut taking.shown)?;
    } else if core.seq == stream.shown + 1 {
        taking.result.chain_broken |= !stream.links(core);
        shown::show(tx, taking.contact, stream, core, Place::default(), &mut taking.shown)?;
        (stream.shown, stream.prev) = (core.seq, Some(sha256(&[bytes])));
        taking.result.chain_broken |= gaps::release_held(tx, stream, taking)?;
    } else {
        taking.result.held += 1;
        gaps::hold(tx, stream, core.seq, bytes, &mut taking.usage)?;
    }
    Ok(())
}

/// Whether a core has a number under which another was received, of whatever kind. Looked for by its number, so that
/// the search costs the same however much there is. A number that a skip said would never come is nobody's; and of what
/// was forgotten since, nothing can be said.
fn is_another(tx: &mut Tx<'_>, contact: PeerId, stream: &InStream, core: &Core<'_>) -> Result<bool, StoreError> {
    let held: Option<Vec<u8>> = tx
        .conn
        .prepare_cached("SELECT core FROM held WHERE stream = ?1 AND seq = ?2")?
        .query_row(params![stream.id, core.seq as i64], |row| row.get(0))
        .optional()?;
    let taken: Option<Vec<u8>> = match held {
        Some(held) => Core::decode(&held).ok().map(|held| held.id.as_bytes().to_vec()),
        None => tx
            .conn
            .prepare_cached(
                "SELECT msgid FROM messages WHERE stream = ?1 AND seq = ?2 AND sender = ?3
                 UNION ALL SELECT msgid FROM unseen WHERE stream = ?1 AND seq = ?2 LIMIT 1",
            )?
            .query_row(params![stream.id, core.seq as i64, contact], |row| row.get(0))
            .optional()?,
    };
    if taken.is_none_or(|taken| taken == core.id.as_bytes()) {
        return Ok(false);
    }
    // What history has under another number was issued again: nothing is lost by its coming once more.
    let known = tx
        .conn
        .prepare_cached("SELECT 1 FROM messages WHERE msgid = ?1 AND sender = ?2")?
        .exists(params![core.id.as_bytes(), contact])?;
    Ok(!known)
}

/// Remembers what took a number and has no place in history.
pub(super) fn unseen(tx: &mut Tx<'_>, stream: &InStream, core: &Core<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("INSERT OR IGNORE INTO unseen (stream, seq, msgid) VALUES (?1, ?2, ?3)")?
        .execute(params![stream.id, core.seq as i64, core.id.as_bytes()])?;
    tx.conn
        .prepare_cached("DELETE FROM unseen WHERE stream = ?1 AND seq <= ?2")?
        .execute(params![stream.id, core.seq as i64 - UNSEEN])?;
    Ok(())
}

pub(super) fn in_stream(tx: &mut Tx<'_>, key: &StreamKey) -> Result<Option<InStream>, StoreError> {
    if let Some(stream) = tx.cache.inbound.get(key) {
        return Ok(Some(stream.clone()));
    }
    let found = tx
        .conn
        .prepare_cached(
            "SELECT id, contiguous, shown, given_up, prev, ranges, reused FROM streams_in
             WHERE device = ?1 AND conversation = ?2 AND epoch = ?3",
        )?
        .query_row(params![key.device.as_bytes(), key.conversation.as_bytes(), key.epoch.as_bytes()], |row| {
            let (id, contiguous, shown): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (given_up, prev, ranges): (i64, Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let (contiguous, shown, ranges) = (contiguous as u64, shown as u64, decode_ranges(&ranges));
            let reused = row.get(6)?;
            Ok((InStream { id, contiguous, ranges, shown, prev: None, given_up, reused }, prev))
        })
        .optional()?;
    let Some((stream, prev)) = found else { return Ok(None) };
    let prev = match prev.as_slice() {
        [] => None,
        bytes => Some(bytes.try_into().map_err(|_| StoreError::Damaged("prev"))?),
    };
    Ok(Some(InStream { prev, ..stream }))
}

/// Begins to remember a stream; `None`: the contact has begun enough of them today.
fn new_stream(tx: &mut Tx<'_>, key: &StreamKey, taking: &mut Taking) -> Result<Option<InStream>, StoreError> {
    if taking.usage.epochs >= MAX_NEW_EPOCHS {
        return Ok(None);
    }
    taking.usage.epochs += 1;
    tx.conn
        .prepare_cached(
            "INSERT INTO streams_in (device, conversation, epoch, contact, contiguous, prev, ranges)
             VALUES (?1, ?2, ?3, ?4, 0, zeroblob(32), x'')",
        )?
        .execute(params![key.device.as_bytes(), key.conversation.as_bytes(), key.epoch.as_bytes(), taking.contact])?;
    Ok(Some(InStream::new(tx.conn.last_insert_rowid())))
}

pub(super) fn close_stream(
    tx: &mut Tx<'_>,
    key: StreamKey,
    stream: InStream,
    result: &mut Received,
) -> Result<(), StoreError> {
    result.unfinished |= stream.ready().is_some();
    let prev = stream.prev.as_ref().map_or(&[][..], |prev| &prev[..]);
    tx.conn
        .prepare_cached(
            "UPDATE streams_in SET contiguous = ?2, prev = ?3, ranges = ?4, shown = ?5, given_up = ?6,
               reused = ?7 WHERE id = ?1",
        )?
        .execute(params![
            stream.id,
            stream.contiguous as i64,
            prev,
            encode_ranges(&stream.ranges),
            stream.shown as i64,
            stream.given_up,
            stream.reused
        ])?;
    let entry = stream.entry(&key);
    result.entries.retain(|e| (e.conversation, e.epoch) != (entry.conversation, entry.epoch));
    result.entries.push(entry);
    tx.cache.inbound.insert(key, stream);
    Ok(())
}

/// Marks messages of a conversation as read up to one of them (or all), and queues a receipt. Answers how many were
/// newly marked.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such message in it.
pub fn mark_read(tx: &mut Tx<'_>, contact: PeerId, upto: Option<MessageId>) -> Result<u64, StoreError> {
    let row: Option<i64> = match upto {
        Some(id) => Some(
            tx.conn
                .prepare_cached(
                    "SELECT id FROM messages WHERE msgid = ?1 AND conversation = ?2 ORDER BY sender DESC LIMIT 1",
                )?
                .query_row(params![id.as_bytes(), contact], |row| row.get(0))
                .optional()?
                .ok_or(StoreError::NotFound("such a message in this conversation"))?,
        ),
        None => tx
            .conn
            .prepare_cached("SELECT max(id) FROM messages WHERE conversation = ?1")?
            .query_row([contact], |row| row.get(0))?,
    };
    let Some(row) = row else { return Ok(0) };
    let before: i64 = tx
        .conn
        .prepare_cached("SELECT read_upto FROM conversations WHERE id = ?1")?
        .query_row([contact], |row| row.get(0))?;
    if row <= before {
        return Ok(0);
    }
    let newly: i64 = tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM messages WHERE conversation = ?1 AND id > ?2 AND id <= ?3 AND sender <> 0",
        )?
        .query_row(params![contact, before, row], |r| r.get(0))?;
    tx.conn
        .prepare_cached("UPDATE conversations SET read_upto = ?2, unread = max(0, unread - ?3) WHERE id = ?1")?
        .execute(params![contact, row, newly])?;
    if newly > 0 && account::tells_reads(tx)? && super::contacts::load(tx.conn, contact)?.state.may_talk() {
        signals::queue_receipt(tx, contact, row)?;
    }
    Ok(newly as u64)
}

/// What we have of a contact's streams: the content of a `resume`.
///
/// # Errors
/// Those of the database.
pub fn resume_entries(conn: &Connection, contact: PeerId, device: DeviceId) -> Result<Vec<AckEntry>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT device, conversation, epoch, contiguous, ranges, reused FROM streams_in WHERE contact = ?1 AND device = ?2
         ORDER BY id DESC LIMIT 256",
    )?;
    let mut rows = select.query(params![contact, device.as_bytes()])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (d, c, e): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let key = super::tx::stream_key(&d, &c, &e).ok_or(StoreError::Damaged("stream key"))?;
        let contiguous = row.get::<_, i64>(3)? as u64;
        out.push(AckEntry {
            from_device: key.device,
            conversation: key.conversation,
            epoch: key.epoch,
            contiguous,
            ranges: told_ranges(decode_ranges(&row.get::<_, Vec<u8>>(4)?), contiguous, row.get(5)?),
        });
    }
    Ok(out)
}
