//! Invites: making one, and becoming the contact of whoever made one.
//!
//! An invite carries the key, so nothing is taken on trust: what answers must be vouched for by it. It carries where its maker is, too;
//! a directory is asked when nobody answers there, and only one that has to prove a key, or that this account knows anyway.

use std::time::Duration;

use proto::advice::Step;
use proto::directory::{Record, SignedReach, SignedRecord};
use proto::ids::sha256;
use proto::invite::{Invite as Uri, MAX_URI_CHARS};
use proto::time::Timestamp;

use super::Service;
use super::account::Account;
use super::contacts::{ask, check_label, check_request, is_taken};
use super::directory::publisher;
use super::directory::session::is_local;
use super::error::ServiceError;
use crate::crypto::token::DepositToken;
use crate::delivery::relay_of;
use crate::directory::{Directories, DirectoryClient, own_networks};
use crate::link::Way;
use crate::model::{ContactNow, Invite, Trust};
use crate::peer::Card;
use crate::policy::dial::{DialContext, Source, may_dial};
use crate::store::ContactRow;
use crate::store::account::own_card;
use crate::store::contacts::invites;
use crate::store::peers::{self, NewContact, invitation, names, trust};

/// How long an invite is good if nothing is said.
const USUAL_SECONDS: u64 = 7 * 86_400;
/// At least, and at most.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=31 * 86_400;
/// Whoever made an invite is looked for so long where they were, before their directory is asked.
const FIRST_DIAL: Duration = Duration::from_secs(6);

/// `invite.create`: the text to hand on, and the invite.
///
/// # Errors
/// A label that is taken or none, a time that is too short or too long, too many invites.
pub(crate) async fn create(
    service: &Service,
    account: &Account,
    label: Option<&str>,
    seconds: Option<u64>,
) -> Result<(String, Invite), ServiceError> {
    let seconds = seconds.unwrap_or(USUAL_SECONDS);
    if !SECONDS.contains(&seconds) {
        return Err(ServiceError::InvalidParams("an invite is good for a minute at least and 31 days at most".into()));
    }
    let label = label.map(check_label).transpose()?.filter(|label| !label.is_empty());
    if let Some(label) = &label
        && is_taken(account, label, None).await?
    {
        return Err(ServiceError::AlreadyExists(format!("another contact is called {label} already")));
    }
    // With where we are now.
    if let Err(error) = publisher::publish_reach(service, account, false).await {
        tracing::debug!(%error, "reach was not published for an invite");
    }
    let token = DepositToken::generate()?;
    let expires = Timestamp(Timestamp::now().0.saturating_add_unsigned(seconds * 1_000));
    let hash = token.hash();
    let kept = account.store.write(move |tx| {
        let card = tx.read(own_card)?;
        Ok(invites::keep(tx, &hash, (label.as_deref(), expires))?.map(|invite| (invite, card)))
    });
    let Some((invite, card)) = kept.await? else {
        let text = format!("{} invites are out already, or were used lately", invites::MAX_INVITES);
        return Err(ServiceError::Refused(text).advise(Step::ListInvites.alone()));
    };
    let directory = account.row().directory;
    let uri = Uri {
        account: account.id,
        identity_key: account.keys.identity().public(),
        record_hash: sha256(&[&card.record]),
        reach: card.reach,
        mailbox: (!directory.is_empty()).then_some(directory),
        token: *token.as_bytes(),
    };
    let text = uri.to_string();
    if text.len() > MAX_URI_CHARS {
        return Err(ServiceError::InvalidParams("the URL of the directory is too long for an invite".into()));
    }
    Ok((text, invite))
}

/// `invite.list`.
///
/// # Errors
/// Those of the store.
pub(crate) async fn list(account: &Account) -> Result<Vec<Invite>, ServiceError> {
    let home = account.row().origin;
    Ok(account.store.read(move |conn| invites::list(conn, Timestamp::now(), &home)).await?)
}

/// `invite.revoke`.
///
/// # Errors
/// When there is no such invite.
pub(crate) async fn revoke(account: &Account, id: &str) -> Result<(), ServiceError> {
    let wanted = id.trim().to_lowercase();
    if account.store.write(move |tx| invites::revoke(tx, &wanted)).await? {
        return Ok(());
    }
    Err(ServiceError::NotFound(format!("no invite is called {id}")).advise(Step::ListInvites.alone()))
}

/// `contact.add` with an invite.
///
/// # Errors
/// Text that is no invite, one of one's own, a key that is another than the invite's, and when its maker cannot be found.
pub(crate) async fn redeem(
    service: &Service,
    account: &Account,
    invite: &str,
    text: String,
) -> Result<ContactNow, ServiceError> {
    check_request(&text)?;
    let row = maker(service, account, invite).await?;
    ask(account, row.id, "whoever made this invite", text).await
}

/// Whom an invite is of, as somebody to ask.
async fn maker(service: &Service, account: &Account, text: &str) -> Result<ContactRow, ServiceError> {
    let invite: Uri = text.trim().parse().map_err(|error| ServiceError::InvalidParams(format!("{error}")))?;
    if invite.account == account.id {
        return Err(ServiceError::InvalidParams("this invite is your own: give it to somebody else".into()));
    }
    let known = account.store.read_blocking(|conn| peers::by_account(conn, invite.account))?;
    if let Some(row) = known.as_ref().filter(|row| row.state.may_talk()) {
        return Ok(row.clone());
    }
    if known.is_some_and(|row| row.state.blocked) {
        return Err(ServiceError::Refused("whoever made this invite is blocked".into()));
    }
    let card = card(service, account, &invite).await?;
    let record = vouched(&card.record, &invite)?;
    let reach = SignedReach::decode(&card.reach).and_then(|signed| signed.verify(&record)).ok();
    let new = NewContact {
        account: invite.account,
        name: record.name.as_str().to_owned(),
        origin: record.origin.clone(),
        record_seq: record.seq,
        identity_key: record.identity_key,
        reach_seq: reach.as_ref().map_or(0, |reach| reach.seq),
        reach: if reach.is_some() { card.reach } else { Vec::new() },
        record: card.record,
    };
    let (token, key, home) = (invite.token, invite.identity_key, account.row().origin);
    let kept = account.store.write(move |tx| {
        let contact = trust::upsert_contact(tx, &new)?;
        let row = tx.read(|conn| peers::load(conn, contact))?;
        if row.identity_key != key {
            return Ok(row);
        }
        trust::trust_key(tx, contact, &key, Trust::Verified)?;
        invitation::hold(tx, contact, &token)?;
        // Nobody will ever confirm a name of no domain: whoever handed the invite over has.
        if new.origin.is_empty() || home.is_empty() {
            invites::give_label(tx, contact, &new.name)?;
        }
        if row.handle.is_none() && !row.confirmed {
            names::give_handle(tx, contact)?;
        }
        tx.read(|conn| peers::load(conn, contact))
    });
    let row = kept.await?;
    if row.identity_key != invite.identity_key {
        let text = "you know whoever made this invite by another key than the invite's".to_owned();
        return Err(ServiceError::KeyNotTrusted(text).advise(Step::Verify.of(row.who(&account.row().origin))));
    }
    Ok(row)
}

/// The record, if the invite's key stands for it.
fn vouched(record: &[u8], invite: &Uri) -> Result<Record, ServiceError> {
    let wrong = |what: &str| ServiceError::KeyNotTrusted(format!("{what}: nothing was sent. Ask for a new invite"));
    let record = SignedRecord::decode(record).and_then(|signed| signed.verify());
    let record = record.map_err(|_| wrong("what answered has no valid record of whoever made this invite"))?;
    if record.account() != invite.account || record.identity_key != invite.identity_key {
        return Err(wrong("what answered shows another key than the invite's"));
    }
    Ok(record)
}

/// The record and reach of whoever made an invite: from themselves, else from their directory.
async fn card(service: &Service, account: &Account, invite: &Uri) -> Result<Card, ServiceError> {
    let unreachable = match tokio::time::timeout(FIRST_DIAL, knock(service, account, invite)).await {
        Ok(Ok(card)) => return Ok(card),
        Ok(Err(error)) => error,
        Err(_) => format!("no answer within {} s", FIRST_DIAL.as_secs()),
    };
    let Some(directory) = directory_of(&account.directories, invite) else {
        return Err(ServiceError::PeerUnreachable(format!(
            "whoever made this invite was not reached ({unreachable}). Both of you have to be online at once, or one has to have a \
             directory"
        )));
    };
    // Whoever answers must be who the invite means: the record says.
    match directory.lookup_account(invite.account, None).await {
        Ok(found) => {
            let reach = directory.reach(invite.account, None, Some(&invite.token)).await.unwrap_or_default();
            Ok(Card { record: found.record, reach: reach.into_iter().next().unwrap_or_default() })
        }
        Err(error) => Err(ServiceError::PeerUnreachable(format!(
            "whoever made this invite was not reached ({unreachable}), and their directory did not help ({error}). Try again later"
        ))),
    }
}

/// Asks where the invite says that its maker is.
async fn knock(service: &Service, account: &Account, invite: &Uri) -> Result<Card, String> {
    let reach = SignedReach::decode(&invite.reach).and_then(|signed| signed.peek());
    let reach = reach.map_err(|_| "it does not say where they are".to_owned())?;
    let networks = own_networks();
    let config = service.config();
    // As for the reach of a contact: whose directory is this very machine talks to its neighbours here.
    let source = Source::Directory { loopback: is_local(&account.row().directory) };
    let rules = DialContext { source, allow_private: config.allow_private_addresses, networks: &networks };
    let addresses = reach.addresses.iter().copied().filter(|address| may_dial(*address, &rules)).collect::<Vec<_>>();
    let at_relay = reach.relay.is_some();
    let relay = directory_of(&account.directories, invite).filter(|_| at_relay).and_then(|client| client.relay());
    let relay = relay.map(relay_of);
    let is_near = service.inner.table.is_near(reach.node) || reach.node == service.node_id();
    if addresses.is_empty() && relay.is_none() && !is_near {
        return Err("none of its addresses may be dialled from here".to_owned());
    }
    let link =
        service.inner.table.get(reach.node, Way { addresses, relay }).await.map_err(|error| error.to_string())?;
    service.inner.links.knocks.ask(&link, invite.token).await.map_err(|error| error.to_string())
}

/// Whom to ask when the maker is away: this account's own directory or one that its operator has named, else one that has to prove
/// the key that the invite names. No other: an invite must not choose where this machine sends requests to.
fn directory_of(directories: &Directories, invite: &Uri) -> Option<DirectoryClient> {
    let place = invite.mailbox.as_deref()?;
    let known = directories.home().cloned().into_iter();
    let mut known = known.chain(directories.others().into_iter().map(|(_, client)| client));
    let proves = place.starts_with("https://") && place.contains("#sha256-");
    known.find(|client| client.url() == place).or_else(|| directories.at(place, None).ok().filter(|_| proves))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use proto::ids::AccountId;

    use super::*;
    use crate::directory::Network;

    #[test]
    fn an_invite_chooses_no_place_to_ask() {
        let named = BTreeMap::from([("b.test".to_owned(), "http://127.0.0.1:2".to_owned())]);
        let home = DirectoryClient::new("http://127.0.0.1:1").unwrap();
        let directories = Directories::named(&Network::default(), &named).unwrap().with_home("a.test", Some(home));
        let of = |mailbox: Option<&str>| {
            let mailbox = mailbox.map(str::to_owned);
            let token = [0; 32];
            let invite = Uri {
                account: AccountId([1; 16]),
                identity_key: token,
                record_hash: token,
                reach: vec![],
                mailbox,
                token,
            };
            directory_of(&directories, &invite).map(|client| client.url().to_owned())
        };
        let pinned = format!("https://dir.test:7470#sha256-{}", "A".repeat(43));
        for place in ["http://127.0.0.1:1", "http://127.0.0.1:2", pinned.as_str()] {
            assert_eq!(of(Some(place)).as_deref(), Some(place));
        }
        for place in [
            "http://127.0.0.1:3",
            "http://192.0.2.1",
            "https://c.test",
            "c.test",
            "https://c.test/#sha256-",
            "",
            "\u{1b}",
        ] {
            assert_eq!(of(Some(place)), None, "{place:?}");
        }
        assert_eq!(of(None), None);
    }
}
