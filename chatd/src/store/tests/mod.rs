//! Stores of alice and bob, without any network between them.

mod abuse;
mod contacts;
mod crash;
mod damage;
mod deposits;
pub(crate) mod devices;
mod epochs;
mod feed;
pub(crate) mod fixture;
mod forget;
mod gaps;
mod giveup;
mod keys;
mod lifetimes;
pub(crate) mod memory;
mod naming;
mod order;
mod outbox;
mod prune;
mod shim;
mod states;
pub(crate) mod streams;
mod upgrade;
mod wal;
mod writer;
