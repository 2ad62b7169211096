//! The account's store.
pub mod search;
