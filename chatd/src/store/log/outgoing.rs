//! Own messages: storing them with their place in the chain. `store::delivery::outbox` reads what waits, `acks` takes it out.

use std::collections::HashMap;

use proto::ids::{Epoch, MessageId, sha256};
use proto::wire::envelope::Core;
use proto::wire::payload::Kind;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerId};
use crate::model::{Format, MessageState, Priority};
use crate::store::delivery::core::{self, Addressing};
use crate::store::delivery::flags::flags;
use crate::store::delivery::{marks, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
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

/// A core with its place in a stream.
pub(in crate::store) struct Placement {
    /// Its exact bytes.
    pub core: Vec<u8>,
    /// The hash of the core before it.
    pub prev: [u8; 32],
}

impl OutStream {
    /// Gives a core the next place in the stream, whatever place it had.
    pub fn append(&mut self, core: Core<'_>) -> Placement {
        self.seq += 1;
        let prev = self.prev;
        let bytes = Core { epoch: self.epoch, seq: self.seq, prev, ..core }.encode();
        self.prev = sha256(&[&bytes]);
        Placement { core: bytes, prev }
    }
}

/// Puts the core that was appended last into the outbox: of a message its place only, of anything else the core itself.
pub(in crate::store) fn queue(
    tx: &mut Tx<'_>,
    stream: &OutStream,
    placed: &Placement,
    message: Option<i64>,
) -> Result<(), StoreError> {
    let core = if message.is_some() { &[][..] } else { &placed.core[..] };
    tx.conn
        .prepare_cached("INSERT INTO outbox (stream, seq, message, bytes, prev, core) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            stream.id,
            stream.seq as i64,
            message.unwrap_or(0),
            placed.core.len() as i64,
            &placed.prev[..],
            core
        ])?;
    Ok(())
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
    let row = peers::load(tx.conn, contact)?;
    let to = Addressing::of(&*account::own(tx)?, &row);
    let mut stream = out_stream(tx, row.direct)?;
    let reason = peers::wait_reason(&row).map(|reason| reason.to_string());
    let mut stored = Vec::with_capacity(messages.len());
    let mut fresh = Vec::with_capacity(messages.len());
    let mut insert_message = tx.conn.prepare_cached(
        "INSERT OR IGNORE INTO messages (msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body)
         VALUES (?1, ?2, 0, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for message in messages {
        let seq = stream.seq + 1;
        let mut tags = String::new();
        for tag in &message.tags {
            tags.push_str(tag);
            tags.push('\n');
        }
        let inserted = insert_message.execute(params![
            message.id.as_bytes(),
            row.direct,
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
        let tags = message.tags.iter().map(String::as_str).collect();
        let format = u8::from(message.format == Format::Markdown);
        let payload = core::payload(&message.body, format, message.priority, tags, message.reply_to);
        let core = to.unplaced(message.id, tx.now.0, Kind::Text, &payload);
        let placed = stream.append(core);
        queue(tx, &stream, &placed, Some(local))?;
        if let Some(expires) = message.expires {
            set_lifetime(tx, stream.id, seq, expires)?;
        }
        fresh.push((local, message.id));
        stored.push(Stored { id: message.id, state: MessageState::Queued, reason: reason.clone() });
    }
    drop(insert_message);
    if let Some((newest, _)) = fresh.last() {
        tx.stored_message(*newest);
        keep_out_stream(tx, row.direct, stream)?;
        tx.wake_delivery(contact);
    } else {
        tx.cache.of::<Cached>().0.insert(row.direct, stream);
    }
    marks::tell(tx, contact, MessageState::Queued, reason.as_deref(), fresh)?;
    Ok(stored)
}

/// Puts a core that is no message (a skip) at the end of the own stream, and into the outbox.
///
/// # Errors
/// Those of the database.
pub fn append_core(tx: &mut Tx<'_>, contact: PeerId, kind: Kind, payload: &[u8]) -> Result<(), StoreError> {
    let to = Addressing::load(tx.conn, contact)?;
    let direct = peers::direct(tx.conn, contact)?;
    let mut stream = out_stream(tx, direct)?;
    let placed = stream.append(to.unplaced(MessageId::now(), tx.now.0, kind, payload));
    queue(tx, &stream, &placed, None)?;
    keep_out_stream(tx, direct, stream)?;
    tx.wake_delivery(contact);
    Ok(())
}

/// Writes down how far an own stream is.
pub(in crate::store) fn keep_out_stream(
    tx: &mut Tx<'_>,
    conversation: ConversationRow,
    stream: OutStream,
) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE streams_out SET seq = ?2, prev = ?3 WHERE id = ?1")?.execute(params![
        stream.id,
        stream.seq as i64,
        &stream.prev[..]
    ])?;
    tx.cache.of::<Cached>().0.insert(conversation, stream);
    Ok(())
}

/// The stream of an epoch.
///
/// # Errors
/// Those of the database.
pub fn stream_of(conn: &Connection, contact: PeerId, epoch: Epoch) -> Result<Option<OutStreamRow>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT id FROM streams_out WHERE conversation = ?1 AND epoch = ?2")?
        .query_row(params![peers::direct(conn, contact)?, epoch.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// Gives a message of the outbox its end; see [`crate::store::log::expiry::expiry`].
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
