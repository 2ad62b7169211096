//! What an operation sees of the running transaction: the connection, a cache of hot rows, and the events it makes.

use crate::store::StoreError;
use crate::store::account;
use crate::store::feed::StoredEvent;
use crate::store::naming;
use crate::store::outbound::OutStream;
use crate::store::streams::{InStream, StreamKey};
use crate::store::trace;
use std::collections::HashMap;

use std::sync::Arc;

use proto::ids::{ConversationId, DeviceId, Epoch, MessageId};
use proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::events::EventBatch;
use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{AccountRow, Called, ContactChange, Event, EventBody, EventKind, MessageState};

/// Foreign streams kept in memory at most; beyond that the cache starts anew.
const MAX_CACHED_STREAMS: usize = 4_096;

/// Events that one row of `events` covers at most.
const EVENTS_PER_ROW: usize = 256;

/// Rows that nearly every operation needs. Only ever a copy of what is in the database at the end of an operation.
#[derive(Default)]
pub(super) struct Cache {
    pub own: Option<Arc<AccountRow>>,
    pub out: HashMap<ConversationRow, OutStream>,
    pub inbound: HashMap<StreamKey, InStream>,
    pub called: HashMap<PeerId, Arc<Called>>,
}

/// An operation's view of the transaction.
pub struct Tx<'t> {
    pub(super) conn: &'t Connection,
    pub(super) cache: &'t mut Cache,
    /// The time of this transaction.
    pub now: Timestamp,
    /// Whether somebody reads events as they happen.
    pub(super) listeners: bool,
    /// The disk has no room for what does not free some.
    low: bool,
    head: u64,
    events: Vec<NewEvent>,
    newest_message: i64,
    dirty: Vec<PeerId>,
    /// Why a failed operation could not be taken back alone.
    lost: Option<StoreError>,
}

struct NewEvent {
    kind: EventKind,
    count: u64,
    body: StoredEvent,
    built: Option<Vec<Event>>,
}

pub(super) struct Finished {
    pub events: Option<EventBatch>,
    pub newest_message: i64,
    pub dirty: Vec<PeerId>,
}

impl<'t> Tx<'t> {
    pub(super) fn new(
        conn: &'t Connection,
        cache: &'t mut Cache,
        head: u64,
        (listeners, low): (bool, bool),
        now: Timestamp,
    ) -> Self {
        if cache.inbound.len() > MAX_CACHED_STREAMS {
            cache.inbound.clear();
        }
        let (events, dirty) = (Vec::new(), Vec::new());
        Self { conn, cache, now, listeners, low, head, events, newest_message: 0, dirty, lost: None }
    }

    /// For operations that store more than they free: refuses when the disk is nearly full.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn needs_room(&self) -> Result<(), StoreError> {
        if self.low { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Why nothing of this transaction can be committed any more, if that is so. SQLite rolls a transaction back by itself
    /// when the disk is full or fails, and what came after would then be committed alone.
    pub(super) fn loss(&self) -> Option<StoreError> {
        match &self.lost {
            Some(error) => Some(error.for_neighbours()),
            None => self.conn.is_autocommit().then(|| StoreError::NotStored("SQLite rolled back".into())),
        }
    }

    /// Runs one operation so that its failure leaves no trace and does not touch its neighbours.
    pub(super) fn savepoint<T>(
        &mut self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(error) = self.loss() {
            return Err(error);
        }
        self.conn.prepare_cached("SAVEPOINT op")?.execute([])?;
        let marks = (self.events.len(), self.newest_message, self.dirty.len());
        let result = op(self).and_then(|value| {
            self.conn.prepare_cached("RELEASE op")?.execute([])?;
            Ok(value)
        });
        if let Err(error) = &result {
            *self.cache = Cache::default();
            self.events.truncate(marks.0);
            self.newest_message = marks.1;
            self.dirty.truncate(marks.2);
            // If it cannot be taken back alone, everything is.
            if self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK TO op; RELEASE op").is_err() {
                self.lost = Some(error.for_neighbours());
            }
        }
        result
    }

    /// Numbers and stores the events.
    pub(super) fn finish(self) -> Result<Finished, StoreError> {
        let first = self.head + 1;
        let mut last = self.head;
        let mut all: Option<Vec<Event>> = Some(Vec::new());
        for event in self.events {
            let from = last + 1;
            last += event.count;
            self.conn
                .prepare_cached("INSERT INTO events (last, first, type, at, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                last as i64,
                from as i64,
                super::feed::kind_number(event.kind),
                self.now.0,
                event.body.encode()
            ])?;
            all = match (all, event.built) {
                (Some(mut all), Some(built)) if built.len() as u64 == event.count => {
                    all.extend(built.into_iter().zip(from..).map(|(mut event, seq)| {
                        event.seq = seq;
                        event
                    }));
                    Some(all)
                }
                _ => None,
            };
        }
        let events = (last >= first).then(|| EventBatch { first, last, events: all.map(Arc::new) });
        Ok(Finished { events, newest_message: self.newest_message, dirty: self.dirty })
    }

    /// Runs a query on what this transaction sees, its own changes among it.
    ///
    /// # Errors
    /// Those of the query.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        query(self.conn)
    }

    /// For what only a test does to a database.
    #[cfg(test)]
    pub(crate) fn test_conn(&self) -> &Connection {
        self.conn
    }

    /// Delivery should look at this contact after the commit.
    pub fn wake_delivery(&mut self, contact: PeerId) {
        if self.dirty.last() != Some(&contact) {
            self.dirty.push(contact);
        }
    }

    pub(super) fn stored_message(&mut self, id: i64) {
        self.newest_message = self.newest_message.max(id);
    }

    /// The account's own row.
    ///
    /// # Errors
    /// Those of the database.
    pub fn own(&mut self) -> Result<Arc<AccountRow>, StoreError> {
        if let Some(own) = &self.cache.own {
            return Ok(Arc::clone(own));
        }
        let own = Arc::new(account::load(self.conn)?);
        self.cache.own = Some(Arc::clone(&own));
        Ok(own)
    }

    /// Messages came: `built` are their events if somebody listens.
    pub(super) fn event_received(&mut self, contact: PeerId, ids: Vec<i64>, built: Option<Vec<Event>>) {
        let body = StoredEvent { contact, messages: ids, ..StoredEvent::default() };
        self.push_events(EventKind::MessageReceived, body, built);
    }

    /// One event for each message of `body`, in rows that a reader can expand one at a time.
    fn push_events(&mut self, kind: EventKind, body: StoredEvent, built: Option<Vec<Event>>) {
        let mut built = built.filter(|built| built.len() == body.messages.len()).map(Vec::into_iter);
        for ids in body.messages.chunks(EVENTS_PER_ROW) {
            let built = built.as_mut().map(|built| built.take(ids.len()).collect());
            let body = StoredEvent { messages: ids.to_vec(), reason: body.reason.clone(), ..body };
            self.events.push(NewEvent { kind, count: ids.len() as u64, body, built });
        }
    }

    /// Own messages reached a state.
    pub(super) fn event_state(
        &mut self,
        contact: PeerId,
        state: MessageState,
        reason: Option<&str>,
        messages: Vec<(i64, MessageId)>,
    ) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let built = if self.listeners {
            let (own, called) = (self.own()?, naming::called_here(self, contact)?);
            let make = |(_, id): &(i64, MessageId)| Event {
                seq: 0,
                at: self.now,
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
            state: Some(trace::state_number(state)),
            reason: reason.map(str::to_owned),
            ..StoredEvent::default()
        };
        self.push_events(EventKind::MessageState, body, built);
        Ok(())
    }

    /// Something about a contact.
    pub fn event_contact(&mut self, change: ContactChange, contact: PeerId) {
        let (kind, body) = (EventKind::Contact(change), StoredEvent { contact, ..StoredEvent::default() });
        self.events.push(NewEvent { kind, count: 1, body, built: None });
    }

    /// Messages of a contact are missing, or (with a reason) something else is wrong with their sequence.
    pub(super) fn event_gap(&mut self, contact: PeerId, count: u64, reason: Option<&str>) {
        let reason = reason.map(str::to_owned);
        let body = StoredEvent { contact, count: Some(count), reason, ..StoredEvent::default() };
        self.events.push(NewEvent { kind: EventKind::MessageGap, count: 1, body, built: None });
    }

    /// Something about a contact, and why.
    pub fn event_contact_because(&mut self, change: ContactChange, contact: PeerId, reason: &str) {
        let kind = EventKind::Contact(change);
        let body = StoredEvent { contact, reason: Some(reason.to_owned()), ..StoredEvent::default() };
        self.events.push(NewEvent { kind, count: 1, body, built: None });
    }

    /// A contact came online or went.
    pub fn event_presence(&mut self, contact: PeerId, online: bool) {
        let body = StoredEvent { contact, online: Some(online), ..StoredEvent::default() };
        self.events.push(NewEvent { kind: EventKind::Presence, count: 1, body, built: None });
    }
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).finish_non_exhaustive()
    }
}

/// The key of a stream as bytes of the database.
pub(super) fn stream_key(device: &[u8], conversation: &[u8], epoch: &[u8]) -> Option<StreamKey> {
    Some(StreamKey {
        device: DeviceId::from_slice(device)?,
        conversation: ConversationId::from_slice(conversation)?,
        epoch: Epoch::from_slice(epoch)?,
    })
}
