//! The accounts of the daemon: made, opened, run, given up.
//!
//! An [`Account`] is what an open account has. Its `supervisor` owns its tasks, and publishes its one `state`. The `registry` finds
//! accounts for callers; `lifecycle` and `register` make them and end them.
//!
//! Invariants: a caller sees and touches only accounts of its own uid; an account that is logged out neither answers peers nor the
//! directory.

pub(super) mod clock;
pub(crate) mod info;
pub(crate) mod keys;
pub(crate) mod lifecycle;
pub(crate) mod register;
pub(super) mod registry;
pub(super) mod retention;
pub(super) mod runtime;
pub(crate) mod settings;
pub(super) mod state;
pub(super) mod storage;
pub(super) mod supervisor;

pub(crate) use runtime::Account;
