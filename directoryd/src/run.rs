//! A directory's life: opened, served, reconfigured and closed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use daemonkit::chain::chain;
use proto::ids::{AccountId, DeviceId};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Local};
use crate::config::{self, Config, ConfigError};
use crate::http::connection::accept;
use crate::http::front::Front;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::relay::{DiscoveryError, Relay};
use crate::routes;
use crate::setup;
use crate::state::{Directory, PUSHING};
use crate::store::{Bounds, OpenError, Store, StoreThread};
use crate::tls::Tls;
use crate::tls::certificate::{CertificateError, Source};

/// For connections and sessions to end by themselves when the directory stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a directory does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The relay cannot be had as the configuration wants it.
    #[error(transparent)]
    Relay(#[from] DiscoveryError),
    /// There is no certificate to show.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The disk failed while running.
    #[error("the database failed; see the log, check the disk, and start again: what was acknowledged is kept")]
    StoreFailed,
}

/// A directory that has opened its data, and answers nobody yet.
#[derive(Debug)]
pub struct Opened {
    directory: Arc<Directory>,
    thread: StoreThread,
    failed: CancellationToken,
}

impl Opened {
    /// Locks and opens the data directory.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn open(config: Config, shutdown: CancellationToken) -> Result<Self, RunError> {
        let config = config.validated()?;
        let metrics = Arc::new(Metrics::default());
        let front = Arc::new(Front::new(&config, Arc::clone(&metrics), shutdown.child_token())?);
        let cluster: Arc<dyn Cluster> = Arc::new(Local::new(config.clock.clone()));
        let failed = CancellationToken::new();
        let counters = Arc::clone(&metrics.relay);
        let (store, thread) = Store::open(&config.store(), Arc::clone(&cluster), metrics, failed.clone())?;
        let tls = source(&config, store.identity()).map(Tls::open).transpose()?.map(Arc::new);
        if let Some(tls) = &tls
            && !tls.source().names(&config.origin)?
        {
            let origin = &config.origin;
            tracing::warn!(
                origin,
                "the certificate does not name the origin: who finds this directory by its domain refuses it"
            );
        }
        let relay = Relay::open(&config, &store, &cluster, tls.as_deref(), counters)?.map(Arc::new);
        let pushing = Semaphore::new(PUSHING);
        let directory = Arc::new(Directory { config, store, cluster, front, tls, relay, pushing });
        Ok(Self { directory, thread, failed })
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.directory.config
    }

    /// By what key members know this directory.
    pub fn identity(&self) -> &Identity {
        self.directory.store.identity()
    }

    /// How clients write its address: the scheme, and the pin of its own key if it shows that.
    pub fn url(&self, address: &str) -> String {
        setup::url(self.directory.tls.as_deref().map(Tls::source), address)
    }

    /// What `--init` tells.
    pub fn init(self) -> String {
        let said = setup::init(self.config(), self.identity(), self.directory.tls.as_deref().map(Tls::source));
        let Self { directory, thread, .. } = self;
        // Nothing serves yet, so nobody else holds it: the database is closed, and the first start finds a clean end.
        if Arc::try_unwrap(directory).is_ok() {
            thread.join();
        }
        said
    }

    /// For changes while it serves.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.directory))
    }

    /// Accounts that were found in the database.
    pub fn accounts(&self) -> usize {
        self.directory.cluster.accounts()
    }

    /// Answers until the shutdown token is cancelled; then ends sessions with a close frame, lets requests finish and
    /// closes the database.
    ///
    /// # Errors
    /// [`RunError::StoreFailed`] when the disk failed.
    pub async fn serve(self, listener: TcpListener) -> Result<(), RunError> {
        let Self { directory, thread, failed } = self;
        let front = Arc::clone(&directory.front);
        front.tasks.spawn(sweep(Arc::clone(&directory)));
        if let Some(tls) = &directory.tls {
            front.tasks.spawn(watch_certificate(Arc::clone(tls), Arc::clone(&front)));
        }
        if let Some(relay) = directory.relay.clone() {
            let front = Arc::clone(&front);
            front.tasks.clone().spawn(async move { relay.discover(&front).await });
        }
        let router = routes::router(Arc::clone(&directory));
        tokio::select! {
            () = accept(&front, directory.tls.as_ref(), router, listener) => {}
            () = failed.cancelled() => front.stop.cancel(),
        }
        if let Some(relay) = &directory.relay {
            relay.close().await;
        }
        front.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, front.tasks.wait()).await.is_err() {
            tracing::warn!(left = front.tasks.len(), "connections did not end in time");
        }
        let last = Arc::try_unwrap(directory);
        let closed = last.is_ok();
        drop(last);
        // With a connection still open its task holds the store, and the thread would wait for it; everything that was
        // answered is on the disk in any case.
        if closed {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        if failed.is_cancelled() { Err(RunError::StoreFailed) } else { Ok(()) }
    }
}

/// Where the certificate comes from that a configuration wants to be shown.
fn source(config: &Config, identity: &Identity) -> Option<Source> {
    match config.tls() {
        config::Tls::Off => None,
        config::Tls::Own => {
            let mut names = vec![config.origin.clone(), config.listen.ip().to_string()];
            names.extend(config.hosts.iter().cloned());
            Some(Source::Own(identity.clone(), names))
        }
        config::Tls::Files { certificate, key } => Some(Source::Files { certificate, key }),
    }
}

/// Looks from time to time whether the certificate was replaced, until the directory stops. Connections go on with the one that they
/// began with.
async fn watch_certificate(tls: Arc<Tls>, front: Arc<Front>) {
    let mut due = tokio::time::interval(front.live.get().timing.certificate);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = tls.due() => {}
            () = front.stop.cancelled() => return,
        }
        let looking = Arc::clone(&tls);
        let Ok(looked) = tokio::task::spawn_blocking(move || looking.reload()).await else { return };
        let new = match looked {
            Ok(true) => {
                tracing::info!("the certificate was replaced");
                String::new()
            }
            Ok(false) => String::new(),
            // Two files are not replaced at one moment: it may be well again at the next look.
            Err(error) => chain(&error),
        };
        if !new.is_empty() && new != told {
            tracing::warn!(error = new, "the certificate stays as it was");
        }
        told = new;
    }
}

/// Deletes expired mail and saves the mailbox's clock, until the directory stops.
async fn sweep(directory: Arc<Directory>) {
    let mut due = tokio::time::interval(directory.config.timing.sweep);
    // A machine that was busy or suspended owes no sweeps.
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = directory.front.stop.cancelled() => return,
        }
        let swept = tokio::select! {
            swept = directory.store.sweep() => swept,
            () = directory.front.stop.cancelled() => return,
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "expired mail was not deleted; it is not handed out, and deleted later");
        }
        if let Some(relay) = &directory.relay
            && let Err(error) = relay.sweep().await
        {
            tracing::warn!(%error, "nodes at the relay were not looked at; they are later");
        }
    }
}

/// Changes a running directory; does not keep it from ending.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) Weak<Directory>);

impl Handle {
    /// Asks the store's thread for an answer, and waits for it. What it says is for others to tell; a directory that has closed
    /// needs to say nothing more.
    pub async fn store_answers(&self) {
        let Some(directory) = self.0.upgrade() else { return };
        // Nobody's mail, and none of it.
        let _ = directory.store.delete(AccountId([0; 16]), DeviceId([0; 16]), Vec::new()).await;
    }

    /// Puts in force what of a configuration may change. Other rates begin with everybody's burst untouched; the same rates go on.
    ///
    /// # Errors
    /// The value that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let Some(directory) = self.0.upgrade() else { return Ok(()) };
        directory.front.reconfigure(config)?;
        directory.store.reconfigure(Bounds::of(&config.store()));
        if let Some(relay) = &directory.relay {
            relay.reconfigure(&config.relay);
        }
        if let Some(tls) = &directory.tls {
            tls.look();
        }
        Ok(())
    }
}

/// Opens the data and serves on a socket that the caller owns, until `shutdown` is cancelled.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), RunError> {
    Opened::open(config, shutdown)?.serve(listener).await
}
