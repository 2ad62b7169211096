//! Asking, accepting, refusing, blocking, muting.

use std::time::Duration;

use chatd::store::contacts::requests;
use chatd::store::peers::{NewContact, names, trust};
use proto::ids::MessageId;
use proto::wire::payload::Kind;
use tests::people::{befriend, contact, contact_state, named};
use tests::wait::wait_for;
use tests::{Ctl, Pair};

use crate::util::{bodies, follow, send, somebody, state_of, text, wait_for_body};

fn asks(ctl: &Ctl, who: &str) -> bool {
    named(&ctl.list(["requests"], "contacts"), who).is_some()
}

#[test]
fn c4_request_accept_is_reported_to_the_asker() {
    let pair = Pair::strangers();
    let mut watch = follow(&pair.alice, &[]);
    pair.alice.ok(["add", "bob", "--message", "it is alice"]);
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    let request = named(&pair.bob.list(["requests"], "contacts"), "alice").cloned().unwrap();
    assert_eq!(request["message"], "it is alice");
    assert_eq!(contact_state(&pair.alice, "bob").as_deref(), Some("requested"));
    pair.bob.ok(["accept", "alice"]);
    let event = watch.until_json("contact.accepted", |event| event["type"] == "contact.accepted");
    assert_eq!(event["who"], "bob");
}

#[test]
fn c4_reject_is_reported_to_the_asker() {
    let pair = Pair::strangers();
    let mut watch = follow(&pair.alice, &[]);
    let id = send(&pair.alice, "bob", "secret before acceptance");
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    pair.bob.ok(["reject", "alice"]);
    let event = watch.until_json("contact.rejected", |event| event["type"] == "contact.rejected");
    assert_eq!(event["who"], "bob");
    wait_for("the message is rejected", || state_of(&pair.alice, &id) == "rejected");
    assert!(!asks(&pair.bob, "alice"));
}

#[test]
fn c4_an_answer_reaches_an_asker_who_crashed() {
    let mut pair = Pair::strangers();
    pair.alice.ok(["add", "bob"]);
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    pair.alice_daemon.kill9();
    pair.bob.ok(["accept", "alice"]);
    pair.alice_daemon.restart();
    wait_for("alice learns of it", || contact_state(&pair.alice, "bob").as_deref() == Some("accepted"));
    pair.alice.ok(["send", "bob", "back", "--wait", "delivered"]);
}

#[test]
fn c4_a_request_reaches_somebody_who_crashed() {
    let mut pair = Pair::strangers();
    pair.bob_daemon().kill9();
    let asked = pair.alice.run(["add", "bob"]);
    assert_eq!(asked.code, Some(0), "asking somebody who is away is no error: {asked:?}");
    pair.bob_daemon().restart();
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
}

#[test]
fn d2_a_message_waits_for_acceptance() {
    let pair = Pair::strangers();
    let mut watch = pair.bob.stream(["watch", "--json"]);
    let waiting = pair.alice.run(["send", "bob", "not before you accept"]).expect_code(0);
    assert!(waiting.stderr.contains("accept"), "says that it waits: {waiting:?}");
    let late = pair.alice.run(["send", "bob", "nor this", "--wait", "delivered", "--timeout", "1s"]).expect_code(6);
    assert!(!late.stderr.is_empty());
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    assert!(bodies(&pair.bob, "alice", 10).is_empty(), "a stranger's message is not shown");
    pair.bob.ok(["accept", "alice"]);
    wait_for_body(&pair.bob, "alice", "nor this");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["not before you accept", "nor this"]);
    watch.until("the released message", |line| line.contains("nor this"));
    // Up to the acceptance, the feed showed the request and nothing of the text.
    let request = watch.seen().iter().position(|line| line.contains("contact.request")).unwrap();
    let message = watch.seen().iter().position(|line| line.contains("not before you accept")).unwrap();
    assert!(request < message, "{:#?}", watch.seen());
}

#[test]
fn d2_two_simultaneous_requests() {
    let pair = Pair::strangers();
    let (_carol_daemon, carol) = pair.join("carol");
    std::thread::scope(|scope| {
        scope.spawn(|| pair.alice.ok(["add", "bob"]));
        scope.spawn(|| carol.ok(["add", "bob"]));
    });
    wait_for("both ask", || asks(&pair.bob, "alice") && asks(&pair.bob, "carol"));
    pair.bob.ok(["accept", "carol"]);
    pair.bob.ok(["reject", "alice"]);
    wait_for("carol is in", || contact_state(&carol, "bob").as_deref() == Some("accepted"));
    wait_for("alice is not", || contact_state(&pair.alice, "bob").as_deref() == Some("rejected"));
    carol.ok(["send", "bob", "hello from carol", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "carol", 5), ["hello from carol"]);
}

#[test]
fn d2_two_who_ask_each_other_are_contacts() {
    let pair = Pair::strangers();
    std::thread::scope(|scope| {
        scope.spawn(|| pair.alice.ok(["add", "bob"]));
        scope.spawn(|| pair.bob.ok(["add", "alice"]));
    });
    wait_for("both are contacts", || {
        // Whether the requests crossed or one came first, an acceptance or two may be left to give.
        for (ctl, other) in [(&pair.alice, "bob"), (&pair.bob, "alice")] {
            if asks(ctl, other) {
                ctl.run(["accept", other]);
            }
        }
        contact_state(&pair.alice, "bob").as_deref() == Some("accepted")
            && contact_state(&pair.bob, "alice").as_deref() == Some("accepted")
    });
    pair.alice.ok(["send", "bob", "crossed", "--wait", "delivered"]);
}

#[test]
fn e1_add_is_idempotent_and_unknown_is_not_found() {
    let pair = Pair::strangers();
    for _ in 0..3 {
        pair.alice.ok(["add", "bob"]);
    }
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    assert_eq!(pair.bob.list(["requests"], "contacts").len(), 1, "once");
    pair.bob.ok(["accept", "alice"]);
    wait_for("accepted", || contact_state(&pair.alice, "bob").as_deref() == Some("accepted"));
    pair.alice.ok(["add", "bob"]);
    assert_eq!(contact_state(&pair.alice, "bob").as_deref(), Some("accepted"), "asking a contact changes nothing");
    pair.alice.run(["add", "nobody"]).expect_code(1).says(&["nobody"]);
    pair.alice.run(["add", "alice"]).expect_code(2).says(&["yourself"]);
}

#[test]
fn b4_block_works_in_both_directions_and_survives_a_restart() {
    let mut pair = Pair::start();
    pair.bob.ok(["block", "alice"]);
    pair.bob.run(["send", "alice", "from the blocker"]).expect_code(7);
    pair.bob_daemon().restart();
    assert_eq!(contact(&pair.bob, "alice").unwrap()["blocked"], true);
    let id = send(&pair.alice, "bob", "into the wall");
    pair.alice.run(["send", "bob", "again", "--wait", "delivered", "--timeout", "2s"]).expect_code(6);
    assert_ne!(state_of(&pair.alice, &id), "delivered");
    assert!(bodies(&pair.bob, "alice", 10).is_empty());
    pair.bob.ok(["unblock", "alice"]);
    wait_for_body(&pair.bob, "alice", "again");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["into the wall", "again"], "what waited comes, in order, once");
    pair.bob.ok(["send", "alice", "friends again", "--wait", "delivered"]);
}

#[test]
fn b5_mute_keeps_everything_and_rings_nothing() {
    let pair = Pair::start();
    let mut watch = follow(&pair.bob, &[]);
    pair.bob.ok(["mute", "alice", "1h"]);
    let until = contact(&pair.bob, "alice").unwrap()["muted_until"].clone();
    assert!(until.is_string(), "shown as muted");
    pair.alice.ok(["send", "bob", "quietly", "--wait", "delivered"]);
    let event = watch.until_json("the message", |event| event["type"] == "message.received");
    assert_eq!(event["muted"], true);
    assert_eq!(event["message"]["body"], "quietly", "nothing is lost");
    assert_eq!(contact(&pair.bob, "alice").unwrap()["unread"], 1);
    pair.bob.ok(["unmute", "alice"]);
    pair.alice.ok(["send", "bob", "loudly", "--wait", "delivered"]);
    let event = watch.until_json("the next message", |event| event["message"]["body"] == "loudly");
    assert!(event.get("muted").is_none_or(|muted| muted == false), "{event}");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["quietly", "loudly"]);
}

#[test]
fn b5_mute_ends_by_itself() {
    let pair = Pair::start();
    pair.bob.ok(["mute", "alice", "1s"]);
    wait_for("the muting ends", || contact(&pair.bob, "alice").unwrap().get("muted_until").is_none());
    let mut watch = follow(&pair.bob, &[]);
    pair.alice.ok(["send", "bob", "after", "--wait", "delivered"]);
    let event = watch.until_json("the message", |event| event["message"]["body"] == "after");
    assert!(event.get("muted").is_none_or(|muted| muted == false), "{event}");
    let mute = pair.bob.run(["mute", "alice", "soon"]).expect_code(2);
    assert!(mute.stderr.contains("30s"), "says what a duration looks like: {mute:?}");
}

#[test]
fn remove_ends_it_on_both_sides_and_keeps_history() {
    let pair = Pair::start();
    pair.alice.ok(["send", "bob", "remember me", "--wait", "delivered"]);
    pair.alice.ok(["remove", "bob"]);
    wait_for("bob learns", || contact_state(&pair.bob, "alice").as_deref() != Some("accepted"));
    assert_eq!(bodies(&pair.alice, "bob", 5), ["remember me"]);
    assert_eq!(bodies(&pair.bob, "alice", 5), ["remember me"]);
    befriend(&pair.bob, &pair.alice);
    pair.bob.ok(["send", "alice", "again", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.alice, "bob", 5), ["remember me", "again"]);
}

#[test]
fn rename_gives_a_label_that_can_be_used() {
    let pair = Pair::start();
    pair.alice.ok(["rename", "bob", "Bobby"]);
    pair.alice.ok(["send", "Bobby", "by label", "--wait", "delivered"]);
    wait_for_body(&pair.bob, "alice", "by label");
    assert_eq!(contact(&pair.alice, "bob").unwrap()["label"], "Bobby");
}

#[test]
fn safety_numbers_agree_and_verify() {
    let pair = Pair::start();
    let number = |ctl: &Ctl, who: &str| text(&ctl.json(["verify", who])["safety_number"]).to_owned();
    let (of_alice, of_bob) = (number(&pair.alice, "bob"), number(&pair.bob, "alice"));
    assert_eq!(of_alice, of_bob, "both sides see the same number");
    assert_eq!(of_alice.chars().filter(char::is_ascii_digit).count(), 60);
    assert_eq!(contact(&pair.alice, "bob").unwrap()["trust"], "unverified");
    let digit = if of_alice.starts_with('1') { "2" } else { "1" };
    let wrong = format!("{digit}{}", &of_alice[1..]);
    pair.alice.run(["verify", "bob", &wrong]).expect_code(4);
    assert_eq!(contact(&pair.alice, "bob").unwrap()["trust"], "unverified");
    pair.alice.ok(["verify", "bob", &of_alice]);
    assert_eq!(contact(&pair.alice, "bob").unwrap()["trust"], "verified");
}

#[test]
fn an_asker_is_limited_and_told_so() {
    let pair = Pair::strangers();
    // Three requests an hour for one identity: more are refused or kept back, and never shown twice.
    for _ in 0..6 {
        let asked = pair.alice.run(["add", "bob", "--message", "again"]);
        assert!(matches!(asked.code, Some(0 | 5)), "{asked:?}");
    }
    wait_for("bob is asked", || asks(&pair.bob, "alice"));
    assert_eq!(pair.bob.list(["requests"], "contacts").len(), 1);
    pair.bob.ok(["reject", "alice"]);
    let patience = Duration::from_secs(1);
    assert!(follow(&pair.bob, &[]).next_line_within(patience).is_none(), "bob has his peace");
}

#[test]
fn what_a_removal_gives_up_is_said_as_it_is() {
    an_end_while_a_copy_is_out("remove", "contact_removed", "you removed the contact");
}

#[test]
fn what_a_block_gives_up_is_said_as_it_is() {
    an_end_while_a_copy_is_out("block", "blocked", "you blocked the contact");
}

fn an_end_while_a_copy_is_out(verb: &str, cause: &str, words: &str) {
    let mut pair = Pair::start();
    let mut watch = follow(&pair.alice, &["--type", "message.state"]);
    pair.bob_daemon().stop();
    let left = send(&pair.alice, "bob", "lies in the mailbox");
    wait_for("it is in the mailbox", || state_of(&pair.alice, &left) == "mailboxed");
    pair.directory.stop();
    let kept = send(&pair.alice, "bob", "goes nowhere");
    pair.alice.ok([verb, "bob"]);
    let (out, in_hand) = (format!("{cause}_copy_may_arrive"), cause.to_owned());
    let trace = |id: &str| pair.alice.json(["trace", id]);
    for (id, reason, says) in [(&left, out.as_str(), "bob may get it"), (&kept, &in_hand, "it will not be sent")] {
        let told = trace(id);
        assert_eq!((text(&told["state"]), text(&told["reason"])), ("withdrawn", reason), "{told}");
        assert!(text(&told["next"]).contains(says), "{told}");
        let event = watch.until_json("the end", |event| event["id"] == id.as_str() && event["state"] == "withdrawn");
        assert_eq!(event["reason"], reason);
    }
    let history = pair.alice.ok(["history", "bob"]).stdout;
    assert!(history.contains(&format!("(withdrawn: {words}; a copy had left before")), "{history}");
    assert!(!history.contains("reject"), "nobody refused anything: {history}");
    // Told of it before he looks into his mailbox, bob would not take it from there.
    pair.alice_daemon.stop();
    pair.directory.restart();
    pair.bob_daemon().restart();
    // It was true.
    wait_for_body(&pair.bob, "alice", "lies in the mailbox");
    assert_eq!(bodies(&pair.bob, "alice", 9), ["lies in the mailbox"]);
}

/// 3,400 contacts made an answer of over 1 MiB, which no frame holds: each of these failed.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_contacts_are_read_whole_by_pages() {
    const MANY: usize = 3_400;
    let mut pair = Pair::start();
    pair.alice_daemon.stop();
    let folder = std::fs::read_dir(pair.alice_daemon.data_dir().join("accounts")).unwrap().next().unwrap().unwrap();
    let indexer = chatd::store::history::search::Indexer::start();
    let store = chatd::store::Store::open(&folder.path(), &indexer).unwrap();
    let rows: Vec<NewContact> = (0..MANY).map(somebody).collect();
    let text = "let me in ".repeat(40);
    let written = store.write(move |tx| {
        for row in &rows {
            let contact = trust::upsert_contact(tx, row)?;
            names::confirm_name(tx, contact, &row.name, &row.origin)?;
            requests::contact_signal(tx, contact, Kind::ContactRequest, MessageId::now(), &text, Some(&[7; 32]))?;
        }
        Ok(())
    });
    written.await.unwrap();
    store.close().await;
    drop((store, indexer));
    pair.alice_daemon.restart();
    let alice = &pair.alice;
    for (verb, count) in [("contacts", MANY + 1), ("requests", MANY)] {
        let list = alice.list([verb], "contacts");
        let names: std::collections::BTreeSet<_> = list.iter().map(|row| text_of(row, "account")).collect();
        assert_eq!((list.len(), names.len()), (count, count), "{verb}");
        let page = alice.ok([verb]).stdout;
        assert!(page.contains("user0") && page.contains(&format!("user{}", MANY - 1)), "{verb}");
    }
    let mut watch = follow(alice, &[]);
    pair.bob.ok(["send", "alice", "among thousands", "--wait", "delivered"]);
    watch.until_json("it", |event| event["message"]["body"] == "among thousands");
    assert!(alice.ok(["search", "among thousands"]).stdout.contains("among thousands"));
    let chat = alice.run_with(["chat", "bob"], b"and back\n").expect_code(0);
    assert!(chat.stdout.contains("among thousands"), "{chat:?}");
    wait_for_body(&pair.bob, "alice", "and back");
    alice.ok(["accept", "user3399@example.org"]);
}

fn text_of(row: &serde_json::Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}
