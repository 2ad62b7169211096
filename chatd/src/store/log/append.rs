//! Giving cores of others their place in history, and telling of it.

use std::collections::HashMap;

use proto::time::Timestamp;
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Text};
use rusqlite::params;

use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{Called, Event, EventBody, EventKind, Message, MessageState};
use crate::store::account;
use crate::store::delivery::flags::{self, format_of, missing_flags, priority_of};
use crate::store::delivery::marks;
use crate::store::engine::emit;
use crate::store::engine::event_row::StoredEvent;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::streams::{self, InStream};
use crate::store::peers::{self, names};

/// Texts kept in memory for those who listen; a stream that was held back for long is read from the store instead.
const MAX_BUILT_BYTES: usize = 4 << 20;

/// Messages that an operation shows, with their events if somebody listens.
#[derive(Default)]
pub(in crate::store) struct Shown {
    pub ids: Vec<i64>,
    /// Messages that history had already, from another epoch.
    pub known: usize,
    /// Cores that were given their place, whether they show or not.
    pub placed: usize,
    built: Vec<Event>,
    /// Bytes of the texts in `built`.
    bytes: usize,
    /// Of another device of the account: in which conversation.
    own: HashMap<ConversationRow, Vec<i64>>,
    /// Whether the conversation is muted: asked once for all that one operation shows.
    muted: Option<bool>,
}

/// What is special about a message's place in history.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store) struct Place {
    /// What follows it was shown before it.
    pub late: bool,
    /// So many before it are missing.
    pub missing: u64,
}

/// Counts and tells of what was shown.
pub(in crate::store) fn tell_shown(tx: &mut Tx<'_>, contact: PeerId, shown: Shown) -> Result<(), StoreError> {
    if let Some(newest) = shown.ids.last() {
        tx.stored_message(*newest);
    }
    if contact == PeerId::SELF {
        // The owner wrote it, on another device: it is history, and nothing to be read.
        for (conversation, messages) in shown.own {
            let partner = peers::partner(tx.conn, conversation)?;
            let messages = marks::with_ids(tx, messages.into_iter())?;
            marks::tell(tx, partner, MessageState::Sent, None, messages)?;
        }
        return Ok(());
    }
    if !shown.ids.is_empty() {
        tx.conn
            .prepare_cached("UPDATE conversations SET unread = unread + ?2 WHERE id = ?1")?
            .execute(params![peers::direct(tx.conn, contact)?, shown.ids.len() as i64])?;
    }
    let built = tx.listeners.then_some(shown.built);
    let body = StoredEvent { contact, messages: shown.ids, ..StoredEvent::default() };
    emit::messages(tx, EventKind::MessageReceived, body, built);
    Ok(())
}

/// Gives a core its place in history, if it is one that shows.
pub(in crate::store) fn show(
    tx: &mut Tx<'_>,
    contact: PeerId,
    stream: &InStream,
    core: &Core<'_>,
    place: Place,
    shown: &mut Shown,
) -> Result<(), StoreError> {
    shown.placed += 1;
    let text = match Kind::parse(core.kind) {
        Some(Kind::Text) => Text::decode(core.payload).ok(),
        _ => None,
    };
    // The chain goes on: what cannot be read is not shown, but it was there.
    let Some(text) = text else { return streams::unseen(tx, stream, core) };
    let (format, priority) = (format_of(text.format), priority_of(text.priority));
    let kept: Vec<&str> = text.tags.iter().copied().filter(|tag| !tag.contains('\n')).collect();
    let tags: String = kept.iter().flat_map(|tag| [*tag, "\n"]).collect();
    let is_own = contact == PeerId::SELF;
    let sent_here = is_own
        && tx
            .conn
            .prepare_cached("SELECT 1 FROM messages WHERE msgid = ?1 AND sender = 0")?
            .exists([core.id.as_bytes()])?;
    if sent_here {
        shown.known += 1;
        return streams::unseen(tx, stream, core);
    }
    let inserted = tx
        .conn
        .prepare_cached(
            "INSERT OR IGNORE INTO messages
               (msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            core.id.as_bytes(),
            stream.conversation,
            contact,
            stream.id,
            core.seq as i64,
            core.time,
            tx.now.0,
            flags::flags(priority, format, place.late) | missing_flags(place.missing),
            tags,
            text.reply_to.as_ref().map(|id| &id.0[..]),
            text.body,
        ])?;
    if inserted == 0 {
        shown.known += 1;
        return streams::unseen(tx, stream, core);
    }
    let row = tx.conn.last_insert_rowid();
    shown.ids.push(row);
    if is_own {
        shown.own.entry(stream.conversation).or_default().push(row);
    } else if tx.listeners && shown.bytes <= MAX_BUILT_BYTES {
        shown.bytes += text.body.len();
        let (own, called) = (account::own(tx)?, names::called_here(tx, contact)?);
        let message = Box::new(Message {
            id: core.id,
            conversation: core.conversation,
            from: called.who.clone(),
            to: own.name.clone(),
            peer: called.account,
            label: called.label.clone(),
            body: text.body.to_owned(),
            format,
            tags: kept.into_iter().map(str::to_owned).collect(),
            priority,
            sent_at: Timestamp(core.time),
            received_at: Some(tx.now),
            state: MessageState::Delivered,
            reason: None,
            state_at: Some(tx.now),
            reply_to: text.reply_to,
            late: place.late,
            missing: place.missing,
        });
        let muted = match shown.muted {
            Some(muted) => muted,
            None => *shown.muted.insert(muted(tx, contact)?),
        };
        shown.built.push(Event {
            seq: 0,
            at: tx.now,
            account: own.name.clone(),
            about: Some(Called::clone(&called)),
            body: EventBody::Received { message, muted },
        });
    }
    Ok(())
}

fn muted(tx: &Tx<'_>, contact: PeerId) -> Result<bool, StoreError> {
    let until: Option<i64> = tx
        .conn
        .prepare_cached("SELECT muted_until FROM conversations WHERE id = ?1")?
        .query_row([peers::direct(tx.conn, contact)?], |row| row.get(0))?;
    Ok(until.is_some_and(|until| until > tx.now.0))
}
