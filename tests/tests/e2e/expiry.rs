//! Messages that end by themselves, by their sender's wish only; and read receipts that are not wanted.

use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Ctl, Pair};

use crate::util::{bodies, follow, send, state_of, text, wait_for_body};

#[track_caller]
fn wait_for_state(ctl: &Ctl, id: &str, state: &str) {
    wait_for(&format!("{id} is {state}"), || state_of(ctl, id) == state);
}

#[test]
fn a_message_ends_by_its_senders_wish_and_says_so() {
    let pair = Pair::strangers();
    let mut events = follow(&pair.alice, &["--type", "message.state"]);
    let kept = send(&pair.alice, "bob", "I can wait");
    let short = text(&pair.alice.json(["send", "bob", "now or never", "--lifetime", "1s"])["id"]).to_owned();
    wait_for_state(&pair.alice, &short, "expired");
    let event = events.until_json("the end is told", |event| event["state"] == "expired");
    assert_eq!((event["id"].as_str(), event["reason"].as_str()), (Some(short.as_str()), Some("lifetime_ended")));
    let trace = pair.alice.json(["trace", &short]);
    assert_eq!(trace["reason"], "lifetime_ended");
    let last = trace["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["what"], "expired");
    let history = pair.alice.list(["history", "bob"], "messages");
    assert_eq!(history[1]["state"], "expired");
    assert_eq!(history[1]["state_at"], last["at"]);
    assert_eq!(state_of(&pair.alice, &kept), "queued", "without a lifetime nothing ends");
    // A wait for it ends with the end, not with the timeout.
    let waited = pair.alice.run(["send", "bob", "x", "--lifetime", "1s", "--wait", "delivered", "--timeout", "60s"]);
    waited.expect_code(1).says(&["expired"]);
    // Whoever accepts now sees no hole.
    befriend(&pair.alice, &pair.bob);
    wait_for_body(&pair.bob, "alice", "I can wait");
    pair.alice.ok(["send", "bob", "and on", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "alice", 10), ["I can wait", "and on"]);
}

#[test]
fn a_copy_in_a_mailbox_may_still_arrive_and_that_is_said() {
    let mut pair = Pair::start();
    assert_eq!(pair.alice.json(["settings", "--lifetime", "2s"])["lifetime"], 2);
    pair.bob_daemon().stop();
    let id = send(&pair.alice, "bob", "hello");
    let never = text(&pair.alice.json(["send", "bob", "stays", "--lifetime", "never"])["id"]).to_owned();
    wait_for_state(&pair.alice, &id, "expired");
    let reason = text(&pair.alice.json(["trace", &id])["reason"]).to_owned();
    assert!(["lifetime_ended", "copy_may_arrive"].contains(&reason.as_str()), "{reason}");
    assert!(["queued", "mailboxed"].contains(&state_of(&pair.alice, &never).as_str()));
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "stays");
    // Either it did not arrive, or alice knows that it did; never both "expired" and shown for long.
    wait_for("what is told is what is so", || {
        let shown = bodies(&pair.bob, "alice", 10).contains(&"hello".to_owned());
        (state_of(&pair.alice, &id) != "expired") == shown || reason == "copy_may_arrive"
    });
}

#[test]
fn a_clock_that_jumps_ends_nothing() {
    let mut pair = Pair::strangers();
    let clock = pair.alice_daemon.home().join("clock");
    std::fs::write(&clock, "0").unwrap();
    let variable = ("CHATD_CLOCK_FILE".to_owned(), clock.display().to_string());
    pair.alice_daemon.restart_with(|options| options.env.push(variable));
    let id = text(&pair.alice.json(["send", "bob", "hello", "--lifetime", "1h"])["id"]).to_owned();
    for seconds in ["315576000", "-315576000", "0"] {
        for restart in [false, true] {
            std::fs::write(&clock, seconds).unwrap();
            if restart {
                pair.alice_daemon.restart();
            }
            // The control: what really is over does end, and so the clock was looked at.
            let short = text(&pair.alice.json(["send", "bob", "tick", "--lifetime", "1s"])["id"]).to_owned();
            wait_for_state(&pair.alice, &short, "expired");
            assert_eq!(state_of(&pair.alice, &id), "queued", "{seconds} s off, restarted: {restart}");
        }
    }
}

#[test]
fn a_read_receipt_that_is_not_wanted_is_not_sent() {
    let pair = Pair::start();
    let settings = pair.bob.json(["settings", "--read-receipts", "off"]);
    assert_eq!(settings["read_receipts"], false);
    let first = send(&pair.alice, "bob", "one");
    wait_for_body(&pair.bob, "alice", "one");
    assert_eq!(pair.bob.json(["read", "alice"])["marked"], 1, "read here all the same");
    wait_for_state(&pair.alice, &first, "delivered");
    // A message of bob's comes after whatever he had to say before it.
    pair.bob.ok(["send", "alice", "no receipt", "--wait", "delivered"]);
    assert_eq!(state_of(&pair.alice, &first), "delivered");
    pair.bob.ok(["settings", "--read-receipts", "on"]);
    let second = send(&pair.alice, "bob", "two");
    wait_for_body(&pair.bob, "alice", "two");
    pair.bob.ok(["read", "alice"]);
    wait_for_state(&pair.alice, &second, "read");
}
