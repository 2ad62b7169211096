//! How fast each user may connect: what a connection costs is little, but somebody who makes thousands in a second keeps
//! everybody else's messages waiting.
//!
//! Invariants: a user who stays below [`AT_ONCE`] in [`AGAIN`] waits for nothing; who is faster waits, [`PARKED`]
//! connections at most, and is dropped beyond; whoever is dropped slows the door for nobody by more than a millisecond.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::DefaultClock;

use crate::policy::rate::keyed::{KeyedLimiter, TooFast};

/// Connections of a user that are taken in at once: as many as there are places.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(1_024).unwrap();
/// After which as many may come again: 256 in a second. A program that is started for each message makes some hundred on a core.
const AGAIN: Duration = Duration::from_secs(4);
/// Connections of a user that wait for their turn.
const PARKED: u32 = 64;
/// Users that are told apart.
const USERS: NonZeroU32 = NonZeroU32::new(1_024).unwrap();

/// See the module.
pub(super) struct Pace {
    limiter: KeyedLimiter<u32>,
    parked: Mutex<HashMap<u32, u32>>,
}

/// When a connection may come in.
pub(super) enum Turn {
    Now,
    Later(Parked),
    /// There are too many of this user's.
    Never,
}

/// A connection that waits for its turn.
pub(super) struct Parked {
    pace: Arc<Pace>,
    uid: u32,
    wait: Duration,
}

impl Pace {
    pub fn new() -> Arc<Self> {
        let limiter = KeyedLimiter::new(AT_ONCE, AGAIN, USERS, DefaultClock::default());
        Arc::new(Self { limiter, parked: Mutex::default() })
    }

    fn parked(&self) -> MutexGuard<'_, HashMap<u32, u32>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn turn(self: &Arc<Self>, uid: u32) -> Turn {
        let Err(TooFast(wait)) = self.limiter.check(&uid) else { return Turn::Now };
        let mut parked = self.parked();
        let count = parked.entry(uid).or_default();
        if *count >= PARKED {
            return Turn::Never;
        }
        *count += 1;
        Turn::Later(Parked { pace: Arc::clone(self), uid, wait })
    }
}

impl Parked {
    pub async fn wait(self) {
        let mut wait = self.wait;
        loop {
            tokio::time::sleep(wait).await;
            match self.pace.limiter.check(&self.uid) {
                Ok(()) => return,
                Err(TooFast(longer)) => wait = longer,
            }
        }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        let mut parked = self.pace.parked();
        if let Some(count) = parked.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                parked.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_faster_waits_and_beyond_is_dropped() {
        let pace = Pace::new();
        let turns: Vec<Turn> = (0..2_000).map(|_| pace.turn(7)).collect();
        let count = |which: fn(&Turn) -> bool| turns.iter().filter(|turn| which(turn)).count();
        let (now, later) = (count(|turn| matches!(turn, Turn::Now)), count(|turn| matches!(turn, Turn::Later(_))));
        assert!((1_024..1_060).contains(&now), "{now}");
        assert_eq!(later, PARKED as usize);
        assert!(matches!(pace.turn(8), Turn::Now), "others wait for nothing of it");
        for turn in turns {
            if let Turn::Later(parked) = turn {
                parked.wait().await;
            }
        }
        assert!(pace.parked().is_empty(), "and nothing is left of it");
    }
}
