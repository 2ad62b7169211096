//! What the owner does with tokens: makes them, looks at them, ends them.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use proto::ids::{AccountId, hex};
use proto::scope::Scope;
use proto::time::Timestamp;
use zeroize::Zeroizing;

use super::admit;
use crate::crypto::random_bytes;
use crate::model::{Caller, Grant, Page, PageOf, Rate, TokenRow, TokenUse};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::resolve::known;
use crate::store::account::tokens::{self, Created, MAX_TOKENS};
use crate::store::peers::{by_account, names};

/// Characters of a token's name at most.
const MAX_NAME: usize = 32;
/// People that a token names at most, for reading and for sending.
const MAX_PEOPLE: usize = 64;
/// A rate's figures at most: a million in a year.
const MAX_RATE: (u32, u32) = (1_000_000, 31_536_000);
/// A token lives ten years at most, if it ends by itself.
const MAX_EXPIRES_SECONDS: u64 = 315_360_000;
/// Entries in one answer at most, and if nothing is said.
const MAX_PAGE: u32 = 1_000;
const DEFAULT_PAGES: (u32, u32) = (50, 200);

/// What a new token is to be.
pub(crate) struct NewToken {
    pub name: String,
    pub allow: Vec<Scope>,
    pub within: Vec<String>,
    pub send_to: Vec<String>,
    /// Count and seconds.
    pub rate: Option<(u32, u32)>,
    pub expires: Option<u64>,
}

/// A token as its owner sees it.
pub(crate) struct TokenNow {
    pub row: TokenRow,
    /// The account's address.
    pub account: String,
    /// With whom it reads, as they are called.
    pub within: Option<Vec<String>>,
    /// To whom it sends.
    pub send_to: Option<Vec<String>>,
}

/// One entry of a token's log, and how whoever it is about is called.
pub(crate) struct UseNow {
    pub entry: TokenUse,
    pub who: Option<String>,
}

fn bad(text: impl Into<String>) -> ServiceError {
    ServiceError::InvalidParams(text.into())
}

fn check_name(name: &str) -> Result<(), ServiceError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        return Err(bad(format!("a token's name has 1 to {MAX_NAME} of a-z, 0-9, -, _ and .")));
    }
    Ok(())
}

fn check_rate(rate: (u32, u32)) -> Result<Rate, ServiceError> {
    let fits = rate.0 <= MAX_RATE.0 && rate.1 <= MAX_RATE.1;
    let rate = NonZeroU32::new(rate.0).zip(NonZeroU32::new(rate.1)).filter(|_| fits);
    rate.map(|(count, seconds)| Rate { count, seconds })
        .ok_or_else(|| bad(format!("a rate is 1 to {} in 1 s to {} s", MAX_RATE.0, MAX_RATE.1)))
}

async fn people(account: &Account, words: &[String]) -> Result<Option<BTreeSet<AccountId>>, ServiceError> {
    if words.is_empty() {
        return Ok(None);
    }
    if words.len() > MAX_PEOPLE {
        return Err(bad(format!("a token names {MAX_PEOPLE} people at most: leave them out for everybody")));
    }
    let mut found = BTreeSet::new();
    for word in words {
        found.insert(known(account, word).await?.account);
    }
    Ok(Some(found))
}

/// `token.create`: the token itself, and what it grants.
///
/// # Errors
/// A name that is in use or none; nobody of a given name; too many tokens; nothing granted.
pub(crate) async fn create(
    account: &Account,
    caller: &Caller,
    new: NewToken,
) -> Result<(Zeroizing<String>, TokenNow), ServiceError> {
    check_name(&new.name)?;
    let rate = new.rate.map(check_rate).transpose()?;
    let (within, send_to) = (people(account, &new.within).await?, people(account, &new.send_to).await?);
    let mut scopes: BTreeSet<Scope> = new.allow.into_iter().collect();
    scopes.extend(within.is_some().then_some(Scope::Read));
    scopes.extend(send_to.is_some().then_some(Scope::Send));
    if scopes.is_empty() {
        return Err(bad("a token has to grant something: read, send, contacts or admin"));
    }
    if scopes.contains(&Scope::Admin) && (within.is_some() || send_to.is_some()) {
        return Err(bad("admin is of the whole account: it does not go together with some conversations only"));
    }
    if new.expires.is_some_and(|seconds| seconds == 0 || seconds > MAX_EXPIRES_SECONDS) {
        return Err(bad(format!("a token expires in 1 to {MAX_EXPIRES_SECONDS} seconds, or never")));
    }
    admit::end_expired(account).await;
    let secret = Zeroizing::new(random_bytes::<32>()?);
    let now = admit::now(account);
    let ends =
        |seconds: u64| Timestamp(now.0.saturating_add(i64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)));
    let mut row = TokenRow {
        id: 0,
        name: new.name,
        hash: Some(admit::hash(&secret)),
        scopes: scopes.into_iter().collect(),
        within,
        send_to,
        rate,
        made_by: caller.uid,
        created: now,
        expires: new.expires.map(ends),
        used: None,
        ended: None,
        expired: false,
    };
    let stored = row.clone();
    row.id = match account.store.write(move |tx| tokens::create(tx, &stored)).await? {
        Created::Token(id) => id,
        Created::NameInUse => {
            let text = format!("a token in force is called {}: choose another name, or revoke it first", row.name);
            return Err(ServiceError::AlreadyExists(text));
        }
        Created::TooMany => {
            let text = format!("the account has {MAX_TOKENS} tokens in force, and that is the most: revoke one");
            return Err(ServiceError::LimitReached(text));
        }
    };
    account.tokens.insert(row.clone(), account.id, now);
    let token = Zeroizing::new(format!("{}{}", admit::PREFIX, Zeroizing::new(hex(&secret[..])).as_str()));
    Ok((token, described(account, vec![row]).await?.remove(0)))
}

async fn described(account: &Account, rows: Vec<TokenRow>) -> Result<Vec<TokenNow>, ServiceError> {
    let own = account.row();
    let (home, address) = (own.origin.clone(), own.address());
    let read = account.store.read(move |conn| {
        let called = |peer: &AccountId| match by_account(conn, *peer)? {
            Some(row) => Ok(names::called(conn, &row, &home)?.form().to_owned()),
            None => Ok(proto::who::Who::Id(*peer).to_string()),
        };
        let all = |of: &Option<BTreeSet<AccountId>>| {
            of.as_ref()
                .map(|of| of.iter().map(called).collect::<Result<Vec<_>, crate::store::StoreError>>())
                .transpose()
        };
        let describe = |row: TokenRow| {
            let (within, send_to) = (all(&row.within)?, all(&row.send_to)?);
            Ok(TokenNow { account: address.clone(), within, send_to, row })
        };
        rows.into_iter().map(describe).collect()
    });
    Ok(read.await?)
}

/// What `system.hello` tells of the token that was presented.
///
/// # Errors
/// Those of the store.
pub(crate) async fn of_grant(account: &Account, grant: &Grant) -> Result<Option<TokenNow>, ServiceError> {
    let token = grant.token;
    let rows = account.store.read(move |conn| tokens::page(conn, token.saturating_add(1), 1)).await?;
    Ok(described(account, rows).await?.pop())
}

/// `token.list`.
///
/// # Errors
/// A place that is none.
pub(crate) async fn list(account: &Account, of: PageOf) -> Result<Page<TokenNow>, ServiceError> {
    admit::end_expired(account).await;
    let limit = of.limit.unwrap_or(DEFAULT_PAGES.0).clamp(1, DEFAULT_PAGES.0) as usize;
    let before = match of.after {
        Some(after) => after.parse().map_err(|_| bad(format!("{after} is no place in the list of tokens")))?,
        None => i64::MAX,
    };
    let mut rows = account.store.read(move |conn| tokens::page(conn, before, limit + 1)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    Ok(Page { entries: described(account, rows).await?, next })
}

async fn newest(account: &Account, name: &str) -> Result<TokenRow, ServiceError> {
    let wanted = name.to_owned();
    let found = account.store.read(move |conn| tokens::newest(conn, &wanted)).await?;
    found.ok_or_else(|| ServiceError::NotFound(format!("the account has no token {name}")))
}

/// `token.revoke`: in force nowhere when this answers.
///
/// # Errors
/// No token of that name in force; or it is over, but could not be stored as such: then a restart would bring it back.
pub(crate) async fn revoke(account: &Account, caller: &Caller, name: &str) -> Result<TokenNow, ServiceError> {
    let row = newest(account, name).await?;
    if row.ended.is_some() {
        return Err(ServiceError::NotFound(format!("the token {name} has ended already")));
    }
    account.tokens.end(row.id);
    let (id, uid) = (row.id, caller.uid);
    let end = move |tx: &mut crate::store::Tx<'_>| {
        tokens::end(tx, id, false)?;
        tokens::note(tx, id, ("token.revoke", None, uid), None, 1)
    };
    account.store.write(end).await?;
    Ok(described(account, vec![newest(account, name).await?]).await?.remove(0))
}

/// `token.log`.
///
/// # Errors
/// No token of that name.
pub(crate) async fn log(
    account: &Account,
    name: &str,
    after: Option<u64>,
    limit: Option<u32>,
) -> Result<(Vec<UseNow>, Option<u64>), ServiceError> {
    let token = newest(account, name).await?.id;
    let limit = limit.unwrap_or(DEFAULT_PAGES.1).clamp(1, MAX_PAGE) as usize;
    let (after, home) = (after.unwrap_or(0), account.row().origin);
    let read = account.store.read(move |conn| {
        let (entries, more) = tokens::log(conn, token, after, limit)?;
        let named = entries.into_iter().map(|entry| {
            let row = entry.about.map(|peer| by_account(conn, peer)).transpose()?.flatten();
            let who =
                row.map(|row| names::called(conn, &row, &home)).transpose()?.map(|called| called.form().to_owned());
            Ok(UseNow { who, entry })
        });
        Ok((named.collect::<Result<Vec<_>, crate::store::StoreError>>()?, more))
    });
    let (entries, more) = read.await?;
    let next = more.then_some(after + entries.len() as u64);
    Ok((entries, next))
}
