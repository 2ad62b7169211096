//! What happens to people whose network changes under them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tests::Ctl;
use tests::lab::Nat;
use tests::wait::{times_are_judged, wait_for};

use super::{World, delivered, pings, route, status_of, world};
use crate::util::{bodies, send, wait_for_body};

#[test]
fn d5_another_address_and_a_partition_lose_nothing() {
    let mut world = world!([Nat::Easy, Nat::Easy]);
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    world.alice.ok(["ping", "bob", "--until-direct"]);
    let mut sent = BTreeSet::new();
    // Alice walks to another desk.
    world.houses[0].live_at(9).unwrap();
    let took = delivered(&world.alice, &world.bob, "from the other desk");
    sent.insert("from the other desk".to_owned());
    println!("figure: delivered {took:?} after another address");
    // Nobody gets through to her network for a while, while both write.
    world.houses[0].cut().unwrap();
    for n in 0..10 {
        sent.insert(format!("while it was cut {n}"));
        send(&world.alice, "bob", &format!("while it was cut {n}"));
        send(&world.bob, "alice", &format!("the other way {n}"));
    }
    // Not a wait for something to happen: this long nothing gets through. It is longer than a path lives without an answer.
    let seconds = std::env::var("CHATD_LAB_PARTITION").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    std::thread::sleep(Duration::from_secs(seconds));
    let begun = Instant::now();
    world.houses[0].heal().unwrap();
    wait_for_body(&world.bob, "alice", "while it was cut 9");
    let first = begun.elapsed();
    wait_for_body(&world.alice, "bob", "the other way 9");
    println!(
        "figure: {seconds} s of partition: hers arrived {first:?} after it healed, his after {:?}",
        begun.elapsed()
    );
    let got: Vec<String> = bodies(&world.bob, "alice", 100);
    let unique: BTreeSet<String> = got.iter().cloned().collect();
    assert_eq!(unique.len(), got.len(), "twice: {got:?}");
    assert!(sent.is_subset(&unique), "lost: {:?}", sent.difference(&unique));
    assert!(first < Duration::from_secs(2), "{first:?}");
}

#[test]
fn d5_a_cable_that_is_pulled_out_and_put_in_again_loses_nothing() {
    let mut world = world!([Nat::Easy, Nat::Hard]);
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    world.houses[0].unplug().unwrap();
    for n in 0..5 {
        send(&world.alice, "bob", &format!("without a network {n}"));
    }
    // Not a wait for something to happen: so long there is no network.
    std::thread::sleep(Duration::from_secs(8));
    let begun = Instant::now();
    world.houses[0].live_at(2).unwrap();
    wait_for_body(&world.bob, "alice", "without a network 4");
    let first = begun.elapsed();
    println!("figure: 8 s without a network: delivered {first:?} after it was back");
    let got = bodies(&world.bob, "alice", 100);
    assert_eq!((got.len(), got.iter().collect::<BTreeSet<_>>().len()), (6, 6), "{got:?}");
    assert!(first < Duration::from_secs(5), "{first:?}");
}

#[test]
fn d5_a_relay_that_was_killed_is_used_again() {
    let mut world = world!([Nat::Hard, Nat::NoUdp]);
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    world.directory.kill9();
    for n in 0..5 {
        send(&world.alice, "bob", &format!("while it was down {n}"));
    }
    // Down for so long.
    std::thread::sleep(Duration::from_secs(3));
    let begun = Instant::now();
    world.lab.internet.within(|| world.directory.try_again(&[])).unwrap().unwrap();
    wait_for_body(&world.bob, "alice", "while it was down 4");
    println!("figure: a relay that was killed: delivered {:?} after its start", begun.elapsed());
    let got = bodies(&world.bob, "alice", 100);
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "twice: {got:?}");
    assert_eq!(got.len(), 6, "{got:?}");
    wait_for("the way by the relay is there again", || route(&pings(&world.alice, "bob", &["-c", "1"])) == "relayed");
    println!("figure: a relay that was killed: used again {:?} after its start", begun.elapsed());
}

/// By then both have heard each other after a change: without noticing it, a link is doubted after three seconds, and given up two later.
const NOTICED: Duration = Duration::from_secs(4);

/// Both write at once after a change, and hear each other; how long that took.
fn both_ways(world: &World, what: &str, judged: Duration) -> Duration {
    let begun = Instant::now();
    let (hers, his) = (format!("hers: {what}"), format!("his: {what}"));
    send(&world.alice, "bob", &hers);
    send(&world.bob, "alice", &his);
    let there = |ctl: &Ctl, who: &str, body: &str| bodies(ctl, who, 5).iter().any(|there| there == body);
    wait_for("hers is there", || there(&world.bob, "alice", &hers));
    let first = begun.elapsed();
    wait_for("his is there", || there(&world.alice, "bob", &his));
    let both = begun.elapsed();
    println!("figure: {what}: hers after {first:?}, both after {both:?}");
    assert!(!times_are_judged() || both < judged, "{what}: {both:?}");
    both
}

/// Of several changes most: on a machine that is busy with other tests, one may be noticed by its silence alone.
fn are_noticed(took: &[Duration]) {
    let noticed = took.iter().filter(|both| **both < NOTICED).count();
    assert!(noticed * 2 > took.len(), "{took:?}");
}

/// Nobody heard anything twice, or never.
fn all_is_there(world: &World, changes: &[String]) {
    for (ctl, who) in [(&world.bob, "alice"), (&world.alice, "bob")] {
        let got = bodies(ctl, who, 200);
        for (whose, what) in ["hers", "his"].into_iter().flat_map(|whose| changes.iter().map(move |what| (whose, what)))
        {
            let text = format!("{whose}: {what}");
            assert_eq!(got.iter().filter(|body| **body == text).count(), 1, "{text}: {got:?}");
        }
    }
}

#[test]
fn d5_whoever_walks_from_desk_to_desk_is_heard_at_once() {
    let world = &mut world!([Nat::Easy, Nat::Easy]);
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    world.alice.ok(["ping", "bob", "--until-direct"]);
    let (mut changes, mut took) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let what = format!("desk {n}");
        world.houses[0].live_at(20 + n).unwrap();
        took.push(both_ways(world, &what, Duration::from_secs(2)));
        changes.push(what);
    }
    for n in 0..4 {
        let what = format!("cable out and in {n}");
        world.houses[0].unplug().unwrap();
        // Not a wait for something to happen: out for so long, which is noticed now and then.
        std::thread::sleep(Duration::from_millis(100 + 250 * n));
        world.houses[0].live_at(30).unwrap();
        took.push(both_ways(world, &what, Duration::from_secs(2)));
        changes.push(what);
    }
    are_noticed(&took);
    all_is_there(world, &changes);
}

#[test]
fn d5_another_default_route_with_the_same_addresses_is_noticed() {
    let world = &mut world!([Nat::Easy, Nat::Easy]);
    let second = world.lab.second_uplink(&mut world.houses[0], Nat::Easy).unwrap();
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    world.alice.ok(["ping", "bob", "--until-direct"]);
    let (mut changes, mut took) = (Vec::new(), Vec::new());
    for n in 0..4 {
        let what = format!("route {n}");
        let by = if n % 2 == 0 { second } else { world.houses[0].number() };
        world.houses[0].route_by(by).unwrap();
        took.push(both_ways(world, &what, Duration::from_secs(3)));
        changes.push(what);
    }
    are_noticed(&took);
    all_is_there(world, &changes);
}

/// What a daemon costs that has nothing to say: its session, its place at the relay, and how it is seen.
#[test]
fn d5_at_rest_next_to_nothing_is_sent() {
    let mut world = match World::with([Nat::Easy, Nat::Easy], "idle_link_seconds = 3\n") {
        Ok(world) => world,
        Err(error) => tests::skip!("no lab of networks: {error:#}"),
    };
    world.cold();
    delivered(&world.alice, &world.bob, "before");
    wait_for("no link is open", || status_of(&world.alice)["links"] == 0);
    let seconds = std::env::var("CHATD_LAB_REST").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let before = world.houses[0].host.bytes("eth0").unwrap();
    // Not a wait for something to happen: a span over which nothing does.
    std::thread::sleep(Duration::from_secs(seconds));
    let hourly = (world.houses[0].host.bytes("eth0").unwrap() - before) * 3_600 / seconds;
    println!("figure: at rest for {seconds} s: {hourly} bytes an hour");
    // Over a short span, one look at how the node is seen more or less counts as a megabyte.
    assert!(hourly < if seconds < 300 { 4_000_000 } else { 2_000_000 }, "{hourly}");
    delivered(&world.alice, &world.bob, "and after it");
}
