//! When a prekey is replaced, and when its secret is destroyed.
//!
//! Two scales (see [`super::clock`]): `created` and `judged` are times that others see in records, and may jump; births and
//! moments count time that has surely passed here.

use super::clock::{Birth, Moment};

const DAY: i64 = 86_400;
/// A prekey is offered for so long before a new one takes its place.
pub const ROTATION_SECONDS: i64 = DAY;
/// A clock that jumped asks for a new prekey at most so often: one that goes to and fro must not make a thousand.
const ROTATION_PAUSE_SECONDS: i64 = 600;
/// A prekey of the future, beyond this, was made by a clock that was wrong.
const FUTURE_SECONDS: i64 = super::clock::AGREEMENT_SECONDS;
/// Nobody seals to a prekey after 7 days, and nothing lies in a mailbox for longer than 7 days more.
pub const DRAINED_AFTER_SECONDS: i64 = 14 * DAY;
/// A secret is destroyed at this age, if the mailbox was drained since it was [`DRAINED_AFTER_SECONDS`] old.
pub const DESTROY_SECONDS: i64 = 15 * DAY;
/// A secret is destroyed at this age, whatever the mailbox may hold.
pub const DESTROY_AT_LAST_SECONDS: i64 = 30 * DAY;

/// Whether a new prekey has to take the place of the newest.
pub fn renewal_due(created: i64, born: Birth, judged: i64, now: Moment) -> bool {
    let here = born.age(now);
    let there = judged.saturating_sub(created);
    here >= ROTATION_SECONDS
        || (here >= ROTATION_PAUSE_SECONDS && !(-FUTURE_SECONDS..ROTATION_SECONDS).contains(&there))
}

/// What may still hold envelopes for a prekey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailbox {
    /// There is none: the account has no directory.
    Absent,
    /// It was last drained then, if ever.
    Drained(Option<Moment>),
}

/// What becomes of a prekey's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// Its time is over, and nothing can come for it any more.
    Destroy,
    /// Its time is over, though something may still lie in a mailbox for it.
    DestroyUndrained,
}

/// What becomes now of a secret that was born then.
pub fn fate(born: Birth, now: Moment, mailbox: Mailbox) -> Fate {
    let age = born.age(now);
    let empty = match mailbox {
        Mailbox::Absent => true,
        Mailbox::Drained(at) => at.is_some_and(|at| born.age(at) >= DRAINED_AFTER_SECONDS),
    };
    if age >= DESTROY_SECONDS && empty {
        Fate::Destroy
    } else if age >= DESTROY_AT_LAST_SECONDS {
        Fate::DestroyUndrained
    } else {
        Fate::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awake(seconds: i64) -> Moment {
        Moment { uptime: seconds, counted: 1_800_000_000 + seconds }
    }

    fn birth(at: Moment) -> Birth {
        Birth { uptime: at.uptime, counted: Some(at.counted) }
    }

    #[test]
    fn a_secret_goes_when_nothing_can_come_for_it() {
        use Fate::{Destroy, DestroyUndrained, Keep};
        use Mailbox::{Absent, Drained};
        let day = |days: i64| awake(1_000_000 + days * DAY);
        let born = birth(day(0));
        for (days, mailbox, expected) in [
            (0, Absent, Keep),
            (14, Absent, Keep),
            (15, Absent, Destroy),
            (15, Drained(None), Keep),
            (15, Drained(Some(day(13))), Keep),
            (15, Drained(Some(day(14))), Destroy),
            (14, Drained(Some(day(14))), Keep),
            (29, Drained(Some(day(13))), Keep),
            (29, Drained(Some(day(28))), Destroy),
            (30, Drained(None), DestroyUndrained),
            (30, Drained(Some(day(0))), DestroyUndrained),
            (-10, Absent, Keep),
        ] {
            assert_eq!(fate(born, day(days), mailbox), expected, "{days} days, {mailbox:?}");
        }
        assert_eq!(fate(born, awake(1_000_000 + 15 * DAY - 1), Absent), Keep);
        let ends = (Birth { uptime: 0, counted: Some(i64::MIN) }, Moment { uptime: 0, counted: i64::MAX });
        assert_eq!(fate(ends.0, ends.1, Absent), Destroy);
    }

    #[test]
    fn what_is_known_of_an_age_is_the_more_of_two() {
        let born = Birth { uptime: 100, counted: None };
        assert_eq!(born.age(Moment { uptime: 160, counted: 9_999_999 }), 60, "its place in the count is not known");
        let born = Birth { uptime: 100, counted: Some(1_000) };
        assert_eq!(born.age(Moment { uptime: 160, counted: 5_000 }), 4_000);
        assert_eq!(born.age(Moment { uptime: 160, counted: 900 }), 60);
    }

    #[test]
    fn a_new_one_comes_daily_whatever_the_clock_does() {
        let t = 1_800_000_000;
        // Seconds on the clock since it was made; seconds that passed here.
        for (there, here, expected) in [
            (3_600, 3_600, false),
            (DAY, DAY, true),
            // The machine was off.
            (9 * DAY, 700, true),
            // The clock went back: by the clock it would not be due for ten years.
            (-3_650 * DAY, 700, true),
            (-3_650 * DAY, 599, false),
            (-3_650 * DAY, DAY, true),
            // It jumped ahead.
            (3_650 * DAY, 700, true),
            (3_650 * DAY, 0, false),
            // Two clocks that are not quite the same.
            (-60, 700, false),
            // A kill cost some of the count.
            (3_600, -300, false),
        ] {
            assert_eq!(renewal_due(t, birth(awake(50)), t + there, awake(50 + here)), expected, "{there} {here}");
        }
    }

    #[test]
    fn a_clock_that_goes_to_and_fro_makes_no_thousand() {
        let (mut made, mut born, mut renewed) = (0, awake(0), 0);
        for minute in 0..24 * 60 {
            let now = awake(minute * 60);
            let judged = if minute % 2 == 0 { minute * 60 } else { minute * 60 + 3_650 * DAY };
            if renewal_due(made, birth(born), judged, now) {
                (made, born, renewed) = (judged, now, renewed + 1);
            }
        }
        assert!((1..=144).contains(&renewed), "{renewed}");
    }
}
