//! What the daemon can do for its users: accounts, contacts, messages, the feed. It owns the accounts and connects the
//! rooms to its left: links feed the inbox, the store wakes delivery, the directory session feeds presence.
//!
//! Calls are functions of the room of their noun (`contacts::add`, `messages::send`). They take the account, or the [`Service`]
//! where they need more than that, and words of `model`; `rpc` makes these from what clients say, and the reverse.
//!
//! Not its job: sockets and codes (the RPC room), and what each room does inside.
//!
//! Invariants: a caller sees and touches only accounts of its own uid; an account that is logged out neither answers peers
//! nor the directory.
//!
//! Where a function has no `# Errors` of its own, its errors are those of the store.

pub(crate) mod account;
pub(crate) mod backup;
pub mod config;
pub(crate) mod contacts;
mod context;
pub(crate) mod directory;
mod error;
pub(crate) mod feed;
pub(crate) mod health;
pub(crate) mod invites;
pub(crate) mod messages;
pub(crate) mod network;
pub(crate) mod profiles;
mod resolve;
mod start;
pub(crate) mod status;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

pub use context::{KnownClients, Service};
pub use error::ServiceError;
pub use start::{reconfigure, start, stop};
pub(crate) use status::every_store_answers;
