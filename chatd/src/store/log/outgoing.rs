//! Own messages: storing them with their place in the chain, and reading what waits. `crate::store::log::acks` takes them out.

use std::collections::HashMap;

use proto::ids::{DeviceId, Epoch, MessageId, sha256};
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Text};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerId};
use crate::model::{AccountRow, Format, MessageState, Priority};
use crate::store::delivery::{marks, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::flags::{flags, wire_priority};
use crate::store::log::outgoing;
use crate::store::peers::row::ContactRow;
use crate::store::{account, peers};

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
    /// Its end; see [`crate::store::log::expiry::expiry`].
    pub expires: Option<i64>,
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

/// An own stream.
#[derive(Debug, Clone)]
pub(in crate::store) struct OutStream {
    pub id: OutStreamRow,
    pub epoch: Epoch,
    pub seq: u64,
    prev: [u8; 32],
}

impl OutStream {
    /// Gives a core the next place in the stream, whatever place it had.
    pub fn append(&mut self, device: DeviceId, core: Core<'_>) -> Vec<u8> {
        self.seq += 1;
        let bytes = Core { from_device: device, epoch: self.epoch, seq: self.seq, prev: self.prev, ..core }.encode();
        self.prev = sha256(&[&bytes]);
        bytes
    }
}

/// A core of the account's own without a place in a stream.
pub(in crate::store) fn unplaced<'a>(
    own: &AccountRow,
    to: &ContactRow,
    id: MessageId,
    time: i64,
    kind: Kind,
    payload: &'a [u8],
) -> Core<'a> {
    Core {
        from: own.id,
        from_device: own.device,
        conversation: to.conversation,
        to: to.account,
        id,
        epoch: Epoch([0; 8]),
        seq: 0,
        prev: [0; 32],
        time,
        kind: kind.as_str(),
        payload,
    }
}

/// The stream in use of each conversation.
#[derive(Default)]
struct Cached(HashMap<ConversationRow, OutStream>);

pub(in crate::store) fn out_stream(tx: &mut Tx<'_>, conversation: ConversationRow) -> Result<OutStream, StoreError> {
    if let Some(stream) = tx.cache.of::<Cached>().0.get(&conversation) {
        return Ok(stream.clone());
    }
    let found = tx
        .conn
        .prepare_cached(
            "SELECT id, epoch, seq, prev FROM streams_out WHERE conversation = ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([conversation], |row| {
            Ok((
                row.get::<_, OutStreamRow>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        })
        .optional()?;
    match found {
        Some((id, epoch, seq, prev)) => Ok(OutStream {
            id,
            epoch: Epoch::from_slice(&epoch).ok_or(StoreError::Damaged("epoch"))?,
            seq: seq as u64,
            prev: prev.try_into().map_err(|_| StoreError::Damaged("prev"))?,
        }),
        None => new_epoch(tx, conversation),
    }
}

/// Begins a new epoch in a conversation: the next own core is its number 1.
pub(in crate::store) fn new_epoch(tx: &mut Tx<'_>, conversation: ConversationRow) -> Result<OutStream, StoreError> {
    let epoch = Epoch(rand::random());
    let prev = [0u8; 32];
    tx.conn
        .prepare_cached("INSERT INTO streams_out (conversation, epoch, seq, prev) VALUES (?1, ?2, 0, ?3)")?
        .execute(params![conversation, epoch.as_bytes(), &prev[..]])?;
    tx.cache.of::<Cached>().0.remove(&conversation);
    Ok(OutStream { id: OutStreamRow(tx.conn.last_insert_rowid()), epoch, seq: 0, prev })
}

/// Stores messages to a contact in the order given. An id that was stored before is answered with its present state.
///
/// # Errors
/// Those of the database; then none of them is stored.
pub fn send(tx: &mut Tx<'_>, contact: PeerId, messages: &[NewMessage]) -> Result<Vec<Stored>, StoreError> {
    tx.needs_room()?;
    let own = account::own(tx)?;
    let row = peers::load(tx.conn, contact)?;
    let mut stream = out_stream(tx, contact.direct())?;
    let reason = peers::wait_reason(&row).map(|reason| reason.to_string());
    let mut stored = Vec::with_capacity(messages.len());
    let mut fresh = Vec::with_capacity(messages.len());
    let mut insert_message = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO messages (msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut insert_outbox =
        tx.conn.prepare_cached("INSERT INTO outbox (stream, seq, message, core) VALUES (?1, ?2, ?3, ?4)")?;
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
            tx.now.0,
            flags(message.priority, message.format, false),
            tags,
            message.reply_to.as_ref().map(|id| &id.0[..]),
            message.body,
        ])?;
        if inserted == 0 {
            if trace::own_recipient(tx.conn, &message.id)? != Some(contact) {
                return Err(StoreError::IdTaken(message.id));
            }
            let (state, reason) = trace::own_state(tx.conn, &message.id)?;
            stored.push(Stored { id: message.id, state, reason });
            continue;
        }
        let local = tx.conn.last_insert_rowid();
        let text = Text {
            body: &message.body,
            format: u8::from(message.format == Format::Markdown),
            priority: wire_priority(message.priority),
            tags: message.tags.iter().map(String::as_str).collect(),
            reply_to: message.reply_to,
        };
        let payload = text.encode();
        let core = unplaced(&own, &row, message.id, tx.now.0, Kind::Text, &payload);
        let core = stream.append(own.device, core);
        insert_outbox.execute(params![stream.id, seq as i64, local, core])?;
        if let Some(expires) = message.expires {
            outgoing::set_lifetime(tx, stream.id, seq, expires)?;
        }
        fresh.push((local, message.id));
        stored.push(Stored { id: message.id, state: MessageState::Queued, reason: reason.clone() });
    }
    drop((insert_message, insert_outbox));
    if let Some((newest, _)) = fresh.last() {
        tx.stored_message(*newest);
        keep_out_stream(tx, contact, stream)?;
        tx.wake_delivery(contact);
    } else {
        tx.cache.of::<Cached>().0.insert(contact.direct(), stream);
    }
    marks::tell(tx, contact, MessageState::Queued, reason.as_deref(), fresh)?;
    Ok(stored)
}

/// Puts a core that is no message (a skip) at the end of the own stream, and into the outbox.
///
/// # Errors
/// Those of the database.
pub fn append_core(tx: &mut Tx<'_>, contact: PeerId, kind: Kind, payload: &[u8]) -> Result<(), StoreError> {
    let own = account::own(tx)?;
    let row = peers::load(tx.conn, contact)?;
    let mut stream = out_stream(tx, contact.direct())?;
    let core = unplaced(&own, &row, MessageId::now(), tx.now.0, kind, payload);
    let core = stream.append(own.device, core);
    tx.conn
        .prepare_cached("INSERT INTO outbox (stream, seq, message, core) VALUES (?1, ?2, 0, ?3)")?
        .execute(params![stream.id, stream.seq as i64, core])?;
    keep_out_stream(tx, contact, stream)?;
    tx.wake_delivery(contact);
    Ok(())
}

/// Writes down how far an own stream is.
pub(in crate::store) fn keep_out_stream(tx: &mut Tx<'_>, contact: PeerId, stream: OutStream) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE streams_out SET seq = ?2, prev = ?3 WHERE id = ?1")?.execute(params![
        stream.id,
        stream.seq as i64,
        &stream.prev[..]
    ])?;
    tx.cache.of::<Cached>().0.insert(contact.direct(), stream);
    Ok(())
}

/// The stream of an epoch.
///
/// # Errors
/// Those of the database.
pub fn stream_of(conn: &Connection, contact: PeerId, epoch: Epoch) -> Result<Option<OutStreamRow>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
        .query_row(params![contact, epoch.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// Gives a message of the outbox its end; see [`expiry`].
pub(in crate::store) fn set_lifetime(
    tx: &mut Tx<'_>,
    stream: OutStreamRow,
    seq: u64,
    expires: i64,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("INSERT OR REPLACE INTO lifetimes (stream, seq, expires) VALUES (?1, ?2, ?3)")?
        .execute(params![stream, seq as i64, expires])?;
    Ok(())
}
