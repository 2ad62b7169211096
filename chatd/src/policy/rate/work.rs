//! The lane that work opens: contact requests that an ordinary limit refused, and that show work.
//!
//! It has a bound of its own, and costs the more the fuller it is: whoever fills it pays for all of it, an honest asker once.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::nanos::Nanos;
use proto::ids::AccountId;
use proto::wire::work::MAX_WORK_BITS;

/// Requests that are let in by work in an hour, for each account.
pub const WORKED_AN_HOUR: usize = 64;
/// After so many it costs twice as much.
const A_STEP: usize = 16;
const HOUR: Duration = Duration::from_secs(3_600);

/// A request is over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// With so many bits of work it passes.
    Work(u8),
    /// Nothing helps; later.
    Full,
}

/// See the module. Keys are accounts of this daemon: there are few.
pub struct WorkLane<C: Clock> {
    bits: u8,
    clock: C,
    taken: Mutex<HashMap<AccountId, VecDeque<C::Instant>>>,
}

impl<C: Clock> fmt::Debug for WorkLane<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkLane({} bits)", self.bits)
    }
}

impl<C: Clock> WorkLane<C> {
    /// That asks for so many bits at first, [`MAX_WORK_BITS`] at most.
    pub fn new(bits: u32, clock: C) -> Self {
        let bits = u8::try_from(bits).unwrap_or(MAX_WORK_BITS).min(MAX_WORK_BITS);
        Self { bits, clock, taken: Mutex::default() }
    }

    /// Takes a request to `to` that shows so much work.
    ///
    /// # Errors
    /// What it would take.
    pub fn take(&self, to: AccountId, shown: u8) -> Result<(), Over> {
        let now = self.clock.now();
        let mut all = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = all.entry(to).or_default();
        while taken.front().is_some_and(|first| now.duration_since(*first) >= Nanos::from(HOUR)) {
            taken.pop_front();
        }
        if taken.len() >= WORKED_AN_HOUR {
            return Err(Over::Full);
        }
        let steps = u8::try_from(taken.len() / A_STEP).unwrap_or(u8::MAX);
        let bits = self.bits.saturating_add(steps).min(MAX_WORK_BITS);
        if shown < bits {
            return Err(Over::Work(bits));
        }
        taken.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const BOB: AccountId = AccountId([0xb0; 16]);

    #[test]
    fn the_fuller_it_is_the_more_it_costs_and_there_is_an_end() {
        let clock = FakeRelativeClock::default();
        let lane = WorkLane::new(20, clock.clone());
        assert_eq!(lane.take(BOB, 0), Err(Over::Work(20)));
        let mut asked = Vec::new();
        loop {
            match lane.take(BOB, 0) {
                Err(Over::Work(bits)) => {
                    asked.push(bits);
                    assert_eq!(lane.take(BOB, bits), Ok(()));
                }
                Err(Over::Full) => break,
                Ok(()) => panic!("for nothing"),
            }
        }
        assert_eq!((asked.len(), asked[0], asked[63]), (64, 20, 23));
        let hashes: u64 = asked.iter().map(|bits| 1 << bits).sum();
        println!("figure: closing the lane that work opens for an hour takes {hashes} hashes, an honest request 2^20");
        assert_eq!(lane.take(AccountId([1; 16]), 20), Ok(()), "somebody else's is their own");
        clock.advance(HOUR);
        assert_eq!(lane.take(BOB, 20), Ok(()));
    }
}
