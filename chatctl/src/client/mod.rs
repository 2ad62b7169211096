//! The way to the daemon: one run's connection, the feed over however many of them, and who and which message is meant.

pub mod feed;
pub mod message_id;
pub mod names;
pub mod quotes;
pub mod session;
pub mod socket;
