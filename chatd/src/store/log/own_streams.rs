//! Own streams: a place for each own core, in a chain. `crate::store::log::outgoing` stores messages, `delivery::outbox` reads what
//! waits, `acks` takes it out.

use std::collections::HashMap;

use proto::ids::{Epoch, MessageId, sha256};
use proto::wire::envelope::Core;
use proto::wire::payload::Kind;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerId};
use crate::store::delivery::core::Addressing;
use crate::store::delivery::owed;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;

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

/// The hash of the core with a number, as far as it is known: of the last one, and of those before one that waits.
pub(in crate::store) fn hash_at(
    conn: &Connection,
    stream: OutStreamRow,
    seq: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT prev FROM outbox WHERE stream = ?1 AND seq = ?2 + 1
         UNION ALL SELECT prev FROM streams_out WHERE id = ?1 AND seq = ?2",
    )?;
    Ok(select.query_row(params![stream, seq as i64], |row| row.get(0)).optional()?)
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
    let id = OutStreamRow(tx.conn.last_insert_rowid());
    tx.cache.of::<Cached>().0.remove(&conversation);
    owed::begin(tx, id, conversation)?;
    Ok(OutStream { id, epoch, seq: 0, prev })
}

/// Puts a core that is no message (a skip) at the end of the own stream, and into the outbox.
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

/// Keeps a stream as it is in memory.
pub(in crate::store) fn remember(tx: &mut Tx<'_>, conversation: ConversationRow, stream: OutStream) {
    tx.cache.of::<Cached>().0.insert(conversation, stream);
}

/// The stream of an epoch.
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
