//! The clock of an account: what it is read from, and how it is told when it differs from others'.
//!
//! Not its job: the decisions (`policy::clock`).

use std::time::Instant;

use proto::fault;
use proto::time::Timestamp;

use crate::model::{ClockStatus, ClockWitness};
use crate::policy::clock::Reading;
use crate::policy::clock::timekeeper::{AccountClock, Skew, Whose};
use crate::store::{PrekeyStore, StoreError};

/// What the machine's clocks show now.
fn read_clocks() -> Reading {
    static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    Reading {
        wall: Timestamp::now().unix_seconds(),
        uptime: STARTED.elapsed().as_secs().saturating_add(fault::uptime_shift()),
        asleep: asleep(),
    }
}

/// Seconds that the machine has slept since it was booted. Where nobody can tell, sleep looks like a jump of the wall clock
/// while the machine is awake, and does not count.
fn asleep() -> u64 {
    #[cfg(target_os = "linux")]
    {
        use nix::time::{ClockId, clock_gettime};
        let seconds = |id| clock_gettime(id).map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0));
        let awake = seconds(ClockId::CLOCK_MONOTONIC);
        seconds(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// The clock of an account that is opened.
pub(super) fn open_clock(prekeys: &PrekeyStore) -> Result<AccountClock, StoreError> {
    Ok(match prekeys.checkpoint()? {
        Some(checkpoint) => AccountClock::resume(&checkpoint, read_clocks),
        None => {
            let clock = AccountClock::new(read_clocks().wall, read_clocks);
            if let Some(first) = clock.checkpoint(None) {
                prekeys.set_checkpoint(&first)?;
            }
            clock
        }
    })
}

/// Whether this machine's clock differs from others', and what to do about it.
pub(in crate::service) fn status(clock: &AccountClock) -> Option<ClockStatus> {
    let Skew { ahead, of } = clock.skew()?;
    let (of, whose, judged) = match of {
        Whose::Directory => (ClockWitness::Directory, "its directory's", "by the directory's clock"),
        Whose::Contacts => (ClockWitness::Contacts, "those of its contacts", "by this machine's clock"),
    };
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let problem = format!(
        "this machine's clock is {} {way} {whose}: set the wrong one right (timedatectl shows whether this one is \
         synchronized); until then, whether keys are still valid is judged {judged}",
        span(ahead.unsigned_abs())
    );
    Some(ClockStatus { ahead, of, problem })
}

/// `2 h 5 min`: enough for a clock that is wrong.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {} min", minutes % 60),
        (days, hours) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in
            [(301, "5 min"), (3_600, "1 h 0 min"), (93_600, "1 d 2 h"), (3_650 * 86_400 + 5, "3650 d 0 h")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn uptime_and_sleep_do_not_go_back() {
        let (first, second) = (read_clocks(), read_clocks());
        assert!(second.uptime >= first.uptime && second.asleep + 1 >= first.asleep);
    }
}
