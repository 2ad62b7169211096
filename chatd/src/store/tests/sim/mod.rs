//! A seeded simulation: two sides with the real store and state machines, and a network, mailboxes, clocks and disks that
//! do everything that they can do to them.
//!
//! `SEED=n` runs one seed and tells what happens; `CHATD_TORTURE_SEEDS=n` runs so many (a few hundred without it).

mod node;
mod oracle;
mod world;

use proto::ids::AccountId;

use node::Node;
use world::World;

/// What happens before everything works again.
const STEPS: usize = 90;

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
}

/// Runs the seeds. `disks_go_back`: a side may lose what it had committed, which nothing in this system can prevent.
fn run(disks_go_back: bool) -> Tally {
    let (alice, bob) = (AccountId([1; 16]), AccountId([2; 16]));
    let mut nodes = [Node::new(alice, bob, "alice"), Node::new(bob, alice, "bob")];
    let only = variable("SEED");
    let seeds = only.map_or(0..variable("CHATD_TORTURE_SEEDS").unwrap_or(100), |seed| seed..seed + 1);
    let begin = std::time::Instant::now();
    let (mut messages, mut shown, mut gaps, mut late, mut reused) = (0, 0, 0, 0, 0);
    let mut tally = Tally::default();
    let mut count = 0;
    for seed in seeds {
        count += 1;
        let mut world = World::new(&mut nodes, seed, only.is_some(), disks_go_back);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        messages += world.messages();
        let oracle = world.oracle;
        (shown, gaps, late) = (shown + oracle.shown, gaps + oracle.gaps, late + oracle.late);
        reused += oracle.reused;
        let of_order = |text: &String| text.contains("was shown after") || text.contains("was used twice");
        if disks_go_back && !oracle.violations.is_empty() && oracle.violations.iter().all(of_order) {
            println!("SEED={seed}, disks go back: {:?}", oracle.violations);
            tally.order += 1;
        } else if !oracle.violations.is_empty() {
            println!("SEED={seed}: {:?}", oracle.violations);
            tally.failed.push((seed, oracle.violations));
        }
        if tally.failed.len() >= 20 {
            break;
        }
    }
    println!(
        "disks go back: {disks_go_back}; {count} seeds in {:.1} s: {messages} messages, {shown} shown, {gaps} gaps told, \
         {late} late, {reused} numbers met twice, {} with violations, {} with a wrong order only",
        begin.elapsed().as_secs_f64(),
        tally.failed.len(),
        tally.order
    );
    tally
}

#[test]
fn nothing_is_lost_shown_twice_or_out_of_order() {
    let tally = run(false);
    assert!(tally.failed.is_empty(), "seeds with violations (run one with SEED=n): {:?}", tally.failed);
}

/// Order may suffer then (docs/security.md, known gaps); nothing else may.
#[test]
fn nothing_is_lost_or_shown_twice_though_disks_go_back() {
    let tally = run(true);
    assert!(tally.failed.is_empty(), "seeds with violations (run one with SEED=n): {:?}", tally.failed);
}
