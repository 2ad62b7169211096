//! What an operation sees of the running transaction: the connection, a cache of hot rows, and the events it makes.

use std::sync::Arc;

use proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::events::EventBatch;
use crate::model::Event;
use crate::model::ids::PeerId;
use crate::store::disk::share::Lack;
use crate::store::engine::cache::Cache;
use crate::store::engine::event_row::NewEvent;
use crate::store::engine::numbers;
use crate::store::error::StoreError;

/// An operation's view of the transaction.
pub struct Tx<'t> {
    pub(in crate::store) conn: &'t Connection,
    pub(in crate::store) cache: &'t mut Cache,
    /// The time of this transaction.
    pub now: Timestamp,
    /// Whether somebody reads events as they happen.
    pub(in crate::store) listeners: bool,
    /// The newest message when the store was opened: what stands in it up to there is older than this process.
    pub(in crate::store) opened_with: i64,
    /// Why there is no room for what does not free some.
    lack: Option<Lack>,
    head: u64,
    events: Vec<NewEvent>,
    newest_message: i64,
    dirty: Vec<PeerId>,
    /// Why a failed operation could not be taken back alone.
    lost: Option<StoreError>,
}

pub(in crate::store) struct Finished {
    pub events: Option<EventBatch>,
    pub newest_message: i64,
    pub dirty: Vec<PeerId>,
}

impl<'t> Tx<'t> {
    pub(in crate::store) fn new(
        conn: &'t Connection,
        cache: &'t mut Cache,
        (head, opened_with): (u64, i64),
        (listeners, lack): (bool, Option<Lack>),
        now: Timestamp,
    ) -> Self {
        let (events, dirty) = (Vec::new(), Vec::new());
        Self { conn, cache, now, listeners, opened_with, lack, head, events, newest_message: 0, dirty, lost: None }
    }

    /// For operations that store more than they free: refuses when the disk is nearly full, or the user's share of it.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::ShareUsed`].
    pub fn needs_room(&self) -> Result<(), StoreError> {
        match self.lack {
            None => Ok(()),
            Some(Lack::Disk) => Err(StoreError::Full),
            Some(Lack::Share(used)) => Err(StoreError::ShareUsed(used)),
        }
    }

    /// Why nothing of this transaction can be committed any more, if that is so. SQLite rolls a transaction back by itself
    /// when the disk is full or fails, and what came after would then be committed alone.
    pub(in crate::store) fn loss(&self) -> Option<StoreError> {
        match &self.lost {
            Some(error) => Some(error.for_neighbours()),
            None => self.conn.is_autocommit().then(|| StoreError::NotStored("SQLite rolled back".into())),
        }
    }

    /// Runs one operation so that its failure leaves no trace and does not touch its neighbours.
    pub(in crate::store) fn savepoint<T>(
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
    pub(in crate::store) fn finish(self) -> Result<Finished, StoreError> {
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
                numbers::kind_number(event.kind),
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

    pub(in crate::store) fn stored_message(&mut self, id: i64) {
        self.newest_message = self.newest_message.max(id);
    }

    /// Keeps an event, or one for each row that `body` names, to be numbered and stored with the commit.
    pub(in crate::store) fn emit(&mut self, event: NewEvent) {
        self.events.push(event);
    }
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).finish_non_exhaustive()
    }
}
