//! Contacts: asking, answering, ending, naming, trusting, silencing.

use proto::advice::Step;
use proto::ids::AccountId;
use proto::scope::Scope;
use proto::time::Timestamp;
use proto::who::HANDLE_MARK;
use proto::wire::MAX_REQUEST_TEXT_BYTES;
use rusqlite::Connection;

use super::account::Account;
use super::error::ServiceError;
use super::resolve::{About, known, known_or_found, resolve, to_add};
use crate::crypto::safety::{safety_number, same_number};
use crate::model::ids::PeerId;
use crate::model::{Contact, ContactNow, Grant, Page, PageOf, Trust, Verified};
use crate::policy::contact::{ContactError, Event};
use crate::store::StoreError;
use crate::store::contacts::list::{self, Kept};
use crate::store::contacts::requests;
use crate::store::history::conversations;
use crate::store::peers::{self, names, trust};

/// 9999-12-31T23:59:59Z: muted until unmuted.
const FOREVER_MS: i64 = 253_402_300_799_000;
/// Contacts in one answer at most, and if nothing is said.
const MAX_PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 200;
/// Bytes of a label at most.
const MAX_LABEL_BYTES: usize = 64;

async fn view(account: &Account, id: PeerId) -> Result<ContactNow, ServiceError> {
    let home = account.row().origin;
    let read = account.store.read(move |conn| list::describe(conn, &peers::load(conn, id)?, &home));
    Ok(with_presence(account, read.await?))
}

/// What the owner wants of somebody known.
async fn apply_user_event(
    account: &Account,
    who: &str,
    about: About,
    event: Event,
) -> Result<ContactNow, ServiceError> {
    let row = resolve(account, who, about).await?;
    let id = row.id;
    account
        .store
        .write(move |tx| requests::apply_user_event(tx, id, event, "").map(drop))
        .await
        .map_err(|error| explain(error, who))?;
    view(account, id).await
}

/// `contact.add`: asking again is no error.
///
/// # Errors
/// Unknown name, directory down, blocked.
pub(crate) async fn add(account: &Account, who: &str, text: String) -> Result<ContactNow, ServiceError> {
    check_request(&text)?;
    let row = to_add(account, who).await?;
    ask(account, row.id, who, text).await
}

/// A text that may go with a request.
///
/// # Errors
/// When it is too long.
pub(super) fn check_request(text: &str) -> Result<(), ServiceError> {
    if text.len() > MAX_REQUEST_TEXT_BYTES {
        return Err(ServiceError::InvalidText(format!(
            "the message of a request has {MAX_REQUEST_TEXT_BYTES} bytes at most, not {}",
            text.len()
        )));
    }
    Ok(())
}

/// Asks somebody who is stored; `who`: the caller's word.
///
/// # Errors
/// As the contact rules have it.
pub(super) async fn ask(account: &Account, id: PeerId, who: &str, text: String) -> Result<ContactNow, ServiceError> {
    let asked =
        account.store.write(move |tx| requests::apply_user_event(tx, id, Event::UserAdds, &text).map(drop)).await;
    match asked {
        Ok(()) | Err(StoreError::Contact(ContactError::AlreadyContact)) => view(account, id).await,
        Err(error) => Err(explain(error, who)),
    }
}

/// `contact.requests`.
///
/// # Errors
/// When no account is selected.
pub(crate) async fn requests(account: &Account, of: &PageOf) -> Result<Page<ContactNow>, ServiceError> {
    page(account, of, Kept::Pending).await
}

/// `contact.list`.
///
/// # Errors
/// When no account is selected.
pub(crate) async fn list(
    account: &Account,
    grant: Option<&Grant>,
    of: &PageOf,
) -> Result<Page<ContactNow>, ServiceError> {
    let only = grant.filter(|grant| !grant.allows(Scope::Contacts)).and_then(Grant::confined).cloned();
    let Some(only) = only else { return page(account, of, Kept::All).await };
    let home = account.row().origin;
    let read = account.store.read(move |conn| {
        list::some(conn, &only)?.iter().map(|row| list::describe(conn, row, &home)).collect::<Result<Vec<_>, _>>()
    });
    let entries = read.await?.into_iter().map(|contact| with_presence(account, contact)).collect();
    Ok(Page { entries, next: None })
}

async fn page(account: &Account, of: &PageOf, kept: Kept) -> Result<Page<ContactNow>, ServiceError> {
    let (after, limit) = place(of)?;
    let home = account.row().origin;
    let read = move |conn: &Connection| {
        let (rows, more) = list::page(conn, kept, after, limit)?;
        let next = rows.last().filter(|_| more).map(|row| row.account.to_string());
        let contacts: Result<Vec<_>, StoreError> = rows.iter().map(|row| list::describe(conn, row, &home)).collect();
        Ok((contacts?, next))
    };
    let (contacts, next) = account.store.read(read).await?;
    let entries = contacts.into_iter().map(|contact| with_presence(account, contact)).collect();
    Ok(Page { entries, next })
}

/// `contact.show`.
///
/// # Errors
/// When nobody is called so, or two are.
pub(crate) async fn show(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    let id = known(account, who).await?.id;
    view(account, id).await
}

/// `contact.accept`.
///
/// # Errors
/// When there is no request.
pub(crate) async fn accept(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    apply_user_event(account, who, About::Request, Event::UserAccepts).await
}

/// `contact.reject`.
///
/// # Errors
/// When there is no request.
pub(crate) async fn reject(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    apply_user_event(account, who, About::Request, Event::UserRejects).await
}

/// `contact.remove`.
///
/// # Errors
/// When there is nothing to end.
pub(crate) async fn remove(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    apply_user_event(account, who, About::Contact, Event::UserRemoves).await
}

/// `contact.block`.
///
/// # Errors
/// When nobody is called so.
pub(crate) async fn block(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    // Somebody who has not written yet can be blocked, too; and one of two of a name must not be blocked for the other.
    let row = match resolve(account, who, About::Request).await {
        Err(error) if error.is_not_found() => known_or_found(account, who).await?,
        found => found?,
    };
    let id = row.id;
    account.store.write(move |tx| requests::apply_user_event(tx, id, Event::UserBlocks, "").map(drop)).await?;
    view(account, id).await
}

/// `contact.unblock`.
///
/// # Errors
/// When nobody is called so.
pub(crate) async fn unblock(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    apply_user_event(account, who, About::Contact, Event::UserUnblocks).await
}

/// `contact.rename`.
///
/// # Errors
/// A label that is taken, too long, or looks like an address.
pub(crate) async fn rename(account: &Account, who: &str, label: &str) -> Result<ContactNow, ServiceError> {
    let row = known(account, who).await?;
    let label = check_label(label)?;
    if is_taken(account, &label, Some(row.id)).await? {
        return Err(ServiceError::AlreadyExists(format!("another contact is called {label} already")));
    }
    let id = row.id;
    let label = (!label.is_empty()).then_some(label);
    account.store.write(move |tx| names::set_label(tx, id, label.as_deref())).await?;
    view(account, id).await
}

/// A label as it is kept; empty for none.
///
/// # Errors
/// When it is too long, or looks like something else.
pub(super) fn check_label(label: &str) -> Result<String, ServiceError> {
    let label = label.trim();
    // What cannot be seen, or turns what follows around, has no place in a name.
    let unseen =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let bad = |c: char| c.is_control() || unseen(c) || matches!(c, '@' | '#' | ':');
    if label.len() > MAX_LABEL_BYTES || label.chars().any(bad) || label.starts_with(HANDLE_MARK) {
        return Err(ServiceError::InvalidParams(format!(
            "a label has {MAX_LABEL_BYTES} bytes at most, none of @ # : or control characters, and no % at its beginning"
        )));
    }
    Ok(label.to_owned())
}

/// Whether somebody else is called so.
///
/// # Errors
/// Those of the store.
pub(super) async fn is_taken(account: &Account, label: &str, than: Option<PeerId>) -> Result<bool, ServiceError> {
    let (home, wanted) = (account.row().origin, label.to_owned());
    let taken = account.store.read(move |conn| names::meant(conn, &wanted, &home)).await?;
    Ok([taken.labelled, taken.named].into_iter().flatten().any(|other| Some(other.id) != than))
}

/// `contact.verify`.
///
/// # Errors
/// [`ServiceError::KeyNotTrusted`] when the number differs.
pub(crate) async fn verify(
    account: &Account,
    who: &str,
    typed: Option<&str>,
    accept_unverified: bool,
) -> Result<Verified, ServiceError> {
    let row = known(account, who).await?;
    let own = account.keys.identity().public();
    let number_of = |key: &[u8; 32]| safety_number((account.id, &own), (row.account, key));
    // Of a key that changed, the new one's number is what the other side sees, if it is theirs.
    let changed = row.new_key();
    let number = number_of(&changed.unwrap_or(row.identity_key));
    let id = row.id;
    if let Some(typed) = typed {
        if let Some(key) = changed {
            if same_number(typed, &number) {
                account.store.write(move |tx| trust::adopt_changed_key(tx, id, &key, Trust::Verified)).await?;
            } else if same_number(typed, &number_of(&row.identity_key)) {
                account.store.write(move |tx| trust::keep_pinned_key(tx, id)).await?;
            } else {
                return Err(ServiceError::KeyNotTrusted(format!(
                    "the number is neither that of the new key nor that of the old one: nothing is sent to {0}. \
                     Compare again with {0}, in person or by phone",
                    who
                )));
            }
            let row = account.store.read(move |conn| peers::load(conn, id)).await?;
            return Ok(Verified { safety_number: number_of(&row.identity_key), contact: view(account, id).await? });
        }
        if !same_number(typed, &number) {
            return Err(ServiceError::KeyNotTrusted(format!(
                "the numbers differ: this is not the key that {} sees. Do not trust it before you have compared again",
                who
            )));
        }
        // Only while it is still that key: it may have been rotated since it was read.
        let key = row.identity_key;
        account.store.write(move |tx| trust::trust_key(tx, id, &key, Trust::Verified)).await?;
    } else if accept_unverified && let Some(key) = changed {
        account.store.write(move |tx| trust::adopt_changed_key(tx, id, &key, Trust::Unverified)).await?;
    }
    Ok(Verified { safety_number: number, contact: view(account, row.id).await? })
}

/// `contact.mute`.
///
/// # Errors
/// When nobody is called so.
pub(crate) async fn mute(account: &Account, who: &str, seconds: Option<u64>) -> Result<ContactNow, ServiceError> {
    if seconds == Some(0) {
        let text = "mute for a second at least".into();
        return Err(ServiceError::InvalidParams(text).advise(Step::Unmute.alone()));
    }
    let until = seconds.map_or(FOREVER_MS, |seconds| {
        let ms = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
        Timestamp::now().0.saturating_add(ms).min(FOREVER_MS)
    });
    silence(account, who, Some(Timestamp(until))).await
}

/// `contact.unmute`.
///
/// # Errors
/// When nobody is called so.
pub(crate) async fn unmute(account: &Account, who: &str) -> Result<ContactNow, ServiceError> {
    silence(account, who, None).await
}

async fn silence(account: &Account, who: &str, until: Option<Timestamp>) -> Result<ContactNow, ServiceError> {
    let id = known(account, who).await?.id;
    account.store.write(move |tx| conversations::set_muted(tx, id, until)).await?;
    view(account, id).await
}

fn with_presence(account: &Account, contact: Contact) -> ContactNow {
    ContactNow { presence: account.presence(contact.account), contact }
}

/// Where a page begins, and how many entries it has at most.
pub(super) fn place(of: &PageOf) -> Result<(Option<AccountId>, usize), ServiceError> {
    let after = of.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| ServiceError::InvalidParams("after is not the `next` of a page".into()))?;
    Ok((after, of.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize))
}

/// The contact rules' words, with what to do.
fn explain(error: StoreError, who: &str) -> ServiceError {
    match error {
        StoreError::Contact(ContactError::Blocked) => {
            ServiceError::Refused(format!("{who} is blocked")).advise(Step::Unblock.of(who))
        }
        StoreError::Contact(ContactError::NoRequest) => {
            ServiceError::NotFound(format!("{who} has not asked")).advise(Step::ListAskers.alone())
        }
        StoreError::Contact(ContactError::NotAContact) => {
            ServiceError::NotAContact(format!("{who} is not a contact, and nothing is asked either way"))
        }
        error => error.into(),
    }
}
