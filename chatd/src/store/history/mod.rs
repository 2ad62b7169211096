//! Reading what was written and received: pages of a conversation, messages by local number, unread counts.

pub mod conversations;
pub mod find;
pub mod forget;
pub mod salvage;
pub mod search;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proto::ids::{AccountId, ConversationId, MessageId};
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{Called, Message, MessageState};
use crate::store::account;
use crate::store::delivery::{flags, trace};
use crate::store::engine::numbers;
use crate::store::error::StoreError;
use crate::store::peers::{self, names};

/// Bytes of bodies in one page at most, so that an answer fits one RPC message with room for escapes and fields.
const MAX_PAGE_BYTES: usize = 600_000;

/// What a message takes from its conversation.
#[derive(Debug, Clone)]
struct Peer {
    called: Rc<Called>,
    conversation: ConversationId,
    read_upto: i64,
}

/// Names that messages are shown with; each is looked up when the first message needs it.
#[derive(Debug, Default)]
pub struct Names {
    own: String,
    home: String,
    /// What cannot be read for damage is left out.
    spare: bool,
    known: RefCell<HashMap<PeerId, Option<Peer>>>,
    partners: RefCell<HashMap<ConversationRow, PeerId>>,
}

impl Names {
    /// Of the account.
    pub fn load(conn: &Connection) -> Result<Self, StoreError> {
        let own = account::load(conn)?;
        Ok(Self { own: own.name, home: own.origin, ..Self::default() })
    }

    /// The same from a damaged store: who cannot be read is called `?`.
    #[must_use]
    pub fn sparing(mut self) -> Self {
        self.spare = true;
        self
    }

    fn peer(&self, conn: &Connection, contact: PeerId) -> Result<Option<Peer>, StoreError> {
        if let Some(known) = self.known.borrow().get(&contact) {
            return Ok(known.clone());
        }
        let read = || -> Result<Option<Peer>, StoreError> {
            let row = match peers::load(conn, contact) {
                Err(StoreError::NotFound(_)) => return Ok(None),
                row => row?,
            };
            let called = Rc::new(names::called(conn, &row, &self.home)?);
            Ok(Some(Peer { called, conversation: row.conversation, read_upto: row.read_upto }))
        };
        let peer = match read() {
            Err(error) if self.spare && error.is_damage() => None,
            peer => peer?,
        };
        self.known.borrow_mut().insert(contact, peer.clone());
        Ok(peer)
    }

    /// With whom a conversation is.
    fn partner(&self, conn: &Connection, conversation: ConversationRow) -> Result<Option<PeerId>, StoreError> {
        if let Some(known) = self.partners.borrow().get(&conversation) {
            return Ok(Some(*known));
        }
        let partner = match peers::partner(conn, conversation) {
            Err(StoreError::NotFound(_)) => return Ok(None),
            Err(error) if self.spare && error.is_damage() => return Ok(None),
            partner => partner?,
        };
        self.partners.borrow_mut().insert(conversation, partner);
        Ok(Some(partner))
    }

    /// How a contact is called; `None` if there is none.
    pub(in crate::store) fn called(
        &self,
        conn: &Connection,
        contact: PeerId,
    ) -> Result<Option<Rc<Called>>, StoreError> {
        Ok(self.peer(conn, contact)?.map(|peer| peer.called))
    }
}

/// A page of messages.
#[derive(Debug, Clone, Default)]
pub struct HistoryPage {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// More exist in the direction that was asked.
    pub more: bool,
}

/// Whether an answer with so many messages can take no other one, with which the texts are of so many bytes.
pub(in crate::store) fn is_full(messages: usize, limit: usize, bytes: usize) -> bool {
    messages == limit || (bytes > MAX_PAGE_BYTES && messages > 0)
}

/// The conversation of what has none.
const NOBODY: ConversationId = ConversationId([0; 16]);

const COLUMNS: &str =
    "id, msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body FROM messages";

fn message(conn: &Connection, row: &Row<'_>, names: &Names) -> Result<Message, StoreError> {
    let (id, sender): (i64, i64) = (row.get(0)?, row.get(3)?);
    let contact = names.partner(conn, row.get(2)?)?.unwrap_or(PeerId::SELF);
    let (called, conversation, read_upto) = match names.peer(conn, contact)? {
        Some(peer) => (peer.called, peer.conversation, peer.read_upto),
        None => (Rc::new(Called { account: AccountId([0; 16]), who: "?".into(), label: None }), NOBODY, 0),
    };
    let (who, peer, label) = (called.who.clone(), called.account, called.label.clone());
    let flags: i64 = row.get(8)?;
    let tags: String = row.get(9)?;
    let msgid: Vec<u8> = row.get(1)?;
    let reply_to: Option<Vec<u8>> = row.get(10)?;
    let (from, to, state, reason, received_at, state_at);
    if sender == 0 {
        (from, to, received_at) = (names.own.clone(), who, None);
        let (stream, seq, sent_at) = (row.get(4)?, row.get(5)?, Timestamp(row.get(6)?));
        (state, reason) = trace::state_at(conn, contact, stream, seq)?;
        let queued = (state == MessageState::Queued).then_some(sent_at);
        state_at = queued.map_or_else(|| trace::since(conn, stream, seq, state), |at| Ok(Some(at)))?;
    } else if sender < 0 {
        // Of another device of the account, which alone knows what became of it.
        let sent_at = Timestamp(row.get(6)?);
        (from, to, received_at) = (names.own.clone(), who, None);
        (state, reason, state_at) = (MessageState::Sent, None, Some(sent_at));
    } else {
        (from, to, received_at) = (who, names.own.clone(), Some(Timestamp(row.get(7)?)));
        state = if id <= read_upto { MessageState::Read } else { MessageState::Delivered };
        (reason, state_at) = (None, received_at.filter(|_| state == MessageState::Delivered));
    }
    Ok(Message {
        id: MessageId::from_slice(&msgid).ok_or(StoreError::Damaged("message id"))?,
        conversation,
        from,
        to,
        peer,
        label,
        body: row.get(11)?,
        format: flags::format_of((flags >> 2 & 3) as u8),
        tags: tags.split_terminator('\n').map(str::to_owned).collect(),
        priority: flags::priority_of((flags & 3) as u8),
        sent_at: Timestamp(row.get(6)?),
        received_at,
        state,
        reason,
        state_at,
        reply_to: reply_to.and_then(|bytes| MessageId::from_slice(&bytes)),
        late: flags & 16 != 0,
        missing: flags::missing_of(flags),
    })
}

/// The first messages of those numbers that one answer holds: `limit`, and less of long ones.
pub fn hits(conn: &Connection, rows: &[i64], limit: usize) -> Result<HistoryPage, StoreError> {
    let names = Names::load(conn)?;
    let (mut page, mut bytes) = (HistoryPage::default(), 0);
    for row in rows {
        let Some((_, message)) = by_rows(conn, &[*row], &names)?.pop() else { continue };
        bytes += message.body.len();
        if is_full(page.messages.len(), limit, bytes) {
            page.more = true;
            break;
        }
        page.messages.push(message);
    }
    Ok(page)
}

/// Messages by local number, in the order given; numbers that are gone are left out.
pub fn by_rows(conn: &Connection, rows: &[i64], names: &Names) -> Result<Vec<(i64, Message)>, StoreError> {
    let mut select = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE id = ?1"))?;
    let mut out = Vec::with_capacity(rows.len());
    for id in rows {
        let mut found = select.query([id])?;
        if let Some(row) = found.next()? {
            out.push((*id, message(conn, row, names)?));
        }
    }
    Ok(out)
}

/// The id of a message by its local number.
pub fn id_of(conn: &Connection, row: i64) -> Result<Option<MessageId>, StoreError> {
    let id: Option<Vec<u8>> =
        conn.prepare_cached("SELECT msgid FROM messages WHERE id = ?1")?.query_row([row], |r| r.get(0)).optional()?;
    id.map(|id| MessageId::from_slice(&id).ok_or(StoreError::Damaged("message id"))).transpose()
}

/// Local number of a message, in one conversation or in any.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn row_of(conn: &Connection, contact: impl Into<Option<PeerId>>, id: &MessageId) -> Result<i64, StoreError> {
    let contact: Option<PeerId> = contact.into();
    let direct = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
    conn.prepare_cached(
        "SELECT id FROM messages WHERE msgid = ?1 AND (?2 IS NULL OR conversation = ?2) ORDER BY sender LIMIT 1",
    )?
    .query_row(params![id.as_bytes(), direct], |row| row.get(0))
    .optional()?
    .ok_or(StoreError::NotFound(match contact {
        Some(_) => "such a message in this conversation",
        None => "such a message",
    }))
}

/// A page of a conversation: the newest before `before`, or the oldest after `after`.
pub fn page(
    conn: &Connection,
    contact: PeerId,
    limit: usize,
    before: Option<i64>,
    after: Option<i64>,
    tag: Option<&str>,
) -> Result<HistoryPage, StoreError> {
    let names = Names::load(conn)?;
    let forward = after.is_some() && before.is_none();
    let order = if forward { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT {COLUMNS} WHERE conversation = ?1 AND id > ?2 AND id < ?3
           AND (?4 IS NULL OR instr(char(10) || tags, char(10) || ?4 || char(10)) > 0)
         ORDER BY id {order} LIMIT ?5"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params![
        peers::direct(conn, contact)?,
        after.unwrap_or(0),
        before.unwrap_or(i64::MAX),
        tag,
        i64::try_from(limit + 1).unwrap_or(i64::MAX)
    ])?;
    let mut page = HistoryPage::default();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let next = message(conn, row, &names)?;
        bytes += next.body.len();
        if is_full(page.messages.len(), limit, bytes) {
            page.more = true;
            break;
        }
        page.messages.push(next);
    }
    if !forward {
        page.messages.reverse();
    }
    Ok(page)
}

/// Counts for `status`: (queued, unread, pending requests, contacts).
pub fn counts(conn: &Connection) -> Result<(u64, u64, u64, u64), StoreError> {
    let one =
        |sql: &str| -> Result<u64, StoreError> { Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64) };
    // What one device of the recipient has is delivered, though another still waits for it.
    let delivered = [MessageState::Delivered, MessageState::Read].map(numbers::state_number);
    let queued = one(&format!(
        "SELECT count(*) FROM outbox o WHERE NOT EXISTS (
           SELECT 1 FROM owed w JOIN marks m ON m.stream = w.stream
           WHERE w.stream = o.stream AND m.state IN ({}, {}) AND o.seq BETWEEN m.low AND m.high)",
        delivered[0], delivered[1]
    ))?;
    let unread = one("SELECT coalesce(sum(unread), 0) FROM conversations")?;
    let pending = one("SELECT count(*) FROM contacts WHERE state & 12 = 4 AND state & 48 = 0")?;
    let accepted = one("SELECT count(*) FROM contacts WHERE state & 16 = 16")?;
    Ok((queued, unread, pending, accepted))
}
