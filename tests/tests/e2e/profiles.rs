//! Profiles and who sees them.

use crate::util::follow;
use tests::Pair;
use tests::wait::wait_for;

#[test]
fn a11_contacts_see_profile_and_status() {
    let pair = Pair::start();
    let mut watch = follow(&pair.bob, &[]);
    pair.alice.ok(["profile", "set", "--status", "on a boat", "--display-name", "Alice A.", "--bio", "likes boats"]);
    watch.until_json("the change", |event| event["type"] == "contact.profile" && event["who"] == "alice");
    let seen = pair.bob.json(["profile", "show", "alice"]);
    assert_eq!(seen["status"], "on a boat");
    assert_eq!(seen["display_name"], "Alice A.");
    assert_eq!(seen["bio"], "likes boats");
    pair.alice.ok(["profile", "set", "--status", "ashore"]);
    wait_for("bob sees the new status", || pair.bob.json(["profile", "show", "alice"])["status"] == "ashore");
    assert_eq!(pair.alice.json(["profile", "show"])["bio"], "likes boats", "what is left out stays");
}

#[test]
fn a11_a_change_reaches_a_contact_who_was_away() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    pair.alice.ok(["profile", "set", "--status", "changed meanwhile"]);
    pair.bob_daemon().restart();
    wait_for("bob sees it", || pair.bob.json(["profile", "show", "alice"])["status"] == "changed meanwhile");
}

#[test]
fn a11_limits_are_told() {
    let pair = Pair::strangers();
    for (field, bytes) in [("--display-name", 128), ("--status", 256), ("--bio", 1_024)] {
        pair.alice.ok(["profile", "set", field, &"x".repeat(bytes)]);
        pair.alice.run(["profile", "set", field, &"x".repeat(bytes + 1)]).expect_code(1).says(&["bytes"]);
    }
    // Strangers see nothing of it.
    let refused = pair.bob.run(["profile", "show", "alice"]);
    assert!(refused.code == Some(1), "{refused:?}");
}
