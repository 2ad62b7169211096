//! Streams of numbered cores, own and foreign: giving numbers, taking them in order, acknowledging, and beginning anew.

pub mod ack_filter;
pub mod acks;
pub(super) mod append;
pub mod expiry;
pub mod incoming;
pub mod outgoing;
pub mod own_streams;
pub mod recovery;
pub mod reorder;
pub(super) mod streams;
pub mod taking;
pub mod told;
