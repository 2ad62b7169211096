//! The stored side of the event feed: a row covers the events of one commit and type, and is expanded when it is read.

pub mod consumers;

use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::{Event, EventBody, EventKind};
use crate::store::contacts::list;
use crate::store::engine::event_row::{DAMAGED, StoredEvent};
use crate::store::engine::numbers::{self, kind_of};
use crate::store::error::StoreError;
use crate::store::history::{self, Names};
use crate::store::{account, peers};

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
            let (upto, at) = (oldest - 1, Timestamp::now());
            let body = EventBody::Lagged { upto };
            page.events.push(Event { seq: upto, at, account: own.name.clone(), about: None, body });
            page.next = upto;
        }
    }
    let mut select =
        conn.prepare_cached("SELECT last, first, type, at, body FROM events WHERE last > ?1 ORDER BY last LIMIT 256")?;
    let mut rows = select.query(params![page.next as i64])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let (last, first): (i64, i64) = (row.get(0)?, row.get(1)?);
        let kind = kind_of(row.get(2)?).ok_or(DAMAGED)?;
        let at = Timestamp(row.get(3)?);
        let stored = StoredEvent::decode(&row.get::<_, Vec<u8>>(4)?)?;
        let before = page.events.len();
        expand(conn, &own.name, &own.origin, &names, (first as u64, kind, at), &stored, &mut page.events)?;
        page.next = last as u64;
        bytes += page.events[before..].iter().map(Event::text_bytes).sum::<usize>();
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
    (first, kind, at): (u64, EventKind, Timestamp),
    stored: &StoredEvent,
    out: &mut Vec<Event>,
) -> Result<(), StoreError> {
    let contact = peers::load(conn, stored.contact).ok();
    let called = contact.as_ref().map(|row| names.called(conn, row.id)).transpose()?.flatten();
    let new = |seq, body| Event { seq, at, account: own.to_owned(), about: called.as_deref().cloned(), body };
    let reason = || stored.reason.clone();
    // A message that was deleted since has no event any more; its number stays unused.
    let numbered = || (first..).zip(&stored.messages);
    match kind {
        EventKind::MessageReceived => {
            let muted = contact.as_ref().and_then(|row| row.muted_until).is_some_and(|until| until > at);
            let mut found = history::by_rows(conn, &stored.messages, names)?.into_iter().peekable();
            for (seq, row) in numbered() {
                let Some((_, message)) = found.next_if(|(id, _)| id == row) else { continue };
                out.push(new(seq, EventBody::Received { message: Box::new(message), muted }));
            }
        }
        EventKind::MessageState => {
            let state = stored.state.and_then(numbers::state_of).ok_or(DAMAGED)?;
            for (seq, row) in numbered() {
                let Some(id) = history::id_of(conn, *row)? else { continue };
                out.push(new(seq, EventBody::State { id, state, reason: reason() }));
            }
        }
        EventKind::MessageGap => {
            let count = stored.count.ok_or(DAMAGED)?;
            out.push(new(first, EventBody::Gap { count, reason: reason() }));
        }
        EventKind::Contact(change) => {
            let contact = contact.as_ref().map(|row| list::describe(conn, row, home)).transpose()?.map(Box::new);
            out.push(new(first, EventBody::Contact { change, contact, reason: reason() }));
        }
        EventKind::Presence => {
            let online = stored.online.ok_or(DAMAGED)?;
            out.push(new(first, EventBody::Presence { online }));
        }
        // Made by whoever reads; never stored.
        EventKind::FeedLagged => return Err(DAMAGED),
    }
    Ok(())
}
