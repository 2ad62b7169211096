//! Registering, logging in and out, giving a name up.

use tests::people::{befriend, contact_state, named};
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, Pair};

use crate::util::{send, status, text, wait_for_body};

#[test]
fn a1_register_and_publish_again_from_a_new_address() {
    let mut pair = Pair::start();
    let before = pair.alice_daemon.ready_value("addresses").unwrap().to_owned();
    pair.alice_daemon.stop();
    // The port of last time is taken by somebody else meanwhile.
    let port = before.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let _taken = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    pair.alice_daemon.restart();
    assert_ne!(pair.alice_daemon.ready_value("addresses").unwrap(), before, "then any other will do");
    // Bob's daemon knows the old address only; the directory and the link have to tell the new one.
    pair.bob.ok(["send", "alice", "found you", "--wait", "delivered"]);
    wait_for_body(&pair.alice, "bob", "found you");
    let found = pair.bob.list(["users", "--name", "alice"], "users");
    assert_eq!(found.len(), 1, "alice is there once: {found:?}");
}

#[test]
fn a1_a_name_belongs_to_its_key() {
    let directory = Directory::start();
    let first = Daemon::start(DaemonOptions::new("first", directory.url()));
    first.ctl("alice").ok(["register", "alice"]);
    let second = Daemon::start(DaemonOptions::new("second", directory.url()));
    let refused = second.bare_ctl().run(["register", "alice"]).expect_code(1).says(&["alice", "taken"]);
    assert_eq!(refused.stdout, "", "an error is no data");
    let nobody = second.bare_ctl().run(["whoami"]).expect_code(1);
    assert!(nobody.stderr.contains("register"), "no account is left over, and the hint says what to do: {nobody:?}");
    second.ctl("bob").ok(["register", "bob"]);
}

#[test]
fn a1_bad_fields_are_typed_errors() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let ctl = daemon.bare_ctl();
    let long = "x".repeat(33);
    let mixed = "alic\u{435}"; // the last letter is Cyrillic
    for bad in ["", "two words", long.as_str(), mixed, "semi;colon", "\u{202e}ecila", "a/b"] {
        let refused = ctl.run(["register", bad]);
        assert!(matches!(refused.code, Some(1 | 2)), "{bad:?}: {refused:?}");
        assert_eq!(refused.stderr.lines().filter(|line| !line.starts_with("hint")).count(), 1, "one line: {refused:?}");
    }
    ctl.run(["register"]).expect_code(2);
    let refused = ctl.run(["register", "alice", "--directory", "not a url"]);
    assert!(matches!(refused.code, Some(1 | 2)) && refused.stderr.contains("not a url"), "{refused:?}");
    assert!(ctl.list(["status"], "accounts").is_empty(), "nothing came of it");
    // The daemon is as good as new.
    ctl.ok(["register", "alice"]);
}

#[test]
fn c1_four_distinct_errors_and_deletion_needs_the_key() {
    let pair = Pair::start();
    let duplicate = pair.alice.run(["register", "alice"]).expect_code(1).stderr;
    let (_other, mallory) = pair.join("mallory");
    let taken = mallory.run(["register", "alice"]).expect_code(1).stderr;
    let online = pair.alice.run(["login"]).expect_code(1).stderr;
    let unknown = pair.alice_daemon.ctl("nobody").run(["login"]).expect_code(1).stderr;
    let all = [&duplicate, &taken, &online, &unknown];
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            assert_ne!(one, other, "the errors must differ");
        }
    }
    assert!(online.contains("already"), "{online}");

    // Mallory's daemon holds no key of alice: the account cannot be named there, let alone deleted.
    let other = mallory.clone().account("alice");
    other.run(["unregister", "--yes"]).expect_code(1);
    assert_eq!(pair.bob.list(["users", "--name", "alice"], "users").len(), 1);
    pair.alice.ok(["unregister", "--yes"]);
    wait_for("alice is gone", || pair.bob.list(["users", "--name", "alice"], "users").is_empty());
    pair.alice.run(["whoami"]).expect_code(1);
    // The name is not free for the next one at once.
    mallory.run(["register", "alice"]).expect_code(1).says(&["alice"]);
}

#[test]
fn c1_logout_is_remembered_and_takes_the_account_offline() {
    let mut pair = Pair::start();
    pair.alice.ok(["logout"]);
    // The directory lists for members, and knows none without a session: not that is what to do something about.
    pair.alice.run(["users"]).expect_code(1).says(&["alice is logged out: run chatctl login first"]);
    pair.alice_daemon.restart();
    assert_eq!(status(&pair.alice)["logged_in"], false, "remembered across the restart");
    let refused = pair.alice.run(["send", "bob", "hello"]);
    assert!(matches!(refused.code, Some(0 | 1)), "{refused:?}");
    pair.bob.ok(["send", "alice", "are you there?"]);
    pair.alice.ok(["login"]);
    wait_for_body(&pair.alice, "bob", "are you there?");
}

#[test]
fn d4_a_name_is_not_burnt_by_a_crash() {
    let directory = Directory::start();
    let mut daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let alice = daemon.ctl("alice");
    let id = text(&alice.json(["register", "alice"])["account"]["id"]).to_owned();
    daemon.kill9();
    daemon.restart();
    assert_eq!(alice.json(["whoami"])["id"], id.as_str(), "the same account after the crash");
    wait_for("alice is online again", || status(&alice)["online"] == true);
    let found = alice.list(["users", "--name", "alice"], "users");
    assert_eq!(named(&found, "alice").unwrap()["account"], id.as_str());
}

#[test]
fn d4_a_crash_in_the_middle_of_registering_leaves_the_name_to_the_same_user() {
    let mut directory = Directory::start();
    let mut daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let alice = daemon.ctl("alice");
    // The directory is gone when the name is to be claimed: the register fails, and later works.
    directory.stop();
    alice.run(["register", "alice"]).expect_code(1).says(&["directory"]);
    daemon.kill9();
    directory.restart();
    daemon.restart();
    let again = alice.run(["register", "alice"]);
    assert!(again.code == Some(0) || again.stderr.contains("already"), "{again:?}");
    wait_for("alice is online", || status(&alice)["online"] == true);
}

#[test]
fn e5_logout_then_login_at_once() {
    let pair = Pair::start();
    for round in 0..5 {
        pair.alice.ok(["logout"]);
        pair.alice.ok(["login"]);
        let body = format!("round {round}");
        pair.alice.ok(["send", "bob", &body, "--wait", "delivered"]);
        wait_for_body(&pair.bob, "alice", &body);
    }
    assert_eq!(contact_state(&pair.alice, "bob").as_deref(), Some("accepted"));
}

#[test]
fn several_accounts_need_a_choice() {
    let pair = Pair::on_one_daemon();
    let bare = pair.alice_daemon.bare_ctl();
    let unclear = bare.run(["whoami"]).expect_code(2);
    assert!(unclear.stderr.contains("alice") && unclear.stderr.contains("bob"), "names them: {unclear:?}");
    assert_eq!(bare.json(["whoami", "--account", "bob"])["name"], "bob");
    assert_eq!(pair.alice.json(["whoami"])["name"], "alice", "CHATD_ACCOUNT counts");
}

#[test]
fn the_number_of_accounts_is_limited() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    for number in 1..=8 {
        daemon.bare_ctl().ok(["register", &format!("person{number}")]);
    }
    daemon.bare_ctl().run(["register", "person9"]).expect_code(1).says(&["8"]);
}

#[test]
fn the_recovery_key_is_told_once_and_stored_nowhere() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let key = text(&daemon.ctl("alice").json(["register", "alice"])["recovery_key"]).to_owned();
    assert!(key.len() >= 32, "{key:?}");
    let secret = key.rsplit(':').next().unwrap().replace(['-', ' '], "");
    for entry in walk(&daemon.data_dir()) {
        let bytes = std::fs::read(&entry).unwrap();
        for needle in [key.as_bytes(), secret.as_bytes()] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "found in {}", entry.display());
        }
    }
    assert!(!daemon.log_text().contains(&key));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else if entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_name_that_was_given_up_rests_and_its_recovery_key_takes_it_back() {
    let mut pair = Pair::start();
    let key = pair.bob_daemon().home().join("recovery");
    pair.bob.ok(["unregister", "--yes"]).says(&["30 days", "--reclaim"]);
    let key_of = |ctl: &tests::Ctl| ctl.json(["register", "carol"])["recovery_key"].as_str().unwrap().to_owned();
    let carols = key_of(&pair.bob);
    pair.bob.clone().account("carol").ok(["unregister", "--yes"]);
    let write = |file: &std::path::Path, text: &str| {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write(&key, &carols);
    // What was sent to bob says what became of him.
    let id = send(&pair.alice, "bob", "are you there?");
    wait_for("the reason is known", || pair.alice.json(["trace", &id])["reason"] == "account_gone");
    let told = pair.alice.json(["trace", &id]);
    assert!(text(&told["next"]).contains("given up"), "{told}");
    assert!(pair.alice.ok(["history", "bob"]).stdout.contains("gave the name up"));
    let until = pair.alice.run(["register", "carol"]).expect_code(1).says(&["rests until 20", "--reclaim"]);
    assert!(!until.stderr.contains("taken"), "{until:?}");
    let wrong = pair.bob_daemon().home().join("wrong");
    write(&wrong, &"11".repeat(32));
    let reclaim = |file: &std::path::Path| pair.alice.run(["register", "carol", "--reclaim", file.to_str().unwrap()]);
    reclaim(&wrong).expect_code(1).says(&["rests"]);
    reclaim(&key).expect_code(0).says(&["registered carol"]);
    // Another account has the name: the key stayed the same.
    let recovered = pair.alice.clone().account("carol").run(["unregister", "--yes"]).expect_code(0);
    assert!(recovered.stderr.contains("30 days"), "{recovered:?}");
    reclaim(&key).expect_code(0);
}

#[test]
fn one_of_several_accounts_is_the_default_and_what_is_open_stays() {
    let directory = Directory::start();
    let place = std::sync::Arc::clone(directory.place());
    let mut daemon = Daemon::start(DaemonOptions::new("both", directory.url()).place(&place));
    let bare = daemon.bare_ctl();
    bare.ok(["register", "alice"]);
    let (_bobs, bob) = {
        let bobs = Daemon::start(DaemonOptions::new("bob", directory.url()).place(&place));
        let ctl = bobs.ctl("bob");
        ctl.ok(["register", "bob"]);
        (bobs, ctl)
    };
    befriend(&daemon.ctl("alice"), &bob);
    // A bot that never named its account, begun while there was one.
    let mut watch = bare.stream(["watch", "--json", "--new"]);
    bob.ok(["send", "alice", "one", "--wait", "delivered"]);
    watch.until_json("one", |event| event["message"]["body"] == "one");
    let mut chat = bare.stream(["chat", "bob"]);
    chat.until("what was said", |line| line.contains("one"));
    bare.ok(["register", "work"]);
    bare.run(["unread"]).expect_code(2).says(&["alice@example.org, work@example.org", "chatctl use"]);
    daemon.restart();
    bob.ok(["send", "alice", "two", "--wait", "delivered"]);
    watch.until_json("two, after the restart", |event| event["message"]["body"] == "two");
    bare.ok(["use", "Work"]);
    assert_eq!(bare.json(["whoami"])["name"], "work");
    assert_eq!(bare.clone().env("CHATD_ACCOUNT", "alice").json(["whoami"])["name"], "alice");
    assert_eq!(bare.clone().env("CHATD_ACCOUNT", "alice").json(["whoami", "--account", "work"])["name"], "work");
    daemon.restart();
    assert_eq!(bare.json(["whoami"])["name"], "work", "it is remembered");
    assert!(bare.ok(["status"]).stdout.contains("work@example.org (the default)"));
    bob.ok(["send", "alice", "three", "--wait", "delivered"]);
    let event = watch.until_json("three", |event| event["message"]["body"] == "three");
    assert_eq!(event["account"], "alice");
    // Neither the other default nor the restarts changed for whom the chat speaks.
    chat.until("three", |line| line.contains("three"));
    chat.type_line("from alice still");
    wait_for_body(&bob, "alice", "from alice still");
    bare.ok(["use", "alice@example.org"]);
    bare.ok(["register", "third"]);
    // When the default is gone, no other takes its place unasked.
    bare.ok(["unregister", "--yes"]);
    bare.run(["whoami"]).expect_code(2);
    bare.run(["use", "nobody"]).expect_code(1).says(&["nobody"]);
}
