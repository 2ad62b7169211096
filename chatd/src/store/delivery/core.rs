//! Cores of own messages, in the bytes that are hashed, sent, and sent again unchanged.
//!
//! A message's core is not stored: it follows from the message's row, the stream's epoch, and the place and hash that the
//! outbox has. Nothing that goes into it changes while it waits; what would change it (another device, another epoch)
//! gives the message another place first.

use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId};
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Text};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::ids::{OutStreamRow, PeerId};
use crate::model::{AccountRow, Priority};
use crate::store::delivery::flags;
use crate::store::error::StoreError;
use crate::store::peers::row::ContactRow;

/// What all own cores of a conversation have in common.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Addressing {
    pub from: AccountId,
    pub device: DeviceId,
    pub conversation: ConversationId,
    pub to: AccountId,
}

impl Addressing {
    /// From rows that were read for something else.
    pub fn of(own: &AccountRow, to: &ContactRow) -> Self {
        Self { from: own.id, device: own.device, conversation: to.conversation, to: to.account }
    }

    /// Of the direct conversation with a peer.
    pub fn load(conn: &Connection, contact: PeerId) -> Result<Self, StoreError> {
        Self::select(conn, "c.peer = ?1", contact.0)?.ok_or(StoreError::NotFound("that contact"))
    }

    /// Of the conversation that a stream is in.
    pub fn of_stream(conn: &Connection, stream: OutStreamRow) -> Result<Option<Self>, StoreError> {
        Self::select(conn, "c.conversation = (SELECT conversation FROM streams_out WHERE id = ?1)", stream.0)
    }

    fn select(conn: &Connection, condition: &str, value: i64) -> Result<Option<Self>, StoreError> {
        let id = |row: &Row<'_>, at| row.get::<_, Vec<u8>>(at);
        let found = conn
            .prepare_cached(&format!(
                "SELECT a.id, a.device, v.conversation, p.account FROM account a, contacts c
                 JOIN peers p ON p.id = c.peer JOIN conversations v ON v.id = c.conversation WHERE {condition}"
            ))?
            .query_row([value], |row| Ok((id(row, 0)?, id(row, 1)?, id(row, 2)?, id(row, 3)?)))
            .optional()?;
        let Some((from, device, conversation, to)) = found else { return Ok(None) };
        let made = || {
            Some(Self {
                from: AccountId::from_slice(&from)?,
                device: DeviceId::from_slice(&device)?,
                conversation: ConversationId::from_slice(&conversation)?,
                to: AccountId::from_slice(&to)?,
            })
        };
        made().map(Some).ok_or(StoreError::Damaged("an id of a conversation"))
    }

    /// A core without a place in a stream.
    pub fn unplaced<'a>(&self, id: MessageId, time: i64, kind: Kind, payload: &'a [u8]) -> Core<'a> {
        Core {
            from: self.from,
            from_device: self.device,
            conversation: self.conversation,
            to: self.to,
            id,
            epoch: Epoch([0; 8]),
            seq: 0,
            prev: [0; 32],
            time,
            kind: kind.as_str(),
            payload,
        }
    }
}

/// What of `messages` goes into a core; [`COLUMNS`] of a query, in their order.
pub(in crate::store) struct Words {
    id: Vec<u8>,
    flags: i64,
    tags: String,
    reply_to: Option<Vec<u8>>,
    body: String,
    sent_at: i64,
}

/// The columns that [`Words::read`] reads, of `messages` as `m`.
pub(in crate::store) const COLUMNS: &str = "m.msgid, m.flags, m.tags, m.reply_to, m.body, m.sent_at";

impl Words {
    /// From the columns beginning at `at`; `None`: there is no such row.
    pub fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Self>> {
        let Some(id) = row.get(at)? else { return Ok(None) };
        let (flags, tags, reply_to) = (row.get(at + 1)?, row.get(at + 2)?, row.get(at + 3)?);
        Ok(Some(Self { id, flags, tags, reply_to, body: row.get(at + 4)?, sent_at: row.get(at + 5)? }))
    }

    /// Gives the core, without a place in a stream, to `make`.
    pub fn with<T>(&self, to: &Addressing, make: impl FnOnce(Core<'_>) -> T) -> Result<T, StoreError> {
        let id = MessageId::from_slice(&self.id).ok_or(StoreError::Damaged("message id"))?;
        let payload = payload(
            &self.body,
            (self.flags >> 2 & 3) as u8,
            flags::priority_of((self.flags & 3) as u8),
            self.tags.split_terminator('\n').collect(),
            self.reply_to.as_deref().and_then(MessageId::from_slice),
        );
        Ok(make(to.unplaced(id, self.sent_at, Kind::Text, &payload)))
    }
}

/// The payload of a message.
pub(in crate::store) fn payload(
    body: &str,
    format: u8,
    priority: Priority,
    tags: Vec<&str>,
    reply_to: Option<MessageId>,
) -> Vec<u8> {
    Text { body, format, priority: flags::wire_priority(priority), tags, reply_to }.encode()
}

/// The exact bytes of what waits in a stream, from `low` to below `end`, in their order: `take` gets the seq and the core,
/// and says whether to go on. `false`: it said no.
pub(in crate::store) fn each_waiting(
    conn: &Connection,
    to: &Addressing,
    stream: OutStreamRow,
    (low, end): (i64, i64),
    mut take: impl FnMut(u64, Vec<u8>) -> bool,
) -> Result<bool, StoreError> {
    let epoch: Option<Vec<u8>> = conn
        .prepare_cached("SELECT epoch FROM streams_out WHERE id = ?1")?
        .query_row([stream], |row| row.get(0))
        .optional()?;
    // A cursor may stand before the first stream of all.
    let Some(epoch) = epoch else { return Ok(true) };
    let epoch = Epoch::from_slice(&epoch).ok_or(StoreError::Damaged("epoch"))?;
    let mut select = conn.prepare_cached(&format!(
        "SELECT o.seq, o.prev, o.core, {COLUMNS} FROM outbox o LEFT JOIN messages m ON m.id = o.message
         WHERE o.stream = ?1 AND o.seq >= ?2 AND o.seq < ?3 ORDER BY o.seq"
    ))?;
    let mut rows = select.query(params![stream, low, end])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? as u64;
        let stored: Vec<u8> = row.get(2)?;
        let core = if stored.is_empty() {
            let prev: [u8; 32] = row.get(1)?;
            let words = Words::read(row, 3)?.ok_or(StoreError::Damaged("a message that waits"))?;
            words.with(to, |core| Core { epoch, seq, prev, ..core }.encode())?
        } else {
            stored
        };
        if !take(seq, core) {
            return Ok(false);
        }
    }
    Ok(true)
}
