//! The messaging daemon, as a library for its binary and for tests.

pub mod model;
pub mod rpc;
