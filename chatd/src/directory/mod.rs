//! The client of a directory: REST requests ([`DirectoryClient`]) and the session that makes an account present
//! ([`session`]).
//!
//! Not the job: verifying what comes back. Records and reach are handed over as bytes; who reads them checks their
//! signatures, pins and clocks. Nor is it to decide what to watch: after each [`session::SessionEvent::Up`] the caller
//! says it again.
//!
//! Invariants: every request has a time limit and every answer a size limit; plain HTTP leaves this machine never;
//! no proxy of the environment is used and no redirect is followed.

mod base;
mod claim;
mod client;
mod error;
mod holds;
mod identity;
mod keeper;
mod known;
pub mod session;
mod users;

pub use client::{DirectoryClient, Found, Info, Published};
pub use error::DirectoryError;
pub use identity::{Identity, Pin};
pub use known::Directories;
