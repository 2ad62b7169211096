//! Cores outside of any chain: contact.*, receipts, profiles. They are idempotent, kept until acknowledged by id (or until
//! their answer comes), and at most one of a kind waits per contact where a newer one makes the older pointless.

use proto::ids::{ConversationId, Epoch, MessageId};
use proto::wire::envelope::Core;
use proto::wire::payload::{ContactCard, Kind, Profile, Receipt};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ProfileRow;
use crate::model::ids::PeerId;
use crate::policy::clock::lives::life_seconds;
use crate::store::account::{self, domains};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers::{self, invitation};

/// A signal that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// `signals.id`.
    pub id: i64,
    /// What it is.
    pub kind: Kind,
    /// The core's message id.
    pub msgid: MessageId,
    /// The whole core, built now.
    pub core: Vec<u8>,
    /// Until when (Unix ms) it lies in the recipient's mailbox; 0: it does not.
    pub deposited_until: i64,
}

/// Queues a signal in place of an older one of its kind.
pub(in crate::store) fn queue_signal(
    tx: &mut Tx<'_>,
    contact: PeerId,
    kind: Kind,
    id: MessageId,
    payload: &[u8],
) -> Result<(), StoreError> {
    drop_signals(tx, contact, kind)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO signals (contact, kind, msgid, payload, at, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![contact, kind.as_str(), id.as_bytes(), payload, tx.now.0, -life_seconds(kind)])?;
    tx.wake_delivery(contact);
    Ok(())
}

/// Drops what waits of a kind.
pub(in crate::store) fn drop_signals(tx: &mut Tx<'_>, contact: PeerId, kind: Kind) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM signals WHERE contact = ?1 AND kind = ?2")?
        .execute(params![contact, kind.as_str()])?;
    Ok(())
}

/// Drops signals that the contact acknowledged by id (or that need no acknowledgement and are on their way).
pub fn signals_done(tx: &mut Tx<'_>, contact: PeerId, ids: &[MessageId]) -> Result<(), StoreError> {
    let mut delete = tx.conn.prepare_cached("DELETE FROM signals WHERE contact = ?1 AND msgid = ?2")?;
    for id in ids {
        delete.execute(params![contact, id.as_bytes()])?;
    }
    Ok(())
}

/// Queues a receipt for everything of the contact up to a local message.
pub(in crate::store) fn queue_receipt(tx: &mut Tx<'_>, contact: PeerId, upto: i64) -> Result<(), StoreError> {
    let last: Option<(Vec<u8>, i64, Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "SELECT s.epoch, m.seq, m.msgid FROM messages m JOIN streams_in s ON s.id = m.stream
             WHERE m.conversation = ?1 AND m.id <= ?2 AND m.sender > 0 ORDER BY m.id DESC LIMIT 1",
        )?
        .query_row(params![peers::direct(tx.conn, contact)?, upto], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((epoch, seq, id)) = last else { return Ok(()) };
    let (Ok(epoch), Some(id)) = (epoch.try_into(), MessageId::from_slice(&id)) else { return Ok(()) };
    let receipt = Receipt { epoch, seq: seq as u64, id };
    queue_signal(tx, contact, Kind::Receipt, MessageId::now(), &receipt.encode())
}

pub(in crate::store) fn queue_profile(
    tx: &mut Tx<'_>,
    contact: PeerId,
    profile: &ProfileRow,
) -> Result<(), StoreError> {
    let payload = Profile {
        version: profile.version,
        display_name: &profile.display_name,
        status: &profile.status,
        bio: &profile.bio,
    };
    queue_signal(tx, contact, Kind::Profile, MessageId::now(), &payload.encode())
}

/// Whether our acceptance is not acknowledged yet.
pub fn accept_waits(conn: &Connection, contact: PeerId) -> Result<bool, StoreError> {
    waits(conn, contact, Kind::ContactAccept)
}

/// Whether a signal of a kind waits.
pub(in crate::store) fn waits(conn: &Connection, contact: PeerId, kind: Kind) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM signals WHERE contact = ?1 AND kind = ?2 LIMIT 1")?
        .exists(params![contact, kind.as_str()])?)
}

/// The signals that wait for a contact, oldest first, as cores of this moment: cards carry the newest own record and reach.
pub fn waiting(conn: &Connection, contact: PeerId, now: i64) -> Result<Vec<SignalRow>, StoreError> {
    type Row = (i64, String, Vec<u8>, Vec<u8>, i64);
    let rows: Vec<Row> = conn
        .prepare_cached(
            "SELECT id, kind, msgid, payload, deposited_until FROM signals WHERE contact = ?1 ORDER BY id LIMIT 16",
        )?
        .query_map([contact], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let own = account::load(conn)?;
    let peer = peers::load(conn, contact)?;
    let mut out = Vec::with_capacity(rows.len());
    for (id, kind, msgid, mut payload, deposited_until) in rows {
        let (Some(kind), Some(msgid)) = (Kind::parse(&kind), MessageId::from_slice(&msgid)) else { continue };
        if matches!(kind, Kind::ContactRequest | Kind::ContactAccept) {
            // Without a token while its recipient is blocked: it waits for a new one.
            let Some(deposit_token) = peer.token_given else { continue };
            let card = account::own_card(conn)?;
            let text: String = String::from_utf8(payload).unwrap_or_default();
            payload = ContactCard {
                record: &card.record,
                reach: &card.reach,
                deposit_token,
                invite_token: if kind == Kind::ContactRequest { invitation::held(conn, contact)? } else { None },
                text: &text,
                membership: &domains::membership(conn)?,
            }
            .encode();
        }
        let core = Core {
            from: own.id,
            from_device: own.device,
            conversation: ConversationId::direct(own.id, peer.account),
            to: peer.account,
            id: msgid,
            epoch: Epoch([0; 8]),
            seq: 0,
            prev: [0; 32],
            time: now,
            kind: kind.as_str(),
            payload: &payload,
        }
        .encode();
        out.push(SignalRow { id, kind, msgid, core, deposited_until });
    }
    Ok(out)
}
