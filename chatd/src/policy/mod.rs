//! Decisions: who may do how much, when to try again, who is a contact, what may be dialled.
//!
//! Not its job: IO, storage, timers. Time and randomness are arguments (the limiters take a clock), so that all of it is
//! tested with properties and made-up clocks.
//!
//! Invariants: state that strangers can grow is bounded and evicted; nothing here waits.

pub mod backoff;
pub mod clock;
pub mod contact;
pub mod contact_ids;
pub mod dial;
pub mod failures;
pub mod group;
pub mod limits;
pub mod prekeys;
pub mod rate;
#[cfg(test)]
pub mod seeded;
pub mod srv;
pub mod suite;
