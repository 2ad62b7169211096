//! What a proved envelope of a known person does, inside the transaction.

use proto::ids::{ConversationId, sha256};
use proto::wire::envelope::Core;
use proto::wire::payload::{ContactCard, Kind, Profile, Receipt as ReadReceipt};

use super::{Receipt, Rules};
use crate::crypto::envelope::{Cores, Proved};
use crate::model::ProfileRow;
use crate::model::ids::{PeerDevice, PeerId};
use crate::store::contacts::{invites, requests};
use crate::store::log::recovery::epochs;
use crate::store::log::{acks, incoming};
use crate::store::peers::devices::{self, KnownDevice};
use crate::store::peers::{self, profiles, trust};
use crate::store::{StoreError, Tx};

/// Applies the cores and acknowledgements of one envelope. Messages count only from a contact; the contact protocol counts
/// from anybody whose key is known.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    rules: &Rules,
    device: KnownDevice,
    proved: &Proved,
) -> Result<Receipt, StoreError> {
    let cores = proved.cores().map_err(|_| StoreError::Damaged("cores of a proved envelope"))?;
    if device.contact == PeerId::SELF {
        return from_own_device(tx, rules, &cores);
    }
    // As it is now: the user may have blocked or removed it since the envelope was opened.
    let row = peers::by_id(tx, device.contact)?;
    let silent = Receipt { silent: true, ..Receipt::default() };
    if row.state.blocked {
        return Ok(silent);
    }
    if !device.proved {
        devices::device_proved(tx, row.id, cores.wrap.from_device)?;
    }
    let own = rules.account;
    let direct = ConversationId::direct(own, row.account);
    let contact = row.id;
    let mut receipt = Receipt::default();
    let mut chain: Vec<(&[u8], &Core<'_>)> = Vec::new();
    for (bytes, core) in &cores.list {
        let kind = Kind::parse(core.kind);
        let in_chain = core.seq > 0;
        let fits = core.to == own && core.conversation == direct && kind.is_none_or(|k| k.in_chain() == in_chain);
        if !fits {
            tracing::info!(often = "kind", from = %row.account, kind = core.kind, "a core that does not belong here was dropped");
            continue;
        }
        match kind {
            _ if in_chain => chain.push((bytes, core)),
            Some(kind) => {
                if signal(tx, rules, PeerDevice { peer: contact, device: cores.wrap.from_device }, kind, core)? {
                    receipt.ids.push(core.id);
                }
            }
            None => receipt.ids.push(core.id),
        }
    }
    // The contact protocol may just have changed the state: an accept and the first messages may share an envelope.
    if !peers::by_id(tx, contact)?.state.may_talk() {
        return Ok(silent);
    }
    epochs::heed_late(tx, contact, &cores.wrap.acks)?;
    let from = PeerDevice { peer: contact, device: cores.wrap.from_device };
    acks::acknowledged(tx, from, &cores.wrap.acks)?;
    if !chain.is_empty() {
        let received = incoming::receive(tx, contact, &chain, &rules.limits.space().quotas())?;
        if received.chain_broken {
            tracing::warn!(often = "chain", from = %row.account, "consecutive messages do not link: chain_broken");
        }
        if received.refused > 0 {
            tracing::warn!(often = "holes", from = %row.account, cores = received.refused, "over a quota, or too many holes: not everything was taken");
        }
        receipt.refused = received.refused > 0;
        receipt.over_quota = received.over_quota;
        receipt.entries = received.entries;
    }
    Ok(receipt)
}

/// What another device of the account sent, to whoever is known here; and what it has of ours.
fn from_own_device(tx: &mut Tx<'_>, rules: &Rules, cores: &Cores<'_>) -> Result<Receipt, StoreError> {
    let from = PeerDevice { peer: PeerId::SELF, device: cores.wrap.from_device };
    acks::acknowledged(tx, from, &cores.wrap.acks)?;
    let mut chain: Vec<(&[u8], &Core<'_>)> = Vec::new();
    for (bytes, core) in &cores.list {
        let in_chain = core.seq > 0 && Kind::parse(core.kind).is_none_or(Kind::in_chain);
        let known = in_chain
            && core.conversation == ConversationId::direct(rules.account, core.to)
            && peers::by_account_in(tx, core.to)?.is_some();
        match known {
            true => chain.push((bytes, core)),
            // It stays there until the contact is known here, too.
            false => {
                tracing::info!(often = "kind", kind = core.kind, "a core of an own device to nobody who is known here")
            }
        }
    }
    let received = incoming::receive(tx, PeerId::SELF, &chain, &rules.limits.space().quotas())?;
    let refused = received.refused > 0 || chain.len() < cores.list.len();
    Ok(Receipt { refused, entries: received.entries, ..Receipt::default() })
}

/// One core outside of the chain; whether it may be acknowledged.
fn signal(tx: &mut Tx<'_>, rules: &Rules, from: PeerDevice, kind: Kind, core: &Core<'_>) -> Result<bool, StoreError> {
    let contact = from.peer;
    // Each may change what the next one meets.
    let row = peers::by_id(tx, contact)?;
    match kind {
        Kind::ContactRequest | Kind::ContactAccept => {
            let Ok(card) = ContactCard::decode(core.payload) else { return Ok(false) };
            let asks = kind == Kind::ContactRequest && !peers::is_pending(&row) && !row.state.may_talk();
            let invite = card.invite_token.filter(|_| kind == Kind::ContactRequest).map(|token| sha256(&[&token]));
            let invite = match invite {
                Some(hash) if tx.read(|conn| invites::is_good(conn, &hash, Some(contact), tx.now))? => Some(hash),
                _ => None,
            };
            if asks && invite.is_none() && !rules.may_ask(tx, &row, &card)? {
                tracing::info!(often = "requests", from = %row.account, "too many contact requests");
                return Ok(false);
            }
            if !trust::take_record(tx, contact, card.record)? {
                return Ok(false);
            }
            trust::take_reach(tx, contact, card.reach)?;
            requests::contact_signal(tx, contact, kind, core.id, card.text, Some(&card.deposit_token))?;
            if let Some(hash) = invite {
                invites::answer(tx, &hash, contact)?;
            }
            Ok(true)
        }
        Kind::ContactReject | Kind::ContactRemove => {
            requests::contact_signal(tx, contact, kind, core.id, "", None)?;
            Ok(true)
        }
        Kind::Receipt if row.state.may_talk() => {
            if let Ok(receipt) = ReadReceipt::decode(core.payload) {
                acks::read_by(tx, from, &receipt.id)?;
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
                profiles::set_contact_profile(tx, contact, &profile)?;
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}
