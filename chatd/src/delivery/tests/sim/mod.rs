//! A seeded simulation: two sides with the real core of delivery, the real way of an envelope in (all but encryption: what is sealed
//! is signed and laid out as ever, and lies open), and the real store over a database in memory; and a network, mailboxes, clocks
//! and disks that do everything that they can do to them.
//!
//! `SEED=n` runs one seed and tells what happens; `CHATD_TORTURE_SEEDS=n` runs so many (a hundred without it). That it notices what
//! it is for is shown by what is broken on purpose ([`Breakage`]).

mod effects;
mod faults;
mod oracle;
mod shown;
mod side;
mod world;

use side::Side;
use world::World;

/// What happens before everything works again.
const STEPS: usize = 200;
/// Within so many seeds what is broken on purpose is noticed.
const NOTICED_WITHIN: u64 = 1_000;

/// What can be broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breakage {
    /// An acknowledgement leaves before the commit that it tells of.
    AckBeforeCommit,
    /// What is missing is acknowledged with what came behind it.
    HoleAcknowledged,
    /// What is sent again has another number.
    RetryUnderNewNumber,
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// What the seeds came to.
#[derive(Default)]
struct Tally {
    /// Seeds in which something was wrong, and what.
    failed: Vec<(u64, Vec<String>)>,
    /// Seeds in which only the order was, or numbers were used again that nobody could know of.
    order: usize,
    seeds: u64,
    messages: u64,
    shown: u64,
    gaps: u64,
    late: u64,
    reused: u64,
}

/// Runs seeds until so many have failed. `disks_go_back`: a side may lose what it had committed, which nothing in this system can
/// prevent.
fn run(seeds: std::ops::Range<u64>, failures: usize, disks_go_back: bool, breakage: Option<Breakage>) -> Tally {
    let mut sides = Side::pair();
    let told = variable("SEED").is_some();
    let mut tally = Tally::default();
    for seed in seeds {
        let mut world = World::new(&mut sides, seed, told, disks_go_back, breakage);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        let oracle = world.oracle;
        tally.seeds += 1;
        tally.messages += oracle.sent.len() as u64;
        tally.shown += oracle.shown;
        tally.gaps += oracle.gaps;
        tally.late += oracle.late;
        tally.reused += oracle.reused;
        let of_order = |text: &String| text.contains("was shown after") || text.contains("was used twice");
        if disks_go_back && !oracle.violations.is_empty() && oracle.violations.iter().all(of_order) {
            println!("SEED={seed}, disks go back: {:?}", oracle.violations);
            tally.order += 1;
        } else if !oracle.violations.is_empty() {
            println!("SEED={seed}: {:?}", oracle.violations);
            tally.failed.push((seed, oracle.violations));
        }
        if tally.failed.len() >= failures {
            break;
        }
    }
    tally
}

fn all(disks_go_back: bool) -> Tally {
    let only = variable("SEED");
    let seeds = only.map_or(0..variable("CHATD_TORTURE_SEEDS").unwrap_or(100), |seed| seed..seed + 1);
    let begin = std::time::Instant::now();
    let tally = run(seeds, 20, disks_go_back, None);
    let seconds = begin.elapsed().as_secs_f64();
    let Tally { failed, order, seeds, messages, shown, gaps, late, reused } = &tally;
    println!(
        "disks go back: {disks_go_back}; {seeds} seeds in {seconds:.1} s ({:.0} a minute): {messages} messages, {shown} shown, \
         {gaps} gaps told, {late} late, {reused} numbers met twice, {} with violations, {order} with a wrong order only",
        *seeds as f64 * 60.0 / seconds,
        failed.len(),
    );
    tally
}

#[test]
fn nothing_is_lost_shown_twice_or_out_of_order() {
    let tally = all(false);
    assert!(tally.failed.is_empty(), "seeds with violations (run one with SEED=n): {:?}", tally.failed);
}

/// Order may suffer then (docs/security.md, known gaps); nothing else may.
#[test]
fn nothing_is_lost_or_shown_twice_though_disks_go_back() {
    let tally = all(true);
    assert!(tally.failed.is_empty(), "seeds with violations (run one with SEED=n): {:?}", tally.failed);
}

fn is_noticed(breakage: Breakage) {
    let tally = run(0..NOTICED_WITHIN, 1, false, Some(breakage));
    let (seed, what) = tally.failed.first().unwrap_or_else(|| panic!("{breakage:?}: nothing was noticed"));
    println!("figure: {breakage:?} is noticed by seed {seed}: {what:?}");
}

#[test]
fn an_acknowledgement_before_the_commit_is_noticed() {
    is_noticed(Breakage::AckBeforeCommit);
}

#[test]
fn a_hole_that_is_acknowledged_is_noticed() {
    is_noticed(Breakage::HoleAcknowledged);
}

#[test]
fn a_retry_under_another_number_is_noticed() {
    is_noticed(Breakage::RetryUnderNewNumber);
}
