//! The store of one account: `messages.db`, written by one thread and read by others.
//!
//! The writer thread owns the only writing connection. Operations come through a bounded queue; everything that waits is
//! run in one transaction, and answers are given only after COMMIT (`writer`). Readers use connections of their own that
//! cannot write ([`Store::read`]).
//!
//! Errors: everything here fails with [`StoreError`] when the database cannot be read or written, and an operation that fails
//! changes nothing. Sections of errors name what there is beyond that.
//!
//! Not its job: deciding when to deliver. It wakes whoever watches [`Store::outbox_watch`], and knows nothing of them.
//!
//! Invariants: an answer means the data is on disk; an event is published after the commit that holds it; a message is
//! shown once, whatever arrives how often.

pub mod account;
pub mod contacts;
pub mod delivery;
pub mod disk;
mod engine;
mod error;
pub mod feed;
mod handle;
pub mod history;
pub mod log;
pub mod peers;
pub mod prune;
pub mod snapshot;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;

pub use account::prekeys::{PrekeyAge, PrekeyStore};
pub use engine::emit;
pub use engine::tx::Tx;
pub use engine::wake::Pending;
pub use error::{SearchError, StoreError};
pub use handle::Store;
pub use peers::row::ContactRow;
