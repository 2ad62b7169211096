//! What the contact rules' effects do to the store, in the transaction that changes the state.

use proto::ids::MessageId;
use proto::reason::Reason;
use proto::wire::payload::Kind;
use rusqlite::params;

use super::contacts::{load, state_number};
use super::{StoreError, Tx};
use crate::crypto::token::DepositToken;
use crate::model::ids::PeerId;
use crate::model::{ContactChange, MessageState};
use crate::policy::contact::{self, Effect, Event};
use crate::policy::contact_ids::{ContactIds, ContactMessage};
use crate::store::ContactRow;

impl Tx<'_> {
    /// Applies the contact rules to a wish of the user, executes their effects, and answers them. `text` goes with a
    /// request.
    ///
    /// # Errors
    /// What the rules forbid ([`StoreError::Contact`]), and those of the database.
    pub fn contact_wish(&mut self, contact: PeerId, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
        let row = load(self.conn, contact)?;
        self.contact_step(&row, event, text)
    }

    /// Applies the contact rules to a card, an answer or a removal that came from the contact under a message id. The card's
    /// token is kept if the card is its sender's newest word, and an answer to something that was asked.
    ///
    /// # Errors
    /// Those of the database; what does not fit is ignored.
    pub fn contact_signal(
        &mut self,
        contact: PeerId,
        kind: Kind,
        id: MessageId,
        text: &str,
        token: Option<&[u8; 32]>,
    ) -> Result<Vec<Effect>, StoreError> {
        let row = load(self.conn, contact)?;
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
        self.set_ids(contact, &ids)?;
        let Some(event) = heard else { return Ok(Vec::new()) };
        if event == (Event::RequestArrives { repeated: false }) {
            self.conn.execute(
                "UPDATE contacts SET request_text = ?2, request_at = ?3 WHERE id = ?1",
                params![contact, text, self.now.0],
            )?;
        }
        let effects = self.contact_step(&row, event, text)?;
        let asked = match event {
            Event::RequestArrives { .. } => true,
            Event::AcceptArrives { .. } => load(self.conn, contact)?.state.may_talk(),
            _ => false,
        };
        if let Some(token) = token.filter(|_| asked) {
            self.set_token_held(contact, token)?;
        }
        Ok(effects)
    }

    fn contact_step(&mut self, row: &ContactRow, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
        let (state, effects) = contact::step(row.state, event)?;
        self.conn.execute("UPDATE contacts SET state = ?2 WHERE id = ?1", params![row.id, state_number(state)])?;
        for effect in &effects {
            self.effect(row, event, *effect, text)?;
        }
        if event == Event::UserUnblocks && super::signals::waits(self.conn, row.id, Kind::ContactRequest)? {
            // The block made the token on our request's card worthless.
            self.ensure_token(row.id)?;
        }
        self.wake_delivery(row.id);
        Ok(effects)
    }

    fn effect(&mut self, row: &ContactRow, event: Event, effect: Effect, text: &str) -> Result<(), StoreError> {
        let contact = row.id;
        match effect {
            Effect::SendRequest => {
                self.ensure_token(contact)?;
                self.contact_message(contact, Kind::ContactRequest, ContactMessage::Request, text.as_bytes())?;
                self.conn.execute(
                    "UPDATE contacts SET request_text = '', request_at = ?2, request_end = '' WHERE id = ?1",
                    params![contact, self.now.0],
                )?;
            }
            Effect::SendAccept => {
                self.ensure_token(contact)?;
                self.drop_signals(contact, Kind::ContactReject)?;
                self.contact_message(contact, Kind::ContactAccept, ContactMessage::Accept, b"")?;
            }
            Effect::SendReject => self.contact_message(contact, Kind::ContactReject, ContactMessage::Reject, b"")?,
            Effect::SendRemove => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.drop_signals(contact, Kind::ContactAccept)?;
                self.contact_message(contact, Kind::ContactRemove, ContactMessage::Remove, b"")?;
            }
            Effect::AnnounceRequest => {
                // A request of its own: what was said of an earlier one is not said of this.
                self.give_handle(contact)?;
                self.event_contact(ContactChange::Requested, contact);
            }
            Effect::AnnounceAccepted => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.event_contact(ContactChange::Accepted, contact);
                // The profile goes along with the start of a contact, whichever side asked.
                let profile = super::account::own_profile(self.conn)?;
                if profile.version > 0 {
                    self.queue_profile(contact, &profile)?;
                }
            }
            Effect::AnnounceRejected => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                let kind = if event == Event::RemoveArrives { ContactChange::Removed } else { ContactChange::Rejected };
                self.event_contact(kind, contact);
            }
            Effect::AnnounceGivenUp => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                let reason = request_end(event);
                self.conn
                    .execute("UPDATE contacts SET request_end = ?2 WHERE id = ?1", params![contact, reason.as_str()])?;
                self.event_contact_because(ContactChange::GivenUp, contact, reason.as_str());
            }
            Effect::ReleaseQueued => self.wake_delivery(contact),
            Effect::RejectQueued => {
                // What the owner did is not the other's refusal.
                let (state, cause) = match event {
                    Event::UserBlocks => (MessageState::Withdrawn, Reason::Blocked),
                    Event::UserRemoves => (MessageState::Withdrawn, Reason::ContactRemoved),
                    Event::RemoveArrives => (MessageState::Rejected, Reason::RemovedByPeer),
                    Event::RequestEnds { .. } => (MessageState::Expired, request_end(event)),
                    _ => (MessageState::Rejected, Reason::RequestRejected),
                };
                self.reject_queued(contact, state, cause)?;
                // Only contacts are told these.
                self.drop_signals(contact, Kind::Receipt)?;
                self.drop_signals(contact, Kind::Profile)?;
            }
            Effect::RevokeToken => {
                self.conn.execute("UPDATE contacts SET token_given = NULL WHERE id = ?1", [contact])?;
                // A card without a token is none.
                self.drop_signals(contact, Kind::ContactAccept)?;
            }
        }
        Ok(())
    }

    fn set_ids(&mut self, contact: PeerId, ids: &ContactIds) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET ids = ?2 WHERE id = ?1", params![contact, &ids.to_bytes()[..]])?;
        Ok(())
    }

    /// Queues a message of the contact protocol under the id that its place in the exchange asks for.
    fn contact_message(
        &mut self,
        contact: PeerId,
        kind: Kind,
        message: ContactMessage,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let mut ids = load(self.conn, contact)?.ids;
        let id = ids.send(message, MessageId::now());
        self.set_ids(contact, &ids)?;
        self.queue_signal(contact, kind, id, payload)?;
        Ok(())
    }

    fn ensure_token(&mut self, contact: PeerId) -> Result<(), StoreError> {
        let token = DepositToken::generate().map_err(|_| StoreError::Damaged("random numbers"))?;
        self.conn.execute(
            "UPDATE contacts SET token_given = coalesce(token_given, ?2) WHERE id = ?1",
            params![contact, &token.as_bytes()[..]],
        )?;
        Ok(())
    }

    /// Keeps the deposit token that a contact gave us.
    fn set_token_held(&mut self, contact: PeerId, token: &[u8; 32]) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET token_held = ?2 WHERE id = ?1", params![contact, &token[..]])?;
        Ok(())
    }
}

/// Why a request ended without an answer, as it is stored and shown.
fn request_end(event: Event) -> Reason {
    if event == (Event::RequestEnds { gone: true }) { Reason::AccountGone } else { Reason::RequestExpired }
}
