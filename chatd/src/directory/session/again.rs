//! When a session is tried again that ended, or did not come to be.

use std::time::{Duration, Instant};

use crate::policy::backoff::PROBE_FOR;

/// The first wait after a session ended, doubled with each failure.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait while nobody answers at all: what a network that is back costs at most before it is noticed. A try is one packet,
/// which costs a machine that is down nothing, and those who come back to one that was restarted are spread over half of it.
const SILENT_MOST: Duration = Duration::from_secs(1);
/// The longest wait else, and after `PROBE_FOR` of silence: whoever answers, and not well, may have too much to do.
const MOST: Duration = Duration::from_secs(10);
/// The longest wait while the directory refuses the session: what it wants will not be different soon.
const REFUSED_MOST: Duration = Duration::from_secs(3_600);

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answers there, or nothing leads there.
    Silent,
    /// Somebody answers, or answered.
    Failed,
    /// The directory does not want it.
    Refused,
}

/// Counts failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Again {
    failures: u32,
    silent_since: Option<Instant>,
}

impl Again {
    /// A session stood, or the network is another one: the next failure is the first.
    pub fn begin(&mut self) {
        *self = Self::default();
    }

    /// How long to wait now. `random` is between 0 and 1: up to half of the wait is taken off by it, for clients of a directory that
    /// comes back must not arrive all at once.
    pub fn pause(&mut self, why: Failure, now: Instant, random: f64) -> Duration {
        let most = match why {
            Failure::Silent => {
                let since = *self.silent_since.get_or_insert(now);
                if now.saturating_duration_since(since) < PROBE_FOR { SILENT_MOST } else { MOST }
            }
            Failure::Failed => MOST,
            Failure::Refused => REFUSED_MOST,
        };
        let doubled = FIRST.saturating_mul(1 << self.failures.min(20));
        self.failures = if doubled < most { self.failures.saturating_add(1) } else { self.failures };
        doubled.min(most).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest waits of a row of failures, in milliseconds.
    fn waits(again: &mut Again, why: Failure, count: usize, now: Instant) -> Vec<u128> {
        (0..count).map(|_| again.pause(why, now, 0.0).as_millis()).collect()
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let now = Instant::now();
        for (why, most) in [(Failure::Silent, SILENT_MOST), (Failure::Failed, MOST), (Failure::Refused, REFUSED_MOST)] {
            let mut again = Again::default();
            for _ in 0..100 {
                let (long, short) = ({ again }.pause(why, now, 0.0), again.pause(why, now, 1.0));
                assert!(short == long / 2 && short >= FIRST / 2 && long <= most, "{why:?}: {short:?} {long:?}");
            }
            assert_eq!(again.pause(why, now, 0.0), most);
            again.begin();
            assert_eq!(again.pause(why, now, 0.0), FIRST);
        }
    }

    #[test]
    fn where_nobody_answers_it_is_tried_each_second_for_ten_minutes_and_then_as_anywhere() {
        let (mut again, begin) = (Again::default(), Instant::now());
        assert_eq!(waits(&mut again, Failure::Silent, 6, begin), [200, 400, 800, 1_000, 1_000, 1_000]);
        let nearly = begin + PROBE_FOR - Duration::from_secs(1);
        assert_eq!(waits(&mut again, Failure::Silent, 1_000, nearly), [1_000; 1_000]);
        assert_eq!(waits(&mut again, Failure::Silent, 5, begin + PROBE_FOR), [1_600, 3_200, 6_400, 10_000, 10_000]);
        again.begin();
        assert_eq!(waits(&mut again, Failure::Silent, 4, begin + PROBE_FOR * 2), [200, 400, 800, 1_000]);
    }

    #[test]
    fn who_answers_and_fails_is_asked_less_and_less_also_after_silence() {
        let (mut again, now) = (Again::default(), Instant::now());
        waits(&mut again, Failure::Silent, 50, now);
        assert_eq!(waits(&mut again, Failure::Failed, 5, now), [1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(waits(&mut again, Failure::Silent, 1, now), [1_000]);
    }
}
