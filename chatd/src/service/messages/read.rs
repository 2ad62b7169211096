//! Messages as they are read again: history, search, what is unread, and forgetting.

use proto::ids::MessageId;
use proto::time::Timestamp;

use super::no_message;
use crate::model::{FoundMessage, Grant, Messages, Page, PageOf, UnreadPage};
use crate::service::account::{Account, storage};
use crate::service::contacts::place;
use crate::service::error::ServiceError;
use crate::service::resolve::known;
use crate::store::contacts::list;
use crate::store::history::find::{self, MIN_DIGITS, Wanted};
use crate::store::history::{self, conversations, forget, salvage};
use crate::store::peers;

/// Messages in one answer at most.
const MAX_PAGE: u32 = 1_000;
/// Messages in one answer if nothing is said.
const DEFAULT_PAGE: u32 = 50;

/// `message.history`.
///
/// # Errors
/// Nobody of that name, no such message.
pub(crate) async fn history(
    account: &Account,
    who: &str,
    limit: Option<u32>,
    (before, after): (Option<MessageId>, Option<MessageId>),
    tag: Option<String>,
) -> Result<Messages, ServiceError> {
    let contact = known(account, who).await?.id;
    let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
    let (intact_tag, salvaged_tag) = (tag.clone(), tag);
    storage::read_around_damage(
        account,
        move |conn| {
            let row = |id: Option<MessageId>| id.map(|id| history::row_of(conn, contact, &id)).transpose();
            let (before, after) = (row(before)?, row(after)?);
            let page = history::page(conn, contact, limit, before, after, intact_tag.as_deref())?;
            Ok((page.messages, page.more))
        },
        move |conn| salvage::page(conn, contact, limit, before, after, salvaged_tag.as_deref()),
    )
    .await
    .map_err(no_message)
}

/// `message.search`.
///
/// # Errors
/// Nobody of that name, no such message; nothing to search for.
pub(crate) async fn search(
    account: &Account,
    query: String,
    who: Option<&str>,
    limit: Option<u32>,
    before: Option<MessageId>,
) -> Result<Messages, ServiceError> {
    let contact = match who {
        Some(who) => Some(known(account, who).await?.id),
        None => None,
    };
    let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize;
    let search = account.store.search().clone();
    let (words, again) = (query.clone(), query);
    let result = storage::read_around_damage(
        account,
        move |conn| {
            let before = before.map(|id| history::row_of(conn, contact, &id)).transpose()?;
            let within = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
            let rows = search.query(&words, within, limit + 1, before)?;
            let page = history::hits(conn, &rows, limit)?;
            Ok((page.messages, page.more))
        },
        move |conn| salvage::search(conn, &again, contact, limit, before),
    );
    result.await.map_err(no_message)
}

/// `message.unread`.
///
/// # Errors
/// When no account is selected.
pub(crate) async fn unread(account: &Account, grant: Option<&Grant>, of: &PageOf) -> Result<UnreadPage, ServiceError> {
    let (after, limit) = place(of)?;
    let home = account.row().origin;
    if let Some(known) = grant.and_then(Grant::confined).cloned() {
        // As few as a token names, in one page; the total is theirs.
        let read = account.store.read(move |conn| list::unread_of(conn, &home, &known));
        let entries = read.await?;
        let total = entries.iter().map(|unread| unread.count).sum();
        return Ok(UnreadPage { page: Page { entries, next: None }, total });
    }
    let read = account.store.read(move |conn| list::unread(conn, &home, after, limit));
    let (conversations, more, total) = read.await?;
    let next = conversations.last().filter(|_| more).map(|unread| unread.account.to_string());
    Ok(UnreadPage { page: Page { entries: conversations, next }, total })
}

/// `message.read`: how many were marked.
///
/// # Errors
/// Nobody of that name, no such message.
pub(crate) async fn mark_read(account: &Account, who: &str, up_to: Option<MessageId>) -> Result<u64, ServiceError> {
    let contact = known(account, who).await?.id;
    let marked =
        account.store.write(move |tx| conversations::mark_read(tx, contact, up_to)).await.map_err(no_message)?;
    Ok(marked)
}

/// `message.find`: those that somebody may mean by what they typed.
///
/// # Errors
/// Nobody of that name; what is no id.
pub(crate) async fn find(
    account: &Account,
    id: &str,
    who: Option<&str>,
    own: Option<bool>,
) -> Result<Vec<FoundMessage>, ServiceError> {
    let Some(wanted) = Wanted::parse(id) else {
        return Err(ServiceError::InvalidParams(format!(
            "{id} is not a message id, the end of one ({MIN_DIGITS} digits at least), or last"
        )));
    };
    let contact = match who {
        Some(who) => Some(known(account, who).await?.id),
        None => None,
    };
    Ok(account.store.read(move |conn| find::find(conn, &wanted, contact, own)).await?)
}

/// `message.forget`: deletes messages of a conversation, in slices between which others are served; how many. What waits for its
/// recipient stays.
///
/// # Errors
/// Nobody of that name; those of the store, and then a part may be gone already.
pub(crate) async fn forget(account: &Account, who: &str, before: Option<Timestamp>) -> Result<u64, ServiceError> {
    let contact = known(account, who).await?.id;
    let mut forgotten = 0;
    loop {
        let slice = account.store.write(move |tx| forget::forget(tx, contact, before)).await?;
        forgotten += slice.messages;
        if !slice.more {
            return Ok(forgotten);
        }
    }
}
