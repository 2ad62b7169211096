//! Durable consumers of the feed: what their readers tell, and what their owner does with them.

use std::borrow::Cow;

use proto::advice::Step;

use super::readers::Reading;
use crate::model::{Caller, Consumer, ConsumerNow, DeadLetter, Page, PageOf};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::store::StoreError;
use crate::store::feed::consumers;

/// Bytes of a consumer's name at most.
const MAX_NAME_BYTES: usize = 128;
/// Bytes of the reason of a dead letter at most.
const MAX_REASON_BYTES: usize = 256;
/// Entries of one answer at most.
const MAX_PAGE: u32 = 1_000;
/// Consumers of one token at most.
const MAX_OF_TOKEN: usize = 16;
/// Consumers, and dead letters, in one answer if nothing is said.
const DEFAULT_PAGES: (u32, u32) = (200, 100);

/// Under which name a consumer is kept: those of a token are apart from its owner's, and from other tokens'.
fn kept_as<'a>(caller: &Caller, name: &'a str) -> Cow<'a, str> {
    match &caller.grant {
        Some(grant) => Cow::Owned(format!("{}/{name}", grant.name)),
        None => Cow::Borrowed(name),
    }
}

fn check(name: &str) -> Result<(), ServiceError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(ServiceError::InvalidParams(format!(
            "a consumer's name has 1 to {MAX_NAME_BYTES} bytes and no control characters"
        )));
    }
    Ok(())
}

/// Claims a consumer for a subscription, and makes it behind `from` if it is new; where it stands.
pub(super) async fn start(
    account: &Account,
    caller: &Caller,
    name: String,
    from: u64,
) -> Result<(Reading, u64), ServiceError> {
    check(&name)?;
    let name = kept_as(caller, &name).into_owned();
    let reading = account.readers.claim(&name, caller.pid)?;
    let lookup = name.clone();
    if let Some(seq) = account.store.read(move |conn| consumers::place(conn, &lookup)).await? {
        return Ok((reading, seq));
    }
    if caller.grant.is_some() {
        let (prefix, head) = (kept_as(caller, "").into_owned(), account.store.hub().head());
        let own = account.store.read(move |conn| consumers::page(conn, &prefix, MAX_OF_TOKEN, head)).await?;
        let prefix = kept_as(caller, "");
        if own.len() == MAX_OF_TOKEN && own.iter().all(|consumer| consumer.name.starts_with(&*prefix)) {
            let text = format!("the token has {MAX_OF_TOKEN} consumers, and that is the most");
            return Err(ServiceError::LimitReached(text).advise(Step::RemoveConsumer.alone()));
        }
    }
    let count = account.store.write(move |tx| consumers::consumer_begin(tx, &name, from)).await?;
    if count > consumers::MAX_CONSUMERS {
        let most = consumers::MAX_CONSUMERS;
        let text = format!("the account has {most} consumers, and that is the most");
        return Err(ServiceError::LimitReached(text).advise(Step::RemoveConsumer.alone()));
    }
    Ok((reading, from))
}

fn unknown(error: StoreError, name: &str) -> ServiceError {
    match error {
        StoreError::NotFound(_) => {
            ServiceError::NotFound(format!("there is no consumer {name}")).advise(Step::ListConsumers.alone())
        }
        error => error.into(),
    }
}

/// `feed.ack`.
///
/// # Errors
/// No such consumer.
pub(crate) async fn ack(account: &Account, caller: &Caller, consumer: &str, seq: u64) -> Result<(), ServiceError> {
    let head = account.store.hub().head();
    let name = kept_as(caller, consumer).into_owned();
    let kept = account.store.write(move |tx| consumers::consumer_ack(tx, &name, seq, head)).await;
    kept.map_err(|error| unknown(error, consumer))?;
    Ok(())
}

/// `feed.attempt`.
///
/// # Errors
/// No such consumer.
pub(crate) async fn attempt(account: &Account, caller: &Caller, consumer: &str, seq: u64) -> Result<u64, ServiceError> {
    let name = kept_as(caller, consumer).into_owned();
    let counted = account.store.write(move |tx| consumers::consumer_attempt(tx, &name, seq)).await;
    counted.map_err(|error| unknown(error, consumer))
}

/// `feed.give_up`.
///
/// # Errors
/// No such consumer; a reason that is too long.
pub(crate) async fn give_up(
    account: &Account,
    caller: &Caller,
    consumer: &str,
    seq: u64,
    reason: String,
) -> Result<(), ServiceError> {
    if reason.len() > MAX_REASON_BYTES {
        return Err(ServiceError::InvalidParams(format!("a reason has {MAX_REASON_BYTES} bytes at most")));
    }
    let head = account.store.hub().head();
    let name = kept_as(caller, consumer).into_owned();
    let given = account.store.write(move |tx| consumers::consumer_give_up(tx, &name, seq, &reason, head)).await;
    given.map_err(|error| unknown(error, consumer))?;
    Ok(())
}

/// `consumer.list`.
///
/// # Errors
/// When no account is selected.
pub(crate) async fn list(account: &Account, caller: &Caller, of: PageOf) -> Result<Page<ConsumerNow>, ServiceError> {
    let limit = of.limit.unwrap_or(DEFAULT_PAGES.0).clamp(1, MAX_PAGE) as usize;
    let (prefix, head) = (kept_as(caller, "").into_owned(), account.store.hub().head());
    let after = format!("{prefix}{}", of.after.unwrap_or_default());
    let mut found = account.store.read(move |conn| consumers::page(conn, &after, limit + 1, head)).await?;
    found.retain(|consumer| consumer.name.starts_with(&prefix));
    let more = found.len() > limit;
    found.truncate(limit);
    let shown = |name: &str| name.strip_prefix(&prefix).unwrap_or(name).to_owned();
    let next = found.last().filter(|_| more).map(|consumer| shown(&consumer.name));
    let now = |consumer: Consumer| ConsumerNow {
        reading: account.readers.reads(&consumer.name),
        consumer: Consumer { name: shown(&consumer.name), ..consumer },
    };
    Ok(Page { entries: found.into_iter().map(now).collect(), next })
}

/// `consumer.reset`.
///
/// # Errors
/// No such consumer; somebody reads it.
pub(crate) async fn reset(
    account: &Account,
    caller: &Caller,
    mut name: String,
    since: Option<u64>,
) -> Result<ConsumerNow, ServiceError> {
    // Claimed meanwhile: a reader that begins now would go on from where it was.
    let asked = std::mem::take(&mut name);
    let name = kept_as(caller, &asked).into_owned();
    let _reading = account.readers.claim(&name, caller.pid)?;
    let head = account.store.hub().head();
    let (at, changed) = (since.unwrap_or(head).min(head), name.clone());
    let reset = account.store.write(move |tx| consumers::consumer_reset(tx, &changed, at)).await;
    reset.map_err(|error| unknown(error, &asked))?;
    let lookup = name.clone();
    let found = account.store.read(move |conn| consumers::one(conn, &lookup, head)).await;
    // As one that nobody reads: the claim ends here.
    let consumer = found.map_err(|error| unknown(error, &asked))?;
    Ok(ConsumerNow { consumer: Consumer { name: asked, ..consumer }, reading: false })
}

/// `consumer.remove`.
///
/// # Errors
/// No such consumer; somebody reads it.
pub(crate) async fn remove(account: &Account, caller: &Caller, consumer: &str) -> Result<(), ServiceError> {
    let name = kept_as(caller, consumer).into_owned();
    let _reading = account.readers.claim(&name, caller.pid)?;
    let removed = account.store.write(move |tx| consumers::consumer_remove(tx, &name)).await;
    removed.map_err(|error| unknown(error, consumer))?;
    Ok(())
}

/// `consumer.dead_letters`.
///
/// # Errors
/// No such consumer.
pub(crate) async fn dead_letters(
    account: &Account,
    caller: &Caller,
    consumer: &str,
    after: Option<u64>,
    limit: Option<u32>,
) -> Result<(Vec<DeadLetter>, Option<u64>), ServiceError> {
    let limit = limit.unwrap_or(DEFAULT_PAGES.1).clamp(1, MAX_PAGE) as usize;
    let (name, after) = (kept_as(caller, consumer).into_owned(), after.unwrap_or(0));
    let found = account.store.read(move |conn| consumers::dead_letters(conn, &name, after, limit)).await;
    let (mut dead_letters, more) = found.map_err(|error| unknown(error, consumer))?;
    // A token of this name may have read more once.
    if let Some(known) = caller.grant.as_ref().and_then(|grant| grant.confined()) {
        for letter in &mut dead_letters {
            letter.event = letter
                .event
                .take()
                .filter(|event| event.about.as_ref().is_some_and(|called| known.contains(&called.account)));
        }
    }
    let next = dead_letters.last().filter(|_| more).map(|letter| letter.seq);
    Ok((dead_letters, next))
}
