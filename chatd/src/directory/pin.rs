//! Whether a directory is the one that an account knows: the key that it showed at registration is pinned, and it proves
//! from time to time that it has it, on loopback too, where any local user can take its port while it is down.
//!
//! Not the job: protection of what is said in between; TLS by the same key does that later.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A proof counts for so long, unless a request fails before.
const PROVED_FOR: Duration = Duration::from_secs(60);

/// Who a directory has proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The domain that it serves.
    pub origin: String,
    /// Its key.
    pub key: [u8; 32],
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// The key that a directory must have, and when it last proved so.
#[derive(Debug, Default)]
pub struct Pin {
    state: Mutex<(Option<[u8; 32]>, Option<Instant>)>,
}

impl Pin {
    /// Of a key, or of none yet: then anything goes.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self { state: Mutex::new((key, None)) }
    }

    /// From now on this one.
    pub fn set(&self, key: [u8; 32]) {
        *self.lock() = (Some(key), None);
    }

    /// Which it is.
    pub fn key(&self) -> Option<[u8; 32]> {
        self.lock().0
    }

    /// What it proved counts no more: who answers next may be somebody else.
    pub fn doubt(&self) {
        self.lock().1 = None;
    }

    /// The key to ask for, if it is time to.
    pub(super) fn due(&self) -> Option<[u8; 32]> {
        let (key, proved) = *self.lock();
        key.filter(|_| proved.is_none_or(|at| at.elapsed() >= PROVED_FOR))
    }

    pub(super) fn proved(&self) {
        self.lock().1 = Some(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<[u8; 32]>, Option<Instant>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
