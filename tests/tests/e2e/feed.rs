//! The live feed: `watch`, its numbers, and durable consumers.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::wait::wait_for;
use tests::{Pair, Stream};

use crate::util::{follow, send, text};

fn is_message(event: &Value) -> bool {
    event["type"] == "message.received"
}

fn next_bodies(watch: &mut Stream, count: usize) -> Vec<String> {
    (0..count).map(|_| text(&watch.until_json("a message", is_message)["message"]["body"]).to_owned()).collect()
}

#[test]
fn watch_shows_what_waits_and_then_follows() {
    let pair = Pair::start();
    pair.alice.ok(["send", "bob", "before", "--wait", "delivered"]);
    // What waits has no number: the one that it had is not that of an event to come.
    let mut json = pair.bob.stream(["watch", "--json"]);
    let waiting = json.next_json();
    assert_eq!((&waiting["message"]["body"], waiting.get("seq")), (&"before".into(), None));
    let mut watch = pair.bob.stream(["watch"]);
    watch.until("the unread message", |line| line.contains("before"));
    pair.alice.ok(["send", "bob", "during", "--wait", "delivered"]);
    watch.until("the live message", |line| line.contains("during"));
    let live = json.until_json("the live message", is_message);
    assert_eq!((&live["message"]["body"], live["seq"].is_u64()), (&"during".into(), true));
    assert_eq!(pair.bob.json(["unread"])["total"], 2, "printing does not mark as read");
    // One that skips what waits: its first line is one of those that come after it has subscribed.
    let mut new = pair.bob.stream(["watch", "--new"]);
    let mut first = None;
    wait_for("a new message is shown", || {
        send(&pair.alice, "bob", "after");
        first = new.next_line_within(Duration::from_millis(200));
        first.is_some()
    });
    assert!(first.unwrap().contains("after"));
}

#[test]
fn events_are_numbered_without_holes_and_can_be_read_again() {
    let pair = Pair::start();
    for number in 0..10 {
        pair.alice.ok(["send", "bob", &format!("{number}"), "--wait", "delivered"]);
    }
    let head = pair.bob.json(["status"])["accounts"][0]["seq"].as_u64().unwrap();
    let mut watch = pair.bob.stream(["watch", "--json", "--since", "0"]);
    let events: Vec<Value> = (0..head).map(|_| watch.next_json()).collect();
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=head).collect::<Vec<_>>());
    let received: Vec<&str> =
        events.iter().filter(|event| is_message(event)).map(|event| text(&event["message"]["body"])).collect();
    assert_eq!(received, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(events.iter().all(|event| event["account"] == "bob" && event["at"].is_string()));
    let middle = numbers[numbers.len() / 2];
    let mut again = pair.bob.stream(["watch", "--json", "--since", &middle.to_string()]);
    assert_eq!(again.next_json()["seq"], middle + 1);
}

#[test]
fn a_consumer_misses_nothing_across_restarts_of_reader_and_daemon() {
    let mut pair = Pair::start();
    let args = ["watch", "--json", "--consumer", "bot", "--ack", "printed", "--type", "message.received"];
    let mut seen = Vec::new();
    let mut sent = Vec::new();
    // A new consumer begins at the present.
    let mut watch = pair.bob.stream(args);
    wait_for("the consumer is subscribed", || {
        let body = format!("probe {}", sent.len());
        send(&pair.alice, "bob", &body);
        sent.push(body);
        watch.next_line_within(Duration::from_millis(500)).is_some_and(|line| {
            let event: Value = serde_json::from_str(&line).unwrap();
            let body = text(&event["message"]["body"]).to_owned();
            seen.push(body);
            true
        })
    });
    let first = sent.iter().position(|body| *body == seen[0]).unwrap();
    sent.drain(..first);
    seen.extend(next_bodies(&mut watch, sent.len() - 1));
    for round in 0..3 {
        // The reader goes, messages come, the daemon is killed, the reader comes back.
        watch.signal(Signal::SIGTERM);
        watch.wait();
        for number in 0..5 {
            let body = format!("{round}/{number}");
            pair.alice.ok(["send", "bob", &body, "--wait", "delivered"]);
            sent.push(body);
        }
        pair.bob_daemon().kill9();
        pair.bob_daemon().restart();
        watch = pair.bob.stream(args);
        while seen.len() < sent.len() {
            let body = next_bodies(&mut watch, 1).remove(0);
            // What was printed but not yet acknowledged may come again; nothing may be missing.
            if !seen.contains(&body) {
                seen.push(body);
            }
        }
        assert_eq!(seen, sent);
        // The daemon goes while the reader stays: it connects again by itself.
        pair.bob_daemon().kill9();
        pair.bob_daemon().restart();
        let body = format!("live {round}");
        pair.alice.ok(["send", "bob", &body, "--wait", "delivered"]);
        sent.push(body);
        while seen.len() < sent.len() {
            let body = next_bodies(&mut watch, 1).remove(0);
            if !seen.contains(&body) {
                seen.push(body);
            }
        }
        assert_eq!(seen, sent);
    }
}

#[test]
fn consumers_do_not_share_their_place() {
    let pair = Pair::start();
    let ack = ["watch", "--json", "--type", "message.received", "--ack", "printed", "--consumer"];
    let watch_as = |name: &'static str| pair.bob.stream(ack.into_iter().chain([name]));
    // A consumer exists from its first subscription on: make both, and end their first readers.
    for name in ["one", "two"] {
        let mut first = watch_as(name);
        wait_for("the consumer exists", || {
            send(&pair.alice, "bob", "probe");
            first.next_line_within(Duration::from_millis(200)).is_some()
        });
        first.signal(Signal::SIGTERM);
        first.wait();
    }
    let (mut one, mut two) = (watch_as("one"), watch_as("two"));
    pair.alice.ok(["send", "bob", "for both", "--wait", "delivered"]);
    for watch in [&mut one, &mut two] {
        watch.until_json("the message", |event| event["message"]["body"] == "for both");
    }
}

#[test]
fn watch_of_one_person_and_of_one_type() {
    let pair = Pair::start();
    let (_carol_daemon, carol) = pair.join("carol");
    tests::people::befriend(&carol, &pair.bob);
    let mut of_alice = follow(&pair.bob, &["alice"]);
    let mut states = follow(&pair.alice, &["--type", "message.state"]);
    carol.ok(["send", "bob", "from carol", "--wait", "delivered"]);
    let id = send(&pair.alice, "bob", "from alice");
    let event = of_alice.until_json("alice's message", is_message);
    assert_eq!(event["message"]["from"], "alice");
    let state = states.until_json("delivered", |event| event["state"] == "delivered");
    assert_eq!(state["id"], id.as_str());
    assert!(states.seen().iter().all(|line| line.contains("message.state")));
}

#[test]
fn a_reader_that_stops_reading_holds_nobody_up() {
    let pair = Pair::start();
    // Never read from here on: its pipe fills, then its socket.
    let _stuck = pair.bob.stream(["watch", "--json"]);
    let lines: Vec<String> = (0..3_000).map(|number| format!("{number} {}", "y".repeat(400))).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
    wait_for("all is delivered", || crate::util::status(&pair.alice)["queued"] == 0);
    assert_eq!(pair.bob.json(["unread"])["total"], 3_000);
}
