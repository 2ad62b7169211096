//! Random walks of clocks against the true time, which only the test knows.

use super::*;
use crate::policy::prekeys::{DESTROY_SECONDS, Fate, Mailbox, fate};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
const START: i64 = 1_800_000_000;
/// By so much clocks are wrong, and jump.
const ERRORS: [i64; 6] = [3_600, DAY, 3_650 * DAY, -3_600, -DAY, -3_650 * DAY];
const DOWN: [i64; 5] = [20, 600, 8 * 3_600, 3 * DAY, 40 * DAY];

/// SplitMix64: a seed is a run, and can be run again.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize]
    }

    /// How wrong a clock is after something happened to it.
    fn error(&mut self, now: i64) -> i64 {
        match self.below(4) {
            0 => 0,
            1 => now + self.of(&ERRORS),
            _ => self.of(&ERRORS),
        }
    }
}

/// What the clocks of a run may do.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Rules {
    /// Anything, both of them; but the machine is neither off nor asleep.
    Awake,
    /// The directory keeps time, whatever its error, and is heard within a day of uptime after a stop or sleep.
    SteadyDirectory,
    /// The wall clock keeps time, whatever its error; the directory lies as it likes.
    SteadyWall,
    /// No directory; the wall clock does anything, but after a stop or sleep it is set right within a day of uptime.
    NoDirectory,
    /// The same, and the directory shows what the wall clock shows.
    OneMachine,
    /// The same, but nobody sets the clock right: nothing is promised.
    Hopeless,
}

struct World {
    rng: Rng,
    rules: Rules,
    now: i64,
    /// Errors of the two clocks.
    wall: i64,
    directory: i64,
    uptime: u64,
    asleep: u64,
    clock: Clock,
    /// With the error that was trusted then.
    committed: (Checkpoint, i64),
    /// The count's beginning.
    began: i64,
    /// The wall clock's error when nothing was in doubt.
    trusted: i64,
    /// Ticks for which the wall clock has been further ahead than that, and for which the directory was not heard.
    ahead: u32,
    deaf: u32,
    prekeys: Vec<(i64, Birth)>,
    destroyed: u64,
    early: u64,
    /// The most that the count ran ahead of true time.
    fastest: i64,
}

impl World {
    fn new(seed: u64, rules: Rules) -> Self {
        let mut rng = Rng(seed);
        let (wall, directory) = (rng.error(0), rng.error(0));
        let clock = Clock::new(START + wall, Reading { wall: START + wall, uptime: 5, asleep: 0 });
        Self {
            rng,
            rules,
            now: START,
            wall,
            directory,
            uptime: 5,
            asleep: 0,
            committed: (clock.checkpoint(), wall),
            began: clock.counted,
            clock,
            trusted: wall,
            ahead: 0,
            deaf: 0,
            prekeys: Vec::new(),
            destroyed: 0,
            early: 0,
            fastest: 0,
        }
    }

    fn reading(&self) -> Reading {
        Reading { wall: self.now + self.wall, uptime: self.uptime, asleep: self.asleep }
    }

    fn hear(&mut self) {
        let error = match self.rules {
            Rules::NoDirectory => return,
            Rules::OneMachine | Rules::Hopeless => self.wall,
            Rules::Awake | Rules::SteadyDirectory | Rules::SteadyWall => self.directory,
        };
        self.deaf = 0;
        let now = self.reading();
        self.clock.directory_says(self.now + error, now);
        self.note();
    }

    fn note(&mut self) {
        if !self.clock.open {
            self.trusted = self.wall;
        }
    }

    /// Time passes while the machine is awake, and somebody looks at the clocks.
    fn run(&mut self, seconds: i64) {
        self.ahead = if self.clock.open && self.wall > self.trusted { self.ahead + 1 } else { 0 };
        if matches!(self.rules, Rules::NoDirectory | Rules::OneMachine) && self.ahead >= 20 {
            (self.wall, self.ahead) = (self.trusted, 0);
        }
        self.now += seconds;
        self.uptime += seconds as u64;
        self.clock.tick(self.reading());
        self.deaf += 1;
        if self.deaf > 15 || self.rng.below(4) == 0 || matches!(self.rules, Rules::OneMachine | Rules::Hopeless) {
            self.hear();
        }
        self.note();
        if self.clock.is_due(&self.committed.0) {
            self.committed = (self.clock.checkpoint(), self.trusted);
        }
        self.judge();
    }

    fn judge(&mut self) {
        self.fastest = self.fastest.max(self.clock.counted - self.began - (self.now - START));
        let (now, moment) = (self.now, self.clock.snapshot());
        let before = self.prekeys.len();
        let mut early = 0;
        for (_, born) in &mut self.prekeys {
            born.counted = born.counted.or_else(|| self.clock.latest_birth(born.uptime));
        }
        self.prekeys.retain(|(made, born)| {
            // The most eager of all: no mailbox to wait for.
            let keeps = fate(*born, moment, Mailbox::Absent) == Fate::Keep;
            early += u64::from(!keeps && now - made < DESTROY_SECONDS - AGREEMENT_SECONDS);
            keeps
        });
        self.destroyed += (before - self.prekeys.len()) as u64;
        self.early += early;
    }

    fn jump(&mut self) {
        match self.rules {
            Rules::SteadyWall => self.directory = self.rng.error(self.directory),
            Rules::Awake if self.rng.below(2) == 0 => self.directory = self.rng.error(self.directory),
            _ => self.wall = self.rng.error(self.wall),
        }
    }

    fn stop_or_sleep(&mut self) {
        if self.rules == Rules::Awake {
            return;
        }
        let down = self.rng.of(&DOWN);
        let jumps = self.rng.below(3);
        self.now += down;
        if jumps == 0 {
            self.jump();
        }
        if self.rng.below(2) == 0 {
            self.asleep += down as u64;
        } else {
            self.uptime = self.rng.below(9);
            // Boots again, or only starts the daemon again.
            self.asleep = if self.rng.below(2) == 0 { 0 } else { self.asleep };
            self.clock = Clock::resume(&self.committed.0, self.reading());
            self.trusted = self.committed.1;
        }
        self.run(1);
    }

    fn step(&mut self) {
        match self.rng.below(16) {
            0..3 => self.jump(),
            3..6 => self.stop_or_sleep(),
            6..8 => (0..26).for_each(|_| self.run(3_600)),
            8 => self.run(2 * DAY),
            9 => self.run(MINUTE),
            10 => self.hear(),
            11..14 => {
                let born = Birth { uptime: self.clock.snapshot().uptime, counted: None };
                self.prekeys.push((self.now, born));
            }
            _ => (0..3).for_each(|_| self.run(3_000)),
        }
    }
}

struct Sum {
    destroyed: u64,
    early: u64,
    fastest: i64,
}

fn walk(rules: Rules, runs: u64, first: u64) -> Sum {
    let mut sum = Sum { destroyed: 0, early: 0, fastest: 0 };
    for seed in first..first + runs {
        let mut world = World::new(seed, rules);
        for _ in 0..40 {
            world.step();
        }
        sum.destroyed += world.destroyed;
        sum.early += world.early;
        sum.fastest = sum.fastest.max(world.fastest);
        if rules != Rules::Hopeless {
            assert_eq!(world.early, 0, "{rules:?}, seed {seed}: a prekey was destroyed early");
            assert!(world.fastest <= AGREEMENT_SECONDS, "{rules:?}, seed {seed}: {} s too fast", world.fastest);
        }
    }
    sum
}

/// The number of runs: as many as `CHATD_TORTURE_SEEDS` says, if it says more.
fn runs(least: u64) -> u64 {
    std::env::var("CHATD_TORTURE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0).max(least)
}

#[test]
fn no_prekey_is_destroyed_early_whatever_one_clock_does() {
    let runs = runs(20_000);
    let rules =
        [Rules::Awake, Rules::SteadyDirectory, Rules::SteadyWall, Rules::NoDirectory, Rules::OneMachine].map(|rules| {
            std::thread::spawn(move || {
                let sum = walk(rules, runs, 0);
                println!(
                    "{rules:?}: {runs} runs, {} destroyed, {} early, {} s too fast at most",
                    sum.destroyed, sum.early, sum.fastest
                );
                assert!(sum.destroyed > runs / 10, "{rules:?}: hardly anything is ever destroyed");
                sum.early
            })
        });
    let early: u64 = rules.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{} runs, {early} prekeys destroyed early", 5 * runs);
}

#[test]
fn a_clock_that_nobody_sets_right_after_a_stop_is_believed_in_the_end() {
    // The control: the walks do find what is not promised.
    let sum = walk(Rules::Hopeless, 2_000, 0);
    println!("control: 2000 runs, {} destroyed, {} early", sum.destroyed, sum.early);
    assert!(sum.early > 0);
}
