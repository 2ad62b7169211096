//! Logs of groups: who may read and write, what may come next, how much, and for how long it is kept.
//!
//! Invariants: a number is given once, and each running hash covers the one before; an event is appended only behind the newest one,
//! with everything that belongs to it or not at all; nothing is evicted to make room; what is repeated is answered as it was, and is
//! there once. Nothing here knows what an entry says.

mod access;
mod append;
mod create;
mod keep;
mod read;
mod room;
mod slots;
mod statements;
mod sweep;

pub use read::{GroupRead, entries, look, slots as read_slots};
pub use sweep::sweep;

pub(super) use append::{append, stage};
pub(super) use create::{create, remove, state};
pub(super) use keep::keep;
pub(super) use slots::put as put_slot;
