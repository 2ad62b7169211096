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
mod client;
mod error;
mod holds;
mod pin;
mod requests;
mod resolver;
pub mod session;

pub use client::DirectoryClient;
pub use error::DirectoryError;
pub use pin::{Identity, Pin};
pub use requests::{Found, Info, Published};
pub use resolver::Directories;
