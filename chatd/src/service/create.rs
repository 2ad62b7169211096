//! Making, opening, closing and deleting accounts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use proto::ids::AccountId;
use proto::name::Address;
use proto::rpc::advice::Step;
use proto::rpc::types::{AccountInfo, AccountParams, RegisterParams, RegisterResult};
use proto::time::Timestamp;
use proto::wire::payload::Profile;

use super::account::Account;
use super::identity::{Facts, Keys, make_record, recovery_key};
use super::keys::read_recovery_key;
use super::resolve::OVERFLOW_UID;
use super::{Service, ServiceError};
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::directory::{DirectoryClient, DirectoryError};
use crate::model::{AccountRow, Caller, Standing};
use crate::store::account::{self, NewAccount};
use crate::store::{PrekeyStore, Store, Tx};

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ServiceError + '_ {
    move |source| ServiceError::Io { path: path.to_owned(), source }
}

pub(super) fn private_dir(path: &Path) -> Result<(), ServiceError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))
}

/// Also the name survives a power cut.
fn rename_durably(from: &Path, to: &Path) -> Result<(), ServiceError> {
    std::fs::rename(from, to).map_err(io(to))?;
    let parent = to.parent().unwrap_or(to);
    std::fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(io(parent))
}

/// See [`Service::reserve`]; given back when dropped.
pub(super) struct Reservation {
    service: Service,
    key: (String, String),
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.service.inner.registering.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Service {
    pub(super) fn accounts_dir(&self) -> PathBuf {
        self.inner.data_dir.join("accounts")
    }

    /// Where an account lives.
    pub(super) fn folder_of(&self, id: AccountId) -> PathBuf {
        self.accounts_dir().join(id.to_string())
    }

    /// Opens every account in the data directory and brings those online that want to be.
    pub(super) async fn open_accounts(&self) -> Result<(), ServiceError> {
        let dir = self.accounts_dir();
        private_dir(&dir)?;
        for entry in std::fs::read_dir(&dir).map_err(io(&dir))? {
            let path = entry.map_err(io(&dir))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with('.') {
                // Half made or half deleted when the daemon was killed; nobody was told that it exists.
                tracing::info!(%name, "an unfinished account is removed");
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(%name, %error, "it was not removed");
                }
                continue;
            }
            let Some(account) = self.open_or_salvage(&path)? else { continue };
            tracing::info!(name = %account.row().name, account = %account.id, "account opened");
            self.keep(&account);
            self.begin(&account);
        }
        Ok(())
    }

    /// Lets an account be found. Before it goes online, so that it misses no link that comes or goes meanwhile.
    pub(super) fn keep(&self, account: &Arc<Account>) {
        let mut accounts = self.inner.accounts.write().unwrap_or_else(PoisonError::into_inner);
        accounts.insert(account.id, Arc::clone(account));
        self.spawn(super::settings::watch_lifetimes(Arc::clone(account)));
        self.spawn(super::prekeys::watch(self.clone(), Arc::clone(account)));
        self.spawn(super::retention::watch(Arc::clone(account)));
    }

    /// Runs a call to its end even if its client goes away meanwhile: half an account is worse than an answer unheard.
    pub(super) async fn whole<T: Send + 'static>(
        call: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<T, ServiceError> {
        // Not one of the tasks that a stop waits for: it may be waiting for a directory.
        tokio::spawn(call).await.unwrap_or(Err(ServiceError::ShuttingDown))
    }

    /// Holds a name, and a place under the cap, while an account is made.
    pub(super) fn reserve(&self, caller: &Caller, name: &str, directory: &str) -> Result<Reservation, ServiceError> {
        if caller.uid == OVERFLOW_UID {
            // It stands for many users: what is made would be nobody's, and count for nobody.
            return Err(ServiceError::Refused("the system does not say which user you are: no account for you".into()));
        }
        let own = self.owned(caller).len();
        let cap = self.config().limits.accounts_per_uid.get() as usize;
        let key = (name.to_owned(), directory.to_owned());
        let mut registering = self.inner.registering.lock().unwrap_or_else(PoisonError::into_inner);
        if own + registering.values().filter(|uid| **uid == caller.uid).count() >= cap {
            let accounts = if cap == 1 { "1 account is".to_owned() } else { format!("{cap} accounts are") };
            let text = format!("{accounts} yours, which is the most here");
            return Err(ServiceError::LimitReached(text).advise(Step::Unregister.alone()));
        }
        if registering.contains_key(&key) {
            return Err(ServiceError::AlreadyExists(format!("{name} is being registered on this daemon already")));
        }
        registering.insert(key.clone(), caller.uid);
        Ok(Reservation { service: self.clone(), key })
    }

    /// `account.register`.
    ///
    /// # Errors
    /// Typed by what is wrong: the name, the directory's refusal, a cap; then nothing is left behind.
    pub async fn account_register(
        &self,
        caller: &Caller,
        params: RegisterParams,
    ) -> Result<RegisterResult, ServiceError> {
        let (service, caller) = (self.clone(), caller.clone());
        Self::whole(async move { service.register(&caller, params).await }).await
    }

    async fn register(&self, caller: &Caller, params: RegisterParams) -> Result<RegisterResult, ServiceError> {
        let address: Address = params.name.parse()?;
        let display_name = params.display_name.unwrap_or_default();
        if display_name.len() > Profile::MAX_DISPLAY_NAME_BYTES {
            let limit = Profile::MAX_DISPLAY_NAME_BYTES;
            return Err(ServiceError::InvalidText(format!("a display name has {limit} bytes at most")));
        }
        let directory = match params.directory.or_else(|| self.config().directory.clone()) {
            Some(url) if url.is_empty() => None,
            Some(url) => Some(DirectoryClient::new(&url)?),
            None => None,
        };
        let url = directory.as_ref().map(|client| client.url().to_owned()).unwrap_or_default();
        let _reservation = self.reserve(caller, address.name.as_str(), &url)?;
        let (origin, now, directory_key) = match &directory {
            // Its clock is what others judge by. The key that it shows now is the one that it must have from now on.
            Some(client) => {
                let shown = client.identify().await?;
                client.pin().set(shown.key);
                (shown.origin, shown.time, Some(shown.key))
            }
            None => (String::new(), Timestamp::now().unix_seconds(), None),
        };
        if let Some(domain) = &address.domain
            && *domain != origin
        {
            return Err(DirectoryError::DomainNotSupported(domain.clone()).into());
        }
        if self.accounts().iter().any(|a| a.row().name == address.name.as_str() && a.row().origin == origin) {
            return Err(ServiceError::AlreadyExists(format!("{} exists on this daemon already", address.name)));
        }
        // A name that rests is given back to the recovery key of the account that gave it up.
        let (recovery, recovery_hash, reclaim) = match &params.recovery_key {
            Some(text) => {
                let key = read_recovery_key(text)?;
                (proto::ids::hex(&*key.to_bytes()).into(), proto::directory::recovery_hash(&key.public()), Some(key))
            }
            None => {
                let (text, hash) = recovery_key()?;
                (text, hash, None)
            }
        };
        let keys = Keys::generate()?;
        let prekey = PrekeySecret::generate(now)?;
        let facts =
            Facts { name: &address.name, origin: &origin, directory: &url, recovery_hash, config: &self.config() };
        let (record, record_seq) = make_record(&keys, &facts, None, &prekey)?;
        let row = AccountRow {
            id: keys.account(),
            device: keys.device_id(),
            name: address.name.as_str().to_owned(),
            origin,
            directory: url,
            uid: caller.uid,
            user: caller.user.clone().unwrap_or_default(),
            logged_in: true,
            preferred: 0,
            standing: Default::default(),
        };
        let new = NewAccount { row, recovery_hash, record: record.clone(), record_seq, display_name, directory_key };
        let id = new.row.id;
        let unfinished = self.accounts_dir().join(format!(".{id}"));
        let made = self.make_folder(&unfinished, &keys, &prekey, new);
        let folder = self.accounts_dir().join(id.to_string());
        let result = match made {
            // Everything is on disk before the name is claimed, so that a kill at any moment leaves a name with its keys.
            Ok(()) => match rename_durably(&unfinished, &folder) {
                Ok(()) => self.claim(&directory, &address, &record, &keys, reclaim.as_ref()).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            for path in [&unfinished, &folder] {
                let _ = std::fs::remove_dir_all(path);
            }
            return Err(error);
        }
        let account = Account::open(self, &folder)?;
        self.keep(&account);
        self.begin(&account);
        account.settled().await;
        let info = self.info(&account);
        tracing::info!(name = %info.address, account = %id, uid = caller.uid, "account registered");
        Ok(RegisterResult { account: info, recovery_key: recovery })
    }

    fn make_folder(
        &self,
        folder: &Path,
        keys: &Keys,
        prekey: &PrekeySecret,
        new: NewAccount,
    ) -> Result<(), ServiceError> {
        private_dir(folder)?;
        keys.create(folder)?;
        PrekeyStore::open(folder)?.insert(prekey, 0)?;
        Ok(Store::create(folder, &new)?)
    }

    async fn claim(
        &self,
        directory: &Option<DirectoryClient>,
        address: &Address,
        record: &[u8],
        keys: &Keys,
        reclaim: Option<&SigningKey>,
    ) -> Result<(), ServiceError> {
        let Some(client) = directory else { return Ok(()) };
        let identity = keys.identity();
        let sign = |message: &[u8]| identity.sign(&[message]);
        let published = match client.claim(&address.name, record, &sign, reclaim).await {
            // The answer may be lost while the name is claimed; with the keys, the name would be lost for ever.
            Err(DirectoryError::Unreachable { .. } | DirectoryError::Protocol { .. }) => {
                client.claim(&address.name, record, &sign, reclaim).await
            }
            published => published,
        };
        match published {
            Err(DirectoryError::NameTaken) => Err(ServiceError::NameTaken(address.name.to_string())),
            Err(DirectoryError::NameRests { until }) => {
                Err(ServiceError::NameRests { name: address.name.to_string(), until })
            }
            published => Ok(published.map(drop)?),
        }
    }

    /// `account.login`.
    ///
    /// # Errors
    /// [`ServiceError::AlreadyLoggedIn`].
    pub async fn account_login(&self, caller: &Caller, params: AccountParams) -> Result<AccountInfo, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        if account.is_running() {
            return Err(ServiceError::AlreadyLoggedIn(account.row().name));
        }
        let service = self.clone();
        Self::whole(async move {
            // Of two copies, this is the one that its owner wants.
            let standing = match account.row().standing {
                Standing::Superseded => Standing::TakesOver,
                standing => standing,
            };
            let stored = move |tx: &mut Tx<'_>| {
                account::set_standing(tx, standing)?;
                account::set_logged_in(tx, true)
            };
            account.store.write(stored).await?;
            account.set_standing(standing);
            account.set_logged_in(true);
            account.go_online(&service);
            account.settled().await;
            Ok(service.info(&account))
        })
        .await
    }

    /// `account.logout`.
    ///
    /// # Errors
    /// [`ServiceError::AlreadyLoggedOut`].
    pub async fn account_logout(&self, caller: &Caller, params: AccountParams) -> Result<AccountInfo, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        if !account.is_running() {
            return Err(ServiceError::AlreadyLoggedOut(account.row().name));
        }
        let service = self.clone();
        Self::whole(async move {
            account.store.write(|tx| account::set_logged_in(tx, false)).await?;
            account.set_logged_in(false);
            account.go_offline().await;
            Ok(service.info(&account))
        })
        .await
    }
}
