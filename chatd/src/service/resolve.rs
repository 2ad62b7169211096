//! Whom a call is about: the person behind a word.
//!
//! One resolver for all calls. A word is the owner's label or a name that the directory confirmed, in any spelling; what means
//! two people is refused. What a stranger says of itself is no name: it is reached by the handle of its request.

use proto::advice::Step;
use proto::directory::{Record, SignedRecord};
use proto::name::{Address, Name};
use proto::nearest::nearest;
use proto::who::Who;

use super::account::Account;
use super::error::ServiceError;
use crate::directory::DirectoryError;
use crate::store::ContactRow;
use crate::store::peers::names::{self, Confirmation, Meant};
use crate::store::peers::{self, NewContact, trust};

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Somebody the owner has to do with; strangers who are called so do not come into question beside.
    Contact,
    /// Somebody who asks, or may ask.
    Request,
}

/// What a directory answered for a name: the record is signed, and of that name and domain.
pub(super) struct Found {
    pub record: Record,
    pub bytes: Vec<u8>,
}

/// Somebody this account has to do with.
pub(in crate::service) async fn known(account: &Account, who: &str) -> Result<ContactRow, ServiceError> {
    resolve(account, who, About::Contact).await
}

/// Somebody this account knows.
pub(in crate::service) async fn resolve(
    account: &Account,
    who: &str,
    about: About,
) -> Result<ContactRow, ServiceError> {
    let word = match Who::parse(who) {
        Who::Id(id) => {
            let found = account.store.read_blocking(|conn| peers::by_account(conn, id))?;
            return found.ok_or_else(|| ServiceError::NotFound(format!("you know nobody with the account id {id}")));
        }
        Who::Handle(number) => {
            let found = account.store.read_blocking(|conn| names::by_handle(conn, number))?;
            return found.ok_or_else(|| {
                let handle = Who::Handle(number);
                let text = format!("no request has the handle {handle}");
                ServiceError::NotFound(text).advise(Step::ListRequests.alone())
            });
        }
        Who::Word(word) => word,
    };
    let home = account.row().origin;
    // A few indexed rows, and on the way of every message: not worth a thread of its own.
    let known = || {
        account.store.read_blocking(|conn| {
            let meant = names::meant(conn, &word, &home)?;
            let stranger = match (&meant.labelled, &meant.named) {
                (Some(_), Some(named)) => about == About::Contact && names::is_stranger(conn, named)?,
                _ => false,
            };
            Ok(choose(&word, meant, stranger))
        })
    };
    if let Some(row) = known()?? {
        return Ok(row);
    }
    if let Some(row) = claimant(account, &word).await? {
        return Ok(row);
    }
    // A name that was confirmed between the two looks was no name in the first, and no claim in the second.
    match known()?? {
        Some(row) => Ok(row),
        None => Err(nobody(account, &word).await?),
    }
}

/// Somebody who says that the word is its name, if the directory says so, too. Whom it does not confirm can be reached by
/// a handle only, and the error says by which.
async fn claimant(account: &Account, word: &str) -> Result<Option<ContactRow>, ServiceError> {
    let own = account.row();
    let Ok(address) = word.parse::<Address>() else { return Ok(None) };
    let origin = address.domain.unwrap_or(own.origin);
    let (name, domain) = (address.name.to_string(), origin.clone());
    let claimants = account.store.read_blocking(|conn| names::claimants(conn, &name, &domain))?;
    let Some(newest) = claimants.first() else { return Ok(None) };
    let asked = look_up(account, &address.name, &origin).await;
    if let Ok(Some(found)) = &asked
        && claimants.iter().any(|row| row.account == found.record.account())
    {
        return keep_found(account, found).await.map(Some);
    }
    let known = account.store.read_blocking(|conn| names::called(conn, newest, &account.row().origin))?;
    let why = match asked {
        Ok(_) => "the directory does not say so".to_owned(),
        Err(error) => format!("the directory could not be asked ({error})"),
    };
    Err(ServiceError::NotFound(format!(
        "you know nobody of whom it is confirmed that the name is {word}. {} says so, and {why}: to mean that one \
         nevertheless, write {}",
        known.form(),
        known.form(),
    )))
}

/// The error for a word that means nobody, with the nearest one that means somebody.
async fn nobody(account: &Account, word: &str) -> Result<ServiceError, ServiceError> {
    let home = account.row().origin;
    let words = account.store.read(move |conn| names::words(conn, &home)).await?;
    let nearest = nearest(word, words.iter().map(String::as_str)).map(str::to_owned);
    Ok(ServiceError::Nobody { word: word.to_owned(), nearest })
}

/// Somebody this account knows, or whom its directory knows; the latter is remembered as a stranger.
pub(in crate::service) async fn known_or_found(account: &Account, who: &str) -> Result<ContactRow, ServiceError> {
    let unknown = match known(account, who).await {
        Err(error) if error.is_not_found() => error,
        found => return found,
    };
    match Who::parse(who) {
        Who::Word(word) => found(account, &word, Some(unknown)).await,
        Who::Id(_) | Who::Handle(_) => Err(unknown),
    }
}

/// Whom the owner wants to ask: a name is the directory's, whoever claims it here.
pub(in crate::service) async fn to_add(account: &Account, who: &str) -> Result<ContactRow, ServiceError> {
    let Who::Word(word) = Who::parse(who) else { return resolve(account, who, About::Request).await };
    let row = found(account, &word, None).await?;
    let key = word.clone();
    let home = account.row().origin;
    let meant = account.store.read_blocking(|conn| names::meant(conn, &key, &home))?;
    match meant.labelled.filter(|other| other.id != row.id) {
        Some(other) => Err(ambiguous(&word, &other, &row)),
        None => Ok(row),
    }
}

/// Asks the directory for a name. `unknown`: what was found of it here, for the error.
async fn found(account: &Account, who: &str, unknown: Option<ServiceError>) -> Result<ContactRow, ServiceError> {
    if who.starts_with("chat:") {
        let text = "an invite is nobody's name: use it to become contacts".to_owned();
        return Err(ServiceError::NotFound(text).advise(Step::UseInvite.alone()));
    }
    let address: Address = who.parse()?;
    let own = account.row();
    let origin = address.domain.clone().unwrap_or_else(|| own.origin.clone());
    if origin == own.origin && address.name.as_str() == own.name {
        return Err(ServiceError::InvalidParams(format!("{who} is yourself: name somebody else")));
    }
    match look_up(account, &address.name, &origin).await? {
        Some(found) => keep_found(account, &found).await,
        None => {
            let text = format!("nobody is called {who} in {origin}");
            Err(match unknown {
                Some(ServiceError::Nobody { nearest: Some(name), .. }) => {
                    let text = format!("{text}; did you mean {name}?");
                    ServiceError::NotFound(text).advise(Step::AskAnother.alone())
                }
                _ => ServiceError::NotFound(text).advise(Step::ListUsers.of(address.name.as_str())),
            })
        }
    }
}

/// Remembers whom the directory gave a name to, under that name.
async fn keep_found(account: &Account, found: &Found) -> Result<ContactRow, ServiceError> {
    let record = &found.record;
    let new = NewContact {
        account: record.account(),
        name: record.name.as_str().to_owned(),
        origin: record.origin.clone(),
        record_seq: record.seq,
        identity_key: record.identity_key,
        record: found.bytes.clone(),
        reach: Vec::new(),
        reach_seq: 0,
    };
    let outcome = account.store.write(move |tx| {
        let contact = trust::upsert_contact(tx, &new)?;
        Ok((contact, names::confirm_name(tx, contact, &new.name, &new.origin)?))
    });
    let (contact, confirmation) = outcome.await?;
    let row = account.store.read(move |conn| peers::load(conn, contact)).await?;
    match confirmation {
        Confirmation::Given => Ok(row),
        Confirmation::HeldBy(_) => {
            let address = row_address(record);
            let text = format!(
                "{address} is somebody else now than the contact that you know by this name: the directory has given it to \
                 another account"
            );
            Err(ServiceError::KeyNotTrusted(text).advise(Step::NameMoved.of(address)))
        }
    }
}

fn row_address(record: &Record) -> String {
    format!("{}@{}", record.name, record.origin)
}

/// The one who is meant, if anybody is. `stranger`: the one of that name has nothing to do with the owner.
fn choose(word: &str, meant: Meant, stranger: bool) -> Result<Option<ContactRow>, ServiceError> {
    match (meant.labelled, meant.named) {
        (Some(labelled), Some(named)) if labelled.id != named.id && !stranger => {
            Err(ambiguous(word, &labelled, &named))
        }
        (Some(row), _) | (None, Some(row)) => Ok(Some(row)),
        (None, None) => Ok(None),
    }
}

fn ambiguous(word: &str, labelled: &ContactRow, named: &ContactRow) -> ServiceError {
    let of_label = if labelled.confirmed {
        labelled.address()
    } else {
        labelled.handle.map_or(Who::Id(labelled.account), Who::Handle).to_string()
    };
    ServiceError::AmbiguousWho(format!(
        "{word} names two people: {of_label}, whom you call {word}, and {0}, whose name it is. Write {of_label} or {0}",
        named.address()
    ))
}

/// Asks the directory of a domain for a name; `None`: it knows nobody of that name. What comes back is of that name, that
/// domain and the account that the directory says.
///
/// # Errors
/// When the directory is not known here, cannot be reached, or answers with something else than was asked for.
pub(super) async fn look_up(account: &Account, name: &Name, origin: &str) -> Result<Option<Found>, ServiceError> {
    let own = account.row();
    let Some(client) = account.directories.of(origin) else {
        return Err(ServiceError::NotFound(if origin.is_empty() {
            format!("{} has no directory to look in", own.name)
        } else {
            format!(
                "{origin} is no domain that the DNS knows: name the URL of its directory under [directories] in the configuration of chatd"
            )
        }));
    };
    let bearer = account.session().bearer.filter(|_| origin == own.origin);
    let found = match client.lookup(name, bearer.as_deref()).await {
        Err(DirectoryError::NotFound) => return Ok(None),
        found => found?,
    };
    let record = SignedRecord::decode(&found.record)?.verify()?;
    if record.name != *name || record.origin != origin || record.account() != found.account {
        return Err(ServiceError::KeyNotTrusted(format!(
            "the directory answered with a record that is not {name}'s; tell its operator"
        )));
    }
    Ok(Some(Found { record, bytes: found.record }))
}
