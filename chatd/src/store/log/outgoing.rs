//! Own messages: storing them with their place in the chain.

use proto::ids::MessageId;
use proto::wire::payload::Kind;
use rusqlite::params;

use crate::model::ids::PeerId;
use crate::model::{Format, MessageState, Priority};
use crate::store::delivery::core::{self, Addressing};
use crate::store::delivery::flags::flags;
use crate::store::delivery::{marks, trace};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::own_streams;
use crate::store::log::recovery::devices;
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

/// Stores messages to a contact in the order given. An id that was stored before is answered with its present state.
///
/// # Errors
/// When it fails, none of them is stored.
pub fn send(tx: &mut Tx<'_>, contact: PeerId, messages: &[NewMessage]) -> Result<Vec<Stored>, StoreError> {
    tx.needs_room()?;
    devices::follow(tx, contact)?;
    let row = peers::load(tx.conn, contact)?;
    let to = Addressing::of(&*account::own(tx)?, &row);
    let mut stream = own_streams::out_stream(tx, row.direct)?;
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
        own_streams::queue(tx, &stream, &placed, Some(local))?;
        if let Some(expires) = message.expires {
            own_streams::set_lifetime(tx, stream.id, seq, expires)?;
        }
        fresh.push((local, message.id));
        stored.push(Stored { id: message.id, state: MessageState::Queued, reason: reason.clone() });
    }
    drop(insert_message);
    if let Some((newest, _)) = fresh.last() {
        tx.stored_message(*newest);
        own_streams::keep_out_stream(tx, row.direct, stream)?;
        tx.wake_delivery(contact);
    } else {
        own_streams::remember(tx, row.direct, stream);
    }
    marks::tell(tx, contact, MessageState::Queued, reason.as_deref(), fresh)?;
    Ok(stored)
}
