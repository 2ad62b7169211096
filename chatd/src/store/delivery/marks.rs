//! Which part of an own stream reached which state when: a row for each acknowledgement, not for each message.

use proto::ids::MessageId;
use rusqlite::{OptionalExtension, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::model::{Called, Event, EventBody, EventKind, MessageState};
use crate::store::account;
use crate::store::delivery::runs::{self, Run, subtract};
use crate::store::engine::event_row::StoredEvent;
use crate::store::engine::tx::Tx;
use crate::store::engine::{emit, numbers};
use crate::store::error::StoreError;
use crate::store::peers::names;

/// Marks of one state never overlap: who looks one up takes the first that ends behind its number.
pub(in crate::store) fn mark(
    tx: &mut Tx<'_>,
    stream: OutStreamRow,
    state: MessageState,
    (low, high): (u64, u64),
    cause: &str,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO marks (stream, state, high, low, at, cause) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![stream, numbers::state_number(state), high as i64, low as i64, tx.now.0, cause])?;
    Ok(())
}

/// The ranges of a stream that reached a state, as far as they meet another range; apart, and in their order.
pub(in crate::store) fn marked(
    tx: &Tx<'_>,
    stream: OutStreamRow,
    state: MessageState,
    (low, high): (u64, u64),
) -> Result<Vec<(u64, u64)>, StoreError> {
    let (low, high) = (low as i64, i64::try_from(high).unwrap_or(i64::MAX));
    Ok(tx
        .conn
        .prepare_cached(
            "SELECT low, high FROM marks WHERE stream = ?1 AND state = ?2 AND high >= ?3 AND low <= ?4 ORDER BY high",
        )?
        .query_map(params![stream, numbers::state_number(state), low, high], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })?
        .collect::<Result<_, _>>()?)
}

/// Message ids for event building; zeros where nobody listens, because then they are not used.
pub(in crate::store) fn with_ids(
    tx: &Tx<'_>,
    rows: impl Iterator<Item = i64>,
) -> Result<Vec<(i64, MessageId)>, StoreError> {
    let mut select = tx.conn.prepare_cached("SELECT msgid FROM messages WHERE id = ?1")?;
    let mut out = Vec::new();
    for row in rows.filter(|row| *row != 0) {
        let id = if tx.listeners {
            let bytes: Option<Vec<u8>> = select.query_row([row], |r| r.get(0)).optional()?;
            bytes.and_then(|b| MessageId::from_slice(&b)).unwrap_or(MessageId([0; 16]))
        } else {
            MessageId([0; 16])
        };
        out.push((row, id));
    }
    Ok(out)
}

/// Takes numbers out of the marks that say that they arrived.
pub(in crate::store) fn unmark(
    tx: &mut Tx<'_>,
    stream: OutStreamRow,
    (low, high): (u64, u64),
) -> Result<(), StoreError> {
    for state in [MessageState::Delivered, MessageState::Read].map(numbers::state_number) {
        let cut: Vec<(Run, String, Vec<u8>)> = tx
            .conn
            .prepare_cached(
                "DELETE FROM marks WHERE stream = ?1 AND state = ?2 AND high >= ?3 AND low <= ?4
                 RETURNING low, high, at, cause, runs",
            )?
            .query_map(params![stream, state, low as i64, high as i64], |row| {
                let whole = Run { low: row.get(0)?, high: row.get(1)?, at: row.get(2)? };
                Ok((whole, row.get(3)?, row.get(4)?))
            })?
            .collect::<Result<_, _>>()?;
        for (whole, cause, runs) in cut {
            let mut left: Vec<Run> = Vec::new();
            for run in runs::decode(whole, &runs)? {
                for (from, to) in subtract((run.low as u64, run.high as u64), &[(low, high)]) {
                    left.push(Run { low: from as i64, high: to as i64, ..run });
                }
            }
            // What is before the cut and what is behind it stay one row each.
            for piece in left.chunk_by(|a, b| a.high + 1 == b.low) {
                runs::mark_runs(tx, stream, state, piece, &cause)?;
            }
        }
    }
    Ok(())
}

/// Own messages reached a state.
pub(in crate::store) fn tell(
    tx: &mut Tx<'_>,
    contact: PeerId,
    state: MessageState,
    reason: Option<&str>,
    messages: Vec<(i64, MessageId)>,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let built = if tx.listeners {
        let (own, called) = (account::own(tx)?, names::called_here(tx, contact)?);
        let make = |(_, id): &(i64, MessageId)| Event {
            seq: 0,
            at: tx.now,
            account: own.name.clone(),
            about: Some(Called::clone(&called)),
            body: EventBody::State { id: *id, state, reason: reason.map(str::to_owned) },
        };
        Some(messages.iter().map(make).collect())
    } else {
        None
    };
    let body = StoredEvent {
        contact,
        messages: messages.into_iter().map(|(row, _)| row).collect(),
        state: Some(numbers::state_number(state)),
        reason: reason.map(str::to_owned),
        ..StoredEvent::default()
    };
    emit::messages(tx, EventKind::MessageState, body, built);
    Ok(())
}
