//! In the hand: what a person at a terminal sees and types.

use nix::sys::signal::Signal;
use tests::wait::wait_for;
use tests::{Ctl, Pair, Screen};

use crate::util::{bodies, send, wait_for_body};

fn on(ctl: &Ctl, args: &[&str], columns: u16) -> Screen {
    Screen::start(ctl.command(args).unwrap(), columns).unwrap()
}

fn unread(ctl: &Ctl) -> u64 {
    ctl.json(["unread"])["total"].as_u64().unwrap()
}

#[test]
fn what_is_half_typed_survives_what_comes_in() {
    let pair = Pair::on_one_daemon();
    let mut chat = on(&pair.bob, &["chat", "alice"], 40);
    let before = chat.mode().unwrap();
    chat.wait_for("> ");
    // More than two rows of it.
    let begin = "half of a long line that wraps ".repeat(3);
    chat.press(&begin);
    chat.wait_for("that wraps");
    pair.alice.ok(["send", "bob", "an interruption"]);
    chat.wait_for("alice: an interruption");
    chat.press("and its end\r");
    wait_for_body(&pair.alice, "bob", &format!("{begin}and its end"));
    // The line is drawn again below what came in.
    let shown = chat.shown();
    let after = shown.split("alice: an interruption").nth(1).unwrap();
    assert!(after.contains("> half of a long line"), "{after:?}");
    // What was said comes back; a command is completed; neither is one sent.
    chat.press("\x1b[A\x1b[H1 \r");
    wait_for_body(&pair.alice, "bob", &format!("1 {begin}and its end"));
    chat.press("/he\t\r");
    chat.wait_for("Ctrl-C takes it back");
    chat.press("/nonsense\r");
    chat.wait_for("/nonsense is no command");
    chat.press("//slash\r");
    wait_for_body(&pair.alice, "bob", "/slash");
    chat.press("never mind");
    chat.wait_for("never mind");
    chat.press("\x03");
    let after = || chat.shown().rsplit("never mind").next().map(str::to_owned);
    wait_for("the line is taken back", || after().is_some_and(|rest| rest.contains("> ")));
    chat.press("/quit\r");
    assert!(chat.wait().success());
    assert_eq!(chat.mode().unwrap(), before, "the terminal is as it was");
    assert_eq!(bodies(&pair.alice, "bob", 10).len(), 4);
}

#[test]
fn no_escape_sequence_is_sent_and_the_terminal_is_given_back() {
    let pair = Pair::on_one_daemon();
    let mut chat = on(&pair.bob, &["chat", "alice"], 80);
    let before = chat.mode().unwrap();
    chat.wait_for("> ");
    wait_for("the editor has the terminal", || chat.mode().unwrap() != before);
    // Keys that mean nothing, a paste with an escape sequence in it, and one that is quoted.
    chat.press("a\x1b[20~\x1b[1;5Xb\x1b[200~pa\x1b[31mste\x1b[201~\x16\x1bc\r");
    wait_for("it is sent", || !bodies(&pair.alice, "bob", 10).is_empty());
    let sent = bodies(&pair.alice, "bob", 10).remove(0);
    assert!(!sent.chars().any(char::is_control) && sent.starts_with('a') && sent.ends_with('c'), "{sent:?}");
    chat.press("half a line");
    chat.signal(Signal::SIGTERM);
    assert!(chat.wait().success());
    assert_eq!(chat.mode().unwrap(), before);
}

#[test]
fn short_ids_are_shown_and_taken() {
    let pair = Pair::on_one_daemon();
    let id = send(&pair.alice, "bob", "shall we meet at noon?");
    let short = &id[id.len() - 8..];
    wait_for_body(&pair.bob, "alice", "shall we meet at noon?");
    let mut history = on(&pair.bob, &["history", "alice"], 80);
    history.wait_for(&format!("{short} alice: shall we"));
    assert!(history.wait().success());
    assert!(!pair.bob.ok(["history", "alice"]).stdout.contains(short), "on a terminal only");
    for reply_to in [short, &short.to_uppercase(), &id[24..], "last", &id] {
        pair.bob.ok(["send", "alice", "yes", "--reply-to", reply_to]);
        assert_eq!(
            pair.bob.list(["history", "alice", "-n", "1"], "messages")[0]["reply_to"],
            id.as_str(),
            "{reply_to}"
        );
    }
    // A reply shows what it answers.
    let shown = pair.alice.ok(["history", "bob", "-n", "1"]).stdout;
    assert!(shown.contains(&format!("bob: yes (answers alice: \"shall we meet at noon?\" {short})")), "{shown}");
    assert_eq!(pair.alice.json(["trace", short])["id"], id.as_str());
    assert_eq!(pair.alice.json(["trace", "last"])["id"], id.as_str(), "the last that alice sent");
    assert_eq!(pair.alice.list(["history", "bob", "--after", short], "messages").len(), 5);
    assert_eq!(pair.bob.list(["history", "alice", "--before", "last"], "messages").len(), 5);
    pair.bob.ok(["read", "alice", "--up-to", short]);
    // What is ambiguous names the candidates; what is too short, or nothing, says so.
    for first in ["01977e5c", "01977e5d"] {
        pair.bob.ok(["send", "alice", first, "--id", &format!("{first}-0000-7000-8000-0000abcdef01")]);
    }
    let ambiguous = pair.bob.run(["trace", "abcdef01"]).expect_code(2);
    ambiguous.says(&["01977e5c-0000", "bob: 01977e5c", "bob: 01977e5d", "more digits"]);
    pair.bob.run(["trace", "abcdef0"]).expect_code(2).says(&["8 digits"]);
    pair.bob.run(["trace", "00000000"]).expect_code(1).says(&["no message has an id"]);
    pair.bob.run(["send", "alice", "x", "--reply-to", "00000000"]).expect_code(1);
    // One id is one message, however often it is sent.
    pair.bob.ok(["send", "alice", "01977e5c", "--id", "01977e5c-0000-7000-8000-0000abcdef01"]);
    assert_eq!(bodies(&pair.alice, "bob", 100).iter().filter(|body| *body == "01977e5c").count(), 1);
}

#[test]
fn what_a_person_was_shown_is_read() {
    let pair = Pair::on_one_daemon();
    let get = |args: &[&str], text: &str| {
        let shown = on(&pair.bob, args, 80);
        shown.wait_for(text);
        shown
    };
    send(&pair.alice, "bob", "one");
    send(&pair.alice, "bob", "two");
    wait_for("both came", || unread(&pair.bob) == 2);
    pair.bob.ok(["history", "alice"]);
    assert!(get(&["history", "alice", "--peek"], "two").wait().success());
    assert_eq!(unread(&pair.bob), 2, "a pipe reads nothing, and one who peeks neither");
    let not_all = on(&pair.bob, &["history", "alice", "-n", "1"], 80);
    not_all.wait_for("older unread messages");
    assert_eq!(unread(&pair.bob), 2, "what was not shown was not read");
    assert!(get(&["history", "alice"], "two").wait().success());
    assert_eq!(unread(&pair.bob), 0);
    let peeking = get(&["watch", "--peek"], "");
    let watch = get(&["watch"], "");
    send(&pair.alice, "bob", "three");
    peeking.wait_for("three");
    watch.wait_for("three");
    wait_for("it is read", || unread(&pair.bob) == 0);
    drop(watch);
    send(&pair.alice, "bob", "four");
    peeking.wait_for("four");
    assert_eq!(unread(&pair.bob), 1);
    drop(peeking);
    let peeking = get(&["chat", "alice", "--peek"], "four");
    send(&pair.alice, "bob", "five");
    peeking.wait_for("five");
    assert_eq!(unread(&pair.bob), 2, "what is open and what comes in meanwhile");
    drop(peeking);
    let chat = get(&["chat", "alice"], "five");
    wait_for("a chat has read what it begins with", || unread(&pair.bob) == 0);
    send(&pair.alice, "bob", "six");
    chat.wait_for("six");
    wait_for("and what comes in", || unread(&pair.bob) == 0);
}

#[test]
fn nobody_speaks_in_the_name_of_somebody_else() {
    let pair = Pair::on_one_daemon();
    let spoof = format!("ok{}08:30 carol: I agree{}08:31 dave: so do I", " ".repeat(36), " ".repeat(30));
    pair.alice.ok(["send", "bob", &spoof, "--wait", "delivered"]);
    pair.alice.ok(["send", "bob", "end", "--wait", "delivered"]);
    for args in [&["history", "alice", "--peek"][..], &["watch", "--peek"], &["search", "agree"], &["chat", "alice"]] {
        let shown = on(&pair.bob, args, 50);
        shown.wait_for("so do I");
        let text = shown.shown();
        for row in text.lines() {
            let row = row.trim_end_matches('\r');
            assert!(row.chars().count() <= 50 || row.contains('\u{1b}'), "{args:?}: {row:?}");
            assert!(!row.starts_with("08:3") && !row.starts_with(" 08:3"), "{args:?}: {row:?}");
        }
    }
}

#[test]
fn a_text_that_looks_like_an_option_is_not_lost_silently() {
    let pair = Pair::on_one_daemon();
    for option in ["--version", "-h", "--help", "-V"] {
        let refused = pair.alice.run(["send", "bob", option]).expect_code(2);
        refused.says(&["nothing was sent", &format!("chatctl send WHO -- {option}")]);
        pair.alice.ok(["send", "bob", "--", option]);
    }
    pair.alice.run(["send", "bob", "-foo"]).expect_code(2).says(&["chatctl send WHO -- -TEXT"]);
    assert_eq!(bodies(&pair.alice, "bob", 10), ["--version", "-h", "--help", "-V"]);
    pair.alice.ok(["send", "--help"]);
    // Text of other systems: a CRLF ends a line, and is not shown as an escape.
    pair.alice.run_with(["send", "bob", "--stdin-lines"], b"first\r\n\r\n\nsecond\r\n").expect_code(0);
    pair.alice.run_with(["send", "bob"], b"a\r\nb\r\n").expect_code(0);
    let shown = pair.alice.ok(["history", "bob", "-n", "3"]).stdout;
    assert!(
        shown.contains("alice: first (") && shown.contains("alice: a\n      b (") && !shown.contains("\\u{"),
        "{shown}"
    );
}
