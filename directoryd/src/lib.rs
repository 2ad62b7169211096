//! A directory: it serves a domain, says who has which name, where they are and whether they are there, and keeps
//! envelopes for those who are not.
//!
//! Not the job: trust. What it hands out is signed by the accounts themselves, and readers verify it. It never sees a
//! message's plaintext.
//!
//! Data flows one way: `server -> routes, session -> store -> index`, with `presence` beside the store; configuration,
//! limits, nonces and metrics are used by all and use none of them.
//!
//! Invariants: an answer that something was stored is given after COMMIT; the index shows only what is committed; every
//! queue, cache and limiter is bounded; no lock is held across an await.

pub mod answer;
pub mod config;
pub mod gate;
pub mod identity;
pub mod index;
pub mod limits;
pub mod live;
pub mod memory;
pub mod metrics;
pub mod nonce;
pub mod presence;
pub mod routes;
mod server;
pub mod session;
pub mod store;
pub mod uptime;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::Config;

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
    pub index: Arc<index::Index>,
    /// Who is connected.
    pub presence: presence::Presence,
    /// Whether a request is meant for us, and whose it is.
    pub gate: live::Live<gate::Gate>,
    /// What clients make us hold.
    pub memory: Arc<memory::Memory>,
    /// How often one may ask.
    pub limiter: live::Live<limits::Limiter>,
    /// What of the configuration may change while it runs, beside `gate`, `limiter` and the store's rules.
    pub live: live::Live<Config>,
    /// Challenges.
    pub nonces: nonce::Nonces,
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
        let gate = gate::Gate::new(&config)?;
        let index = Arc::new(index::Index::default());
        let metrics = Arc::new(metrics::Metrics::default());
        let failed = CancellationToken::new();
        let (store, thread) =
            store::Store::open(&config.store(), Arc::clone(&index), Arc::clone(&metrics), failed.clone())?;
        let limiter = live::Live::new(limits::Limiter::new(&config.limits));
        let live = live::Live::new(config.clone());
        let directory = Arc::new(Directory {
            config,
            store,
            index,
            presence: presence::Presence::default(),
            gate: live::Live::new(gate),
            live,
            memory: Arc::default(),
            limiter,
            nonces: nonce::Nonces::default(),
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
    pub fn handle(&self) -> live::Handle {
        live::Handle(Arc::downgrade(&self.directory))
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
            () = server::accept(&directory, listener) => {}
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

/// Opens the data and serves on a socket that the caller owns, until `shutdown` is cancelled.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), RunError> {
    Opened::open(config, shutdown)?.serve(listener).await
}
