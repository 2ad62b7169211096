//! Who presents a token, and what a call with one may do and be about.
//!
//! Invariant: what a token is not for is refused in the same words whether it is there or not.

use std::borrow::Cow;
use std::sync::Arc;

use proto::ids::{AccountId, sha256, unhex};
use proto::scope::{Needs, Scope};
use proto::time::Timestamp;
use proto::who::Who;

use super::live::Live;
use crate::model::{Caller, Grant};
use crate::service::account::Account;
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::store::account::tokens;
use crate::store::peers::{by_account, names};

/// What every token begins with, so that it is known for one where it does not belong.
pub(in crate::service) const PREFIX: &str = "chatd_";

/// The hash by which a token is known; `None` for what cannot be one.
fn hash_of(text: &str) -> Option<[u8; 32]> {
    let secret = unhex::<32>(text.trim().strip_prefix(PREFIX)?)?;
    Some(hash(&secret))
}

/// The hash of a token's secret.
pub(in crate::service) fn hash(secret: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"chatd/token/1\0", secret])
}

fn no_token() -> ServiceError {
    ServiceError::NotGranted("this is no token in force: it was never given, has expired, or was revoked".into())
}

/// The time by which tokens of an account end.
pub(in crate::service) fn now(account: &Account) -> Timestamp {
    let trusted = Timestamp(account.clock.trusted_or_local_now().saturating_mul(1_000));
    account.tokens.now(trusted.max(Timestamp::now()))
}

/// Ends the tokens whose time is up.
pub(in crate::service) async fn end_expired(account: &Account) {
    for live in account.tokens.expired(now(account)) {
        end(account, &live, true).await;
    }
}

/// Puts a token out of force, then on disk: whatever the disk says, it is over.
pub(in crate::service) async fn end(account: &Account, live: &Live, expired: bool) {
    let token = live.grant.token;
    account.tokens.end(token);
    if let Err(error) = account.store.write(move |tx| tokens::end(tx, token, expired)).await {
        tracing::warn!(%error, account = %account.id, token, "that a token has ended is not stored");
    }
}

/// Notes that something was done with a token, or refused. What only reads may be lost in a crash.
async fn note(
    account: &Account,
    (caller, grant): (&Caller, &Grant),
    (method, about): (&'static str, Option<AccountId>),
    refused: Option<&'static str>,
    count: u64,
) {
    let (token, uid) = (grant.token, caller.uid);
    let op = move |tx: &mut crate::store::Tx<'_>| tokens::note(tx, token, (method, about, uid), refused, count);
    // In the queue before what it is about; nobody waits for the disk because of it.
    if let Err(error) = account.store.enqueue(op).await {
        tracing::warn!(%error, account = %account.id, token, "a use of a token is not noted");
    }
}

/// `system.hello` with a token: what it grants from now on.
///
/// # Errors
/// [`ServiceError::NotGranted`]; the connection must then end.
pub(crate) async fn present(service: &Service, caller: &Caller, text: &str) -> Result<Arc<Grant>, ServiceError> {
    let hash = hash_of(text).ok_or_else(no_token)?;
    let accounts = service.accounts();
    let found = accounts.iter().find_map(|account| Some((account, account.tokens.find(&hash)?)));
    let Some((account, live)) = found else {
        tracing::info!(often = "token", uid = caller.uid, pid = ?caller.pid, "a token that is not in force was presented");
        return Err(no_token());
    };
    if live.is_over(now(account)) {
        end(account, &live, true).await;
        return Err(no_token());
    }
    if caller.grant.as_ref().is_some_and(|held| *held != live.grant) {
        return Err(ServiceError::NotGranted("this connection has presented another token: make a new one".into()));
    }
    note(account, (caller, &live.grant), ("system.hello", None), None, 1).await;
    Ok(Arc::clone(&live.grant))
}

/// Whether a token is in force at this moment.
pub(in crate::service) fn is_in_force(account: &Account, grant: &Grant) -> bool {
    account.tokens.of(grant.token).is_some_and(|live| !live.is_over(now(account)))
}

/// The account of a token, and the token, as long as both are there.
async fn in_force(service: &Service, grant: &Grant) -> Result<(Arc<Account>, Arc<Live>), ServiceError> {
    let account = service.accounts().into_iter().find(|account| account.id == grant.account).ok_or_else(no_token)?;
    let live = account.tokens.of(grant.token).ok_or_else(no_token)?;
    if live.is_over(now(&account)) {
        end(&account, &live, true).await;
        return Err(no_token());
    }
    Ok((account, live))
}

/// Whether a connection may call a method at all. Who presented no token may.
///
/// # Errors
/// [`ServiceError::NotGranted`], [`ServiceError::TooFast`].
pub(crate) async fn admit(
    service: &Service,
    caller: &Caller,
    method: &'static str,
    needs: Needs,
) -> Result<(), ServiceError> {
    let Some(grant) = &caller.grant else { return Ok(()) };
    let (account, live) = check(service, caller, grant, method, needs).await?;
    if matches!(needs, Needs::Scope { any, .. } if !any.contains(&Scope::Read)) {
        take_of(&account, (caller, &live), method).await?;
    }
    note(&account, (caller, grant), (method, None), None, 1).await;
    Ok(())
}

/// The same for messages that are sent, each of which counts for the rate, and is noted when it is known to whom it goes.
///
/// # Errors
/// [`ServiceError::NotGranted`].
pub(crate) async fn admit_sends(
    service: &Service,
    caller: &Caller,
    method: &'static str,
    needs: Needs,
) -> Result<(), ServiceError> {
    match &caller.grant {
        Some(grant) => check(service, caller, grant, method, needs).await.map(drop),
        None => Ok(()),
    }
}

async fn check(
    service: &Service,
    caller: &Caller,
    grant: &Grant,
    method: &'static str,
    needs: Needs,
) -> Result<(Arc<Account>, Arc<Live>), ServiceError> {
    let (account, live) = in_force(service, grant).await?;
    if grant.suffices(needs) {
        return Ok((account, live));
    }
    note(&account, (caller, grant), (method, None), Some("scope"), 1).await;
    let wanted = match needs {
        Needs::Owner => "no token grants that: its owner does it".to_owned(),
        needs => format!("it needs one with the scope {}", needs.words()),
    };
    Err(ServiceError::NotGranted(format!("the token {} does not grant {method}: {wanted}", grant.name)))
}

/// Takes one of what the rate of the caller's token grants, if there is a token.
///
/// # Errors
/// [`ServiceError::TooFast`].
pub(in crate::service) async fn take(
    service: &Service,
    caller: &Caller,
    method: &'static str,
) -> Result<(), ServiceError> {
    let Some(grant) = &caller.grant else { return Ok(()) };
    let (account, live) = in_force(service, grant).await?;
    take_of(&account, (caller, &live), method).await
}

async fn take_of(
    account: &Account,
    (caller, live): (&Caller, &Live),
    method: &'static str,
) -> Result<(), ServiceError> {
    let Err(wait) = live.take() else { return Ok(()) };
    note(account, (caller, &live.grant), (method, None), Some("rate"), 1).await;
    Err(ServiceError::TooFast(format!(
        "the token {} is over its rate: try again in {} s",
        live.grant.name,
        wait.as_secs().saturating_add(1)
    )))
}

/// To whom a message goes, by the account where a token is for some people only.
///
/// # Errors
/// [`ServiceError::NotGranted`].
pub(in crate::service) async fn to_send<'a>(
    account: &Account,
    caller: &Caller,
    to: &'a str,
) -> Result<Cow<'a, str>, ServiceError> {
    let Some(grant) = &caller.grant else { return Ok(Cow::Borrowed(to)) };
    match &grant.send_to {
        Some(known) => by_id(account, (caller, grant), ("message.send", to), |peer| known.contains(&peer)).await,
        None => Ok(Cow::Borrowed(to)),
    }
}

/// Notes messages that were sent with a token.
pub(in crate::service) async fn sent(account: &Account, caller: &Caller, to: AccountId, count: u64) {
    if let Some(grant) = &caller.grant {
        note(account, (caller, grant), ("message.send", Some(to)), None, count).await;
    }
}

/// Whether sending may begin with a contact request.
///
/// # Errors
/// [`ServiceError::NotGranted`].
pub(in crate::service) fn may_ask(caller: &Caller, to: &str) -> Result<(), ServiceError> {
    match &caller.grant {
        Some(grant) if !grant.allows(Scope::Contacts) => Err(not_a_contact(grant, to)),
        _ => Ok(()),
    }
}

/// What is told a token that sends to contacts only, of whoever is none: no name of anybody else is in it.
pub(in crate::service) fn not_a_contact(grant: &Grant, to: &str) -> ServiceError {
    let text = format!("the token {} sends to contacts only, and {to} is none", grant.name);
    ServiceError::NotGranted(text)
}

/// Whom a call is about that reads a conversation: where a token is for some only, by the account, and nobody else.
///
/// # Errors
/// [`ServiceError::NotGranted`].
pub(crate) async fn to_read<'a>(
    account: &Account,
    caller: &Caller,
    method: &'static str,
    who: &'a str,
) -> Result<Cow<'a, str>, ServiceError> {
    match caller.grant.as_ref().and_then(|grant| Some((grant, grant.confined()?))) {
        Some((grant, known)) => by_id(account, (caller, grant), (method, who), |peer| known.contains(&peer)).await,
        None => Ok(Cow::Borrowed(who)),
    }
}

/// The same where who sees contacts sees all.
///
/// # Errors
/// [`ServiceError::NotGranted`].
pub(crate) async fn to_show<'a>(
    account: &Account,
    caller: &Caller,
    method: &'static str,
    who: &'a str,
) -> Result<Cow<'a, str>, ServiceError> {
    match &caller.grant {
        Some(grant) if grant.allows(Scope::Contacts) => Ok(Cow::Borrowed(who)),
        _ => to_read(account, caller, method, who).await,
    }
}

/// The same for a call that may name nobody: with a token for one conversation it is about that one.
///
/// # Errors
/// [`ServiceError::NotGranted`]; [`ServiceError::InvalidParams`] when the token is for several, and none is named.
pub(crate) async fn to_search(
    account: &Account,
    caller: &Caller,
    method: &'static str,
    who: Option<&str>,
) -> Result<Option<String>, ServiceError> {
    if let Some(who) = who {
        return Ok(Some(to_read(account, caller, method, who).await?.into_owned()));
    }
    match caller.grant.as_ref().and_then(|grant| grant.confined()) {
        None => Ok(None),
        Some(known) => match known.iter().next() {
            Some(only) if known.len() == 1 => Ok(Some(Who::Id(*only).to_string())),
            _ => Err(ServiceError::InvalidParams("this token is for some conversations only: name one of them".into())),
        },
    }
}

async fn by_id(
    account: &Account,
    (caller, grant): (&Caller, &Grant),
    (method, who): (&'static str, &str),
    known: impl Fn(AccountId) -> bool,
) -> Result<Cow<'static, str>, ServiceError> {
    if let Some(peer) = one_of(account, who, &known)? {
        return Ok(Cow::Owned(Who::Id(peer).to_string()));
    }
    note(account, (caller, grant), (method, None), Some("conversation"), 1).await;
    let text = format!("the token {} is not for the conversation with {who}", grant.name);
    Err(ServiceError::NotGranted(text))
}

/// Who is meant among those whom a token is for. Nobody else makes a word ambiguous, no directory is asked, and nothing tells
/// whether somebody else is called so.
fn one_of(account: &Account, who: &str, known: impl Fn(AccountId) -> bool) -> Result<Option<AccountId>, ServiceError> {
    let home = account.row().origin;
    let candidates = match Who::parse(who) {
        Who::Id(id) => account.store.read_blocking(|conn| by_account(conn, id))?.into_iter().collect(),
        Who::Handle(number) => {
            account.store.read_blocking(|conn| names::by_handle(conn, number))?.into_iter().collect()
        }
        Who::Word(word) => {
            let meant = account.store.read_blocking(|conn| names::meant(conn, &word, &home))?;
            meant.labelled.into_iter().chain(meant.named).collect::<Vec<_>>()
        }
    };
    let mut meant: Vec<AccountId> = candidates.iter().map(|row| row.account).filter(|peer| known(*peer)).collect();
    meant.dedup();
    Ok(meant.pop().filter(|_| meant.is_empty()))
}
