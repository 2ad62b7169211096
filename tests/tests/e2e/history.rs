//! History, search, unread marks.

use tests::Pair;
use tests::people::contact;
use tests::wait::wait_for;

use crate::util::{bodies, text, wait_for_body};

#[test]
fn a6_history_survives_a_restart() {
    let mut pair = Pair::start();
    pair.alice.ok(["send", "bob", "one", "--wait", "delivered"]);
    pair.bob.ok(["send", "alice", "two", "--wait", "delivered"]);
    pair.alice_daemon.kill9();
    pair.alice_daemon.restart();
    pair.bob_daemon().restart();
    assert_eq!(bodies(&pair.alice, "bob", 10), ["one", "two"]);
    assert_eq!(bodies(&pair.bob, "alice", 10), ["one", "two"]);
}

#[test]
fn a6_search_is_complete_at_every_moment() {
    let mut pair = Pair::start();
    let find = |ctl: &tests::Ctl, query: &str| -> Vec<String> {
        ctl.list(["search", "--", query], "messages").iter().map(|m| text(&m["body"]).to_owned()).collect()
    };
    pair.alice.ok(["send", "bob", "the rendezvous is at noon", "--wait", "delivered"]);
    // Found the moment it is stored, on both sides; no waiting here.
    assert_eq!(find(&pair.alice, "rendezvous"), ["the rendezvous is at noon"]);
    assert_eq!(find(&pair.bob, "rendezvous"), ["the rendezvous is at noon"]);
    pair.bob_daemon().restart();
    assert_eq!(find(&pair.bob, "RENDEZVOUS noon"), ["the rendezvous is at noon"], "all words, in any case of letters");
    assert!(find(&pair.bob, "rendezvous midnight").is_empty());
    pair.bob.ok(["send", "alice", "which rendezvous?", "--wait", "delivered"]);
    assert_eq!(find(&pair.bob, "rendezvous")[0], "which rendezvous?", "newest first");
    // Beginnings of words, other cases and spellings, scripts without spaces, signs.
    for (body, queries) in [
        ("the meeting is late", &["meet", "MEETING", "me"][..]),
        ("Straße 12", &["strasse", "STRASSE", "straß"]),
        ("我们在会议室见面", &["会议", "会议室", "见面"]),
        ("done \u{1f389}", &["\u{1f389}"]),
    ] {
        pair.alice.ok(["send", "bob", body, "--wait", "delivered"]);
        for query in queries {
            assert_eq!(
                (find(&pair.alice, query), find(&pair.bob, query)),
                (vec![body.into()], vec![body.into()]),
                "{query}"
            );
        }
    }
    assert!(
        find(&pair.bob, "eeting").is_empty() && find(&pair.bob, "议会").is_empty(),
        "no parts, nothing turned round"
    );
    // Words of the query language are words.
    for query in ["\"", "AND", "a OR b", "NEAR(", "body:x", "*", "-", "'; DROP TABLE messages; --", "(", "^a"] {
        let found = pair.bob.run(["search", "--", query]);
        // Where no word is left, that is said.
        assert!(found.code == Some(0) || found.stderr.contains("no words"), "{found:?}");
    }
    assert_eq!(pair.bob.list(["search", "rendezvous", "--in", "alice"], "messages").len(), 2);
    pair.bob.run(["search", "rendezvous", "--in", "nobody"]).expect_code(1);
}

#[test]
fn e2_six_hundred_messages() {
    let pair = Pair::start();
    let lines: Vec<String> = (0..600).map(|number| format!("line {number}")).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
    wait_for_body(&pair.bob, "alice", "line 599");
    assert_eq!(bodies(&pair.bob, "alice", 600), lines);
    assert_eq!(bodies(&pair.alice, "bob", 10_000), lines, "more than one page");
    assert_eq!(bodies(&pair.bob, "alice", 3), lines[597..]);
    // Page by page, backwards.
    let newest = pair.bob.list(["history", "alice", "-n", "1"], "messages");
    let before = pair.bob.list(["history", "alice", "-n", "2", "--before", text(&newest[0]["id"])], "messages");
    let texts: Vec<&str> = before.iter().map(|message| text(&message["body"])).collect();
    assert_eq!(texts, ["line 597", "line 598"]);
    let after = pair.bob.list(["history", "alice", "--after", text(&before[0]["id"])], "messages");
    assert_eq!(after.len(), 2);
}

#[test]
fn what_was_forgotten_does_not_come_back() {
    let mut pair = Pair::start();
    let (first, second) = ("a word of the first day", "a word of the second");
    pair.alice.ok(["send", "bob", first, "--wait", "delivered"]);
    pair.bob.ok(["send", "alice", "an answer", "--wait", "delivered"]);
    let before = pair.bob.list(["history", "alice", "-n", "1"], "messages").remove(0);
    pair.bob.ok(["forget", "alice", "--before", "2000-01-01T00:00:00Z"]).says(&["nothing to forget of alice"]);
    assert_eq!(bodies(&pair.bob, "alice", 9), [first, "an answer"]);
    pair.bob.ok(["forget", "alice"]).says(&["2 messages with alice forgotten here"]);
    let gone = |pair: &Pair| {
        assert!(bodies(&pair.bob, "alice", 9).is_empty());
        assert!(pair.bob.list(["search", "word"], "messages").is_empty());
        assert_eq!(pair.bob.json(["unread"])["total"], 0);
        pair.bob.run(["trace", text(&before["id"])]).expect_code(1);
    };
    gone(&pair);
    // Neither the restart of either side, nor what they tell each other then, brings it back.
    pair.bob_daemon().restart();
    pair.alice_daemon.restart();
    pair.alice.ok(["send", "bob", second, "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "alice", 9), [second]);
    pair.bob.ok(["forget", "alice"]).says(&["1 message with alice forgotten here"]);
    gone(&pair);
    assert_eq!(bodies(&pair.alice, "bob", 9), [first, "an answer", second], "the other side keeps its own");
}

#[test]
fn e3_marks_for_unread() {
    let mut pair = Pair::start();
    for body in ["one", "two", "three"] {
        pair.alice.ok(["send", "bob", body, "--wait", "delivered"]);
    }
    assert_eq!(contact(&pair.bob, "alice").unwrap()["unread"], 3);
    assert_eq!(pair.bob.json(["unread"])["total"], 3);
    let shown = pair.bob.ok(["contacts"]).stdout;
    assert!(shown.contains('*') && shown.contains('3'), "a mark for people: {shown}");
    pair.bob_daemon().restart();
    assert_eq!(pair.bob.json(["unread"])["total"], 3, "it survives a restart");
    pair.bob.ok(["read", "alice"]);
    assert_eq!(pair.bob.json(["unread"])["total"], 0);
    assert_eq!(contact(&pair.bob, "alice").unwrap()["unread"], 0);
    assert!(!pair.bob.ok(["contacts"]).stdout.contains('*'));
    assert_eq!(contact(&pair.alice, "bob").unwrap()["unread"], 0, "one's own are never unread");
    pair.alice.ok(["send", "bob", "four", "--wait", "delivered"]);
    wait_for("a new one counts again", || pair.bob.json(["unread"])["total"] == 1);
}
