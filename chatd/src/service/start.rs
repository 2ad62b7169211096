//! How the service begins and ends, and takes over another configuration.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::account::registry::Registry;
use super::account::{keys, lifecycle};
use super::backup::transfers::Transfers;
use super::config::Config;
use super::context::{Inner, KnownClients, Service, Shares};
use super::directory::publisher;
use super::error::ServiceError;
use super::network::relays::Relays;
use super::network::{lan, moves, ports};
use crate::directory::{Directories, NameOptions, Network};
use crate::link::{LinkCaps, LinkConfig, LinkError, Node, PeerTable};
use crate::peer::{self, Links};
use crate::policy::rate::{self, SharedLimits};
use crate::store::disk::reserve::Space;
use crate::store::history::search::Indexer;

/// New links that wait to be run at most; the table waits for room.
const NEW_LINKS: usize = 64;

/// A dial that takes longer has met a dead address: QUIC over the worst satellite link needs two seconds.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A stop waits so long for tasks: one that hangs must not keep the daemon from closing its stores.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens everything in the data directory (which the caller has locked), binds the node and brings accounts online.
///
/// # Errors
/// When keys, stores or sockets cannot be opened.
pub async fn start(config: Config, data_dir: PathBuf) -> Result<Service, ServiceError> {
    // First: on a full disk this makes the room that a start needs.
    let space = Space::open(&data_dir);
    let node_key = keys::node_key(&data_dir)?;
    let mut link = LinkConfig::new(*node_key.to_bytes());
    link.listen = ports::as_last_time(&data_dir, &config.listen);
    link.dial_timeout = DIAL_TIMEOUT;
    link.lan = config.lan;
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
    let directories = Directories::named(&network(&config), &config.directories)?;
    let (node, incoming) = match Node::bind(link.clone()).await {
        // Somebody else has the port of last time by now.
        Err(LinkError::Bind { .. }) if link.listen != config.listen => {
            link.listen.clone_from(&config.listen);
            Node::bind(link).await?
        }
        bound => bound?,
    };
    ports::keep(&data_dir, &node.local_addresses());
    let (links, new_links) = mpsc::channel(NEW_LINKS);
    let table = PeerTable::spawn(node.clone(), incoming, links);
    let service = Service {
        inner: Arc::new(Inner {
            limits: SharedLimits::new(&config.limits, &config.space),
            directories,
            indexer: Indexer::start(),
            transfers: Transfers::new(Arc::clone(&space)),
            space,
            shares: Shares::new(config.space.user_bytes()),
            accounts: Registry::default(),
            relays: Relays::new(node.clone()),
            pings: rate::pings(),
            links: Links::default(),
            clients: KnownClients::default(),
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
    service.spawn(peer::run(service.clone(), service.node_id(), service.inner.links.clone(), new_links));
    lifecycle::open_accounts(&service).await?;
    service.spawn(lifecycle::watch_disk(service.clone()));
    service.spawn(lan::watch(service.clone()));
    service.spawn(moves::watch(service.clone()));
    service.spawn(publisher::watch_whereabouts(service.clone()));
    Ok(service)
}

/// What all directories share, as the configuration wants it.
pub(crate) fn network(config: &Config) -> Network {
    let names = NameOptions {
        servers: config.name_servers.clone(),
        dnssec: config.dnssec,
        trust_anchor: config.dnssec_anchor.clone(),
    };
    Network::new(names, config.allow_private_addresses)
}

/// Puts in force what of a configuration may change while the daemon runs; see [`Config::adopt`].
///
/// # Errors
/// A directory that cannot be used; then nothing has changed.
pub fn reconfigure(service: &Service, new: &Config) -> Result<(), ServiceError> {
    let inner = &service.inner;
    inner.directories.rename(&new.directories)?;
    inner.limits.change(&new.limits, &new.space);
    inner.shares.change(new.space.user_bytes());
    let mut config = inner.config.write().unwrap_or_else(PoisonError::into_inner);
    let mut adopted = Config::clone(&config);
    adopted.adopt(new);
    *config = Arc::new(adopted);
    Ok(())
}

/// Ends sessions cleanly (presence goes at once), closes links, commits what is queued.
pub async fn stop(service: &Service) {
    let inner = &service.inner;
    // The supervisors end by this, each with its tasks in order.
    inner.stop.cancel();
    let accounts = service.accounts();
    let closed = join_all(accounts.iter().map(|account| account.state.closed()));
    if tokio::time::timeout(PATIENCE * 2, closed).await.is_err() {
        tracing::warn!("not every account has ended in its time");
    }
    inner.tasks.close();
    let _ = tokio::time::timeout(PATIENCE, inner.tasks.wait()).await;
    inner.node.close().await;
    for account in &accounts {
        if let Err(error) = account.save_clock(true) {
            tracing::warn!(%error, account = %account.id, "the clock was not kept");
        }
    }
    join_all(accounts.iter().map(|account| account.store.close())).await;
}
