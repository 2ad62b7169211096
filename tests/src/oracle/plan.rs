//! What is done to whom, and how far it is.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Alice's daemon.
    Alice,
    /// Bob's daemon.
    Bob,
    /// The directory.
    Directory,
}

/// What to do to them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Chooses who dies when, and where.
    pub seed: u64,
    /// Deaths, by SIGKILL and at fail points together.
    pub kills: u64,
    /// Messages of alice's.
    pub messages: u64,
    /// How often each dies, beside the others.
    pub weights: [(Who, u64); 3],
    /// The longest time that one stays dead.
    pub down: Duration,
    /// Whether about every second restart arms a fail point.
    pub faults: bool,
    /// The control: once, bob's disk forgets what it had committed. Whoever keeps book must notice.
    pub forget: bool,
}

impl Plan {
    /// Both daemons often, the directory now and then, each started again at once.
    pub fn new(seed: u64, kills: u64, messages: u64) -> Self {
        let weights = [(Who::Alice, 4), (Who::Bob, 4), (Who::Directory, 1)];
        Self { seed, kills, messages, weights, down: Duration::ZERO, faults: true, forget: false }
    }
}

/// What the threads tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Messages that may have been sent by now.
    pub(super) quota: AtomicU64,
    /// Messages that bob's consumer was shown.
    pub(super) shown: AtomicU64,
    /// Nothing more will come.
    pub(super) over: AtomicBool,
}
