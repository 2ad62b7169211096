//! `POST /v1/mailbox/{account}`: leaving an envelope for somebody who is not there.
//!
//! Contacts show the deposit token that the account gave them. Who shows none is a stranger, and the account's
//! first-contact policy decides; strangers have little room, of their own. There is no way to read, list or count here:
//! mail is told to the session of the device that it is for (session/push.rs), and to nobody else.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::ContactPolicy;
use proto::directory::api::{DepositAnswer, ErrorCode, MAX_DEPOSIT_BYTES};
use proto::ids::{AccountId, sha256};
use proto::wire::MAX_STRANGER_ENVELOPE_BYTES;
use proto::wire::envelope::Outer;
use proto::wire::work::{shown, window_of};

use super::place::{networks, place};
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, path_account, path_text, token, whole};
use crate::http::limits::{Class, Peer, Source};
use crate::metrics::{DepositRefused, Op};
use crate::state::{App, Directory};
use crate::store::{Deposit, Depositor, Stranger};

pub(super) async fn deposit(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Deposit, peer.address, shown, &directory.front.metrics);
    let result = match path.and_then(|text| path_account(&text)) {
        Ok(account) => store(&directory, peer, &headers, account, body).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = &result {
        let reason = match refusal.code {
            ErrorCode::TokenRevoked => Some(DepositRefused::Token),
            ErrorCode::MailboxFull => Some(DepositRefused::Full),
            ErrorCode::NotAllowed => Some(DepositRefused::Policy),
            _ => None,
        };
        reason.into_iter().for_each(|reason| directory.front.metrics.mailbox.refused(reason));
    }
    operation.finish(result)
}

async fn store(
    directory: &Directory,
    peer: Peer,
    headers: &HeaderMap,
    account: AccountId,
    body: Body,
) -> Result<(StatusCode, DepositAnswer), Refusal> {
    let token = token(headers)?;
    let limit = |source, class| directory.front.limiter.get().check(source, peer, class).map_err(Refusal::rate_limited);
    // With a deposit token it does not matter who else this is, nor that a session has ended meanwhile.
    let source = if token.is_some() { Source::Address(peer.address) } else { directory.source(peer, headers)? };
    if token.is_some() {
        limit(source, Class::Deposit)?;
    } else {
        limit(source, Class::Lookup)?;
        if matches!(source, Source::Member(_)) {
            // Strangers are counted by address as well: sessions are free to whoever has registered.
            limit(Source::Address(peer.address), Class::Lookup)?;
        }
    }
    let envelope = whole(body, MAX_DEPOSIT_BYTES)?;
    let entry = directory.cluster.by_account(account).ok_or_else(Refusal::not_found)?;
    let parsed = || Outer::decode(&envelope).map_err(|error| Refusal::new(ErrorCode::Malformed, error.to_string()));
    let from = match token {
        Some(hash) => Depositor::Contact(hash),
        None => {
            strangers_may(entry.policy, source)?;
            if envelope.len() > MAX_STRANGER_ENVELOPE_BYTES {
                let message =
                    format!("without a deposit token an envelope has at most {MAX_STRANGER_ENVELOPE_BYTES} bytes");
                return Err(Refusal::new(ErrorCode::TooLarge, message));
            }
            let outer = parsed()?;
            // The same in another spelling would be one more envelope for the same work.
            if outer.encode() != envelope {
                let message = "without a deposit token an envelope is taken in its shortest encoding only";
                return Err(Refusal::new(ErrorCode::Malformed, message));
            }
            Depositor::Stranger(stranger(directory, peer, &outer))
        }
    };
    let outer = parsed()?;
    let device = outer.to_device;
    if entry.device_key(device).is_none() {
        return Err(Refusal::new(ErrorCode::NotFound, "the account's record names no such device; look it up again"));
    }
    let (ttl, hash) = (outer.ttl, sha256(&[&envelope]));
    let deposited = directory.store.deposit(Deposit { account, device, from, ttl, hash, envelope }).await?;
    if deposited.created {
        directory.cluster.mail_came(device);
    }
    let status = if deposited.created { StatusCode::CREATED } else { StatusCode::OK };
    let (number, expires_in) = (deposited.number, deposited.expires_in);
    Ok((status, DepositAnswer { number, expires_in, time: unix_now() }))
}

/// Where a stranger comes from, in a form that tells nobody, and what work it shows. A member is no exception: accounts are
/// free, addresses are not.
fn stranger(directory: &Directory, peer: Peer, outer: &Outer<'_>) -> Stranger {
    let place = |what: &[u8]| place(directory, &[b"chatd/lane/1\0"], what);
    let (site, host) = networks(peer.address);
    let now = window_of(unix_now());
    Stranger {
        site: place(&site),
        host: place(&host),
        exempt: peer.exempt,
        work: shown(outer, now.saturating_sub(1), now),
    }
}

/// Whether this stranger may leave a request. An account that takes none looks like one that is not there.
fn strangers_may(policy: ContactPolicy, source: Source) -> Result<(), Refusal> {
    match (policy, source) {
        (ContactPolicy::Open, _) | (ContactPolicy::Members, Source::Member(_)) => Ok(()),
        (ContactPolicy::Members, Source::Address(_)) => Err(Refusal::new(
            ErrorCode::NotAllowed,
            "this account takes requests from members of this directory only; register here and deposit with the \
             bearer token of a session, or ask for an invite",
        )),
        (ContactPolicy::Invite | ContactPolicy::Closed, _) => Err(Refusal::not_found()),
    }
}
