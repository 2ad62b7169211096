//! Contacts: asking, answering, ending, naming, trusting, silencing. And who is in the directory.

use proto::directory::api::{User as Entry, UsersQuery};
use proto::ids::AccountId;
use proto::rpc::advice::Step;
use proto::rpc::types::{
    Contact, ContactAddParams, ContactsResult, MuteParams, PageParams, RenameParams, User, UsersParams, UsersResult,
    VerifyParams, VerifyResult, WhoParams,
};
use proto::time::Timestamp;
use proto::who::HANDLE_MARK;
use proto::wire::MAX_REQUEST_TEXT_BYTES;
use rusqlite::Connection;

use super::account::Account;
use super::resolve::About;
use super::{Service, ServiceError};
use crate::crypto::safety::{safety_number, same_number};
use crate::directory::DirectoryError;
use crate::model::ids::PeerId;
use crate::model::{Caller, Trust};
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

impl Service {
    async fn view(&self, account: &Account, id: PeerId) -> Result<Contact, ServiceError> {
        let home = account.row().origin;
        let read = account.store.read(move |conn| list::describe(conn, &peers::load(conn, id)?, &home));
        Ok(with_presence(account, read.await?.into()))
    }

    /// A wish about somebody known.
    async fn wish(
        &self,
        caller: &Caller,
        params: &WhoParams,
        about: About,
        event: Event,
    ) -> Result<Contact, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let row = self.resolve(&account, &params.who, about).await?;
        let id = row.id;
        account
            .store
            .write(move |tx| requests::contact_wish(tx, id, event, "").map(drop))
            .await
            .map_err(|e| explain(e, &params.who))?;
        self.view(&account, id).await
    }

    /// `contact.add`: asking again is no error.
    ///
    /// # Errors
    /// Unknown name, directory down, blocked.
    pub async fn contact_add(&self, caller: &Caller, params: ContactAddParams) -> Result<Contact, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let text = params.message.unwrap_or_default();
        if text.len() > MAX_REQUEST_TEXT_BYTES {
            return Err(ServiceError::InvalidText(format!(
                "the message of a request has {MAX_REQUEST_TEXT_BYTES} bytes at most, not {}",
                text.len()
            )));
        }
        let row = self.to_add(&account, &params.who).await?;
        let id = row.id;
        let asked =
            account.store.write(move |tx| requests::contact_wish(tx, id, Event::UserAdds, &text).map(drop)).await;
        match asked {
            Ok(()) | Err(StoreError::Contact(ContactError::AlreadyContact)) => self.view(&account, id).await,
            Err(error) => Err(explain(error, &params.who)),
        }
    }

    /// `contact.requests`.
    ///
    /// # Errors
    /// When no account is selected.
    pub async fn contact_requests(&self, caller: &Caller, params: PageParams) -> Result<ContactsResult, ServiceError> {
        self.list(caller, params, Kept::Pending).await
    }

    /// `contact.list`.
    ///
    /// # Errors
    /// When no account is selected.
    pub async fn contact_list(&self, caller: &Caller, params: PageParams) -> Result<ContactsResult, ServiceError> {
        self.list(caller, params, Kept::All).await
    }

    async fn list(&self, caller: &Caller, params: PageParams, kept: Kept) -> Result<ContactsResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let (after, limit) = place(&params)?;
        let home = account.row().origin;
        let read = move |conn: &Connection| {
            let (rows, more) = list::page(conn, kept, after, limit)?;
            let next = rows.last().filter(|_| more).map(|row| row.account.to_string());
            let contacts: Result<Vec<_>, StoreError> =
                rows.iter().map(|row| list::describe(conn, row, &home)).collect();
            Ok((contacts?, next))
        };
        let (contacts, next) = account.store.read(read).await?;
        let contacts = contacts.into_iter().map(|contact| with_presence(&account, contact.into())).collect();
        Ok(ContactsResult { contacts, next })
    }

    /// `contact.show`.
    ///
    /// # Errors
    /// When nobody is called so, or two are.
    pub async fn contact_show(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let id = self.known(&account, &params.who).await?.id;
        self.view(&account, id).await
    }

    /// `contact.accept`.
    ///
    /// # Errors
    /// When there is no request.
    pub async fn contact_accept(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        self.wish(caller, &params, About::Request, Event::UserAccepts).await
    }

    /// `contact.reject`.
    ///
    /// # Errors
    /// When there is no request.
    pub async fn contact_reject(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        self.wish(caller, &params, About::Request, Event::UserRejects).await
    }

    /// `contact.remove`.
    ///
    /// # Errors
    /// When there is nothing to end.
    pub async fn contact_remove(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        self.wish(caller, &params, About::Contact, Event::UserRemoves).await
    }

    /// `contact.block`.
    ///
    /// # Errors
    /// When nobody is called so.
    pub async fn contact_block(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        // Somebody who has not written yet can be blocked, too; and one of two of a name must not be blocked for the other.
        let row = match self.resolve(&account, &params.who, About::Request).await {
            Err(error) if error.is_not_found() => self.known_or_found(&account, &params.who).await?,
            found => found?,
        };
        let id = row.id;
        account.store.write(move |tx| requests::contact_wish(tx, id, Event::UserBlocks, "").map(drop)).await?;
        self.view(&account, id).await
    }

    /// `contact.unblock`.
    ///
    /// # Errors
    /// When nobody is called so.
    pub async fn contact_unblock(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        self.wish(caller, &params, About::Contact, Event::UserUnblocks).await
    }

    /// `contact.rename`.
    ///
    /// # Errors
    /// A label that is taken, too long, or looks like an address.
    pub async fn contact_rename(&self, caller: &Caller, params: RenameParams) -> Result<Contact, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let row = self.known(&account, &params.who).await?;
        let label = params.label.trim().to_owned();
        // What cannot be seen, or turns what follows around, has no place in a name.
        let unseen =
            |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        let bad = |c: char| c.is_control() || unseen(c) || matches!(c, '@' | '#' | ':');
        if label.len() > MAX_LABEL_BYTES || label.chars().any(bad) || label.starts_with(HANDLE_MARK) {
            return Err(ServiceError::InvalidParams(format!(
                "a label has {MAX_LABEL_BYTES} bytes at most, none of @ # : or control characters, and no % at its beginning"
            )));
        }
        let home = account.row().origin;
        let wanted = label.clone();
        let taken = account.store.read(move |conn| names::meant(conn, &wanted, &home)).await?;
        if [taken.labelled, taken.named].into_iter().flatten().any(|other| other.id != row.id) {
            return Err(ServiceError::AlreadyExists(format!("another contact is called {label} already")));
        }
        let id = row.id;
        let label = (!label.is_empty()).then_some(label);
        account.store.write(move |tx| names::set_label(tx, id, label.as_deref())).await?;
        self.view(&account, id).await
    }

    /// `contact.verify`.
    ///
    /// # Errors
    /// [`ServiceError::KeyNotTrusted`] when the number differs.
    pub async fn contact_verify(&self, caller: &Caller, params: VerifyParams) -> Result<VerifyResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let row = self.known(&account, &params.who).await?;
        let own = account.keys.identity().public();
        let number_of = |key: &[u8; 32]| safety_number((account.id, &own), (row.account, key));
        // Of a key that changed, the new one's number is what the other side sees, if it is theirs.
        let changed = row.new_key();
        let number = number_of(&changed.unwrap_or(row.identity_key));
        let id = row.id;
        if let Some(typed) = &params.safety_number {
            if let Some(key) = changed {
                if same_number(typed, &number) {
                    account.store.write(move |tx| trust::adopt_changed_key(tx, id, &key, Trust::Verified)).await?;
                } else if same_number(typed, &number_of(&row.identity_key)) {
                    account.store.write(move |tx| trust::keep_pinned_key(tx, id)).await?;
                } else {
                    return Err(ServiceError::KeyNotTrusted(format!(
                        "the number is neither that of the new key nor that of the old one: nothing is sent to {0}. \
                         Compare again with {0}, in person or by phone",
                        params.who
                    )));
                }
                let row = account.store.read(move |conn| peers::load(conn, id)).await?;
                return Ok(VerifyResult {
                    safety_number: number_of(&row.identity_key),
                    contact: self.view(&account, id).await?,
                });
            }
            if !same_number(typed, &number) {
                return Err(ServiceError::KeyNotTrusted(format!(
                    "the numbers differ: this is not the key that {} sees. Do not trust it before you have compared again",
                    params.who
                )));
            }
            // Only while it is still that key: it may have been rotated since it was read.
            let key = row.identity_key;
            account.store.write(move |tx| trust::trust_key(tx, id, &key, Trust::Verified)).await?;
        } else if params.accept_unverified
            && let Some(key) = changed
        {
            account.store.write(move |tx| trust::adopt_changed_key(tx, id, &key, Trust::Unverified)).await?;
        }
        Ok(VerifyResult { safety_number: number, contact: self.view(&account, row.id).await? })
    }

    /// `contact.mute`.
    ///
    /// # Errors
    /// When nobody is called so.
    pub async fn contact_mute(&self, caller: &Caller, params: MuteParams) -> Result<Contact, ServiceError> {
        if params.seconds == Some(0) {
            let text = "mute for a second at least".into();
            return Err(ServiceError::InvalidParams(text).advise(Step::Unmute.alone()));
        }
        let until = params.seconds.map_or(FOREVER_MS, |seconds| {
            let ms = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000);
            Timestamp::now().0.saturating_add(ms).min(FOREVER_MS)
        });
        self.silence(caller, params.account.as_deref(), &params.who, Some(Timestamp(until))).await
    }

    /// `contact.unmute`.
    ///
    /// # Errors
    /// When nobody is called so.
    pub async fn contact_unmute(&self, caller: &Caller, params: WhoParams) -> Result<Contact, ServiceError> {
        self.silence(caller, params.account.as_deref(), &params.who, None).await
    }

    async fn silence(
        &self,
        caller: &Caller,
        account: Option<&str>,
        who: &str,
        until: Option<Timestamp>,
    ) -> Result<Contact, ServiceError> {
        let account = self.account(caller, account)?;
        let id = self.known(&account, who).await?.id;
        account.store.write(move |tx| conversations::set_muted(tx, id, until)).await?;
        self.view(&account, id).await
    }

    /// `directory.users`.
    ///
    /// # Errors
    /// No directory, or what it answers.
    pub async fn directory_users(&self, caller: &Caller, params: UsersParams) -> Result<UsersResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let Some(client) = &account.directory else {
            return Err(ServiceError::NotFound(format!("{} has no directory to look in", account.row().name)));
        };
        let query = UsersQuery {
            query: params.query,
            name: params.name,
            address: params.ip,
            online: params.online.then_some(true),
            after: params.after,
            limit: Some(params.limit.unwrap_or(200).clamp(1, 1_000)),
        };
        let page = match client.users(&query, account.bearer().as_deref()).await {
            // It does not know who asks: what it says of members would be no help.
            Err(DirectoryError::Refused { .. }) if !account.is_running() => {
                return Err(ServiceError::LoggedOut(account.row().name));
            }
            page => page?,
        };
        let next = page.next;
        let users = account
            .store
            .read(move |conn| {
                let user = |user: Entry| -> Result<User, StoreError> {
                    let known = peers::by_account(conn, user.account)?;
                    Ok(User {
                        contact: known.is_some_and(|row| row.state.may_talk()),
                        name: user.name.as_str().to_owned(),
                        account: user.account,
                        online: user.online,
                    })
                };
                page.users.into_iter().map(user).collect::<Result<Vec<User>, _>>()
            })
            .await?;
        Ok(UsersResult { users, next })
    }
}

fn with_presence(account: &Account, mut contact: Contact) -> Contact {
    if let Some((online, since)) = account.presence(contact.account) {
        contact.online = Some(online);
        contact.online_since = Some(since);
    }
    contact
}

/// Where a page begins, and how many entries it has at most.
pub(super) fn place(params: &PageParams) -> Result<(Option<AccountId>, usize), ServiceError> {
    let after = params.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| ServiceError::InvalidParams("after is not the `next` of a page".into()))?;
    Ok((after, params.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE) as usize))
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
