//! Own epochs: when the numbers of a stream may have been used for something that this store does not know, a new stream
//! begins, and what is not acknowledged is issued again in it under its old message ids.
//!
//! That is so after a restore, when the directory counted other sessions than we did, and when a contact has numbers of
//! ours that we never gave. It is also how a contact gets back what *it* lost: what it had acknowledged and shows no longer
//! is issued again from history.
//!
//! Not its job: to notice a restore (the service does), to talk to anybody, or to write the new stream (`crate::store::log::recovery::resend`).
//!
//! Invariants: an acknowledgement of numbers that we did not give takes nothing out of the outbox; whatever a contact
//! claims, what it costs is bounded by its size, but for a budget of new epochs a day (`crate::store::peers::usage`). When that is used up
//! a new epoch is owed, and nothing that the contact says counts until it has begun.

use proto::ids::{DeviceId, Epoch};
use proto::wire::envelope::AckEntry;
use rusqlite::{OptionalExtension, params};

use crate::model::MessageState;
use crate::model::ids::{ConversationRow, OutStreamRow, PeerDevice, PeerId};
use crate::store::account;
use crate::store::delivery::owed::MAX_SEQ;
use crate::store::delivery::{owed, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::own_streams;
use crate::store::log::recovery::detect::{self, MAX_REISSUED};
use crate::store::log::recovery::{
    self, NUMBERS_UNKNOWN, Placed, RECIPIENT_RESTORED, RESTORED, SESSION_COUNTER, devices, highest, of_ours, resend,
};
use crate::store::peers::{self, usage};

/// Messages of a stream in doubt that are sent again at once at most: so many may have been acknowledged by mistake.
const MAX_DOUBTED: u64 = 1_000;

/// What a contact's `resume` led to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resumed {
    /// It has numbers of ours that this store did not give: a new epoch was begun.
    pub own_epoch_lost: bool,
    /// Messages issued again because the contact lost them.
    pub reissued: u64,
}

/// What the entries of a contact say against the numbers of the stream in use.
#[derive(Debug, Default)]
struct Doubts {
    /// Epochs that we do not know, and the highest number of each.
    unknown: Vec<(Epoch, u64)>,
    /// The stream in use, and a number of it that was not given yet.
    beyond: Option<(OutStreamRow, u64)>,
    /// Something of the stream in use that was not tried to be sent, or that they have another core of under its number.
    other: bool,
}

impl Doubts {
    fn any(&self) -> bool {
        !self.unknown.is_empty() || self.beyond.is_some() || self.other
    }
}

/// Begins a new epoch in every conversation that has one; what is not acknowledged is issued again.
/// Answers how many epochs were begun.
///
/// # Errors
/// When it fails, no epoch was begun.
pub fn begin_epochs(tx: &mut Tx<'_>, cause: &str) -> Result<u64, StoreError> {
    let used: Vec<ConversationRow> = tx
        .conn
        // Also where no number was given yet, as far as this store knows: the epoch itself may have been used.
        .prepare_cached("SELECT DISTINCT conversation FROM streams_out ORDER BY conversation")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for conversation in &used {
        let peer = peers::partner(tx.conn, *conversation)?;
        resend::renew(tx, peer, cause, &[])?;
    }
    tx.conn.prepare_cached("UPDATE account SET restored = 0")?.execute([])?;
    account::forget_cached(tx);
    if !used.is_empty() {
        tracing::warn!(cause, conversations = used.len(), "new epochs: what was not acknowledged is sent again");
    }
    Ok(used.len() as u64)
}

/// Keeps the number that a session has at the directory. When that is not what this device `said`, the directory knows of later
/// ones; then, or when a restore made this store, new epochs begin, and the answer is `true`. A session that had no number of ours
/// has to be the next one.
pub fn session_counted(tx: &mut Tx<'_>, said: Option<u64>, number: u64) -> Result<bool, StoreError> {
    let (given, restored): (i64, bool) = tx
        .conn
        .prepare_cached("SELECT session_counter, restored FROM account")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    account::session_confirmed(tx, number)?;
    if restored {
        return Ok(begin_epochs(tx, RESTORED)? > 0);
    }
    if said.unwrap_or((given as u64).saturating_add(1)) == number {
        return Ok(false);
    }
    Ok(begin_epochs(tx, SESSION_COUNTER)? > 0)
}

/// Heeds what a contact's device says to have of our streams, before anything of it counts as an acknowledgement.
///
/// Numbers that we never gave, or never sent, mean that this store is older than what the contact has: a new epoch
/// begins. What the contact acknowledged once and has no longer is issued again, 10,000 messages a day.
pub fn peer_resumed(
    tx: &mut Tx<'_>,
    contact: PeerId,
    device: DeviceId,
    entries: &[AckEntry],
) -> Result<Resumed, StoreError> {
    if !peers::load(tx.conn, contact)?.state.may_talk() {
        return Ok(Resumed::default());
    }
    devices::follow(tx, contact)?;
    let doubts = doubts(tx, contact, entries, true)?;
    let own_epoch_lost = doubts.any() || usage::usage(tx, contact)?.owed;
    if !usage::may_renew(tx, contact)? {
        if own_epoch_lost {
            usage::owe_epoch(tx, contact)?;
        }
        return Ok(Resumed::default());
    }
    let mut lost = Vec::new();
    if own_epoch_lost {
        let stream = believe(tx, contact, doubts)?;
        lost = newest_delivered(tx, contact, stream)?;
    }
    lost.extend(detect::lost_by_peer(tx, PeerDevice { peer: contact, device }, entries)?);
    lost.sort_unstable();
    lost.dedup();
    if own_epoch_lost || !lost.is_empty() {
        let cause = if own_epoch_lost { NUMBERS_UNKNOWN } else { RECIPIENT_RESTORED };
        let rows = resend::renew(tx, contact, cause, &lost)?;
        usage::renewed(tx, contact, rows)?;
    }
    if own_epoch_lost {
        tracing::warn!(%contact, %device, "the contact has numbers of ours that we do not know: a new epoch");
    }
    if !lost.is_empty() {
        tracing::warn!(%contact, %device, messages = lost.len(), "messages that the contact may have lost are sent again");
    }
    Ok(Resumed { own_epoch_lost, reissued: lost.len() as u64 })
}

/// The part of [`crate::store::log::recovery::epochs::peer_resumed`] that every acknowledgement needs: one above what we gave must not take out of the
/// outbox what has the same number here and another content there.
/// `false`: none of it may count now.
pub(in crate::store) fn heed_epochs(
    tx: &mut Tx<'_>,
    contact: PeerId,
    entries: &[AckEntry],
) -> Result<bool, StoreError> {
    heed(tx, contact, entries, false)
}

/// Heeds acknowledgements that answer nothing that is in flight, such as those that came by mailbox: they may be of long ago, of
/// what this store had sent before its disk went back. Then they name numbers that wait here and that nobody tried to send yet.
pub fn heed_late(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry]) -> Result<(), StoreError> {
    if !entries.is_empty() {
        heed(tx, contact, entries, true)?;
    }
    Ok(())
}

fn heed(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry], unsent: bool) -> Result<bool, StoreError> {
    let doubts = doubts(tx, contact, entries, unsent)?;
    if !doubts.any() && !usage::usage(tx, contact)?.owed {
        return Ok(true);
    }
    if !usage::may_renew(tx, contact)? {
        usage::owe_epoch(tx, contact)?;
        return Ok(false);
    }
    tracing::warn!(%contact, "an acknowledgement names numbers of ours that we do not know: a new epoch");
    let stream = believe(tx, contact, doubts)?;
    let again = newest_delivered(tx, contact, stream)?;
    let rows = resend::renew(tx, contact, NUMBERS_UNKNOWN, &again)?;
    usage::renewed(tx, contact, rows)?;
    Ok(true)
}

/// What the entries say against the numbers of the stream in use. `unsent`: also if they acknowledge what was not
/// tried. On a link, the note of an attempt may be a moment behind the acknowledgement.
fn doubts(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry], unsent: bool) -> Result<Doubts, StoreError> {
    let mut doubts = unknown_numbers(tx, contact, entries)?;
    if unsent {
        doubts.other |= unsent_numbers(tx, contact, entries)?;
    }
    Ok(doubts)
}

/// Remembers the numbers in question as given; a new epoch follows at once. Answers the stream in use until now.
fn believe(tx: &mut Tx<'_>, contact: PeerId, doubts: Doubts) -> Result<OutStreamRow, StoreError> {
    let direct = peers::direct(tx.conn, contact)?;
    let newest: Option<OutStreamRow> = tx
        .conn
        .prepare_cached("SELECT max(id) FROM streams_out WHERE conversation = ?1")?
        .query_row([direct], |row| row.get(0))?;
    // An empty hash marks it: nothing is ever appended here.
    if let Some((stream, high)) = doubts.beyond {
        tx.conn
            .prepare_cached("UPDATE streams_out SET seq = ?2, prev = x'' WHERE id = ?1")?
            .execute(params![stream, high as i64])?;
    } else if let (true, Some(stream)) = (doubts.other, newest) {
        tx.conn.prepare_cached("UPDATE streams_out SET prev = x'' WHERE id = ?1")?.execute([stream])?;
    }
    for (epoch, high) in doubts.unknown {
        tx.conn
            .prepare_cached("INSERT INTO streams_out (conversation, epoch, seq, prev) VALUES (?1, ?2, ?3, x'')")?
            .execute(params![direct, epoch.as_bytes(), high as i64])?;
    }
    Ok(newest.unwrap_or_default())
}

/// The newest messages of a stream in doubt that were acknowledged: what was acknowledged may be what had their numbers
/// before. Whoever has them sees nothing of it.
fn newest_delivered(tx: &mut Tx<'_>, contact: PeerId, stream: OutStreamRow) -> Result<Vec<Placed>, StoreError> {
    let room = MAX_DOUBTED.min(MAX_REISSUED.saturating_sub(detect::reissued_today(tx, contact)?));
    if room == 0 {
        return Ok(Vec::new());
    }
    let newest: Vec<Placed> = tx
        .conn
        .prepare_cached(
            "SELECT m.stream, m.seq, m.id FROM messages m WHERE m.conversation = ?1 AND m.sender = 0 AND m.stream = ?2
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.stream = m.stream AND o.seq = m.seq)
             ORDER BY m.id DESC LIMIT ?3",
        )?
        .query_map(params![peers::direct(tx.conn, contact)?, stream, room as i64], |row| {
            Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    let mut out = Vec::new();
    for placed in newest.into_iter().rev() {
        let (state, _) = trace::state_at(tx.conn, contact, placed.stream, placed.seq)?;
        if matches!(state, MessageState::Delivered | MessageState::Read) {
            out.push(placed);
        }
    }
    Ok(out)
}

/// Numbers of ours in the entries that were never given.
fn unknown_numbers(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry]) -> Result<Doubts, StoreError> {
    let mut doubts = Doubts::default();
    let direct = peers::direct(tx.conn, contact)?;
    let newest: Option<OutStreamRow> = tx
        .conn
        .prepare_cached("SELECT max(id) FROM streams_out WHERE conversation = ?1")?
        .query_row([direct], |row| row.get(0))?;
    let mut room: Option<usize> = None;
    for entry in of_ours(tx, contact, entries)? {
        let high = highest(entry);
        let known: Option<(OutStreamRow, i64)> = tx
            .conn
            .prepare_cached("SELECT id, seq FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
            .query_row(params![direct, entry.epoch.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match known {
            // Numbers of a stream that is in use no longer can do no harm.
            Some((stream, last)) if Some(stream) == newest && high > last as u64 => {
                doubts.beyond = Some((stream, high.max(doubts.beyond.map_or(0, |(_, high)| high))));
            }
            Some((stream, _)) if Some(stream) == newest => {
                let given = own_streams::hash_at(tx.conn, stream, high)?;
                doubts.other |= entry.head.zip(given).is_some_and(|(head, given)| !given.starts_with(&head));
            }
            None if high > 0 && doubts.unknown.iter().all(|(epoch, _)| *epoch != entry.epoch) => {
                let left = match room {
                    Some(left) => left,
                    None => recovery::room_for_epochs(tx.conn, contact)?,
                };
                room = Some(left.saturating_sub(1));
                if left > 0 {
                    doubts.unknown.push((entry.epoch, high));
                }
            }
            _ => {}
        }
    }
    Ok(doubts)
}

/// Whether the entries acknowledge something of the stream in use that waits, and of which no attempt is known: then it
/// is not that which the contact has.
///
/// Attempts that a crash forgot look the same. But what waited already when this process opened the store is no case of it: whatever
/// time the disk went back to, the numbers that it had given by then meant the same before and after.
fn unsent_numbers(tx: &mut Tx<'_>, contact: PeerId, entries: &[AckEntry]) -> Result<bool, StoreError> {
    let newest: Option<(i64, Vec<u8>)> = tx
        .conn
        .prepare_cached("SELECT id, epoch FROM streams_out WHERE conversation = ?1 ORDER BY id DESC LIMIT 1")?
        .query_row([peers::direct(tx.conn, contact)?], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((stream, epoch)) = newest else { return Ok(false) };
    let current = |entry: &&AckEntry| entry.epoch.as_bytes()[..] == epoch && highest(entry) > 0;
    let Some(entry) = of_ours(tx, contact, entries)?.into_iter().find(current) else { return Ok(false) };
    let tried: i64 = tx
        .conn
        .prepare_cached(
            "SELECT coalesce(max(high), 0) FROM attempts WHERE stream = ?1 AND outcome IN ('sent', 'deposited')",
        )?
        .query_row([stream], |row| row.get(0))?;
    let mut waits = tx.conn.prepare_cached(
        "SELECT 1 FROM outbox WHERE stream = ?1 AND seq > ?2 AND seq BETWEEN ?3 AND ?4 AND message > ?5",
    )?;
    for (low, high) in owed::covered(entry) {
        if waits.exists(params![stream, tried, low as i64, high.min(MAX_SEQ) as i64, tx.opened_with])? {
            return Ok(true);
        }
    }
    Ok(false)
}
