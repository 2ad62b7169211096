//! Where an own message stands, and how it came there: computed from outbox, marks and attempts.

use proto::ids::MessageId;
use proto::reason::Reason;
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::model::{MessageState, Outcome, Step, TraceStep};
use crate::store::delivery::deposits;
use crate::store::delivery::packs::{self, Tried};
use crate::store::delivery::runs::{self, Run};
use crate::store::engine::numbers;
use crate::store::error::StoreError;
use crate::store::peers;

/// Attempts that a trace shows at most, the newest.
const MAX_ATTEMPTS: usize = 100;

/// A mark that covers a seq.
struct Mark {
    at: i64,
    cause: String,
}

fn mark(conn: &Connection, stream: OutStreamRow, state: MessageState, seq: i64) -> Result<Option<Mark>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT low, high, at, cause, runs FROM marks WHERE stream = ?1 AND state = ?2 AND high >= ?3
             ORDER BY high LIMIT 1",
        )?
        .query_row(params![stream, numbers::state_number(state), seq], |row| {
            let (whole, cause) = (Run { low: row.get(0)?, high: row.get(1)?, at: row.get(2)? }, row.get(3)?);
            Ok((whole, cause, row.get::<_, Vec<u8>>(4)?))
        })
        .optional()?;
    let Some((whole, cause, runs)) = found.filter(|(whole, ..)| whole.low <= seq) else { return Ok(None) };
    let at = runs::decode(whole, &runs)?.into_iter().find(|run| seq <= run.high).map_or(whole.at, |run| run.at);
    Ok(Some(Mark { at, cause }))
}

/// State and reason of an own message by its place in a stream.
pub(in crate::store) fn state_at(
    conn: &Connection,
    contact: PeerId,
    stream: OutStreamRow,
    seq: i64,
) -> Result<(MessageState, Option<String>), StoreError> {
    // First: a receipt for a later message covers it, and says nothing of it.
    if let Some(mark) = mark(conn, stream, MessageState::Expired, seq)? {
        return Ok((MessageState::Expired, Some(mark.cause)));
    }
    for state in [MessageState::Read, MessageState::Delivered] {
        if mark(conn, stream, state, seq)?.is_some() {
            return Ok((state, None));
        }
    }
    for state in [MessageState::Rejected, MessageState::Withdrawn] {
        if let Some(mark) = mark(conn, stream, state, seq)? {
            return Ok((state, Some(mark.cause)));
        }
    }
    if deposits::lies_there(conn, stream, seq)? {
        return Ok((MessageState::Mailboxed, None));
    }
    let attempts: Option<(bool, bool, String, String)> = conn
        .prepare_cached(
            "SELECT max(attempts.outcome = 'sent'),
                    coalesce(max(iif(attempts.outcome = 'account_gone', at, NULL))
                             >= max(iif(attempts.outcome = 'sent', at, 0)), 0),
                    last.outcome, last.detail
             FROM attempts, (SELECT outcome, detail FROM attempts WHERE stream = ?1 AND high >= ?2 AND low <= ?2
                             ORDER BY at DESC, id DESC LIMIT 1) AS last
             WHERE stream = ?1 AND high >= ?2 AND low <= ?2 HAVING count(*) > 0",
        )?
        .query_row(params![stream, seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let last = match attempts {
        // Also of what left on a link that had outlived the account: nobody will acknowledge it.
        Some((sent, true, ..)) => {
            let state = if sent { MessageState::Sent } else { MessageState::Queued };
            return Ok((state, Some(Reason::AccountGone.to_string())));
        }
        // It came there and was not taken, if that was the last word.
        Some((true, _, last, detail)) => {
            let last = outcome(&last, detail)?.reason().filter(|reason| *reason == Reason::RecipientQuota);
            return Ok((MessageState::Sent, last.map(|reason| reason.to_string())));
        }
        Some((_, _, last, detail)) => match outcome(&last, detail)? {
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::Sent | Outcome::Deposited => None,
        },
        None => None,
    };
    let row = peers::load(conn, contact)?;
    let reason = peers::wait_reason(&row).map(|reason| reason.to_string()).or(last);
    Ok((MessageState::Queued, reason))
}

fn outcome(word: &str, detail: String) -> Result<Outcome, StoreError> {
    numbers::outcome_of(word, detail).ok_or(StoreError::Damaged("the outcome of an attempt"))
}

/// Whether an own message ended by its lifetime.
pub(in crate::store) fn is_expired(conn: &Connection, stream: OutStreamRow, seq: i64) -> Result<bool, StoreError> {
    Ok(mark(conn, stream, MessageState::Expired, seq)?.is_some())
}

/// When an own message came to a state, where a mark or an attempt tells.
pub(in crate::store) fn since(
    conn: &Connection,
    stream: OutStreamRow,
    seq: i64,
    state: MessageState,
) -> Result<Option<Timestamp>, StoreError> {
    if state == MessageState::Sent {
        let first = conn
            .prepare_cached(
                "SELECT min(at) FROM attempts WHERE stream = ?1 AND high >= ?2 AND low <= ?2 AND outcome = 'sent'",
            )?
            .query_row(params![stream, seq], |row| row.get::<_, Option<i64>>(0))?;
        return Ok(first.map(Timestamp));
    }
    Ok(mark(conn, stream, state, seq)?.map(|mark| Timestamp(mark.at)))
}

/// State and reason of an own message by its id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn own_state(conn: &Connection, id: &MessageId) -> Result<(MessageState, Option<String>), StoreError> {
    let place: Option<(PeerId, OutStreamRow, i64)> = conn
        .prepare_cached(
            "SELECT c.peer, m.stream, m.seq FROM messages m JOIN contacts c ON c.conversation = m.conversation
             WHERE m.msgid = ?1 AND m.sender = 0",
        )?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (contact, stream, seq) = place.ok_or_else(not_there)?;
    state_at(conn, contact, stream, seq)
}

/// To whom an own message was sent.
pub(in crate::store) fn own_recipient(conn: &Connection, id: &MessageId) -> Result<Option<PeerId>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT c.peer FROM messages m JOIN contacts c ON c.conversation = m.conversation
             WHERE m.msgid = ?1 AND m.sender = 0",
        )?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// What is known of one message's way.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The other side.
    pub contact: PeerId,
    /// Own message, or one of theirs.
    pub own: bool,
    /// State now.
    pub state: MessageState,
    /// Its reason.
    pub reason: Option<String>,
    /// Oldest first.
    pub steps: Vec<TraceStep>,
}

/// Where a message stands in the store.
pub struct Place {
    /// The other side.
    pub contact: PeerId,
    /// Own message, or one of theirs.
    pub own: bool,
    sender: i64,
    stream: OutStreamRow,
    seq: i64,
    sent_at: i64,
    received_at: i64,
    row: i64,
}

/// What is said of a message that is not there.
pub fn not_there() -> StoreError {
    StoreError::NotFound("that message")
}

/// Where a message stands, own or received.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn place(conn: &Connection, id: &MessageId) -> Result<Place, StoreError> {
    conn.prepare_cached(
        "SELECT c.peer, m.sender, m.stream, m.seq, m.sent_at, m.received_at, m.id
         FROM messages m JOIN contacts c ON c.conversation = m.conversation
         WHERE m.msgid = ?1 ORDER BY m.sender LIMIT 1",
    )?
    .query_row([id.as_bytes()], |row| {
        Ok(Place {
            contact: row.get(0)?,
            own: row.get::<_, i64>(1)? <= 0,
            sender: row.get(1)?,
            stream: row.get(2)?,
            seq: row.get(3)?,
            sent_at: row.get(4)?,
            received_at: row.get(5)?,
            row: row.get(6)?,
        })
    })
    .optional()?
    .ok_or_else(not_there)
}

/// The way of a message, own or received.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn trace(conn: &Connection, id: &MessageId) -> Result<Trace, StoreError> {
    let Place { contact, sender, stream, seq, sent_at, received_at, row, .. } = place(conn, id)?;
    let step = |at: i64, step: Step| TraceStep { at: Timestamp(at), step };
    let reached = |at: i64, state: MessageState, reason: Option<String>| step(at, Step::State { state, reason });
    if sender != 0 {
        let steps = vec![reached(sent_at, MessageState::Sent, None), step(received_at, Step::Received)];
        if sender < 0 {
            return Ok(Trace { contact, own: true, state: MessageState::Sent, reason: None, steps });
        }
        let read_upto = peers::load(conn, contact)?.read_upto;
        let state = if row <= read_upto { MessageState::Read } else { MessageState::Delivered };
        return Ok(Trace { contact, own: false, state, reason: None, steps });
    }
    let (state, reason) = state_at(conn, contact, stream, seq)?;
    let mut steps = vec![reached(sent_at, MessageState::Queued, None)];
    let mut attempts = conn.prepare_cached(
        "SELECT id, at, path, outcome, low, high, detail FROM attempts WHERE stream = ?1 AND high >= ?2 AND low <= ?2
         ORDER BY at DESC, id DESC LIMIT ?3",
    )?;
    let rows = attempts.query_map(params![stream, seq, MAX_ATTEMPTS as i64], |row| {
        let (id, at, low, high) = (row.get(0)?, row.get(1)?, row.get(4)?, row.get(5)?);
        Ok(Tried { id, low, high, at, path: row.get(2)?, outcome: row.get(3)?, detail: row.get(6)? })
    })?;
    let mut tried = packs::packed(conn, stream, seq)?;
    tried.extend(rows.collect::<Result<Vec<_>, _>>()?);
    tried.sort_by_key(|one| (one.at, one.id));
    for one in tried.split_off(tried.len().saturating_sub(MAX_ATTEMPTS)) {
        let (outcome, others) = (outcome(&one.outcome, one.detail)?, (one.high - one.low) as u64);
        steps.push(step(one.at, Step::Attempt { path: one.path, outcome, others }));
    }
    for state in [
        MessageState::Mailboxed,
        MessageState::Delivered,
        MessageState::Read,
        MessageState::Rejected,
        MessageState::Expired,
        MessageState::Withdrawn,
    ] {
        if let Some(mark) = mark(conn, stream, state, seq)? {
            let reason = Reason::read(&mark.cause).is_some().then_some(mark.cause);
            steps.push(reached(mark.at, state, reason));
        }
    }
    // As things happened; what happened in one millisecond stays as it was found.
    steps.sort_by_key(|step| step.at);
    Ok(Trace { contact, own: true, state, reason, steps })
}
