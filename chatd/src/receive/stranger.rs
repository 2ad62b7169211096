//! The stranger lane: the only thing that somebody unknown may send is a contact request, alone in a small envelope.

use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{AccountId, ConversationId, sha256};
use proto::time::Timestamp;
use proto::wire::payload::{ContactCard, Kind};
use proto::wire::{MAX_STRANGER_ENVELOPE_BYTES, MAX_STRANGER_PLAINTEXT_BYTES};

use super::membership::Door;
use super::{Inbox, Receipt, Reject, Taken, Verdict};
use crate::crypto::envelope::Opened;
use crate::model::ids::PeerId;
use crate::policy::rate::requests::Lane;
use crate::store::contacts::{invites, requests};
use crate::store::peers::{self, NewContact, devices, trust};
use crate::store::{ContactRow, StoreError, Tx};
use rusqlite::Connection;

pub(super) async fn take(inbox: &Inbox, opened: Opened, (size, work): (usize, u8)) -> Result<Verdict, Reject> {
    if size > MAX_STRANGER_ENVELOPE_BYTES || opened.plaintext_len() > MAX_STRANGER_PLAINTEXT_BYTES {
        return Err(Reject::Rule("a stranger's envelope has 18,432 bytes at most, and 16,384 inside"));
    }
    let (from, from_device) = (opened.wrap().from, opened.wrap().from_device);
    // Looked at before it is proved, for the key alone that proves it.
    let key = {
        let cores = opened.unverified_cores()?;
        let [core] = cores.as_slice() else {
            return Err(Reject::Rule("a stranger sends one request and nothing else"));
        };
        if Kind::parse(core.kind) != Some(Kind::ContactRequest) || core.seq != 0 {
            return Err(Reject::Rule("a stranger may only ask to be a contact"));
        }
        let record = SignedRecord::decode(ContactCard::decode(core.payload)?.record)?.verify()?;
        if record.account() != from {
            return Err(Reject::Rule("the record is of another account"));
        }
        *record.device_key(from_device).ok_or(Reject::Rule("the record does not name the device"))?
    };
    let proved = opened.prove(&key)?;
    let cores = proved.cores()?;
    let Some((_, core)) = cores.list.first() else { return Err(Reject::Rule("no core")) };
    let card = ContactCard::decode(core.payload)?;
    let record = SignedRecord::decode(card.record)?.verify()?;
    let own = inbox.judge.rules.account;
    if from == own {
        return Err(Reject::Rule("a device of the account that its record does not name"));
    }
    if core.to != own || core.conversation != ConversationId::direct(own, from) {
        return Err(Reject::Rule("the request is for somebody else"));
    }
    let rules = &inbox.judge.rules;
    let invite = card.invite_token.map(|token| sha256(&[&token]));
    let (domain, door, waiting, known, is_invited) = inbox.store.read_blocking(|conn| {
        let domain = rules.proved_domain(conn, (from, &record), card.membership)?;
        let known = peers::by_account(conn, from)?;
        let is_invited = is_invited(conn, invite, known.as_ref(), Timestamp::now())?;
        Ok((domain, Door::of(conn)?, trust::pending_requests(conn)?, known, is_invited))
    })?;
    let max_pending = if is_invited {
        // The owner has said yes already: neither the door nor the limits are for this one.
        u32::MAX
    } else {
        if !door.lets_in(domain.as_deref()) {
            return Ok(Verdict::Dropped { blame: false });
        }
        places(inbox, from, domain.as_deref(), (waiting, waits(known.as_ref())), work)?
    };
    let reach = SignedReach::decode(card.reach).and_then(|signed| signed.verify(&record)).ok();
    let new = NewContact {
        account: from,
        name: record.name.as_str().to_owned(),
        origin: record.origin.clone(),
        record: card.record.to_vec(),
        record_seq: record.seq,
        identity_key: record.identity_key,
        reach_seq: reach.as_ref().map_or(0, |reach| reach.seq),
        reach: reach.map(|_| card.reach.to_vec()).unwrap_or_default(),
    };
    let (token, text, id) = (card.deposit_token, card.text.to_owned(), core.id);
    let outcome = inbox
        .store
        // All strangers have one share.
        .enqueue_for(PeerId::STRANGERS, move |tx| {
            let silent = Receipt { silent: true, ..Receipt::default() };
            let known = peers::by_account_in(tx, from)?;
            if known.as_ref().is_some_and(|row| row.state.blocked) {
                return Ok(silent);
            }
            if is_invited && !is_invited_now(tx, invite, known.as_ref())? {
                tracing::info!(often = "invite", %from, "somebody else was quicker to use an invite");
                return Ok(silent);
            }
            if !waits(known.as_ref()) && tx.read(trust::pending_requests)? >= max_pending {
                tracing::info!(often = "too many", %from, "too many contact requests wait");
                return Ok(silent);
            }
            let contact = trust::upsert_contact(tx, &new)?;
            // Somebody known on a device that was not: their newest record must name it, and the pinned key vouch for that.
            if !devices::has_device(tx, from, from_device)? {
                tracing::info!(often = "device", %from, "a request came from a device that its account's newest record does not name");
                return Ok(silent);
            }
            devices::device_proved(tx, contact, from_device)?;
            requests::contact_signal(tx, contact, Kind::ContactRequest, id, &text, Some(&token))?;
            if let Some(invite) = invite.filter(|_| is_invited) {
                invites::answer(tx, &invite, contact)?;
            }
            Ok(silent)
        })
        .await?;
    Ok(Verdict::Taken(Taken { contact: PeerId::STRANGERS, from_device, outcome }))
}

/// How many requests may wait for this one to be let in.
fn places(
    inbox: &Inbox,
    from: AccountId,
    domain: Option<&str>,
    (waiting, waits): (u32, bool),
    work: u8,
) -> Result<u32, Reject> {
    let rules = &inbox.judge.rules;
    let (own, max_pending) = (rules.account, rules.max_pending());
    let requests = &rules.limits.now().requests;
    let lane = requests.admit(own, from, domain, work).map_err(Reject::Over)?;
    // As many again with work; whoever waits already takes no further place.
    let lane = match lane {
        Lane::Ordinary if waiting >= max_pending && !waits => {
            requests.admit_by_work(own, work).map_err(Reject::Over)?
        }
        lane => lane,
    };
    Ok(if lane == Lane::Worked { max_pending.saturating_mul(2) } else { max_pending })
}

/// Whether an invite of this hash is good for somebody.
fn is_invited(
    conn: &Connection,
    invite: Option<[u8; 32]>,
    known: Option<&ContactRow>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    invite.map_or(Ok(false), |hash| invites::is_good(conn, &hash, known.map(|row| row.id), now))
}

fn is_invited_now(tx: &Tx<'_>, invite: Option<[u8; 32]>, known: Option<&ContactRow>) -> Result<bool, StoreError> {
    tx.read(|conn| is_invited(conn, invite, known, tx.now))
}

/// Whether a request of this one takes no further place.
fn waits(known: Option<&ContactRow>) -> bool {
    known.is_some_and(|row| row.state.may_talk() || peers::is_pending(row))
}
