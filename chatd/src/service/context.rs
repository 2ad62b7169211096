//! The service: what all calls share. Everything that calls do stands in the room of its noun.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use proto::ids::{AccountId, DeviceId, NodeId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::Account;
use super::account::registry::Registry;
use super::backup::transfers::Transfers;
use super::config::Config;
use super::error::ServiceError;
use super::network::relays::Relays;
use crate::crypto::keys::SigningKey;
use crate::delivery::{News, OpenLink};
use crate::directory::Directories;
use crate::link::{Node, PeerTable};
use crate::model::{Caller, Clients};
use crate::peer::Links;
use crate::policy::rate::SharedLimits;
use crate::policy::rate::keyed::KeyedLimiter;
use crate::store::disk::reserve::Space;
use crate::store::disk::share::Share;
use crate::store::history::search::Indexer;

/// The daemon's service; cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(super) inner: Arc<Inner>,
}

/// What calls share.
pub(super) struct Inner {
    pub data_dir: PathBuf,
    pub config: RwLock<Arc<Config>>,
    pub node: Node,
    pub node_key: SigningKey,
    pub table: PeerTable,
    pub indexer: Indexer,
    /// The disk under the data directory.
    pub space: Arc<Space>,
    /// What each local user may store on it.
    pub shares: Shares,
    pub limits: SharedLimits,
    /// Those that the configuration names.
    pub directories: Directories,
    pub accounts: Registry,
    pub relays: Relays,
    /// How often contacts were pinged, whichever account and program asked.
    pub pings: KeyedLimiter<AccountId>,
    pub links: Links,
    pub transfers: Arc<Transfers>,
    pub clients: KnownClients,
    pub started: Instant,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

/// What each local user has stored, and may store.
pub(super) struct Shares {
    most: AtomicU64,
    /// There are as many as users who ever had an account.
    of: Mutex<HashMap<u32, Arc<Share>>>,
}

impl Shares {
    /// Each of so many bytes.
    pub fn new(most: u64) -> Self {
        Self { most: most.into(), of: Mutex::default() }
    }

    /// The share of a user.
    pub fn of(&self, uid: u32) -> Arc<Share> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(of.entry(uid).or_insert_with(|| Share::new(self.most.load(Ordering::Relaxed))))
    }

    /// From now on, each of so many bytes.
    pub fn change(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.values().for_each(|share| share.change(most));
    }

    /// Bytes of all together.
    pub fn bytes(&self) -> u64 {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.values().map(|share| share.used().bytes).sum()
    }
}

/// Programs that are connected, as the RPC room tells of them.
#[derive(Default)]
pub struct KnownClients {
    count: AtomicU64,
    /// Whom to ask who they are, from when the socket is served.
    who: OnceLock<Arc<dyn Clients>>,
}

impl KnownClients {
    /// So many are connected now.
    pub fn counted(&self, clients: u64) {
        self.count.store(clients, Ordering::Relaxed);
    }

    /// How many are connected.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// From now on, these are asked.
    pub fn ask(&self, who: Arc<dyn Clients>) {
        let _ = self.who.set(who);
    }

    /// Whom to ask who they are.
    pub fn who(&self) -> Option<&Arc<dyn Clients>> {
        self.who.get()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("data_dir", &self.inner.data_dir).finish_non_exhaustive()
    }
}

impl Service {
    /// What is in force of the configuration.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The transport's addresses.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.inner.node.local_addresses()
    }

    /// The transport's key.
    pub fn node_id(&self) -> NodeId {
        self.inner.node.node_id()
    }

    /// Programs that are connected.
    pub fn clients(&self) -> &KnownClients {
        &self.inner.clients
    }

    /// Whether a user has an account here; root counts as one who has.
    pub fn has_account(&self, uid: u32) -> bool {
        uid == 0 || self.accounts().iter().any(|account| account.state.now().row.uid == uid)
    }

    /// Where accounts live.
    pub(super) fn accounts_dir(&self) -> PathBuf {
        self.inner.data_dir.join("accounts")
    }

    /// Where an account lives.
    pub(super) fn folder_of(&self, id: AccountId) -> PathBuf {
        self.accounts_dir().join(id.to_string())
    }

    /// Runs a task until the daemon stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    pub(super) fn accounts(&self) -> Vec<Arc<Account>> {
        self.inner.accounts.all()
    }

    /// The account that a call names, also if it is damaged: for calls that only read.
    ///
    /// # Errors
    /// As [`Service::account`], but for damage.
    pub(crate) fn account_to_read(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        self.inner.accounts.find(caller, name)
    }

    /// The account that a call names.
    ///
    /// # Errors
    /// [`ServiceError::NoAccount`], [`ServiceError::AmbiguousAccount`]; a damaged account says what is damaged.
    pub(crate) fn account(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        let account = self.inner.accounts.find(caller, name)?;
        match account.damage() {
            Some(damage) => Err(ServiceError::damaged(damage)),
            None => Ok(account),
        }
    }

    /// The links that are open now.
    pub(super) fn open_links(&self) -> Vec<OpenLink> {
        self.inner.links.open()
    }

    pub(super) fn account_of_device(&self, device: DeviceId) -> Option<Arc<Account>> {
        self.inner.accounts.of_device(device)
    }

    pub(super) async fn tell_all(&self, news: impl Fn() -> News) {
        for account in self.accounts() {
            account.tell(news()).await;
        }
    }
}

/// Runs a call to its end even if its client goes away meanwhile: half an account is worse than an answer unheard.
pub(super) async fn run_detached<T: Send + 'static>(
    call: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
) -> Result<T, ServiceError> {
    // Not one of the tasks that a stop waits for: it may be waiting for a directory.
    tokio::spawn(call).await.unwrap_or(Err(ServiceError::ShuttingDown))
}
