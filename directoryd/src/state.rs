//! What all requests share: opened, served, reconfigured and closed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, ConfigError};
use crate::http::gate::Gate;
use crate::http::limits::Limiter;
use crate::{cluster, http, identity, live, metrics, session, store};

/// For connections and sessions to end by themselves when the directory stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a directory does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The disk failed while running.
    #[error("the database failed; see the log, check the disk, and start again: what was acknowledged is kept")]
    StoreFailed,
}

/// Everything that requests share.
#[derive(Debug)]
pub struct Directory {
    /// In force.
    pub config: Config,
    /// What must survive.
    pub store: store::Store,
    /// What lookups read.
    pub index: Arc<cluster::index::Index>,
    /// Who is connected.
    pub presence: cluster::presence::Presence,
    /// Whether a request is meant for us, and whose it is.
    pub gate: live::Live<http::gate::Gate>,
    /// What clients make us hold.
    pub memory: Arc<http::memory::Memory>,
    /// How often one may ask.
    pub limiter: live::Live<http::limits::Limiter>,
    /// What of the configuration may change while it runs, beside `gate`, `limiter` and the store's rules.
    pub live: live::Live<Config>,
    /// Challenges.
    pub nonces: cluster::nonce::Nonces,
    /// Counters.
    pub metrics: Arc<metrics::Metrics>,
    /// A place for each session that holds more than one envelope in memory.
    pub pushing: tokio::sync::Semaphore,
    /// Cancelled when the directory stops.
    pub stop: CancellationToken,
    /// Connections and sessions.
    pub tasks: TaskTracker,
}

/// A directory that has opened its data, and answers nobody yet.
#[derive(Debug)]
pub struct Opened {
    directory: Arc<Directory>,
    thread: store::StoreThread,
    failed: CancellationToken,
}

impl Opened {
    /// Locks and opens the data directory.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn open(config: Config, shutdown: CancellationToken) -> Result<Self, RunError> {
        let config = config.validated()?;
        let gate = http::gate::Gate::new(&config)?;
        let index = Arc::new(cluster::index::Index::default());
        let metrics = Arc::new(metrics::Metrics::default());
        let failed = CancellationToken::new();
        let (store, thread) =
            store::Store::open(&config.store(), Arc::clone(&index), Arc::clone(&metrics), failed.clone())?;
        let limiter = live::Live::new(http::limits::Limiter::new(&config.limits));
        let live = live::Live::new(config.clone());
        let directory = Arc::new(Directory {
            config,
            store,
            index,
            presence: cluster::presence::Presence::default(),
            gate: live::Live::new(gate),
            live,
            memory: Arc::default(),
            limiter,
            nonces: cluster::nonce::Nonces::default(),
            metrics,
            pushing: tokio::sync::Semaphore::new(session::PUSHING),
            stop: shutdown.child_token(),
            tasks: TaskTracker::new(),
        });
        Ok(Self { directory, thread, failed })
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.directory.config
    }

    /// By what key members know this directory.
    pub fn identity(&self) -> &identity::Identity {
        self.directory.store.identity()
    }

    /// For changes while it serves.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.directory))
    }

    /// Accounts that were found in the database.
    pub fn accounts(&self) -> usize {
        self.directory.index.len()
    }

    /// Answers until the shutdown token is cancelled; then ends sessions with a close frame, lets requests finish and
    /// closes the database.
    ///
    /// # Errors
    /// [`RunError::StoreFailed`] when the disk failed.
    pub async fn serve(self, listener: TcpListener) -> Result<(), RunError> {
        let Self { directory, thread, failed } = self;
        directory.tasks.spawn(sweep(Arc::clone(&directory)));
        tokio::select! {
            () = http::connection::accept(&directory, listener) => {}
            () = failed.cancelled() => directory.stop.cancel(),
        }
        directory.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, directory.tasks.wait()).await.is_err() {
            tracing::warn!(left = directory.tasks.len(), "connections did not end in time");
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

/// Deletes expired mail and saves the mailbox's clock, until the directory stops.
async fn sweep(directory: Arc<Directory>) {
    let mut due = tokio::time::interval(directory.config.timing.sweep);
    // A machine that was busy or suspended owes no sweeps.
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = directory.stop.cancelled() => return,
        }
        let swept = tokio::select! {
            swept = directory.store.sweep() => swept,
            () = directory.stop.cancelled() => return,
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "expired mail was not deleted; it is not handed out, and deleted later");
        }
    }
}

/// Changes a running directory; does not keep it from ending.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) Weak<Directory>);

impl Handle {
    /// Puts in force what of a configuration may change. Other rates begin with everybody's burst untouched; the same rates go on.
    ///
    /// # Errors
    /// The value that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let Some(directory) = self.0.upgrade() else { return Ok(()) };
        let gate = Gate::new(config)?;
        if directory.live.get().limits != config.limits {
            directory.limiter.set(Limiter::new(&config.limits));
        }
        directory.gate.set(gate);
        directory.store.reconfigure(store::Rules::of(&config.store()));
        directory.live.set(config.clone());
        Ok(())
    }
}
