//! The messaging daemon.
pub mod store;
