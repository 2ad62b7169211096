//! The daemon of a private messaging system: accounts, links to peers, encryption, storage, and an RPC socket for its
//! thin clients.
//!
//! Rooms, each importing only from those to its left, siblings in braces never from each other:
//! `model -> {crypto, policy, events} -> store -> {link, directory} -> {delivery, receive} -> peer -> service -> rpc`.
//! ARCHITECTURE.md shows how a message goes through them.

pub mod crypto;
pub mod daemon;
pub mod delivery;
pub mod directory;
pub mod events;
pub mod link;
pub mod model;
pub mod peer;
pub mod policy;
pub mod receive;
pub mod rpc;
pub mod service;
pub mod store;
