//! What time it is, and how much time has surely passed, when any clock may be wrong.
//!
//! Two questions, two answers. *What time is it for others?* ([`Clock::trusted_or_local_now`]): whether a prekey of somebody may still be
//! sealed to. The home directory's clock answers, the wall clock while that is not known; being wrong costs a retry. *How
//! much time has passed here?* ([`Clock::snapshot`]): whether a secret may be destroyed. Being wrong would lose messages, so
//! this is a count and not a time. It grows by the uptime of the process, of which no clock can be argued out; and by what
//! the machine was off or asleep, but only when the clocks vouch for that: the wall clock alone if no directory is in reach,
//! both within an hour of each other if one is, and they have to say so through 24 hours of uptime.
//!
//! **What is promised:** the count never runs ahead of true time by an hour, unless the machine was off or asleep and then,
//! through 24 hours of uptime, *every* clock that can be asked has moved ahead of where it was before, by the same amount
//! within an hour. Without a directory, that is the wall clock alone. A directory on the same machine has the same clock,
//! which is why the two together wait as long as the one does. While the process runs and the machine is awake nothing that
//! clocks show is counted at all, once 24 hours have passed since a stop or sleep: jumps by an hour, a day or ten years, of
//! one clock or of both. The price: what was slept counts a day late, and what the clocks quarrel about counts never.
//!
//! An age is a difference of counts, and that needs care: what was made after a long sleep, but before that sleep was
//! counted, must not grow old by it. Hence [`Birth`]: for a day its age is uptime alone, then its place in the count is taken
//! to be behind everything that any clock has claimed meanwhile.
//!
//! Not the job: reading clocks and keeping checkpoints ([`timekeeper`], the store).

pub mod lives;
pub mod timekeeper;

use std::collections::VecDeque;

/// Clocks agree if they differ by so much at most.
pub const AGREEMENT_SECONDS: i64 = 3_600;
/// A difference to the directory's clock, or to those of contacts, that is worth telling.
pub const SKEW_SECONDS: i64 = 300;
/// Of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;
/// Uptime that a kill may cost.
const CHECKPOINT_SECONDS: i64 = 600;
/// Clocks have to vouch for downtime through so many hours of uptime.
const VOUCHING_HOURS: usize = 24;
const HOUR: u64 = 3_600;
/// The machine slept; less than this is the noise of reading two clocks.
const SLEEP_SECONDS: u64 = 30;

/// What the machine's clocks show at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, in Unix seconds.
    pub wall: i64,
    /// Seconds that this process has run; the machine's sleep does not count. Never goes back.
    pub uptime: u64,
    /// Seconds that the machine has slept since it was booted.
    pub asleep: u64,
}

/// A moment in this account's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds of uptime, over all runs.
    pub uptime: i64,
    /// The same and what was slept, on a scale that begins anywhere.
    pub counted: i64,
}

/// When something was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// [`Moment::uptime`] then.
    pub uptime: i64,
    /// At the latest this on the scale of [`Moment::counted`]; not known in the first 24 hours of uptime.
    pub counted: Option<i64>,
}

impl Birth {
    /// Seconds that have passed since, for sure. Negative if a kill cost some of the count.
    pub fn age(&self, at: Moment) -> i64 {
        let awake = at.uptime.saturating_sub(self.uptime);
        self.counted.map_or(awake, |counted| awake.max(at.counted.saturating_sub(counted)))
    }
}

/// The least and the most that the clocks claimed beyond the count within one hour of uptime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claims {
    sure: i64,
    most: i64,
}

impl Claims {
    const NONE: Self = Self { sure: i64::MAX, most: 0 };
}

/// What has to survive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Now, or a little before.
    pub moment: Moment,
    /// The wall clock minus the count, when nothing was in doubt.
    pub wall: i64,
    /// The directory's clock minus the count, likewise; `None` if it was never known.
    pub directory: Option<i64>,
    /// Time minus count, when two clocks agreed on it.
    pub agreed: i64,
    /// What clocks claimed beyond the count: the uptime since when there are no holes in it; seconds of the unfinished hour of
    /// uptime; then least and most for it and for each hour before. Empty if nothing is in doubt.
    pub claims: Vec<i64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Clock {
    counted: i64,
    /// Seconds of uptime, over all runs.
    ran: i64,
    wall: i64,
    directory: Option<i64>,
    agreed: i64,
    /// The machine was off or asleep, and it is not settled for how long.
    open: bool,
    /// The last hours of uptime, oldest first.
    hours: VecDeque<Claims>,
    /// The hour that is not over, and its seconds.
    hour: Claims,
    filled: u64,
    /// The uptime since when somebody has looked at least every hour.
    watched: i64,
    /// Seconds of uptime since the machine was last off or asleep.
    quiet: u64,
    /// Where the wall clock ran last, and for how long it has kept to that.
    course: i64,
    steady: u64,
    last: Reading,
    /// The directory's clock minus the seconds that passed here, sleep included.
    heard: Option<i64>,
    heard_at: Option<i64>,
    /// It was heard since the machine was last off or asleep.
    fresh: bool,
}

fn near(a: i64, b: i64) -> bool {
    a.abs_diff(b) <= AGREEMENT_SECONDS.unsigned_abs()
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Clock {
    /// The clock of something new. The count begins with `counted`, by custom a time of now in Unix seconds, which it need
    /// not be.
    pub fn new(counted: i64, now: Reading) -> Self {
        let wall = now.wall.saturating_sub(counted);
        Self {
            counted,
            ran: 0,
            wall,
            directory: None,
            agreed: wall,
            open: false,
            hours: VecDeque::new(),
            hour: Claims::NONE,
            filled: 0,
            watched: i64::MIN,
            quiet: 0,
            course: wall,
            steady: 0,
            last: now,
            heard: None,
            heard_at: None,
            fresh: false,
        }
    }

    /// The clock goes on after the process was stopped, nobody knows for how long.
    pub fn resume(from: &Checkpoint, now: Reading) -> Self {
        let mut clock = Self::new(from.moment.counted, now);
        clock.ran = from.moment.uptime;
        clock.wall = from.wall;
        clock.directory = from.directory;
        clock.agreed = from.agreed;
        clock.stopped();
        if let [watched, filled, claims @ ..] = from.claims.as_slice() {
            clock.watched = *watched;
            let mut hours = claims.chunks_exact(2).map(|pair| Claims { sure: pair[0], most: pair[1] });
            clock.hour = hours.next().unwrap_or(Claims::NONE);
            clock.filled = u64::try_from(*filled).unwrap_or(0).min(HOUR);
            clock.hours = hours.take(VOUCHING_HOURS).collect();
        }
        clock
    }

    /// What to commit now and then. What is lost since the last one counts as if the machine had been off.
    pub fn checkpoint(&self) -> Checkpoint {
        let mut claims = Vec::new();
        if self.open {
            claims.extend([self.watched, signed(self.filled)]);
            claims.extend(std::iter::once(&self.hour).chain(&self.hours).flat_map(|hour| [hour.sure, hour.most]));
        }
        let (moment, wall, directory, agreed) = (self.snapshot(), self.wall, self.directory, self.agreed);
        Checkpoint { moment, wall, directory, agreed, claims }
    }

    /// Whether what is committed has become so old, or so wrong, that a kill now would cost something.
    pub fn is_due(&self, committed: &Checkpoint) -> bool {
        let moved = |a: i64, b: i64, limit: i64| a.abs_diff(b) >= limit.unsigned_abs();
        moved(self.counted, committed.moment.counted, CHECKPOINT_SECONDS)
            || moved(self.wall, committed.wall, SKEW_SECONDS)
            || self.open == committed.claims.is_empty()
    }

    /// Looks at the clocks. Once a minute is enough; an hour that nobody looked at vouches for nothing.
    pub fn tick(&mut self, now: Reading) {
        let ran = now.uptime.saturating_sub(self.last.uptime);
        let slept = now.asleep.saturating_sub(self.last.asleep);
        self.last = now;
        self.counted = self.counted.saturating_add(signed(ran));
        self.ran = self.ran.saturating_add(signed(ran));
        if slept > SLEEP_SECONDS {
            self.stopped();
        }
        self.quiet = self.quiet.saturating_add(ran);
        if self.open {
            if ran > HOUR {
                self.hours.clear();
                (self.hour, self.filled, self.watched) = (Claims::NONE, 0, self.ran);
            }
            self.vouch(ran.min(HOUR));
        } else {
            self.settle();
        }
        self.agree(ran);
    }

    /// The home directory says what time it is.
    pub fn directory_says(&mut self, time: i64, now: Reading) {
        self.tick(now);
        // Whatever it says, computing with it must not overflow.
        let time = time.clamp(0, LAST_SECOND);
        self.heard = Some(time.saturating_sub(self.awake_and_asleep()));
        self.heard_at = Some(self.awake_and_asleep());
        self.fresh = true;
        if !self.open {
            self.settle();
        }
        self.agree(0);
    }

    /// The present moment, on scales on which only what has surely passed is added. Durations whose end destroys something
    /// are counted in it, by [`Birth::age`]; see the module for the promise.
    pub fn snapshot(&self) -> Moment {
        Moment { uptime: self.ran, counted: self.counted }
    }

    /// The place in the count of what was made when the uptime was so much, at the latest. `None` until it is a day of
    /// uptime old.
    pub fn latest_birth(&self, uptime: i64) -> Option<i64> {
        let awake = self.ran.saturating_sub(uptime);
        if self.ran.saturating_sub(uptime.max(self.watched)) < signed(HOUR) * (VOUCHING_HOURS as i64 + 1) {
            return None;
        }
        // Within these hours at least one clock was right at least once: more cannot have been in doubt then.
        let doubt = self.hours.iter().chain([&self.hour]).map(|hour| hour.most).max().unwrap_or(0);
        Some(self.counted.saturating_sub(awake).saturating_add(doubt))
    }

    /// The time in Unix seconds by which the validity of records and prekeys is judged: the home directory's if it is known,
    /// else one's own.
    pub fn trusted_or_local_now(&self) -> i64 {
        self.directory_time().unwrap_or(self.last.wall)
    }

    /// The time in Unix seconds, if two of three agree on it within an hour: the wall clock, the home directory's, and the
    /// count since both agreed. Without a directory the wall clock joins them once it kept its course through 24 hours of
    /// uptime. Two that are wrong in the same way are believed; what must not be lost by that belongs to
    /// [`Clock::snapshot`].
    pub fn trusted_now(&self) -> Option<i64> {
        let (wall, counted) = (self.last.wall, self.counted.saturating_add(self.agreed));
        match self.directory_time() {
            Some(time) if near(time, wall) || near(time, counted) => Some(time),
            _ => near(wall, counted).then_some(wall),
        }
    }

    /// By how many seconds the wall clock is ahead of the directory's, if that is more than five minutes either way.
    pub fn skew(&self) -> Option<i64> {
        let ahead = self.last.wall.saturating_sub(self.directory_time()?);
        (ahead.unsigned_abs() > SKEW_SECONDS.unsigned_abs()).then_some(ahead)
    }

    /// Seconds since the directory was last heard; `None` if it never was in this process's life.
    pub fn unheard(&self) -> Option<i64> {
        Some(self.awake_and_asleep().saturating_sub(self.heard_at?))
    }

    fn awake_and_asleep(&self) -> i64 {
        signed(self.last.uptime.saturating_add(self.last.asleep))
    }

    fn directory_time(&self) -> Option<i64> {
        Some(self.heard?.saturating_add(self.awake_and_asleep()))
    }

    /// The machine was off or asleep: from now on the clocks may claim that time.
    fn stopped(&mut self) {
        self.open = true;
        self.quiet = 0;
        self.fresh = false;
    }

    /// Nothing is in doubt: what the clocks show now is what they will be compared with.
    fn settle(&mut self) {
        self.open = false;
        self.hours.clear();
        (self.hour, self.filled, self.watched) = (Claims::NONE, 0, i64::MIN);
        self.wall = self.last.wall.saturating_sub(self.counted);
        if let Some(time) = self.directory_time() {
            self.directory = Some(time.saturating_sub(self.counted));
        }
    }

    /// How much the clocks claim to have passed beyond the count.
    fn claim(&self) -> Claims {
        let beyond = |time: i64, anchor: i64| time.saturating_sub(anchor).saturating_sub(self.counted);
        let wall = beyond(self.last.wall, self.wall);
        let (sure, most) = match (self.directory_time().filter(|_| self.fresh), self.directory) {
            (Some(time), Some(anchor)) => {
                let directory = beyond(time, anchor);
                (if near(wall, directory) { wall.min(directory) } else { 0 }, wall.max(directory))
            }
            // Met since: it cannot tell how long it was, and so vouches for nothing.
            (Some(_), None) => (0, wall),
            (None, _) => (wall, wall),
        };
        Claims { sure: sure.max(0), most: most.max(0) }
    }

    fn vouch(&mut self, ran: u64) {
        let claim = self.claim();
        self.hour = Claims { sure: self.hour.sure.min(claim.sure), most: self.hour.most.max(claim.most) };
        self.filled += ran;
        if self.filled >= HOUR {
            if self.hours.len() == VOUCHING_HOURS {
                self.hours.pop_front();
            }
            self.hours.push_back(self.hour);
            (self.hour, self.filled) = (Claims::NONE, 0);
        }
        if self.hours.len() < VOUCHING_HOURS {
            return;
        }
        let sure = self.hours.iter().chain([&self.hour]).map(|hour| hour.sure).min().unwrap_or(0);
        if sure > 0 {
            self.counted = self.counted.saturating_add(sure);
            for hour in self.hours.iter_mut().chain([&mut self.hour]) {
                *hour = Claims { sure: hour.sure.saturating_sub(sure), most: hour.most.saturating_sub(sure).max(0) };
            }
        }
        if self.quiet >= HOUR * VOUCHING_HOURS as u64 {
            self.settle();
        }
    }

    /// Keeps the third clock, the one that counts on, in line with two others that agree.
    fn agree(&mut self, ran: u64) {
        let wall = self.last.wall.saturating_sub(self.counted);
        if near(wall, self.course) {
            self.steady = self.steady.saturating_add(ran);
        } else {
            (self.course, self.steady) = (wall, 0);
        }
        match self.directory_time() {
            Some(time) if near(time, self.last.wall) => self.agreed = time.saturating_sub(self.counted),
            None if !self.open && self.steady >= HOUR * VOUCHING_HOURS as u64 => self.agreed = wall,
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
