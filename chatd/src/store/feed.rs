//! The stored side of the event feed: a row covers the events of one commit and type, and is expanded when it is read.

use proto::rpc::event::{Event, EventType};
use proto::rpc::types::MessageState;
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::history::{self, Names};
use super::naming::Called;
use super::{StoreError, account, contacts, people};
use crate::model::ids::PeerId;

/// What a row of `events` says beyond its columns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct StoredEvent {
    pub contact: PeerId,
    /// `messages.id` of each event, ascending or not.
    pub messages: Vec<i64>,
    pub state: Option<MessageState>,
    pub reason: Option<String>,
    pub online: Option<bool>,
    pub count: Option<u64>,
}

impl StoredEvent {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Differences are mostly 1: one byte a message.
        let mut previous = 0;
        let mut deltas = self.clone();
        for id in &mut deltas.messages {
            (*id, previous) = (*id - previous, *id);
        }
        rmp_serde::to_vec(&deltas).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut event: Self = rmp_serde::from_slice(bytes).map_err(|_| StoreError::Damaged("event"))?;
        let mut id = 0;
        for delta in &mut event.messages {
            id += *delta;
            *delta = id;
        }
        Ok(event)
    }
}

/// The number of a type in `events`: its place in [`EventType::ALL`], which therefore only ever grows at its end.
pub(super) fn type_number(kind: EventType) -> i64 {
    EventType::ALL.iter().position(|known| *known == kind).map_or(0, |n| n as i64)
}

/// Bytes of texts in one page, and what the last row brings beyond.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// A page of events.
#[derive(Debug, Default)]
pub struct FeedPage {
    /// In order.
    pub events: Vec<Event>,
    /// Where to read on.
    pub next: u64,
}

/// Events after `after`, up to `limit` (a little more when a row covers more). If the oldest of them are no longer stored, the
/// page begins with a `feed.lagged` event.
///
/// # Errors
/// Those of the database.
pub fn read_events(conn: &Connection, after: u64, limit: usize) -> Result<FeedPage, StoreError> {
    let own = account::load(conn)?;
    let names = Names::load(conn)?;
    // No number is beyond an i64, whatever a client says.
    let after = after.min(i64::MAX as u64);
    let mut page = FeedPage { events: Vec::new(), next: after };
    let oldest: Option<i64> =
        conn.prepare_cached("SELECT min(first) FROM events")?.query_row([], |row| row.get(0)).optional()?.flatten();
    if let Some(oldest) = oldest {
        let oldest = oldest as u64;
        if oldest > after + 1 {
            let mut event = Event::new(oldest - 1, EventType::FeedLagged, Timestamp::now(), own.name.clone());
            event.upto = Some(oldest - 1);
            page.events.push(event);
            page.next = oldest - 1;
        }
    }
    let mut select =
        conn.prepare_cached("SELECT last, first, type, at, body FROM events WHERE last > ?1 ORDER BY last LIMIT 256")?;
    let mut rows = select.query(params![page.next as i64])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let (last, first): (i64, i64) = (row.get(0)?, row.get(1)?);
        let kind = EventType::ALL.get(row.get::<_, i64>(2)? as usize).copied().ok_or(StoreError::Damaged("event"))?;
        let at = Timestamp(row.get(3)?);
        let stored = StoredEvent::decode(&row.get::<_, Vec<u8>>(4)?)?;
        let before = page.events.len();
        expand(conn, &own.name, &own.origin, &names, (first as u64, kind, at), &stored, &mut page.events)?;
        page.next = last as u64;
        let texts =
            |events: &[Event]| -> usize { events.iter().filter_map(|e| Some(e.message.as_ref()?.body.len())).sum() };
        bytes += texts(&page.events[before..]);
        if page.events.len() >= limit || bytes >= MAX_PAGE_BYTES {
            break;
        }
    }
    page.events.retain(|event| event.seq > after);
    Ok(page)
}

fn expand(
    conn: &Connection,
    own: &str,
    home: &str,
    names: &Names,
    (first, kind, at): (u64, EventType, Timestamp),
    stored: &StoredEvent,
    out: &mut Vec<Event>,
) -> Result<(), StoreError> {
    let contact = contacts::load(conn, stored.contact).ok();
    let called = contact.as_ref().map(|row| names.called(conn, row.id)).transpose()?.flatten();
    if stored.messages.is_empty() {
        let mut event = Event::new(first, kind, at, own.to_owned());
        called.iter().for_each(|called| about(&mut event, called));
        event.online = stored.online;
        event.count = stored.count;
        event.reason = stored.reason.clone();
        if stored.online.is_none() && kind != EventType::MessageGap {
            event.contact = contact.as_ref().map(|row| people::to_rpc(conn, row, home)).transpose()?;
        }
        out.push(event);
        return Ok(());
    }
    let muted = contact.as_ref().and_then(|row| row.muted_until).is_some_and(|until| until > at);
    // A message that was deleted since has no event any more; its number stays unused.
    let numbered = || (first..).zip(&stored.messages);
    let new = |seq| {
        let mut event = Event::new(seq, kind, at, own.to_owned());
        called.iter().for_each(|called| about(&mut event, called));
        event
    };
    if kind == EventType::MessageReceived {
        let mut found = history::by_rows(conn, &stored.messages, names)?.into_iter().peekable();
        for (seq, row) in numbered() {
            let Some((_, message)) = found.next_if(|(id, _)| id == row) else { continue };
            out.push(Event { message: Some(message), muted, ..new(seq) });
        }
    } else {
        for (seq, row) in numbered() {
            let Some(id) = history::id_of(conn, *row)? else { continue };
            out.push(Event { id: Some(id), state: stored.state, reason: stored.reason.clone(), ..new(seq) });
        }
    }
    Ok(())
}

/// Names the other person in an event.
pub(super) fn about(event: &mut Event, called: &Called) {
    event.who = Some(called.who.clone());
    event.peer = Some(called.account);
    event.label = called.label.clone();
}
