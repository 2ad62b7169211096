//! The client of a directory: REST requests ([`DirectoryClient`]) and the session that makes an account present
//! ([`session`]).
//!
//! Not the job: verifying what comes back. Records and reach are handed over as bytes; who reads them checks their
//! signatures, pins and clocks. Nor is it to decide what to watch: after each [`session::SessionEvent::Up`] the caller
//! says it again.
//!
//! Invariants: every request has a time limit and every answer a size limit; plain HTTP leaves this machine never;
//! nothing is said to anybody who has not proved who it is; no proxy of the environment is used and no redirect is followed.

mod client;
mod error;
mod holds;
pub mod net;
mod pin;
mod relay;
mod request;
mod requests;
mod resolver;
pub mod session;

pub use client::DirectoryClient;
pub use error::DirectoryError;
pub use net::names::{NameError, NameOptions};
pub use net::place::Place;
pub use net::{Network, own_networks};
pub use pin::{Identity, Pin};
pub use relay::RelayPlace;
pub use requests::{Found, Info, Published};
pub use resolver::Directories;
