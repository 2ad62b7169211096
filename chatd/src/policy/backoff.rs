//! When to try again: exponential, with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so
//! that the peers of a node that comes back do not all dial in the same moment.

use std::time::Duration;

/// Upper bound of the first delay.
pub const FIRST: Duration = Duration::from_millis(250);
/// No delay is longer: a partition that heals is noticed within a minute, whatever happened before.
pub const CEILING: Duration = Duration::from_secs(60);
/// No delay is shorter, so that a dial that fails at once does not spin.
pub const FLOOR: Duration = Duration::from_millis(10);

/// Counts the failures in a row on the way to one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a failure and says how long to wait: anything between [`FLOOR`] and the bound of this attempt, which
    /// doubles from [`FIRST`] to [`CEILING`]. `random` is uniform over all of `u64`.
    pub fn failed(&mut self, random: u64) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        let range = (bound - FLOOR).as_nanos();
        // The range is under 2^36 ns: the product fits 128 bits, the quotient 64.
        let part = range * u128::from(random) / u128::from(u64::MAX);
        FLOOR + Duration::from_nanos(part as u64)
    }

    /// The peer answered: the next failure starts from [`FIRST`] again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest that the next [`Backoff::failed`] can answer.
    pub fn bound(&self) -> Duration {
        FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(CEILING)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_double_up_to_a_minute() {
        let mut backoff = Backoff::new();
        let bounds: Vec<_> = (0..10).map(|_| backoff.failed(u64::MAX).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.failures(), 10);
        backoff.succeeded();
        assert_eq!(backoff.failed(u64::MAX), FIRST);
    }

    proptest! {
        #[test]
        fn never_zero_never_over_a_minute(failures in 0u32..200, random: u64) {
            let mut backoff = Backoff { failures };
            let delay = backoff.failed(random);
            prop_assert!(delay >= FLOOR && delay <= CEILING);
            let mut tired = Backoff { failures: u32::MAX };
            prop_assert!(tired.failed(random) <= CEILING);
        }

        #[test]
        fn jitter_uses_the_full_range(failures in 0u32..20, low in 0u64..u64::MAX / 4, high in u64::MAX / 4 * 3..) {
            let state = Backoff { failures };
            let (early, late) = ({ state }.failed(low), { state }.failed(high));
            prop_assert!(early < state.bound() / 2 && late > state.bound() / 2);
        }
    }
}
