//! A directory: it serves a domain, says who has which name, where they are and whether they are there, and keeps
//! envelopes for those who are not.
//!
//! Not the job: trust. What it hands out is signed by the accounts themselves, and readers verify it. It never sees a
//! message's plaintext.
//!
//! Data flows one way: `http -> routes, session -> store -> cluster`. Rooms import only from those below them: `run`,
//! `routes`, `session`, `state`, `relay`, `http`, `tls`, `config`, `store`, `cluster`, and `identity`, `live`, `metrics` at the bottom.
//!
//! Invariants: an answer that something was stored is given after COMMIT; the index shows only what is committed; every
//! queue, cache and limiter is bounded; no lock is held across an await.

pub mod cluster;
pub mod config;
pub mod http;
pub mod identity;
pub mod live;
pub mod metrics;
pub mod relay;
pub mod routes;
mod run;
pub mod session;
pub mod setup;
pub mod state;
pub mod store;
pub mod tls;

pub use config::Config;
pub use run::{Handle, Opened, RunError, run};
pub use state::Directory;
