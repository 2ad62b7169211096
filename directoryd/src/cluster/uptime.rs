//! The mailbox's clock: seconds that this directory was up, from the first start on.
//!
//! It counts lifetimes because the wall clock cannot be trusted with them. A machine that boots without a battery comes
//! up in 1970 and jumps, an operator mistypes a year, a virtual machine is resumed a month later: by the wall clock
//! each would drop mail that nobody had a chance to fetch. So time passes here only while the directory answers
//! (`CLOCK_MONOTONIC`, which no setting of the time moves and which stands still while the machine is suspended). While
//! it is down nothing can be fetched, and nothing ages.
//!
//! The store saves the count with each deposit, about once a minute and when it stops; a crash sets it back by that
//! minute at most, so an envelope may lie longer than its sender asked, never shorter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What counts up: the system's monotonic clock, or a test's hand.
#[derive(Debug, Clone, Default)]
pub enum Monotonic {
    /// `CLOCK_MONOTONIC`.
    #[default]
    System,
    /// Seconds that a test sets.
    Manual(Arc<AtomicU64>),
}

/// Two clocks are the same if they move together.
impl PartialEq for Monotonic {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::System, Self::System) => true,
            (Self::Manual(a), Self::Manual(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Monotonic {}

impl Monotonic {
    /// One that stands still until it is told to go on.
    pub fn manual() -> Self {
        Self::Manual(Arc::default())
    }

    /// Lets a manual clock go on.
    pub fn advance(&self, time: Duration) {
        if let Self::Manual(seconds) = self {
            seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Uptime {
    clock: Monotonic,
    /// What was counted before this start.
    before: u64,
    /// Of this start, by the monotonic clock.
    started: Instant,
    /// The same, by a manual one.
    began: u64,
}

impl Uptime {
    /// Goes on from what was saved.
    pub fn resume(clock: Monotonic, before: u64) -> Self {
        let began = match &clock {
            Monotonic::System => 0,
            Monotonic::Manual(seconds) => seconds.load(Ordering::SeqCst),
        };
        Self { clock, before, started: Instant::now(), began }
    }

    /// Seconds up so far.
    pub fn now(&self) -> u64 {
        let since = match &self.clock {
            Monotonic::System => self.started.elapsed().as_secs().saturating_add(proto::fault::uptime_shift()),
            Monotonic::Manual(seconds) => seconds.load(Ordering::SeqCst).saturating_sub(self.began),
        };
        self.before.saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_that_it_was_up_counts() {
        let clock = Monotonic::manual();
        clock.advance(Duration::from_secs(1_000));
        let uptime = Uptime::resume(clock.clone(), 50);
        assert_eq!(uptime.now(), 50, "what passed before the start does not count");
        clock.advance(Duration::from_secs(7));
        assert_eq!(uptime.now(), 57);
        assert_eq!(Uptime::resume(Monotonic::System, 3).now(), 3);
    }
}
