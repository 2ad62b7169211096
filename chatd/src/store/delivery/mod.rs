//! What is on its way: cores that wait, where copies of them lie, what was tried, and what became of each.

pub mod attempts;
pub mod control;
pub(super) mod core;
pub mod deposits;
pub(super) mod flags;
pub(super) mod marks;
pub mod outbox;
pub mod owed;
pub(super) mod packs;
pub(super) mod runs;
pub mod trace;
