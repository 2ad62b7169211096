//! What becomes of an account whose storage is in trouble: damaged files, a full disk.
//!
//! The job: open what can be read of a damaged account, so that it keeps neither the daemon nor other accounts from their
//! work; take an account offline when damage shows while it runs; bring accounts back when a full disk has room again.
//!
//! Not the job: noticing (the store does), and repair (`chatctl restore`).
//!
//! Invariants: no key is ever made in the place of one that is missing; a damaged account has no session, no delivery, and
//! signs nothing (`Service::account` refuses it, `Service::account_to_read` does not).

use std::path::Path;
use std::sync::Arc;

use proto::ids::{AccountId, DeviceId};
use proto::rpc::types::{AccountInfo, MessagesResult};
use rusqlite::Connection;

use super::account::{Account, Parts};
use super::identity::Keys;
use super::{Service, ServiceError};
use crate::model::{AccountRow, Caller, Message};
use crate::store::history::salvage::Salvaged;
use crate::store::{PrekeyStore, Store, StoreError, account};

impl Service {
    /// Opens an account, whatever state it is in. `None`: nothing of it can be shown; that is logged.
    ///
    /// # Errors
    /// What the whole daemon should not start with: a store of a newer version.
    pub(super) fn open_or_salvage(&self, folder: &Path) -> Result<Option<Arc<Account>>, ServiceError> {
        let error = match Account::open(self, folder) {
            Ok(account) => return Ok(Some(account)),
            Err(error @ ServiceError::Store(StoreError::NewerSchema { .. })) => return Err(error),
            Err(error) => error,
        };
        match self.open_damaged(folder, &error) {
            Ok(account) => {
                tracing::error!(
                    name = %account.row().name,
                    account = %account.id,
                    "the account is read-only: {}",
                    account.store.damage().unwrap_or_default()
                );
                Ok(Some(account))
            }
            Err(second) => {
                tracing::error!(folder = %folder.display(), %error, %second, "an account cannot be opened, not even to be read");
                Ok(None)
            }
        }
    }

    fn open_damaged(&self, folder: &Path, why: &ServiceError) -> Result<Arc<Account>, ServiceError> {
        let text = match why {
            ServiceError::Store(error) if error.is_damage() => None,
            ServiceError::KeyFile(_) => Some(format!(
                "{why}. Keys are never made anew. The account is read-only: put the key back from a backup of this folder, or \
                 the whole account with `chatctl restore`"
            )),
            error => Some(format!("{error}. The account is read-only until chatd is started again without that")),
        };
        let text = text.unwrap_or_else(|| Store::describe_damage(folder, &why.to_string()));
        let store = Store::open_damaged(folder, &self.inner.indexer, text)?;
        let row = store.read_blocking(account::load).unwrap_or_else(|_| nameless(folder));
        // Neither the keys nor the secrets are used: they only stand where an account has some. The files are left alone, for
        // loading the keys may end a rotation that was cut short, and what the store says of it may be old.
        let keys = Keys::generate()?;
        let parts = Parts { row, keys, store, prekeys: PrekeyStore::detached()? };
        Account::assemble(self, parts)
    }

    /// The account that a call names, also if it is damaged: for calls that only read.
    ///
    /// # Errors
    /// As [`Service::account`].
    pub(super) fn account_to_read(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        self.account_of(caller, name)
    }

    /// The account that a call names.
    ///
    /// # Errors
    /// [`ServiceError::NoAccount`], [`ServiceError::AmbiguousAccount`]; a damaged account says what is damaged.
    pub(super) fn account(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        let account = self.account_of(caller, name)?;
        match account.store.damage() {
            Some(text) => Err(StoreError::ReadOnly(text).into()),
            None => Ok(account),
        }
    }

    /// Brings an account online that wants to be, and watches its files.
    pub(super) fn begin(&self, account: &Arc<Account>) {
        if account.row().logged_in && account.store.damage().is_none() {
            account.go_online(self);
        }
        self.watch_storage(account);
    }

    /// Waits for damage, and then takes the account offline: it must not say that it is there.
    fn watch_storage(&self, account: &Arc<Account>) {
        let mut damage = account.store.damage_watch();
        let (account, gone) = (Arc::downgrade(account), account.gone.clone());
        self.spawn(async move {
            let found = tokio::select! {
                () = gone.cancelled() => false,
                found = async { damage.wait_for(Option::is_some).await.is_ok() } => found,
            };
            if let (true, Some(account)) = (found, account.upgrade()) {
                account.go_offline().await;
            }
        });
    }

    /// When a full disk has room again, accounts come online anew: who was refused meanwhile then tries again at once.
    pub(super) async fn watch_disk(self) {
        let mut low = self.inner.space.watch();
        while low.wait_for(|low| *low).await.is_ok() && low.wait_for(|low| !*low).await.is_ok() {
            for account in self.accounts() {
                if account.is_running() && account.store.damage().is_none() {
                    account.go_offline().await;
                    if account.row().logged_in {
                        account.go_online(&self);
                    }
                }
            }
        }
    }
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

/// What the lists of accounts say of damage.
pub(super) fn mark(info: AccountInfo, account: &Account) -> AccountInfo {
    let damaged = account.store.damage();
    // Of keys that only stand in for missing ones, nothing is shown.
    let own = account.keys.device_id() == account.device;
    AccountInfo { fingerprint: if own { info.fingerprint } else { String::new() }, damaged, ..info }
}

/// Reads as usual; if damage is in the way, past it, and says so.
pub(super) async fn read_around_damage(
    account: &Account,
    intact: impl FnOnce(&Connection) -> Result<(Vec<Message>, bool), StoreError> + Send + 'static,
    salvage: impl FnOnce(&Connection) -> Result<Salvaged, StoreError> + Send + 'static,
) -> Result<MessagesResult, StoreError> {
    if account.store.damage().is_none() {
        match account.store.read(intact).await {
            // Only now it is known.
            Err(error) if error.is_damage() => {}
            read => return read.map(|(messages, more)| told(messages, more, None)),
        }
    }
    let found = account.store.read(salvage).await?;
    let what = account.store.damage().unwrap_or_default();
    let damaged = match found.missing {
        0 => format!("messages may be missing here: {what}"),
        1 => format!("one message of this account cannot be read and may be missing here: {what}"),
        missing => format!("{missing} messages of this account cannot be read and may be missing here: {what}"),
    };
    Ok(told(found.messages, found.more, Some(damaged)))
}

fn told(messages: Vec<Message>, more: bool, damaged: Option<String>) -> MessagesResult {
    MessagesResult { messages: messages.into_iter().map(Into::into).collect(), more, damaged }
}
