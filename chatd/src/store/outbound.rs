//! Own messages: storing them with their place in the chain, reading what waits, and what acknowledgements do.
//!
//! A message's state is not a column: it follows from the marks and attempts that cover its (stream, seq), so that one
//! acknowledgement of 10,000 messages writes one row and deletes the outbox rows.

use proto::ids::{Epoch, MessageId, sha256};
use proto::rpc::types::{Format, MessageState, Priority};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Text};
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, Tx, contacts, trace};

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Chosen by the client or the service.
    pub id: MessageId,
    /// Checked for length before.
    pub body: String,
    /// Format.
    pub format: Format,
    /// Priority.
    pub priority: Priority,
    /// Checked for number and length before; no line feeds.
    pub tags: Vec<String>,
    /// Answered message.
    pub reply_to: Option<MessageId>,
}

/// What became of a [`NewMessage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: MessageId,
    /// Queued, or where an earlier call with this id brought it.
    pub state: MessageState,
    /// Why it waits.
    pub reason: Option<String>,
}

/// The part of a stream that was put on the way in one envelope.
#[derive(Debug, Clone)]
pub struct AttemptNote {
    /// `streams_out.id`.
    pub stream: i64,
    /// First seq.
    pub low: u64,
    /// Last seq.
    pub high: u64,
    /// `direct`, `local`, `mailbox`.
    pub path: &'static str,
    /// `sent`, or what went wrong.
    pub outcome: String,
    /// When, which is a little before it is written down.
    pub at: Timestamp,
}

/// A core that waits.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// `streams_out.id`.
    pub stream: i64,
    /// Its seq.
    pub seq: u64,
    /// The exact bytes.
    pub core: Vec<u8>,
}

/// An own stream.
#[derive(Debug, Clone)]
pub(super) struct OutStream {
    id: i64,
    epoch: Epoch,
    seq: u64,
    prev: [u8; 32],
}

pub(super) fn flags(priority: Priority, format: Format, late: bool) -> i64 {
    let priority = match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    };
    let format = match format {
        Format::Plain => 0,
        Format::Markdown => 1,
    };
    priority | format << 2 | i64::from(late) << 4
}

impl Tx<'_> {
    fn out_stream(&mut self, conversation: i64) -> Result<OutStream, StoreError> {
        if let Some(stream) = self.cache.out.get(&conversation) {
            return Ok(stream.clone());
        }
        let found = self
            .conn
            .prepare_cached(
                "SELECT id, epoch, seq, prev FROM streams_out WHERE conversation = ?1 ORDER BY id DESC LIMIT 1",
            )?
            .query_row([conversation], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .optional()?;
        match found {
            Some((id, epoch, seq, prev)) => Ok(OutStream {
                id,
                epoch: Epoch::from_slice(&epoch).ok_or(StoreError::Damaged("epoch"))?,
                seq: seq as u64,
                prev: prev.try_into().map_err(|_| StoreError::Damaged("prev"))?,
            }),
            None => self.new_epoch(conversation),
        }
    }

    /// Begins a new epoch in a conversation: the next own core is its number 1.
    fn new_epoch(&mut self, conversation: i64) -> Result<OutStream, StoreError> {
        let epoch = Epoch(rand::random());
        let prev = [0u8; 32];
        self.conn
            .prepare_cached("INSERT INTO streams_out (conversation, epoch, seq, prev) VALUES (?1, ?2, 0, ?3)")?
            .execute(params![conversation, epoch.as_bytes(), &prev[..]])?;
        self.cache.out.remove(&conversation);
        Ok(OutStream { id: self.conn.last_insert_rowid(), epoch, seq: 0, prev })
    }

    /// Stores messages to a contact in the order given. An id that was stored before is answered with its present state.
    ///
    /// # Errors
    /// Those of the database; then none of them is stored.
    pub fn send(&mut self, contact: i64, messages: &[NewMessage]) -> Result<Vec<Stored>, StoreError> {
        let own = self.own()?;
        let row = contacts::load(self.conn, contact)?;
        let mut stream = self.out_stream(contact)?;
        let reason = contacts::wait_reason(&row).map(str::to_owned);
        let mut stored = Vec::with_capacity(messages.len());
        let mut fresh = Vec::with_capacity(messages.len());
        let mut insert_message = self.conn.prepare_cached(
            "INSERT OR IGNORE INTO messages (msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let mut insert_outbox =
            self.conn.prepare_cached("INSERT INTO outbox (stream, seq, message, core) VALUES (?1, ?2, ?3, ?4)")?;
        for message in messages {
            let seq = stream.seq + 1;
            let mut tags = String::new();
            for tag in &message.tags {
                tags.push_str(tag);
                tags.push('\n');
            }
            let inserted = insert_message.execute(params![
                message.id.as_bytes(),
                contact,
                stream.id,
                seq as i64,
                self.now.0,
                flags(message.priority, message.format, false),
                tags,
                message.reply_to.as_ref().map(|id| &id.0[..]),
                message.body,
            ])?;
            if inserted == 0 {
                let (state, reason) = trace::own_state(self.conn, &message.id)?;
                stored.push(Stored { id: message.id, state, reason });
                continue;
            }
            let local = self.conn.last_insert_rowid();
            let text = Text {
                body: &message.body,
                format: u8::from(message.format == Format::Markdown),
                priority: match message.priority {
                    Priority::Low => 0,
                    Priority::Normal => 1,
                    Priority::High => 2,
                },
                tags: message.tags.iter().map(String::as_str).collect(),
                reply_to: message.reply_to,
            };
            let core = Core {
                from: own.id,
                from_device: own.device,
                conversation: row.conversation,
                to: row.account,
                id: message.id,
                epoch: stream.epoch,
                seq,
                prev: stream.prev,
                time: self.now.0,
                kind: Kind::Text.as_str(),
                payload: &text.encode(),
            }
            .encode();
            insert_outbox.execute(params![stream.id, seq as i64, local, core])?;
            stream.seq = seq;
            stream.prev = sha256(&[&core]);
            fresh.push((local, message.id));
            stored.push(Stored { id: message.id, state: MessageState::Queued, reason: reason.clone() });
        }
        drop((insert_message, insert_outbox));
        if let Some((newest, _)) = fresh.last() {
            self.stored_message(*newest);
            self.conn.prepare_cached("UPDATE streams_out SET seq = ?2, prev = ?3 WHERE id = ?1")?.execute(params![
                stream.id,
                stream.seq as i64,
                &stream.prev[..]
            ])?;
            self.wake_delivery(contact);
        }
        self.cache.out.insert(contact, stream);
        self.event_state(contact, MessageState::Queued, reason.as_deref(), fresh)?;
        Ok(stored)
    }

    /// A contact's device committed these: their outbox rows go, a mark per run stays.
    ///
    /// # Errors
    /// Those of the database.
    pub fn acknowledged(&mut self, contact: i64, entries: &[AckEntry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let device = self.own()?.device;
        let conversation = contacts::load(self.conn, contact)?.conversation;
        let ours = |entry: &&AckEntry| entry.from_device == device && entry.conversation == conversation;
        for entry in entries.iter().filter(ours) {
            let stream: Option<i64> = self
                .conn
                .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
                .query_row(params![contact, entry.epoch.as_bytes()], |row| row.get(0))
                .optional()?;
            let Some(stream) = stream else { continue };
            let contiguous = (1, entry.contiguous);
            for (low, high) in std::iter::once(contiguous).chain(entry.ranges.iter().copied()) {
                // Beyond an i64 there is nothing of ours.
                if high >= low && i64::try_from(low).is_ok() {
                    self.settle(contact, stream, low, high, MessageState::Delivered, "acknowledged")?;
                }
            }
        }
        Ok(())
    }

    /// Takes a range out of the outbox with a final or delivered state, and tells.
    fn settle(
        &mut self,
        contact: i64,
        stream: i64,
        low: u64,
        high: u64,
        state: MessageState,
        cause: &str,
    ) -> Result<(), StoreError> {
        let mut gone: Vec<(u64, i64)> = Vec::new();
        {
            let mut delete = self.conn.prepare_cached(
                "DELETE FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 RETURNING seq, message",
            )?;
            let high = i64::try_from(high).unwrap_or(i64::MAX);
            let mut rows = delete.query(params![stream, low as i64, high])?;
            while let Some(row) = rows.next()? {
                gone.push((row.get::<_, i64>(0)? as u64, row.get(1)?));
            }
        }
        gone.sort_unstable();
        let mut run: Option<(u64, u64)> = None;
        for (seq, _) in &gone {
            run = match run {
                Some((low, high)) if high + 1 == *seq => Some((low, *seq)),
                Some(done) => {
                    self.mark(stream, state, done, cause)?;
                    Some((*seq, *seq))
                }
                None => Some((*seq, *seq)),
            };
        }
        if let Some(done) = run {
            self.mark(stream, state, done, cause)?;
        }
        let reason = (state == MessageState::Rejected).then_some(cause);
        let messages = self.with_ids(gone.into_iter().map(|(_, message)| message))?;
        self.event_state(contact, state, reason, messages)
    }

    pub(super) fn mark(
        &mut self,
        stream: i64,
        state: MessageState,
        (low, high): (u64, u64),
        cause: &str,
    ) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT OR IGNORE INTO marks (stream, state, high, low, at, cause) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![stream, trace::state_number(state), high as i64, low as i64, self.now.0, cause])?;
        Ok(())
    }

    /// Message ids for event building; zeros where nobody listens, because then they are not used.
    pub(super) fn with_ids(&self, rows: impl Iterator<Item = i64>) -> Result<Vec<(i64, MessageId)>, StoreError> {
        let mut select = self.conn.prepare_cached("SELECT msgid FROM messages WHERE id = ?1")?;
        let mut out = Vec::new();
        for row in rows.filter(|row| *row != 0) {
            let id = if self.listeners {
                let bytes: Option<Vec<u8>> = select.query_row([row], |r| r.get(0)).optional()?;
                bytes.and_then(|b| MessageId::from_slice(&b)).unwrap_or(MessageId([0; 16]))
            } else {
                MessageId([0; 16])
            };
            out.push((row, id));
        }
        Ok(out)
    }

    /// Everything that waits for a contact will never be sent: it ends as `rejected`, and the conversation goes on in a
    /// new epoch, because the old one would show the recipient a hole.
    ///
    /// # Errors
    /// Those of the database.
    pub fn reject_queued(&mut self, contact: i64, cause: &str) -> Result<(), StoreError> {
        let stream = self.out_stream(contact)?;
        let waiting: Vec<i64> = self
            .conn
            .prepare_cached(
                "SELECT id FROM streams_out s WHERE conversation = ?1
                 AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) ORDER BY id",
            )?
            .query_map([contact], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for stream in waiting {
            self.settle(contact, stream, 1, i64::MAX as u64, MessageState::Rejected, cause)?;
        }
        if stream.seq > 0 {
            self.new_epoch(contact)?;
        }
        Ok(())
    }

    /// Remembers an envelope that was put on the way (or could not be).
    ///
    /// # Errors
    /// Those of the database.
    pub fn attempt(&mut self, contact: i64, note: &AttemptNote) -> Result<(), StoreError> {
        let sent_before: i64 = self
            .conn
            .prepare_cached("SELECT coalesce(max(high), 0) FROM attempts WHERE stream = ?1 AND outcome = 'sent'")?
            .query_row([note.stream], |row| row.get(0))?;
        self.conn
            .prepare_cached(
                "INSERT INTO attempts (stream, low, high, at, path, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![note.stream, note.low as i64, note.high as i64, note.at.0, note.path, note.outcome])?;
        if note.outcome != "sent" {
            return Ok(());
        }
        let rows: Vec<i64> = self
            .conn
            .prepare_cached("SELECT message FROM outbox WHERE stream = ?1 AND seq > ?2 AND seq BETWEEN ?3 AND ?4")?
            .query_map(params![note.stream, sent_before, note.low as i64, note.high as i64], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let messages = self.with_ids(rows.into_iter())?;
        self.event_state(contact, MessageState::Sent, None, messages)
    }

    /// Remembers that a contact was not reached: one row for everything that waits for it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn attempt_failed(&mut self, contact: i64, outcome: &str) -> Result<(), StoreError> {
        let waiting: Option<(i64, i64, i64)> = self
            .conn
            .prepare_cached(
                "SELECT o.stream, min(o.seq), max(o.seq) FROM streams_out s JOIN outbox o ON o.stream = s.id
                 WHERE s.conversation = ?1 GROUP BY o.stream ORDER BY o.stream DESC LIMIT 1",
            )?
            .query_row([contact], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((stream, low, high)) = waiting else { return Ok(()) };
        let note = AttemptNote {
            stream,
            low: low as u64,
            high: high as u64,
            path: "direct",
            outcome: format!("unreachable: {outcome}"),
            at: self.now,
        };
        self.attempt(contact, &note)
    }

    /// A contact read everything up to a message of ours.
    ///
    /// # Errors
    /// Those of the database.
    pub fn read_by(&mut self, contact: i64, upto: &MessageId) -> Result<(), StoreError> {
        let last: Option<(i64, i64, i64)> = self
            .conn
            .prepare_cached(
                "SELECT id, stream, seq FROM messages WHERE msgid = ?1 AND sender = 0 AND conversation = ?2",
            )?
            .query_row(params![upto.as_bytes(), contact], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((row, stream, seq)) = last else { return Ok(()) };
        let before: i64 = self
            .conn
            .prepare_cached("SELECT coalesce(max(high), 0) FROM marks WHERE stream = ?1 AND state = ?2")?
            .query_row(params![stream, trace::state_number(MessageState::Read)], |row| row.get(0))?;
        if seq <= before {
            return Ok(());
        }
        // What was read was received, even if the acknowledgement itself is still on its way.
        self.settle(contact, stream, 1, seq as u64, MessageState::Delivered, "read")?;
        self.mark(stream, MessageState::Read, (before as u64 + 1, seq as u64), "read")?;
        let mut rows = Vec::new();
        {
            let mut walk = self.conn.prepare_cached(
                "SELECT id, stream, seq FROM messages WHERE conversation = ?1 AND id <= ?2 AND sender = 0 ORDER BY id DESC",
            )?;
            let mut found = walk.query(params![contact, row])?;
            while let Some(r) = found.next()? {
                let (id, of, seq): (i64, i64, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
                if of != stream || seq <= before {
                    break;
                }
                rows.push(id);
            }
        }
        rows.reverse();
        let messages = self.with_ids(rows.into_iter())?;
        self.event_state(contact, MessageState::Read, None, messages)
    }
}

/// The stream of an epoch.
///
/// # Errors
/// Those of the database.
pub fn stream_of(conn: &Connection, contact: i64, epoch: Epoch) -> Result<Option<i64>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
        .query_row(params![contact, epoch.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// What waits for a contact after a place in its streams, oldest first, up to `max_bytes` of cores (one at least).
///
/// # Errors
/// Those of the database.
pub fn outbox_after(
    conn: &Connection,
    contact: i64,
    (stream, seq): (i64, u64),
    max_bytes: usize,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut out = Vec::new();
    let mut room = max_bytes;
    // Two plain range scans: one query with OR would walk over everything that is in flight.
    if !scan(conn, stream, seq, &mut room, &mut out)? {
        return Ok(out);
    }
    let later: Vec<i64> = conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND id > ?2 ORDER BY id")?
        .query_map(params![contact, stream], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for stream in later {
        if !scan(conn, stream, 0, &mut room, &mut out)? {
            break;
        }
    }
    Ok(out)
}

/// Reads one stream after `seq`; `false` when the room is used up.
fn scan(
    conn: &Connection,
    stream: i64,
    seq: u64,
    room: &mut usize,
    out: &mut Vec<OutboxRow>,
) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached("SELECT seq, core FROM outbox WHERE stream = ?1 AND seq > ?2 ORDER BY seq")?;
    let mut rows = select.query(params![stream, seq as i64])?;
    while let Some(row) = rows.next()? {
        let core: Vec<u8> = row.get(1)?;
        *room = room.saturating_sub(core.len());
        out.push(OutboxRow { stream, seq: row.get::<_, i64>(0)? as u64, core });
        if *room == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
