//! What the contact rules' effects do to the store, in the transaction that changes the state.

use proto::ids::MessageId;
use proto::reason::Reason;
use proto::wire::payload::Kind;
use rusqlite::params;

use crate::crypto::token::DepositToken;
use crate::model::ids::PeerId;
use crate::model::{ContactChange, MessageState};
use crate::policy::contact::{self, Effect, Event};
use crate::policy::contact_ids::{ContactIds, ContactMessage};
use crate::store::account;
use crate::store::delivery::control;
use crate::store::engine::emit;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::acks;
use crate::store::peers::row::ContactRow;
use crate::store::peers::{invitation, load, names, state_number};

/// Applies the contact rules to a wish of the user, executes their effects, and answers them. `text` goes with a
/// request.
///
/// # Errors
/// What the rules forbid: [`StoreError::Contact`].
pub fn apply_user_event(tx: &mut Tx<'_>, contact: PeerId, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
    let row = load(tx.conn, contact)?;
    contact_step(tx, &row, event, text)
}

/// Applies the contact rules to a card, an answer or a removal that came from the contact under a message id. The card's
/// token is kept if the card is its sender's newest word, and an answer to something that was asked.
///
/// # Errors
/// As all of the store; what does not fit is ignored.
pub fn contact_signal(
    tx: &mut Tx<'_>,
    contact: PeerId,
    kind: Kind,
    id: MessageId,
    text: &str,
    token: Option<&[u8; 32]>,
) -> Result<Vec<Effect>, StoreError> {
    let row = load(tx.conn, contact)?;
    let message = match kind {
        Kind::ContactRequest => ContactMessage::Request,
        Kind::ContactAccept => ContactMessage::Accept,
        Kind::ContactReject => ContactMessage::Reject,
        Kind::ContactRemove => ContactMessage::Remove,
        _ => return Ok(Vec::new()),
    };
    if row.state.blocked {
        return Ok(Vec::new());
    }
    let mut ids = row.ids;
    let heard = ids.hear(message, id);
    set_ids(tx, contact, &ids)?;
    let Some(event) = heard else { return Ok(Vec::new()) };
    if event == (Event::RequestArrives { repeated: false }) {
        tx.conn.execute(
            "UPDATE contacts SET request_text = ?2, request_at = ?3 WHERE peer = ?1",
            params![contact, text, tx.now.0],
        )?;
    }
    let effects = contact_step(tx, &row, event, text)?;
    let asked = match event {
        Event::RequestArrives { .. } => true,
        Event::AcceptArrives { .. } => load(tx.conn, contact)?.state.may_talk(),
        _ => false,
    };
    if let Some(token) = token.filter(|_| asked) {
        set_token_held(tx, contact, token)?;
    }
    Ok(effects)
}

fn contact_step(tx: &mut Tx<'_>, row: &ContactRow, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
    let (state, effects) = contact::step(row.state, event)?;
    tx.conn.execute("UPDATE contacts SET state = ?2 WHERE peer = ?1", params![row.id, state_number(state)])?;
    for effect in &effects {
        take_effect(tx, row, event, *effect, text)?;
    }
    if event == Event::UserUnblocks && control::waits(tx.conn, row.id, Kind::ContactRequest)? {
        // The block made the token on our request's card worthless.
        ensure_token(tx, row.id)?;
    }
    tx.wake_delivery(row.id);
    Ok(effects)
}

fn take_effect(tx: &mut Tx<'_>, row: &ContactRow, event: Event, effect: Effect, text: &str) -> Result<(), StoreError> {
    let contact = row.id;
    match effect {
        Effect::SendRequest => {
            ensure_token(tx, contact)?;
            contact_message(tx, contact, Kind::ContactRequest, ContactMessage::Request, text.as_bytes())?;
            tx.conn.execute(
                "UPDATE contacts SET request_text = '', request_at = ?2, request_end = '' WHERE peer = ?1",
                params![contact, tx.now.0],
            )?;
        }
        Effect::SendAccept => {
            ensure_token(tx, contact)?;
            control::drop_signals(tx, contact, Kind::ContactReject)?;
            contact_message(tx, contact, Kind::ContactAccept, ContactMessage::Accept, b"")?;
        }
        Effect::SendReject => contact_message(tx, contact, Kind::ContactReject, ContactMessage::Reject, b"")?,
        Effect::SendRemove => {
            control::drop_signals(tx, contact, Kind::ContactRequest)?;
            control::drop_signals(tx, contact, Kind::ContactAccept)?;
            contact_message(tx, contact, Kind::ContactRemove, ContactMessage::Remove, b"")?;
        }
        Effect::AnnounceRequest => {
            // A request of its own: what was said of an earlier one is not said of this.
            names::give_handle(tx, contact)?;
            emit::contact(tx, ContactChange::Requested, contact);
        }
        Effect::AnnounceAccepted => {
            control::drop_signals(tx, contact, Kind::ContactRequest)?;
            invitation::used(tx, contact)?;
            emit::contact(tx, ContactChange::Accepted, contact);
            // The profile goes along with the start of a contact, whichever side asked.
            let profile = account::own_profile(tx.conn)?;
            if profile.version > 0 {
                control::queue_profile(tx, contact, &profile)?;
            }
        }
        Effect::AnnounceRejected => {
            control::drop_signals(tx, contact, Kind::ContactRequest)?;
            let kind = if event == Event::RemoveArrives { ContactChange::Removed } else { ContactChange::Rejected };
            emit::contact(tx, kind, contact);
        }
        Effect::AnnounceGivenUp => {
            control::drop_signals(tx, contact, Kind::ContactRequest)?;
            let reason = request_end(event);
            tx.conn
                .execute("UPDATE contacts SET request_end = ?2 WHERE peer = ?1", params![contact, reason.as_str()])?;
            emit::contact_because(tx, ContactChange::GivenUp, contact, reason.as_str());
        }
        Effect::ReleaseQueued => tx.wake_delivery(contact),
        Effect::RejectQueued => {
            // What the owner did is not the other's refusal.
            let (state, cause) = match event {
                Event::UserBlocks => (MessageState::Withdrawn, Reason::Blocked),
                Event::UserRemoves => (MessageState::Withdrawn, Reason::ContactRemoved),
                Event::RemoveArrives => (MessageState::Rejected, Reason::RemovedByPeer),
                Event::RequestEnds { .. } => (MessageState::Expired, request_end(event)),
                _ => (MessageState::Rejected, Reason::RequestRejected),
            };
            acks::reject_queued(tx, contact, state, cause)?;
            // Only contacts are told these.
            control::drop_signals(tx, contact, Kind::Receipt)?;
            control::drop_signals(tx, contact, Kind::Profile)?;
        }
        Effect::RevokeToken => {
            tx.conn.execute("UPDATE contacts SET token_given = NULL WHERE peer = ?1", [contact])?;
            invitation::end(tx, contact)?;
            // A card without a token is none.
            control::drop_signals(tx, contact, Kind::ContactAccept)?;
        }
    }
    Ok(())
}

fn set_ids(tx: &mut Tx<'_>, contact: PeerId, ids: &ContactIds) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE contacts SET ids = ?2 WHERE peer = ?1", params![contact, &ids.to_bytes()[..]])?;
    Ok(())
}

/// Queues a message of the contact protocol under the id that its place in the exchange asks for.
fn contact_message(
    tx: &mut Tx<'_>,
    contact: PeerId,
    kind: Kind,
    message: ContactMessage,
    payload: &[u8],
) -> Result<(), StoreError> {
    let mut ids = load(tx.conn, contact)?.ids;
    let id = ids.send(message, MessageId::now());
    set_ids(tx, contact, &ids)?;
    control::queue_signal(tx, contact, kind, id, payload)?;
    Ok(())
}

fn ensure_token(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    let token = DepositToken::generate().map_err(|_| StoreError::Damaged("random numbers"))?;
    tx.conn.execute(
        "UPDATE contacts SET token_given = coalesce(token_given, ?2) WHERE peer = ?1",
        params![contact, &token.as_bytes()[..]],
    )?;
    Ok(())
}

/// Keeps the deposit token that a contact gave us.
fn set_token_held(tx: &mut Tx<'_>, contact: PeerId, token: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE contacts SET token_held = ?2 WHERE peer = ?1", params![contact, &token[..]])?;
    Ok(())
}

/// Why a request ended without an answer, as it is stored and shown.
fn request_end(event: Event) -> Reason {
    if event == (Event::RequestEnds { gone: true }) { Reason::AccountGone } else { Reason::RequestExpired }
}
