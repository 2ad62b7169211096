//! When to try again: often for some minutes, where nothing tells that the other side is back; then exponential, with full jitter
//! ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that the peers of a node that comes back do not all dial in the
//! same moment.

use std::time::{Duration, Instant};

/// Upper bound of the first delay.
pub const FIRST: Duration = Duration::from_millis(250);
/// No delay is longer. Who was away for long is not looked for by the minute: that they are back is told by presence, by their own
/// call, by another network or by a new message of ours, and each of these cuts the delay short.
pub const CEILING: Duration = Duration::from_secs(2 * 3_600);
/// Whoever could not be reached is looked for again so soon while something waits for it: what a network that is back costs at most
/// before it is noticed. The same for a directory's session.
pub const PROBE: Duration = Duration::from_millis(1_500);
/// For so long from the first failure on.
pub const PROBE_FOR: Duration = Duration::from_secs(600);
/// Among many who are away one is looked for in so long, so that their number does not decide what looking costs: 30 have [`PROBE`]
/// for themselves.
const PROBE_SHARE: Duration = Duration::from_millis(50);
/// Failures that are counted meanwhile: with the next one delays grow beyond [`PROBE`].
const PROBE_FAILURES: u32 = 3;
/// The bound of the delays in the first minutes after that: a partition that heals then is noticed within a minute.
const PLATEAU: Duration = Duration::from_secs(60);
/// Failures after which they grow again: some six minutes of trying.
const PATIENT: u32 = 20;
/// An account that its directory does not know is looked up once more after so long, and up to twice that: a directory that
/// was just restored from a backup hears of its accounts again within seconds.
pub const GONE_AGAIN: Duration = Duration::from_secs(20);
/// The upper bound of the first delay after that, and of all.
const GONE_FIRST: Duration = Duration::from_secs(3_600);
const GONE_CEILING: Duration = Duration::from_secs(6 * 3_600);
/// No delay is shorter, so that a dial that fails at once does not spin.
pub const FLOOR: Duration = Duration::from_millis(10);

/// Counts the failures in a row on the way to one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    gone: u32,
    /// The first failure that was answered by looking again soon.
    since: Option<Instant>,
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
        between(FLOOR, bound, random)
    }

    /// Counts a failure to reach somebody who may be back at any moment: as [`Backoff::failed`], but for [`PROBE_FOR`] no delay is
    /// longer than [`PROBE`], or than each has if `waiting` are looked for. What lies between grows to half of it at least, so that
    /// nobody is asked more often for having failed often.
    pub fn unreached(&mut self, now: Instant, waiting: usize, random: u64) -> Duration {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PROBE_FOR {
            return self.failed(random);
        }
        let share = PROBE_SHARE.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)).min(PLATEAU);
        let bound = self.bound().min(PROBE).max(share);
        let least = if self.failures < PROBE_FAILURES && share < PROBE { FLOOR } else { bound / 2 };
        self.failures = self.failures.saturating_add(1).min(PROBE_FAILURES.max(self.failures));
        between(least, bound, random)
    }

    /// The account does not exist; `sure` when that was found twice. The delay is at least half of its bound, which is
    /// [`GONE_AGAIN`] doubled at first, and then doubles from an hour to six.
    pub fn gone(&mut self, sure: bool, random: u64) -> Duration {
        if !sure {
            return between(GONE_AGAIN, GONE_AGAIN * 2, random);
        }
        let bound = GONE_FIRST.saturating_mul(2u32.saturating_pow(self.gone)).min(GONE_CEILING);
        self.gone = self.gone.saturating_add(1);
        between(bound / 2, bound, random)
    }

    /// The peer answered: the next failure starts from [`FIRST`] again.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The longest that the next [`Backoff::failed`] can answer: it doubles up to `PLATEAU`, stays there for a while, and doubles
    /// again up to [`CEILING`].
    pub fn bound(&self) -> Duration {
        let doubled = |first: Duration, times: u32| first.saturating_mul(2u32.saturating_pow(times));
        doubled(FIRST, self.failures).min(doubled(PLATEAU, self.failures.saturating_sub(PATIENT)).min(CEILING))
    }
}

/// Where in a range a random number falls.
fn between(low: Duration, high: Duration, random: u64) -> Duration {
    let range = high.saturating_sub(low).as_nanos();
    // The range is under 2^45 ns: the product fits 128 bits, the quotient 64.
    let part = range * u128::from(random) / u128::from(u64::MAX);
    low + Duration::from_nanos(part as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_double_up_to_two_hours() {
        let mut backoff = Backoff::new();
        let bounds: Vec<_> = (0..10).map(|_| backoff.failed(u64::MAX).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert!((10..=20).all(|_| backoff.failed(u64::MAX) == PLATEAU), "for some minutes");
        let later: Vec<_> = (0..9).map(|_| backoff.failed(u64::MAX).as_secs()).collect();
        assert_eq!(later, [120, 240, 480, 960, 1_920, 3_840, 7_200, 7_200, 7_200]);
        assert_eq!(backoff.failures(), 30);
        backoff.succeeded();
        assert_eq!(backoff.failed(u64::MAX), FIRST);
    }

    #[test]
    fn who_may_be_back_is_looked_for_all_the_time_and_then_less_and_less() {
        let (mut backoff, begin) = (Backoff::new(), Instant::now());
        let (mut now, mut last) = (begin, begin);
        while now < begin + PROBE_FOR {
            let delay = backoff.unreached(now, 1, u64::MAX);
            assert!(delay <= PROBE, "{delay:?} after {:?}", now - begin);
            last = now;
            now += delay;
        }
        assert!(now - last == PROBE && backoff.failures() == PROBE_FAILURES);
        let later: Vec<_> = (0..7).map(|_| backoff.unreached(now, 1, u64::MAX).as_secs()).collect();
        assert_eq!(later, [2, 4, 8, 16, 32, 60, 60]);
        assert!((0..20).all(|_| backoff.unreached(now, 1, u64::MAX) >= PLATEAU), "days of it cost little");
        backoff.succeeded();
        assert!(backoff.unreached(now, 1, u64::MAX) == FIRST && backoff.unreached(now, 1, u64::MAX) <= PROBE);
    }

    #[test]
    fn many_who_are_away_share_what_looking_costs() {
        for (waiting, bound) in [(0, 1_500), (30, 1_500), (100, 5_000), (1_000, 50_000), (100_000, 60_000)] {
            let (mut backoff, now) = (Backoff::new(), Instant::now());
            (0..10).for_each(|_| _ = backoff.unreached(now, waiting, 0));
            let (least, most) = ({ backoff }.unreached(now, waiting, 0), { backoff }.unreached(now, waiting, u64::MAX));
            assert_eq!((least.as_millis(), most.as_millis()), (bound / 2, bound), "{waiting}");
        }
    }

    #[test]
    fn an_account_that_is_gone_is_asked_for_twice_and_then_by_the_hour() {
        let mut backoff = Backoff::new();
        let bounds: Vec<_> =
            [false, true, true, true, true, true].map(|sure| backoff.gone(sure, u64::MAX).as_secs()).into();
        assert_eq!(bounds, [40, 3_600, 7_200, 14_400, 21_600, 21_600]);
        assert_eq!(Backoff::new().gone(true, 0).as_secs(), 1_800, "never sooner than half of that");
    }

    proptest! {
        #[test]
        fn never_zero_never_over_the_ceiling(failures in 0u32..200, random: u64) {
            let mut backoff = Backoff { failures, gone: failures, since: None };
            let delay = backoff.failed(random);
            prop_assert!(delay >= FLOOR && delay <= CEILING);
            let gone = backoff.gone(true, random);
            prop_assert!(gone >= GONE_FIRST / 2 && gone <= GONE_CEILING);
            let mut tired = Backoff { failures: u32::MAX, gone: u32::MAX, since: None };
            prop_assert!(tired.failed(random) <= CEILING && tired.gone(true, random) <= GONE_CEILING);
            let soon = tired.unreached(Instant::now(), usize::MAX, random);
            prop_assert!(soon >= FLOOR && soon <= PLATEAU);
        }

        #[test]
        fn jitter_uses_the_full_range(failures in 0u32..20, low in 0u64..u64::MAX / 4, high in u64::MAX / 4 * 3..) {
            let state = Backoff { failures, gone: 0, since: None };
            let (early, late) = ({ state }.failed(low), { state }.failed(high));
            prop_assert!(early < state.bound() / 2 && late > state.bound() / 2);
        }
    }
}
