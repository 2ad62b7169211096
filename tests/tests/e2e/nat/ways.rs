//! By which way people reach each other.

use std::time::Instant;

use tests::http::Http;
use tests::lab::{INTERNET, Lab, Nat};
use tests::tls::{Trust, client};
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions};

use super::{World, delivered, pings, route, status_of, world};
use crate::util::{bodies, send, state_of, status, text, wait_for_body};

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
        let pongs = pings(&world.alice, "bob", &["-c", "1"]);
        let micros = pongs[0]["round_trip_us"].as_u64().unwrap_or_else(|| panic!("{pongs:?}"));
        println!("figure: {nats:?}: by the relay in {took:?}, back in {back:?}; round trip {micros} us");
        let words = world.bob.ok(["ping", "alice", "-c", "1"]).stdout;
        assert!(words.contains("alice answered in") && words.contains("relayed: https://203.0.113.1:"), "{words}");
        world.alice.run(["ping", "bob", "--until-direct", "-c", "2"]).expect_code(6).says(&["no direct way"]);
        assert!(status_of(&world.alice)["relayed"].as_u64().unwrap() >= 1);
        // Where she waits herself is known when all that goes by UDP was waited for.
        wait_for("status says where she waits, and how she is linked", || {
            let said = world.alice.ok(["status"]).stdout;
            said.contains("waits at") && said.contains("by a relay")
        });
        let id = send(&world.alice, "bob", "traced");
        wait_for("it is delivered", || state_of(&world.alice, &id) == "delivered");
        let trace = world.alice.json(["trace", &id]);
        let steps = trace["steps"].as_array().unwrap();
        assert!(steps.iter().any(|step| step["path"] == "relay"), "{trace}");
    }
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

/// As soon as one of two reaches the other by the relay, the other is reached, too: whether or not it has told anybody yet that it waits
/// there. And so it stays.
#[test]
fn d5_a_link_by_the_relay_alone_is_one_for_both() {
    let mut world = world!([Nat::NoUdp, Nat::NoUdp]);
    for _ in 0..2 {
        world.cold();
        delivered(&world.alice, &world.bob, "hello");
        wait_for("the relay is the way", || route(&pings(&world.alice, "bob", &["-c", "1"])) == "relayed");
        for _ in 0..5 {
            for (ctl, who) in [(&world.bob, "alice"), (&world.alice, "bob")] {
                let pongs = pings(ctl, who, &["-c", "1"]);
                assert!(pongs[0]["round_trip_us"].is_u64(), "{who}: {pongs:?}");
            }
        }
    }
}

/// Between an easy and a hard one there may be a direct way or not; what is written is there, and `ping` says by which it went.
#[test]
fn d5_an_easy_and_a_hard_one_reach_each_other_somehow() {
    for nats in [[Nat::Easy, Nat::Hard], [Nat::Hard, Nat::Easy]] {
        let mut world = world!(nats);
        world.cold();
        let took = delivered(&world.alice, &world.bob, "hello");
        let back = delivered(&world.bob, &world.alice, "hello yourself");
        let pongs = pings(&world.alice, "bob", &["-c", "3"]);
        println!("figure: {nats:?}: delivered in {took:?} after a cold start, back in {back:?}; {}", route(&pongs));
        assert!(["direct", "relayed"].contains(&route(&pongs)), "{pongs:?}");
        assert_eq!(bodies(&world.bob, "alice", 9), ["hello", "hello yourself"]);
    }
}
