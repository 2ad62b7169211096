//! The one crate that every program of the system shares: ids, the wire format between peers, the RPC between a daemon
//! and its clients, and the directory's API types.
//!
//! Not its job: state, storage, encryption. Nothing here opens a database or touches an age key.
//!
//! Invariants: what is decoded from outside is bounded in size and depth before it is built; signatures and hashes are
//! computed over received bytes, never over a re-encoding.

pub mod advice;
pub mod directory;
pub mod fault;
pub mod group;
pub mod ids;
pub mod invite;
pub mod name;
pub mod nearest;
pub mod places;
pub mod reason;
pub mod rpc;
pub mod scope;
pub mod time;
pub mod who;
pub mod wire;
