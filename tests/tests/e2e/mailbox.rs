//! Whoever is offline has a mailbox: senders may leave for good, and nobody has to be there at the same time.

use std::sync::Arc;

use proto::wire::frame::Frame;
use tests::http::Http;
use tests::people::{befriend, contact_state};
use tests::wait::{DEADLINE, wait_for, wait_within};
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions, Pair};

use crate::hostile_peer::Mallory;
use crate::util::{bodies, send, state_of, status, text, wait_for_body};

/// Details of a message's trace, in one text.
#[track_caller]
fn trace(ctl: &Ctl, id: &str) -> String {
    ctl.json(["trace", id])["steps"].to_string()
}

/// Whether a directory has taken so many deposits at least.
pub fn has_deposits(directory: &Directory, count: usize) -> bool {
    let log = directory.log_text();
    log.lines().filter(|line| line.contains("done operation=deposit ") && line.contains("status=201")).count() >= count
}

/// Why a message is in its state; empty if nothing is said.
#[track_caller]
fn reason(ctl: &Ctl, id: &str) -> String {
    ctl.json(["trace", id])["reason"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_for_state(ctl: &Ctl, id: &str, state: &str) {
    wait_for(&format!("{id} is {state}"), || state_of(ctl, id) == state);
}

#[test]
fn a9_the_sender_leaves_for_good_and_the_receiver_is_killed_five_times() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let lines: Vec<String> = (0..200).map(|number| format!("message {number} {}", "x".repeat(300))).collect();
    for part in lines.chunks(20) {
        pair.alice.run_with(["send", "bob", "--stdin-lines"], part.join("\n").as_bytes()).expect_code(0);
    }
    let last = send(&pair.alice, "bob", "the last");
    wait_for_state(&pair.alice, &last, "mailboxed");
    assert_eq!(status(&pair.alice)["queued"], 201, "a mailbox is not the end: nothing left the outbox");
    let history = pair.alice.list(["history", "bob", "-n", "300"], "messages");
    assert!(history.iter().all(|message| message["state"] == "mailboxed"), "{:?}", history.first());
    pair.alice_daemon.stop();
    for round in 0..5 {
        pair.bob_daemon().restart();
        wait_for("some of it came", || bodies(&pair.bob, "alice", 1_000).len() > round);
        pair.bob_daemon().kill9();
    }
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "the last");
    let expected: Vec<String> = lines.into_iter().chain(["the last".to_owned()]).collect();
    assert_eq!(bodies(&pair.bob, "alice", 1_000), expected, "200 of 200, in order, once");
    // Bob leaves as well; that it arrived is told all the same.
    wait_for("bob's mailbox holds the acknowledgement for alice", || status(&pair.bob)["queued"] == 0);
    pair.alice_daemon.restart();
    wait_for_state(&pair.alice, &last, "delivered");
    wait_for("everything is acknowledged", || status(&pair.alice)["queued"] == 0);
}

#[test]
fn two_who_are_never_online_together() {
    let mut pair = Pair::strangers();
    pair.bob_daemon().stop();
    pair.alice.ok(["send", "bob", "hello from alice"]);
    wait_for("the request lies in bob's mailbox", || has_deposits(&pair.directory, 1));
    pair.alice_daemon.stop();
    pair.bob_daemon().restart();
    wait_for("bob sees the request", || !pair.bob.list(["requests"], "contacts").is_empty());
    pair.bob.ok(["accept", "alice"]);
    let id = send(&pair.bob, "alice", "hello from bob");
    wait_for_state(&pair.bob, &id, "mailboxed");
    pair.bob_daemon().stop();
    pair.alice_daemon.restart();
    wait_for_body(&pair.alice, "bob", "hello from bob");
    assert_eq!(contact_state(&pair.alice, "bob").as_deref(), Some("accepted"));
    let history = pair.alice.list(["history", "bob"], "messages");
    let first = text(&history[0]["id"]).to_owned();
    wait_for_state(&pair.alice, &first, "mailboxed");
    pair.alice_daemon.stop();
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "hello from alice");
    // Alice's acknowledgement came in the same envelope, or in one of its own.
    wait_for_state(&pair.bob, &id, "delivered");
    wait_for("bob's acknowledgement is on its way", || trace(&pair.bob, &id).contains("delivered"));
    pair.bob_daemon().stop();
    pair.alice_daemon.restart();
    wait_for_state(&pair.alice, &first, "delivered");
}

#[test]
fn both_ways_at_once_change_neither_order_nor_number() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let mut all = Vec::new();
    for round in 0..4 {
        let lines: Vec<String> = (0..50).map(|number| format!("{round}.{number}")).collect();
        pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
        all.extend(lines);
        if round % 2 == 0 {
            // The mailbox is emptied while alice dials and sends the same again.
            pair.bob_daemon().restart();
        } else {
            pair.bob_daemon().kill9();
        }
    }
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "3.49");
    assert_eq!(bodies(&pair.bob, "alice", 1_000), all);
}

#[test]
fn a_full_mailbox_is_told_and_evicts_nothing() {
    let options = DirectoryOptions { config: Some("mailbox_envelopes = 3\n".into()), ..DirectoryOptions::default() };
    let mut pair = Pair::strangers_with("", options);
    befriend(&pair.alice, &pair.bob);
    pair.bob_daemon().stop();
    let mut ids = Vec::new();
    for number in 0..3 {
        let id = send(&pair.alice, "bob", &format!("fits {number}"));
        wait_for_state(&pair.alice, &id, "mailboxed");
        ids.push(id);
    }
    let over = send(&pair.alice, "bob", "one too many");
    wait_for("alice is told that it is full", || reason(&pair.alice, &over).starts_with("mailbox_full"));
    assert_eq!(state_of(&pair.alice, &over), "queued", "it waits here");
    assert!(ids.iter().all(|id| state_of(&pair.alice, id) == "mailboxed"));
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "one too many");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["fits 0", "fits 1", "fits 2", "one too many"]);
}

#[test]
fn a_revoked_token_is_told() {
    let mut pair = Pair::start();
    pair.alice_daemon.stop();
    pair.bob.ok(["remove", "alice"]);
    wait_for("the word of it lies in alice's mailbox", || has_deposits(&pair.directory, 1));
    pair.bob_daemon().stop();
    pair.alice_daemon.restart();
    wait_for("alice hears of it", || contact_state(&pair.alice, "bob").as_deref() != Some("accepted"));
    // A block is told to nobody; what is left for bob after it is refused, and waits.
    let mut pair = Pair::start();
    pair.alice_daemon.stop();
    pair.bob.ok(["block", "alice"]);
    pair.bob_daemon().stop();
    pair.alice_daemon.restart();
    let id = send(&pair.alice, "bob", "are you there?");
    wait_for("alice is told", || reason(&pair.alice, &id).starts_with("token_revoked"));
    assert_eq!(state_of(&pair.alice, &id), "queued");
}

#[test]
fn a_directory_restored_from_an_old_backup_is_noticed_and_given_again_what_it_lost() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let early = send(&pair.alice, "bob", "early");
    wait_for_state(&pair.alice, &early, "mailboxed");
    pair.directory.stop();
    let data = pair.directory.data_dir();
    let files = ["directory.db", "directory.db-wal", "directory.db-shm"];
    let backup = files.map(|file| std::fs::read(data.join(file)).ok());
    pair.directory.restart();
    // The count of sessions tells, so there must be one.
    wait_for("alice has a session again", || {
        let log = pair.directory.log_text();
        log.lines().any(|line| line.contains("begun") && line.contains("counter=2"))
    });
    wait_for("and knows it", || pair.alice_daemon.log_text().contains("session_counter=2"));
    let ids: Vec<String> = (0..3).map(|n| send(&pair.alice, "bob", &format!("lost {n}"))).collect();
    ids.iter().for_each(|id| wait_for_state(&pair.alice, id, "mailboxed"));
    pair.directory.stop();
    for (file, bytes) in files.iter().zip(backup) {
        let _ = std::fs::remove_file(data.join(file));
        if let Some(bytes) = bytes {
            std::fs::write(data.join(file), bytes).unwrap();
        }
    }
    pair.directory.restart();
    let told = |id: &String| trace(&pair.alice, id).contains("mailbox_restored");
    wait_for("alice is told what was lost", || ids.iter().all(told));
    ids.iter().for_each(|id| wait_for_state(&pair.alice, id, "mailboxed"));
    pair.alice_daemon.stop();
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "lost 2");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["early", "lost 0", "lost 1", "lost 2"]);
}

#[test]
fn what_lay_there_for_its_whole_time_is_put_there_again() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let id = send(&pair.alice, "bob", "for a week");
    wait_for_state(&pair.alice, &id, "mailboxed");
    pair.alice_daemon.stop();
    let clock = pair.alice_daemon.home().join("clock");
    std::fs::write(&clock, (8 * 86_400).to_string()).unwrap();
    let clock = ("CHATD_CLOCK_FILE".to_owned(), clock.display().to_string());
    pair.alice_daemon.restart_with(|options| options.env.push(clock));
    wait_for("alice is told", || trace(&pair.alice, &id).contains("mailbox_time_over"));
    wait_for_state(&pair.alice, &id, "mailboxed");
    pair.alice_daemon.stop();
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "for a week");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["for a week"], "once, though it lay there twice");
}

/// Alice in a.test, bob in b.test, who takes requests of anybody.
#[test]
fn mail_crosses_domains() {
    let at = |origin: &str, place: Option<Arc<tests::place::Place>>| {
        let options = DirectoryOptions { place, ..DirectoryOptions::default() };
        Directory::start_with(options.args(&["--origin", origin]))
    };
    let (here, there) = (at("a.test", None), at("b.test", None));
    let config =
        |origin: &str, url: &str| format!("first_contact = \"open\"\n[directories]\n\"{origin}\" = \"{url}\"\n");
    let start = |name: &str, home: &Directory, config: String| {
        Daemon::start(DaemonOptions::new(name, home.url()).place(home.place()).config(&config))
    };
    let mut alices = start("alice", &here, config("b.test", there.url()));
    let mut bobs = start("bob", &there, config("a.test", here.url()));
    let (alice, bob) = (alices.ctl("alice"), bobs.ctl("bob"));
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    bobs.stop();
    let id = send(&alice, "bob@b.test", "across");
    wait_for("the request lies in b.test", || has_deposits(&there, 1));
    alices.stop();
    bobs.restart();
    wait_for("bob sees who asks", || !bob.list(["requests"], "contacts").is_empty());
    bob.ok(["accept", "alice@a.test"]);
    wait_for("the acceptance lies in a.test", || has_deposits(&here, 1));
    alices.restart();
    wait_for_state(&alice, &id, "delivered");
    bobs.stop();
    let id = send(&alice, "bob@b.test", "into the mailbox");
    wait_for_state(&alice, &id, "mailboxed");
    alices.stop();
    bobs.restart();
    wait_for_body(&bob, "alice@a.test", "into the mailbox");
    assert_eq!(bodies(&bob, "alice@a.test", 10), ["across", "into the mailbox"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_mailbox_while_a_link_stands_is_acknowledged_on_it() {
    const EPOCH: u64 = 77;
    // Open, so that a deposit needs no member.
    let mut pair = Pair::strangers_with("first_contact = 'open'\n", DirectoryOptions::default());
    befriend(&pair.alice, &pair.bob);
    pair.alice_daemon.stop();
    // Somebody with alice's keys, who does what her daemon may do: a link, and an envelope that took the other way.
    let alice = Mallory::with_keys_of(&pair.alice_daemon.data_dir(), pair.bob_daemon());
    let mut link = alice.link().await.unwrap();
    assert!(link.send(link.resume()).await);
    link.settled().await;
    let Frame::Envelope { outer, .. } = link.envelope(1, &[link.text(EPOCH, 1, "by mail")]) else { unreachable!() };
    let mut http = Http::connect(pair.directory.address()).await.unwrap();
    let path = format!("/v1/mailbox/{}", link.victim);
    assert_eq!(http.request("POST", &path, "", Some(&outer)).await.unwrap().status, 201);
    let bob = pair.bob.clone();
    tokio::task::spawn_blocking(move || wait_for_body(&bob, "alice", "by mail")).await.unwrap();
    wait_within(DEADLINE, "it is acknowledged", async || link.is_acknowledged(EPOCH).then_some(())).await;
    link.close().await;
}
