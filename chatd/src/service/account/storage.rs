//! Opening an account, whatever state its files are in.
//!
//! The job: open what can be read of a damaged account, so that it keeps neither the daemon nor other accounts from their work, and
//! read around damage.
//!
//! Not the job: noticing damage (the store does), taking the account offline (its supervisor), repair.
//!
//! Invariants: no key is ever made in the place of one that is missing; a damaged account has no session, no delivery, and
//! signs nothing (`Service::account` refuses it, `Service::account_to_read` does not).

use std::path::Path;
use std::sync::Arc;

use proto::advice::Step;
use proto::directory::SignedRecord;
use proto::ids::{AccountId, DeviceId};
use rusqlite::Connection;

use super::Account;
use super::keys::Keys;
use super::runtime::{Parts, Shared};
use crate::model::{AccountRow, Damage, Message, Messages};
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::store::history::salvage::Salvaged;
use crate::store::{PrekeyStore, Store, StoreError, account};

fn shared(service: &Service) -> Shared<'_> {
    let inner = &service.inner;
    Shared { limits: &inner.limits, directories: &inner.directories, gone: inner.stop.child_token() }
}

/// Opens the account in a folder.
///
/// # Errors
/// Keys or databases that are missing, damaged, or not of one account.
pub(in crate::service) fn open(service: &Service, folder: &Path) -> Result<Arc<Account>, ServiceError> {
    let inner = &service.inner;
    let store = Store::open_on(folder, &inner.indexer, Some(Arc::clone(&inner.space)))?;
    let card = store.read_blocking(account::own_card)?;
    let keys = Keys::load(folder, &SignedRecord::decode(&card.record)?.peek()?.identity_key)?;
    let prekeys = PrekeyStore::open(folder)?;
    let row = store.read_blocking(account::load)?;
    if row.device != keys.device_id() {
        return Err(ServiceError::DataDir(format!(
            "{}: device.key is not the key of the account in messages.db; restore both from one backup",
            folder.display()
        )));
    }
    store.count_against(&inner.shares.of(row.uid));
    let parts = Parts { folder: folder.to_owned(), row, keys, store, prekeys, repair: None };
    Account::assemble(parts, shared(service))
}

/// Opens an account, whatever state it is in. `None`: nothing of it can be shown; that is logged.
///
/// # Errors
/// What the whole daemon should not start with: a store of a newer version.
pub(in crate::service) fn open_or_salvage(
    service: &Service,
    folder: &Path,
) -> Result<Option<Arc<Account>>, ServiceError> {
    let error = match open(service, folder) {
        Ok(account) => return Ok(Some(account)),
        Err(error @ ServiceError::Store(StoreError::NewerSchema { .. })) => return Err(error),
        Err(error) => error,
    };
    match open_damaged(service, folder, &error) {
        Ok(account) => {
            tracing::error!(
                name = %account.row().name,
                account = %account.id,
                damage = account.store.damage().unwrap_or_default(),
                "the account is read-only"
            );
            Ok(Some(account))
        }
        Err(second) => {
            tracing::error!(folder = %folder.display(), %error, %second, "an account cannot be opened, not even to be read");
            Ok(None)
        }
    }
}

fn open_damaged(service: &Service, folder: &Path, why: &ServiceError) -> Result<Arc<Account>, ServiceError> {
    let (text, repair) = match why {
        ServiceError::Store(error) if error.is_damage() => (Store::describe_damage(folder, &why.to_string()), None),
        ServiceError::KeyFile(_) => {
            let text = format!("{why}. Keys are never made anew. The account is read-only");
            (text, Some(Some(Step::PutKeyBack.alone())))
        }
        error => {
            let text = format!("{error}. The account is read-only until chatd is started again without that");
            (text, Some(None))
        }
    };
    let store = Store::open_damaged(folder, &service.inner.indexer, text)?;
    let row = store.read_blocking(account::load).unwrap_or_else(|_| nameless(folder));
    // Neither the keys nor the secrets are used: they only stand where an account has some. The files are left alone, for
    // loading the keys may end a rotation that was cut short, and what the store says of it may be old.
    let keys = Keys::generate()?;
    let prekeys = PrekeyStore::detached()?;
    let parts = Parts { folder: folder.to_owned(), row, keys, store, prekeys, repair };
    Account::assemble(parts, shared(service))
}

/// What to show of an account whose own row cannot be read: it belongs to whoever runs the daemon.
fn nameless(folder: &Path) -> AccountRow {
    let hex = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    AccountRow {
        id: hex.parse().unwrap_or(AccountId([0; 16])),
        device: DeviceId([0; 16]),
        name: format!("damaged-{}", hex.get(..8).unwrap_or("account")),
        origin: String::new(),
        directory: String::new(),
        uid: nix::unistd::geteuid().as_raw(),
        user: String::new(),
        logged_in: false,
        preferred: 0,
        standing: Default::default(),
    }
}

/// Reads as usual; if damage is in the way, past it, and says so.
pub(in crate::service) async fn read_around_damage(
    account: &Account,
    intact: impl FnOnce(&Connection) -> Result<(Vec<Message>, bool), StoreError> + Send + 'static,
    salvage: impl FnOnce(&Connection) -> Result<Salvaged, StoreError> + Send + 'static,
) -> Result<Messages, StoreError> {
    if account.store.damage().is_none() {
        match account.store.read(intact).await {
            // Only now it is known.
            Err(error) if error.is_damage() => {}
            read => return read.map(|(messages, more)| Messages { messages, more, damage: None }),
        }
    }
    let found = account.store.read(salvage).await?;
    let (what, advice) = account.damage().map(|damage| (damage.text, damage.advice)).unwrap_or_default();
    let text = match found.missing {
        0 => format!("messages may be missing here: {what}"),
        1 => format!("one message of this account cannot be read and may be missing here: {what}"),
        missing => format!("{missing} messages of this account cannot be read and may be missing here: {what}"),
    };
    Ok(Messages { messages: found.messages, more: found.more, damage: Some(Damage { text, advice }) })
}
