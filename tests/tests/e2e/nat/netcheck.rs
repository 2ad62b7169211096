//! `netcheck` tells what each of these networks allows.

use serde_json::Value;
use tests::lab::{INTERNET, Nat};

use super::{World, world};
use crate::util::text;

/// What was found of a thing: in a word, and in words.
fn found<'f>(found: &'f Value, what: &str) -> (&'f str, &'f str) {
    let all = found["checks"].as_array().unwrap();
    let check = all.iter().find(|check| check["what"] == what).unwrap_or_else(|| panic!("{what}: {found:#}"));
    let is_timed = check["took_us"].as_u64().unwrap() > 0;
    assert!(is_timed || check["value"] != "yes" || what == "srv", "{check}");
    (text(&check["value"]), text(&check["text"]))
}

#[test]
fn d5_netcheck_tells_a_nat_and_that_udp_is_blocked() {
    let world: World = world!([Nat::Easy, Nat::NoUdp]);
    let hers = world.alice.json(["netcheck"]);
    println!("{}", world.alice.ok(["netcheck"]).stdout);
    let (value, words) = found(&hers, "udp");
    assert!(value == "yes" && words.contains("203.0.113.11:"), "by her router: {words}");
    for (what, expected) in [("nat", "easy"), ("ipv4", "yes"), ("ipv6", "no"), ("directory", "yes"), ("relay", "yes")] {
        assert_eq!(found(&hers, what).0, expected, "{what}: {hers:#}");
    }
    assert!(found(&hers, "relay").1.contains(INTERNET), "{hers:#}");
    let his = world.bob.json(["netcheck"]);
    let (value, words) = found(&his, "udp");
    assert!(value == "no" && words.contains("not answered") && words.contains("by the relay"), "{words}");
    for (what, expected) in [("nat", "unknown"), ("directory", "yes"), ("relay", "yes")] {
        assert_eq!(found(&his, what).0, expected, "{what}: {his:#}");
    }
}

#[test]
fn d5_netcheck_says_no_nat_is_easy_that_it_does_not_know() {
    let world: World = world!([Nat::Hard, Nat::Easy]);
    let hers = world.alice.json(["netcheck"]);
    assert_eq!((found(&hers, "udp").0, found(&hers, "nat").0), ("yes", "unknown"), "{hers:#}");
}
