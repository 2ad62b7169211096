//! What the daemon can do for its users: accounts, contacts, messages, the feed. It owns the accounts and connects the
//! rooms to its left: links feed the inbox, the store wakes delivery, the directory session feeds presence.
//!
//! Not its job: sockets and codes (the RPC room), and what each room does inside.
//!
//! Invariants: a caller sees and touches only accounts of its own uid; an account that is logged out neither answers peers
//! nor the directory.

mod account;
mod acker;
mod backup;
pub mod config;
mod consumers;
mod create;
mod error;
mod feed;
mod find;
mod forget;
mod gaps;
mod identity;
mod keys;
mod links;
mod mail;
mod membership;
mod messages;
mod people;
mod prekeys;
mod profile;
mod records;
mod resolve;
mod retention;
mod session;
mod settings;
mod standing;
mod status;
mod storage;
mod told;
mod transfers;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::ids::AccountId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::ServiceError;
pub use feed::Feed;
pub use messages::Sending;

use crate::crypto::keys::SigningKey;
use crate::delivery::{News, OpenLink};
use crate::directory::Directories;
use crate::link::{Link, LinkCaps, LinkConfig, Node, PeerTable};
use crate::model::Clients;
use crate::policy::rate::SharedLimits;
use crate::store::disk::reserve::Space;
use crate::store::history::search::Indexer;
use account::Account;
use config::Config;

/// New links that wait to be run at most; the table waits for room.
const NEW_LINKS: usize = 64;

/// A dial that takes longer has met a dead address: QUIC over the worst satellite link needs two seconds.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The daemon's service; cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: PathBuf,
    config: RwLock<Arc<Config>>,
    node: Node,
    node_key: SigningKey,
    table: PeerTable,
    indexer: Indexer,
    /// The disk under the data directory.
    space: Arc<Space>,
    limits: SharedLimits,
    /// Those that the configuration names.
    directories: Directories,
    accounts: RwLock<HashMap<AccountId, Arc<Account>>>,
    /// Every open link: an account that comes online finds the links that are there.
    links: Mutex<HashMap<u64, OpenLink>>,
    /// Accounts that are being registered: (name, directory's URL) -> whose they will be.
    registering: Mutex<HashMap<(String, String), u32>>,
    transfers: transfers::Transfers,
    clients: AtomicU64,
    /// Who they are, from when the socket is served.
    told_clients: OnceLock<Arc<dyn Clients>>,
    started: Instant,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("data_dir", &self.inner.data_dir).finish_non_exhaustive()
    }
}

impl Service {
    /// Opens everything in the data directory (which the caller has locked), binds the node and brings accounts online.
    ///
    /// # Errors
    /// When keys, stores or sockets cannot be opened.
    pub async fn start(config: Config, data_dir: PathBuf) -> Result<Self, ServiceError> {
        // First: on a full disk this makes the room that a start needs.
        let space = Space::open(&data_dir);
        let node_key = identity::node_key(&data_dir)?;
        let mut link = LinkConfig::new(*node_key.to_bytes());
        link.listen = config.listen.clone();
        link.dial_timeout = DIAL_TIMEOUT;
        let limits = &config.limits;
        link.caps = LinkCaps {
            max_inbound: limits.connections.get() as usize,
            max_unauthenticated: limits.connections_unauthenticated.get() as usize,
            max_per_address: limits.connections_per_address.get() as usize,
            handshake: Duration::from_secs(limits.handshake_seconds.get().into()),
            first_frame: Duration::from_secs(limits.first_frame_seconds.get().into()),
            min_mid_frame_bytes_per_second: limits.frame_bytes_per_second.get(),
            ..LinkCaps::default()
        };
        let directories = Directories::named(&config.directories)?;
        let (node, incoming) = Node::bind(link).await?;
        let (links, new_links) = mpsc::channel(NEW_LINKS);
        let table = PeerTable::spawn(node.clone(), incoming, links);
        let service = Self {
            inner: Arc::new(Inner {
                limits: SharedLimits::new(&config.limits),
                directories,
                indexer: Indexer::start(),
                space,
                accounts: RwLock::default(),
                links: Mutex::default(),
                registering: Mutex::default(),
                transfers: transfers::Transfers::default(),
                clients: AtomicU64::new(0),
                told_clients: OnceLock::new(),
                started: Instant::now(),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
                data_dir,
                config: RwLock::new(Arc::new(config)),
                node,
                node_key,
                table,
            }),
        };
        service.spawn(links::run(service.clone(), new_links));
        service.open_accounts().await?;
        service.spawn(service.clone().watch_disk());
        service.spawn(session::watch_addresses(service.clone()));
        Ok(service)
    }

    /// What is in force.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts in force what of a configuration may change while the daemon runs; see [`Config::adopt`].
    ///
    /// # Errors
    /// A directory that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, new: &Config) -> Result<(), ServiceError> {
        self.inner.directories.rename(&new.directories)?;
        self.inner.limits.change(&new.limits);
        let mut config = self.inner.config.write().unwrap_or_else(PoisonError::into_inner);
        let mut adopted = Config::clone(&config);
        adopted.adopt(new);
        *config = Arc::new(adopted);
        Ok(())
    }

    /// The transport's addresses.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.inner.node.local_addresses()
    }

    /// The transport's key.
    pub fn node_id(&self) -> proto::ids::NodeId {
        self.inner.node.node_id()
    }

    /// The RPC room tells how many clients there are.
    pub fn client_count(&self, clients: u64) {
        self.inner.clients.store(clients, Ordering::Relaxed);
    }

    /// The RPC room tells whom to ask who they are.
    pub fn told_clients(&self, clients: Arc<dyn Clients>) {
        let _ = self.inner.told_clients.set(clients);
    }

    /// Whether a user has an account here; root counts as one who has.
    pub fn has_account(&self, uid: u32) -> bool {
        uid == 0 || self.accounts().iter().any(|account| account.row().uid == uid)
    }

    /// Ends sessions cleanly (presence goes at once), closes links, commits what is queued.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let accounts = self.accounts();
        join_all(accounts.iter().map(|account| account.go_offline())).await;
        self.inner.tasks.close();
        // Tasks end with the token; one that hangs must not keep the daemon from closing its stores.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.inner.tasks.wait()).await;
        self.inner.node.close().await;
        for account in &accounts {
            if let Err(error) = account.save_clock(true) {
                tracing::warn!(%error, account = %account.id, "the clock was not kept");
            }
        }
        join_all(accounts.iter().map(|account| account.store.close())).await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.inner.stop.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn accounts(&self) -> Vec<Arc<Account>> {
        self.inner.accounts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The links that are open now.
    fn open_links(&self) -> Vec<OpenLink> {
        self.inner.links.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn account_of_device(&self, device: proto::ids::DeviceId) -> Option<Arc<Account>> {
        let accounts = self.inner.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().find(|account| account.device == device).cloned()
    }

    async fn tell_all(&self, news: impl Fn() -> News) {
        for account in self.accounts() {
            if let Some(delivery) = account.delivery() {
                delivery.tell(news()).await;
            }
        }
    }

    fn open_link(&self, link: &Link) -> OpenLink {
        let own = self.node_id();
        let (dialer, acceptor) = if link.dialed { (own, link.peer) } else { (link.peer, own) };
        OpenLink {
            peer: link.peer,
            dialer,
            acceptor,
            exporter: link.exporter,
            sender: link.sender.clone(),
            claims: Arc::default(),
            doubt: Arc::default(),
        }
    }
}
