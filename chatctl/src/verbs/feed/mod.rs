//! Events, and the programs that follow them.

pub mod consumer;
pub mod consumers;
pub mod exec;
pub mod printer;
pub mod watch;
