//! Who is online, and how soon others know.

use std::time::{Duration, Instant};

use crate::util::follow;
use serde_json::Value;
use tests::people::{contact, named};
use tests::wait::{wait_for, wait_within};
use tests::{Ctl, Pair};

/// What a user may count on after a crash.
const CRASH: Duration = Duration::from_secs(30);
/// A clean exit is noticed at once; this is what "at once" may take on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn online(ctl: &Ctl, who: &str) -> Option<bool> {
    contact(ctl, who)?.get("online").and_then(Value::as_bool)
}

/// Waits until `who` is shown online or offline; returns how long it took.
async fn until_online(ctl: &Ctl, who: &str, wanted: bool, within: Duration) -> Duration {
    let since = Instant::now();
    let what = format!("{} sees {who} {}", ctl.name(), if wanted { "online" } else { "offline" });
    wait_within(within, &what, || async { (online(ctl, who) == Some(wanted)).then_some(()) }).await;
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_clean_exit_is_seen_at_once() {
    let mut pair = Pair::start();
    until_online(&pair.alice, "bob", true, CRASH).await;
    pair.bob_daemon().stop();
    until_online(&pair.alice, "bob", false, AT_ONCE).await;
    pair.bob_daemon().restart();
    until_online(&pair.alice, "bob", true, CRASH).await;
    pair.bob.ok(["logout"]);
    until_online(&pair.alice, "bob", false, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_crash_is_seen_within_30_seconds() {
    let mut pair = Pair::start();
    until_online(&pair.alice, "bob", true, CRASH).await;
    let mut watch = follow(&pair.alice, &["--type", "presence"]);
    pair.bob_daemon().kill9();
    until_online(&pair.alice, "bob", false, CRASH).await;
    let event = watch.until_json("bob going", |event| event["type"] == "presence" && event["online"] == false);
    assert_eq!(event["who"], "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_everybody_reappears_after_a_restart_of_the_directory() {
    let mut pair = Pair::start();
    until_online(&pair.alice, "bob", true, CRASH).await;
    pair.directory.kill9();
    wait_for("alice notices", || crate::util::status(&pair.alice)["online"] == false);
    assert!(crate::util::status(&pair.alice)["directory_error"].is_string(), "and status says what is wrong");
    pair.directory.restart();
    let both = || {
        let users = pair.alice.run(["users", "--json", "--online"]);
        let users: Value = serde_json::from_str(&users.stdout).unwrap_or_default();
        let users = users["users"].as_array().cloned().unwrap_or_default();
        named(&users, "alice").is_some() && named(&users, "bob").is_some()
    };
    wait_within(Duration::from_secs(70), "both are online again", || async { both().then_some(()) }).await;
    until_online(&pair.alice, "bob", true, CRASH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_killed_client_is_offline_in_the_directory() {
    let mut pair = Pair::start();
    let (_carol_daemon, carol) = pair.join("carol");
    pair.bob_daemon().kill9();
    let listed = || named(&carol.list(["users", "--online"], "users"), "bob").is_some();
    wait_within(CRASH, "the directory lists bob as offline", || async { (!listed()).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_directory_and_connected_peers_notice_a_crash() {
    let mut pair = Pair::start();
    pair.alice.ok(["send", "bob", "connected", "--wait", "delivered"]);
    until_online(&pair.alice, "bob", true, CRASH).await;
    pair.bob_daemon().kill9();
    until_online(&pair.alice, "bob", false, CRASH).await;
    let listed = || named(&pair.alice.list(["users", "--online"], "users"), "bob").is_some();
    wait_within(CRASH, "the directory knows", || async { (!listed()).then_some(()) }).await;
    let id = crate::util::send(&pair.alice, "bob", "while you were away");
    pair.bob_daemon().restart();
    wait_for("it arrives", || crate::util::state_of(&pair.alice, &id) == "delivered");
}

#[test]
fn strangers_learn_nothing() {
    let pair = Pair::strangers();
    pair.alice.ok(["add", "bob"]);
    let seen = contact(&pair.alice, "bob").unwrap();
    assert!(seen.get("online").is_none_or(Value::is_null), "who was only asked tells no presence: {seen}");
}
