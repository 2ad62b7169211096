//! Delivery: everything of an account that waits goes to where it belongs, as soon as that is possible, and again until it
//! is acknowledged.
//!
//! Its job: finding a way, packing what waits into envelopes, redialling with backoff. `core` decides, without IO; one task for
//! each account (`driver`) carries out what it wants: looks into the store, dials (`dialer`), seals (`sealer`), leaves at
//! mailboxes (`mailbox`), works (`work`, `stamp`), writes down (`acks`). Not its job: storing (the store wakes it), receiving, deciding who
//! is a contact.
//!
//! Invariants: what is in the outbox stays there until the recipient's acknowledgement is committed; within a stream,
//! cores leave in order; what is in flight is bounded per device; a slow peer holds only its own route back.

mod acks;
mod context;
mod core;
mod dialer;
mod driver;
mod handshake;
mod mailbox;
mod news;
mod open_link;
mod sealer;
mod stamp;
#[cfg(test)]
mod tests;
mod work;

pub use context::Context;
pub(crate) use dialer::{reach, relay_of};
pub use driver::Delivery;
pub use news::News;
pub use open_link::{ClaimBook, OpenLink};
