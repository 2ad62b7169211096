//! People behind routers of different kinds, each on a network of its own (parity row D5).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::http::Http;
use tests::lab::{House, INTERNET, Lab, Nat};
use tests::people::befriend;
use tests::tls::{Trust, client};
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions};

use crate::util::{bodies, send, state_of, status, text, wait_for_body};

/// A directory on the internet, and alice and bob, each behind a router.
struct World {
    lab: Lab,
    houses: [House; 2],
    directory: Directory,
    alice_daemon: Daemon,
    bob_daemon: Daemon,
    alice: Ctl,
    bob: Ctl,
}

impl World {
    /// With both of them registered, and contacts.
    fn start(nats: [Nat; 2]) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let houses = [lab.house(nats[0])?, lab.house(nats[1])?];
        let directory = lab.internet.within(|| {
            let listen = Some(format!("{INTERNET}:0"));
            Directory::try_start(DirectoryOptions { listen, ..DirectoryOptions::default() })
        })??;
        let start = |house: &House, name: &str| {
            let options = DaemonOptions::new(name, directory.url()).place(directory.place());
            let options = DaemonOptions { listen: Some("0.0.0.0:0".into()), ..options };
            house.host.within(|| Daemon::try_start(options))?
        };
        let (alice_daemon, bob_daemon) = (start(&houses[0], "alice")?, start(&houses[1], "bob")?);
        let (alice, bob) = (alice_daemon.ctl("alice"), bob_daemon.ctl("bob"));
        alice.ok(["register", "alice"]);
        bob.ok(["register", "bob"]);
        befriend(&alice, &bob);
        for ctl in [&alice, &bob] {
            wait_for("it waits at the relay", || status_of(ctl)["relay"].is_string());
        }
        Ok(Self { lab, houses, directory, alice_daemon, bob_daemon, alice, bob })
    }

    /// Both daemons end, and begin anew: no link, nothing remembered.
    fn cold(&mut self) {
        self.alice_daemon.stop();
        self.bob_daemon.stop();
        for (house, daemon) in self.houses.iter().zip([&mut self.alice_daemon, &mut self.bob_daemon]) {
            house.host.within(|| daemon.try_again(&[])).unwrap().unwrap();
        }
    }
}

/// What `status` says of the daemon itself.
fn status_of(ctl: &Ctl) -> Value {
    ctl.json(["status"])
}

/// Sends, and waits until it is there; how long that took.
fn delivered(from: &Ctl, to: &Ctl, body: &str) -> Duration {
    let begun = Instant::now();
    let id = send(from, to.name(), body);
    wait_for("it is delivered", || state_of(from, &id) == "delivered");
    let took = begun.elapsed();
    wait_for_body(to, from.name(), body);
    took
}

/// The answers of some pings.
fn pings(ctl: &Ctl, who: &str, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["ping", who, "--json"];
    args.extend(more);
    let output = ctl.run(args);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether the last of them came by this way.
fn route(pings: &[Value]) -> &str {
    pings.last().and_then(|pong| pong["route"].as_str()).unwrap_or("none")
}

macro_rules! world {
    ($nats:expr) => {
        match World::start($nats) {
            Ok(world) => world,
            Err(error) => tests::skip!("no lab of networks: {error:#}"),
        }
    };
}

#[test]
fn d5_two_easy_nats_reach_each_other_directly() {
    let mut world = world!([Nat::Easy, Nat::Easy]);
    world.cold();
    let took = delivered(&world.alice, &world.bob, "hello");
    let begun = Instant::now();
    world.alice.ok(["ping", "bob", "--until-direct"]);
    println!("figure: easy to easy: delivered {took:?} after a cold start, direct {:?} later", begun.elapsed());
    let pongs = pings(&world.alice, "bob", &["-c", "1"]);
    assert_eq!(route(&pongs), "direct");
    assert!(text(&pongs[0]["address"]).starts_with("203.0.113.12:"), "through his router: {pongs:?}");
    assert!(pongs[0]["round_trip_us"].as_u64().unwrap() > 0 && pongs[0]["who"] == "bob", "{pongs:?}");
    assert_eq!(status_of(&world.bob)["relayed"], 0);
    // Nothing of what is sent now goes by the relay.
    let before = relayed_bytes(&world);
    for n in 0..20 {
        send(&world.alice, "bob", &format!("direct {n} {}", "x".repeat(10_000)));
    }
    delivered(&world.alice, &world.bob, "the last");
    let bytes = relayed_bytes(&world) - before;
    println!("figure: 200 KB sent directly: {bytes} bytes of it went by the relay");
    // The way by the relay is kept for when it is needed, and costs a little.
    assert!(bytes < 60_000, "{bytes}");
    println!("{}", world.alice.ok(["status"]).stdout);
}

/// Bytes that the relay took so far.
fn relayed_bytes(world: &World) -> u64 {
    let asked = world.lab.internet.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let config = client(Trust::Anybody)?;
            let mut http = Http::connect_tls(world.directory.address(), INTERNET, &config).await?;
            anyhow::Ok(http.get("/metrics").await?.text())
        })
    });
    let metrics = asked.unwrap().unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("directoryd_relay_bytes_total "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn d5_where_no_hole_can_be_made_the_relay_delivers() {
    for nats in [[Nat::Hard, Nat::Hard], [Nat::NoUdp, Nat::NoUdp], [Nat::Easy, Nat::NoUdp]] {
        let mut world = world!(nats);
        world.cold();
        let begun = Instant::now();
        // Until a node knows that nothing of UDP gets through, its mailbox takes what is for it.
        let first = delivered(&world.alice, &world.bob, "hello");
        let mut pongs = Vec::new();
        wait_for("the relay is the way", || {
            pongs = pings(&world.alice, "bob", &["-c", "1"]);
            route(&pongs) == "relayed"
        });
        println!(
            "figure: {nats:?}: delivered in {first:?} after a cold start, by the relay after {:?}",
            begun.elapsed()
        );
        assert!(text(&pongs[0]["address"]).starts_with("https://203.0.113.1:"), "{pongs:?}");
        let (took, back) =
            (delivered(&world.alice, &world.bob, "again"), delivered(&world.bob, &world.alice, "hello yourself"));
        // A link of which only the relay is left may end and begin anew.
        let mut pongs = Vec::new();
        wait_for("she is answered", || {
            pongs = pings(&world.alice, "bob", &["-c", "1"]);
            pongs[0]["round_trip_us"].is_u64()
        });
        let micros = pongs[0]["round_trip_us"].as_u64().unwrap();
        println!("figure: {nats:?}: by the relay in {took:?}, back in {back:?}; round trip {micros} us");
        let mut words = String::new();
        wait_for("he is answered", || {
            let output = world.bob.run(["ping", "alice", "-c", "1"]);
            words = output.stdout;
            output.code == Some(0)
        });
        assert!(words.contains("alice answered in") && words.contains("relayed: https://203.0.113.1:"), "{words}");
        wait_for("there is no direct way", || {
            let output = world.alice.run(["ping", "bob", "--until-direct", "-c", "2"]);
            output.code == Some(6) && output.stderr.contains("no direct way")
        });
        wait_for("a link by the relay stands", || status_of(&world.alice)["relayed"].as_u64().unwrap() >= 1);
        let said = world.alice.ok(["status"]).stdout;
        assert!(said.contains("waits at") && said.contains("by a relay"), "{said}");
        let id = send(&world.alice, "bob", "traced");
        wait_for("it is delivered", || state_of(&world.alice, &id) == "delivered");
        let trace = world.alice.json(["trace", &id]);
        let steps = trace["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["path"] == "relay"), "{trace}");
    }
}

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

/// Somebody who may not use the relay, and one whom it does not let in, are none the worse but for it.
#[test]
fn d5_without_a_relay_mail_still_comes() {
    let mut world = world!([Nat::Hard, Nat::Hard]);
    world.lab.internet.within(|| world.directory.restart_with(&["--no-relay"])).unwrap();
    wait_for("they are back", || status(&world.alice)["online"] == true && status(&world.bob)["online"] == true);
    world.cold();
    let took = delivered(&world.alice, &world.bob, "by mail");
    println!("figure: hard to hard without a relay: delivered by mailbox in {took:?}");
    world.alice.run(["ping", "bob", "-c", "1"]).expect_code(6).says(&["bob is not reached"]);
    assert!(status_of(&world.alice)["relay"].is_null());
}

/// Each is at home in a domain of its own, and reaches the other by the relay of the other's: as a guest there, whose contact vouches.
#[test]
fn d5_people_of_two_domains_meet_at_each_others_relays() {
    let lab = Lab::new().and_then(|mut lab| Ok(([lab.house(Nat::Hard)?, lab.house(Nat::Hard)?], lab)));
    let (houses, lab) = match lab {
        Ok(lab) => lab,
        Err(error) => tests::skip!("no lab of networks: {error:#}"),
    };
    let domains = ["a.test", "b.test"];
    let directories = domains.map(|origin| {
        let start = || {
            let options = DirectoryOptions { listen: Some(format!("{INTERNET}:0")), ..DirectoryOptions::default() };
            Directory::try_start(options.args(&["--origin", origin]))
        };
        lab.internet.within(start).unwrap().unwrap()
    });
    let known = |n: usize| format!("[directories]\n\"{}\" = \"{}\"\n", domains[n], directories[n].url());
    let start = |n: usize, name: &str| {
        let options = DaemonOptions::new(name, directories[n].url()).place(directories[n].place());
        let config = Some(format!("first_contact = \"open\"\n{}", known(1 - n)));
        let options = DaemonOptions { listen: Some("0.0.0.0:0".into()), config, ..options };
        houses[n].host.within(|| Daemon::try_start(options)).unwrap().unwrap()
    };
    let daemons = [start(0, "alice"), start(1, "bob")];
    let (alice, bob) = (daemons[0].ctl("alice"), daemons[1].ctl("bob"));
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    alice.ok(["add", "bob@b.test"]);
    wait_for("he is asked", || bob.ok(["requests"]).stdout.contains("alice@a.test"));
    bob.ok(["accept", "alice@a.test"]);
    for (ctl, who) in [(&alice, "bob@b.test"), (&bob, "alice@a.test")] {
        let begun = Instant::now();
        wait_for("the relay is the way", || route(&pings(ctl, who, &["-c", "1"])) == "relayed");
        println!("figure: two domains, hard to hard: {who} by a relay after {:?}", begun.elapsed());
    }
    let id = send(&alice, "bob@b.test", "across domains");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    wait_for_body(&bob, "alice@a.test", "across domains");
}
