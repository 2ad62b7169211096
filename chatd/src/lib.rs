//! The messaging daemon.

pub mod link;
