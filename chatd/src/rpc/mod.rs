//! The daemon's side of the RPC: the socket and who may use it, connections, and the [`Api`] behind them.
//!
//! Not its job: what methods do ([`Api`] is implemented by the service), and framing (`proto::rpc::codec`).
//!
//! Invariants: a caller is who the kernel says; the writes of one connection run in the order in which they came;
//! whatever a client sends or fails to take, its own connection pays for it and no other; every queue has an end.

mod access;
mod api;
mod bind;
mod calls;
mod claim;
mod client_limiter;
mod connection;
mod dispatch;
mod feeds;
mod limits;
mod pace;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod view;

pub use self::access::Access;
pub use self::api::{Api, FeedSource};
pub use self::limits::Limits;
pub use self::server::serve;
pub use self::socket::{Audience, BoundSocket, SocketError, bind, check};
