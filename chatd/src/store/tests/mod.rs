//! Stores of alice and bob, without any network between them.

mod contacts;
mod deposits;
mod damage;
mod epochs;
mod feed;
pub(crate) mod fixture;
mod gaps;
mod order;
mod states;
mod upgrade;
mod writer;
