//! What both daemons need of the system around them: a log that never makes them wait, settings and manual pages
//! that explain themselves, a look at a data folder, and a word to systemd.
//!
//! Not its job: anything that programs must agree on (proto), and anything that one daemon alone needs. Unlike proto it has
//! state: a process has one log.
//!
//! Invariants: no call here waits for whoever reads the log; memory is bounded, and what was left out is counted and told.

pub mod chain;
pub mod dumps;
pub mod folder;
pub mod log;
pub mod man;
pub mod notify;
pub mod pulse;
pub mod settings;
