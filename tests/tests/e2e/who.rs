//! Who is who: words that mean two people, names that are claimed, and spelling.

use serde_json::Value;
use tests::people::{befriend, contact, named};
use tests::wait::wait_for;
use tests::{Ctl, DirectoryOptions, Pair};

use crate::impostor::Impostor;
use crate::util::{bodies, follow, send, text, wait_for_body};

/// Whom no directory vouches for may ask those only who take requests from anyone.
const OPEN: &str = "first_contact = \"open\"";

fn open_pair() -> Pair {
    let pair = Pair::strangers_with(OPEN, DirectoryOptions::default());
    befriend(&pair.alice, &pair.bob);
    pair
}

fn requests(ctl: &Ctl) -> Vec<Value> {
    ctl.list(["requests"], "contacts")
}

#[track_caller]
fn handle_of(ctl: &Ctl, name: &str) -> String {
    wait_for("the request is here", || named(&requests(ctl), name).is_some());
    text(&named(&requests(ctl), name).unwrap()["handle"]).to_owned()
}

#[test]
fn a_label_that_becomes_a_name_is_refused_as_ambiguous() {
    let pair = Pair::start();
    let (ann, ben) = (&pair.alice, &pair.bob);
    ann.ok(["rename", "bob", "boss"]);
    ben.ok(["send", "alice", "from ben", "--wait", "delivered"]);
    let (_daemon, boss) = pair.join("boss");
    boss.ok(["add", "alice"]);
    let handle = handle_of(ann, "boss");
    // Until then it is what somebody says of himself.
    wait_for("the name is confirmed", || named(&requests(ann), "boss").unwrap()["confirmed"] == true);
    // Whom it means cannot be said, and both are named in full.
    ann.run(["accept", "boss"]).expect_code(2).says(&["bob@example.org", "boss@example.org", "two people"]);
    ann.run(["block", "boss"]).expect_code(2).says(&["bob@example.org", "boss@example.org"]);
    assert_eq!(requests(ann).len(), 1, "nothing was accepted");
    // A stranger alone makes no label of mine useless.
    ann.ok(["send", "boss", "still ben"]);
    wait_for_body(ben, "alice", "still ben");
    ann.ok(["accept", &handle]).says(&["boss@example.org"]);
    ann.run(["send", "boss", "to whom?"]).expect_code(2).says(&["bob@example.org", "boss@example.org"]);
    ann.run(["history", "boss"]).expect_code(2);
    ann.run(["chat", "boss"]).expect_code(2);
    ann.run(["add", "boss"]).expect_code(2);
    // What says to whom one talks says it so that it means one.
    for (word, says) in [("bob", "bob"), ("boss@example.org", "boss@example.org")] {
        let chat = ann.run_with(["chat", word, "--peek"], b"").expect_code(0);
        assert!(chat.stderr.contains(&format!("-- talking to {says};")), "{chat:?}");
    }
    wait_for("boss may write", || contact(&boss, "alice").is_some_and(|c| c["state"] == "accepted"));
    boss.ok(["send", "alice", "from boss", "--wait", "delivered"]);
    ann.ok(["send", "boss@example.org", "to boss", "--wait", "delivered"]);
    ann.ok(["send", "BOB", "to ben", "--wait", "delivered"]);
    assert_eq!(bodies(&boss, "alice", 9), ["from boss", "to boss"]);
    assert_eq!(bodies(ben, "alice", 9), ["from ben", "still ben", "to ben"]);
    // What waits is shown once, each under a form that names exactly one.
    let mut watch = ann.stream(["watch"]);
    watch.until("both", |line| line.contains("from boss"));
    let seen = watch.seen().join("\n");
    assert!(seen.contains("bob: from ben") && seen.contains("boss@example.org: from boss"), "{seen}");
    assert_eq!(seen.matches("from ben").count(), 1, "{seen}");
    let list = ann.ok(["contacts"]).stdout;
    assert!(list.contains("bob (boss)") && list.contains("boss@example.org"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_takes_no_name_before_it_is_used() {
    let pair = Pair::strangers_with(OPEN, DirectoryOptions::default());
    let gina = &pair.alice;
    let impostor = Impostor::new("hank", "8.1").await;
    let _link = impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.request", "hi\"; accept me").await;
    let handle = handle_of(gina, "hank");
    gina.run(["add", "hank"]).expect_code(1).says(&["nobody is called hank"]);
    gina.run(["accept", "hank"]).expect_code(1).says(&[&handle, "does not say so"]);
    gina.run(["send", "hank", "secret"]).expect_code(1);
    assert_eq!(requests(gina).len(), 1, "nothing was accepted");
    // The real one comes, and is another.
    let (_daemon, hank) = pair.join("hank");
    let asked = gina.json(["add", "hank"]);
    assert_eq!((asked["state"].as_str(), asked["confirmed"].as_bool()), (Some("requested"), Some(true)));
    assert_ne!(asked["account"], impostor.account().to_string());
    wait_for("hank is asked", || !requests(&hank).is_empty());
    hank.ok(["accept", "alice"]);
    wait_for("hank is in", || gina.json(["contacts"])["contacts"].to_string().contains("\"accepted\""));
    gina.ok(["send", "hank", "to the real one", "--wait", "delivered"]);
    assert_eq!(bodies(&hank, "alice", 5), ["to the real one"]);
    // What the stranger chose is marked as that.
    let shown = gina.ok(["requests"]).stdout;
    assert!(shown.contains("somebody who says to be \"hank@example.org\" (name not confirmed; key "), "{shown}");
    assert!(shown.contains("writes: \"hi\\\"; accept me\"") && shown.contains(&format!("accept {handle}")), "{shown}");
    assert!(gina.ok(["contacts"]).stdout.contains(&format!("{handle} (says to be \"hank\", not confirmed)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_cannot_be_confirmed_by_a_record_of_another_name() {
    let pair = open_pair();
    let gina = &pair.alice;
    let mut impostor = Impostor::new("ivan", "8.2").await;
    let _first = impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.request", "").await;
    let handle = handle_of(gina, "ivan");
    impostor.register_as(&pair.directory, "mallory").await;
    // Unasked: the daemon answers with a removal, for which it looks the account up by its id.
    let _second = impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.accept", "").await;
    let store = std::fs::read_dir(pair.alice_daemon.data_dir().join("accounts")).unwrap().next().unwrap().unwrap();
    wait_for("the record of the other name is here", || {
        // The daemon shares its database with no other process: what is looked at is a copy.
        let copy = tests::Place::new().unwrap();
        for file in ["messages.db", "messages.db-wal"] {
            std::fs::copy(store.path().join(file), copy.path().join(file)).unwrap();
        }
        let conn = rusqlite::Connection::open(copy.path().join("messages.db")).unwrap();
        let seq = conn.query_row("SELECT record_seq FROM peers WHERE name = 'ivan'", [], |row| row.get::<_, i64>(0));
        seq.is_ok_and(|seq| seq == 2)
    });
    let request = named(&requests(gina), "ivan").cloned().unwrap();
    assert_eq!((&request["confirmed"], text(&request["who"])), (&Value::Bool(false), handle.as_str()));
    gina.run(["accept", "ivan"]).expect_code(1).says(&["does not say so"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_under_a_friends_name_has_a_handle() {
    let pair = open_pair();
    let gina = &pair.alice;
    let mut watch = follow(gina, &[]);
    let ask = async |salt: &str| {
        let impostor = Impostor::new("bob", salt).await;
        let link = impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.request", "it is bob").await;
        (impostor, link)
    };
    let first = ask("8.3 a").await;
    let event = watch.until_json("the request", |event| event["type"] == "contact.request");
    let handle = text(&event["contact"]["handle"]).to_owned();
    assert_eq!(
        (event["who"].as_str(), event["peer"].as_str()),
        (Some(&*handle), Some(&*first.0.account().to_string()))
    );
    // `bob` is the friend, in every verb; the stranger is what the handle says.
    gina.ok(["reject", &handle]);
    assert!(requests(gina).is_empty());
    let second = ask("8.3 b").await;
    let other = handle_of(gina, "bob");
    assert_ne!(other, handle, "a handle is given once");
    gina.ok(["block", &other]);
    assert_eq!(contact(gina, "bob").map(|_| ()), Some(()));
    let shown = |who: &str| gina.json(["profile", "show", who]);
    shown("bob");
    gina.ok(["send", "bob", "not blocked", "--wait", "delivered"]);
    let third = ask("8.3 c").await;
    let last = handle_of(gina, "bob");
    assert_eq!(gina.json(["accept", &last])["account"], third.0.account().to_string());
    // Also as a contact, nobody is found by a name that is not confirmed.
    gina.ok(["send", "bob", "still the friend", "--wait", "delivered"]);
    gina.run(["accept", &handle]).expect_code(1);
    gina.run(["accept", "%99"]).expect_code(1).says(&["no request", "%99"]);
    drop(second);
}

#[test]
fn spelling_does_not_matter_anywhere() {
    let pair = Pair::strangers();
    let (_daemon, jose) = pair.join("josé");
    let alice = &pair.alice;
    for word in ["JOSE\u{301}", "José@Example.org"] {
        jose.ok(["add", "ALICE"]);
        wait_for("alice is asked", || !requests(alice).is_empty());
        alice.ok(["reject", word]);
        wait_for("jose is told", || contact(&jose, "alice").is_some_and(|c| c["state"] == "rejected"));
    }
    jose.ok(["add", "ALICE"]);
    wait_for("alice is asked", || !requests(alice).is_empty());
    alice.ok(["accept", "JOSE\u{301}"]);
    wait_for("jose is in", || contact(&jose, "alice").is_some_and(|c| c["state"] == "accepted"));
    let id = send(alice, "jose\u{301}@EXAMPLE.ORG", "hello");
    // Whoever is meant is shown as always.
    assert_eq!(alice.json(["trace", &id])["who"], "josé");
    for (n, word) in ["JOSÉ", "jose\u{301}", "José@Example.org"].into_iter().enumerate() {
        let mut watch = follow(alice, &[word]);
        let answer = format!("answer {n}");
        jose.ok(["send", "Alice", &answer, "--wait", "delivered"]);
        watch.until_json("the answer", |event| event["message"]["body"] == answer.as_str());
        let unread = alice.json(["unread"]);
        assert_eq!((&unread["conversations"][0]["who"], unread["total"].as_u64()), (&"josé".into(), Some(1)));
        let chat = alice.run_with(["chat", word], b"").expect_code(0);
        assert!(chat.stdout.contains(&answer) && chat.stderr.contains("talking to josé"), "{chat:?}");
        alice.ok(["read", word]);
        assert_eq!(alice.json(["unread"])["total"], 0, "{word}");
        assert_eq!(alice.json(["forget", word, "--before", "2000-01-01T00:00:00Z"])["forgotten"], 0);
    }
    // hello, and three answers.
    assert_eq!(alice.json(["forget", "jose\u{301}"])["forgotten"], 4);
    let id = send(alice, "JOSE\u{301}", "hello");
    alice.ok(["trace", &id]);
    for word in ["josé", "JOSÉ", "jose\u{301}", "josé@example.org", "José@Example.org"] {
        assert_eq!(bodies(alice, word, 5), ["hello"], "{word}");
        for verb in ["read", "mute", "unmute", "block", "unblock", "verify"] {
            alice.ok([verb, word]);
        }
        alice.ok(["profile", "show", word]);
        alice.ok(["search", "hello", "--in", word]);
    }
    alice.ok(["rename", "JOSÉ", "Pépé"]);
    assert_eq!(bodies(alice, "PE\u{301}PE\u{301}", 5), ["hello"]);
    alice.ok(["remove", "PÉPÉ"]);
    let id = text(&alice.json(["whoami"])["id"]).to_owned();
    for account in ["Alice", "ALICE@example.org", "alice@Example.Org", &format!("id:{id}")] {
        let mut args = vec!["--account", account];
        args.push("whoami");
        pair.alice_daemon.bare_ctl().ok(args);
    }
    pair.alice_daemon.bare_ctl().run(["--account", "alice@elsewhere.org", "whoami"]).expect_code(1);
}

#[test]
fn an_open_watch_stays_with_the_person_it_began_with() {
    let pair = Pair::start();
    let mut watch = follow(&pair.alice, &["bob"]);
    let mut chat = pair.alice.stream(["chat", "bob"]);
    // Asked to say something, so that the subscription is known to be there.
    pair.bob.ok(["send", "alice", "one", "--wait", "delivered"]);
    watch.until_json("one", |event| event["message"]["body"] == "one");
    pair.alice.ok(["rename", "bob", "robert"]);
    let (_daemon, carol) = pair.join("carol");
    befriend(&carol, &pair.alice);
    pair.alice.ok(["rename", "carol", "bobby"]);
    carol.ok(["send", "alice", "not this", "--wait", "delivered"]);
    pair.bob.ok(["send", "alice", "two", "--wait", "delivered"]);
    let event = watch.until_json("two", |event| event["message"]["body"] == "two");
    assert_eq!((event["who"].as_str(), event["label"].as_str()), (Some("bob"), Some("robert")));
    assert!(!watch.seen().iter().any(|line| line.contains("not this")), "{:#?}", watch.seen());
    // And a chat: what comes in, and what is typed.
    pair.alice.ok(["remove", "bobby"]);
    pair.alice.ok(["rename", "robert", "rob"]);
    chat.until("bob's", |line| line.contains("two"));
    chat.type_line("for the one it began with");
    wait_for_body(&pair.bob, "alice", "for the one it began with");
    assert!(!chat.seen().iter().any(|line| line.contains("not this")), "{:#?}", chat.seen());
}
