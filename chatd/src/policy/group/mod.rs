//! The rules of groups: who is a member and may do what, which messages count, which key is sealed to.
//!
//! A group is one log of sealed entries at a directory; its *events* are a signed chain, and the state is the fold over it
//! ([`Chain`]): event i counts iff its author had the right in the state after i-1. Nothing here reads a clock, a disk, a key or
//! the network; events come as [`proto::group::Verified`], of which every signature holds.
//!
//! Not its job: the log, sealing, what is said to people, and what came by link ([`messages::counts`] only tells).
//!
//! Invariants (`tests`, a million random chains in `cargo xtask torture`): no act without the right at its place; a group that
//! is not closed has an owner who is a member; whoever is ended comes back by a new consent of its own only, and whoever is
//! banned not at all; all that can open the same events come to the same state, in whatever order they were able to.

pub mod acks;
pub mod apply;
pub mod chain;
pub mod election;
pub mod fold;
pub mod forks;
pub mod judge;
pub mod keys;
pub mod messages;
pub mod rules;
pub mod state;

pub use apply::Place;
pub use chain::Chain;
pub use fold::Bars;
pub use judge::Refused;
pub use rules::Rules;
pub use state::{Rank, State};

#[cfg(test)]
mod tests;
