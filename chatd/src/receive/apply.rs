//! What a proved envelope of a known person does, inside the transaction.

use proto::ids::{AccountId, ConversationId};
use proto::wire::envelope::Core;
use proto::wire::payload::{ContactCard, Kind, Profile, Receipt as ReadReceipt};

use super::Receipt;
use crate::crypto::envelope::Proved;
use crate::model::{ContactRow, ProfileRow};
use crate::policy::rate::RateLimits;
use crate::store::{StoreError, Tx, contacts};

/// Applies the cores and acknowledgements of one envelope. Messages count only from a contact; the contact protocol counts
/// from anybody whose key is known.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    own: AccountId,
    row: &ContactRow,
    proved: &Proved,
    limits: Option<&RateLimits>,
    max_pending: u32,
) -> Result<Receipt, StoreError> {
    let cores = proved.cores().map_err(|_| StoreError::Damaged("cores of a proved envelope"))?;
    let direct = ConversationId::direct(own, row.account);
    let contact = row.id;
    let mut receipt = Receipt::default();
    let mut chain: Vec<(&[u8], &Core<'_>)> = Vec::new();
    for (bytes, core) in &cores.list {
        let kind = Kind::parse(core.kind);
        let in_chain = core.seq > 0;
        let fits = core.to == own && core.conversation == direct && kind.is_none_or(|k| k.in_chain() == in_chain);
        if !fits {
            tracing::info!(from = %row.account, kind = core.kind, "a core that does not belong here was dropped");
            continue;
        }
        match kind {
            _ if in_chain => chain.push((bytes, core)),
            Some(kind) => {
                if signal(tx, row, kind, core, limits, max_pending)? {
                    receipt.ids.push(core.id);
                }
            }
            None => receipt.ids.push(core.id),
        }
    }
    // The contact protocol may just have changed the state: an accept and the first messages may share an envelope.
    let now = contacts::by_id(tx, contact)?;
    if !now.state.may_talk() {
        receipt.silent = true;
        return Ok(receipt);
    }
    tx.acknowledged(contact, &cores.wrap.acks)?;
    if !chain.is_empty() {
        let received = tx.receive(contact, &chain)?;
        if received.chain_broken {
            tracing::warn!(from = %row.account, "consecutive messages do not link: chain_broken");
        }
        receipt.entries = received.entries;
    }
    Ok(receipt)
}

/// One core outside of the chain; whether it may be acknowledged.
fn signal(
    tx: &mut Tx<'_>,
    row: &ContactRow,
    kind: Kind,
    core: &Core<'_>,
    limits: Option<&RateLimits>,
    max_pending: u32,
) -> Result<bool, StoreError> {
    let contact = row.id;
    match kind {
        Kind::ContactRequest | Kind::ContactAccept => {
            let Ok(card) = ContactCard::decode(core.payload) else { return Ok(false) };
            if kind == Kind::ContactRequest && !contacts::is_pending(row) {
                let origin = row.origin.as_str();
                if limits.is_some_and(|limits| limits.requests.check(core.to, row.account, origin).is_err())
                    || (!row.state.may_talk() && tx.pending_requests()? >= max_pending)
                {
                    tracing::info!(from = %row.account, "too many contact requests");
                    return Ok(false);
                }
            }
            if !take_card(tx, row, &card)? {
                return Ok(false);
            }
            tx.contact_signal(contact, kind, core.id, card.text)?;
            Ok(true)
        }
        Kind::ContactReject | Kind::ContactRemove => {
            tx.contact_signal(contact, kind, core.id, "")?;
            Ok(true)
        }
        Kind::Receipt if row.state.may_talk() => {
            if let Ok(receipt) = ReadReceipt::decode(core.payload) {
                tx.read_by(contact, &receipt.id)?;
            }
            Ok(true)
        }
        Kind::Profile if row.state.may_talk() => {
            if let Ok(profile) = Profile::decode(core.payload) {
                let profile = ProfileRow {
                    version: profile.version,
                    display_name: profile.display_name.to_owned(),
                    status: profile.status.to_owned(),
                    bio: profile.bio.to_owned(),
                };
                tx.set_contact_profile(contact, &profile)?;
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Takes what a known person's card says. `false`: the card is not theirs.
fn take_card(tx: &mut Tx<'_>, row: &ContactRow, card: &ContactCard<'_>) -> Result<bool, StoreError> {
    if !tx.take_record(row.id, card.record, false)? {
        return Ok(false);
    }
    tx.take_reach(row.id, card.reach)?;
    tx.set_token_held(row.id, &card.deposit_token)?;
    Ok(true)
}
