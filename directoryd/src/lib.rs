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

pub mod cluster;
pub mod config;
pub mod http;
pub mod identity;
pub mod live;
pub mod metrics;
pub mod routes;
pub mod session;
pub mod state;
pub mod store;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use state::{Directory, Opened, RunError};

/// Opens the data and serves on a socket that the caller owns, until `shutdown` is cancelled.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), RunError> {
    Opened::open(config, shutdown)?.serve(listener).await
}
