//! Cores of others: seen once, shown in the order of their sender, acknowledged as they lie on disk.
//!
//! A core whose predecessor is missing waits in `held` and is acknowledged as a range; it gets its place in history when
//! the hole is filled or given up (`crate::store::log::reorder`). What comes for a hole that was given up is shown at once, marked late.
//! The watermark of a stream is kept for ever, independently of history, so that a replay of anything that was ever shown
//! (or deleted) is recognised.
//!
//! Invariants: what is acknowledged is on disk, shown or held; a hole is not acknowledged, nor is a core for which there
//! is no room.

use proto::ids::sha256;
use proto::reason::Reason;
use proto::wire::envelope::Core;
use rusqlite::{OptionalExtension, params};

use crate::model::ids::{ConversationRow, PeerId};
use crate::policy::limits::Quotas;
use crate::store::delivery::owed::MAX_SEQ;
use crate::store::engine::emit;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::append::{self, Place, Shown};
use crate::store::log::reorder;
use crate::store::log::streams::{InStream, StreamKey, close_stream, fill_skipped, in_stream};
use crate::store::log::taking::{CHAIN_BROKEN, Received, Taking};
use crate::store::peers::usage;

/// The reason in a `message.gap` event of a contact that has used up its quota: what it sends is not stored.
pub const OVER_QUOTA: &str = Reason::OverQuota.as_str();

/// New streams of one contact in a day. Each is remembered for ever. A device begins one when it may have lost count.
const MAX_NEW_EPOCHS: i64 = 256;

/// Takes the chain cores of one verified envelope. `cores` are all of one device of this contact, or of another device of
/// the account ([`PeerId::SELF`]), which sent them to whoever the conversation is with.
///
/// # Errors
/// When it fails, nothing of it is stored, and nothing may be acknowledged.
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
                    taking.result.add(close_stream(tx, key, stream)?);
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
        taking.result.add(close_stream(tx, key, stream)?);
    }
    let Taking { mut usage, shown, result, .. } = taking;
    let tell_quota = result.over_quota && !usage.told;
    usage.told |= tell_quota;
    if usage != before {
        usage::keep_usage(tx, contact, &usage)?;
    }
    let result = Received { shown: shown.ids.len(), ..result };
    append::tell_shown(tx, contact, shown)?;
    if result.chain_broken {
        emit::gap(tx, contact, 0, Some(CHAIN_BROKEN));
    }
    if tell_quota {
        emit::gap(tx, contact, 0, Some(OVER_QUOTA));
    }
    if (result.held > 0 || result.unfinished) && contact != PeerId::SELF {
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
    taking.result.chain_broken |= reorder::release_held(tx, stream, taking)?;
    let below = stream.below.filter(|_| core.seq == stream.contiguous + 1);
    if !stream.take(core.seq, core.seq, tx.now.0) {
        taking.result.refused += 1;
        return Ok(());
    }
    taking.usage.stored(bytes.len());
    if core.seq <= stream.shown {
        // What follows it was shown without it; whether that links can no longer be told.
        stream.joins_late(below, core, bytes);
        append::show(tx, taking.contact, stream, core, Place { late: true, missing: 0 }, &mut taking.shown)?;
    } else if core.seq == stream.shown + 1 {
        taking.result.chain_broken |= !stream.joins(core);
        append::show(tx, taking.contact, stream, core, Place::default(), &mut taking.shown)?;
        (stream.shown, stream.prev) = (core.seq, Some(sha256(&[bytes])));
        taking.result.chain_broken |= reorder::release_held(tx, stream, taking)?;
    } else {
        taking.result.held += 1;
        reorder::hold(tx, stream, core.seq, bytes, &mut taking.usage)?;
    }
    Ok(())
}

/// Whether a core has a number under which another was received, of whatever kind. Looked for by its number, so that
/// the search costs the same however much there is. A number that a skip said would never come is nobody's; and of what
/// was forgotten since, nothing can be said.
fn is_another(tx: &mut Tx<'_>, contact: PeerId, stream: &InStream, core: &Core<'_>) -> Result<bool, StoreError> {
    let held: Option<Vec<u8>> = tx
        .conn
        .prepare_cached("SELECT core FROM reorder_buffer WHERE stream = ?1 AND seq = ?2")?
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

/// Begins to remember a stream; `None`: the contact has begun enough of them today.
fn new_stream(tx: &mut Tx<'_>, key: &StreamKey, taking: &mut Taking) -> Result<Option<InStream>, StoreError> {
    if taking.usage.epochs >= MAX_NEW_EPOCHS {
        return Ok(None);
    }
    let conversation: Option<ConversationRow> = tx
        .conn
        .prepare_cached("SELECT id FROM conversations WHERE conversation = ?1")?
        .query_row([key.conversation.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(conversation) = conversation else { return Ok(None) };
    taking.usage.epochs += 1;
    tx.conn
        .prepare_cached(
            "INSERT INTO streams_in (device, conversation, epoch, peer, contiguous, prev, ranges)
             VALUES (?1, ?2, ?3, ?4, 0, zeroblob(32), x'')",
        )?
        .execute(params![key.device.as_bytes(), conversation, key.epoch.as_bytes(), taking.contact])?;
    Ok(Some(InStream::new(tx.conn.last_insert_rowid(), conversation)))
}
