//! The verbs against a scripted daemon: exit codes, what goes where, what is called.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Daemon, alice, chatctl, finish, id, sample};
use proto::rpc::ErrorCode;
use serde_json::json;

#[test]
fn send_takes_one_call_and_prints_nothing() {
    let daemon = alice();
    let ran = daemon.run(&["send", "bob", "hello", "there", "--tag", "work", "--priority", "high"], b"");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
    assert_eq!(daemon.methods(), ["message.send"]);
    let mut sent = daemon.calls("message.send").remove(0);
    // Every message has its id before it leaves, so that a retry can be the same message.
    assert_eq!(sent["id"].take().as_str().map(str::len), Some(36));
    sent.as_object_mut().unwrap().remove("id");
    assert_eq!(
        sent,
        json!({ "to": "bob", "body": "hello there", "format": "plain", "tags": ["work"], "priority": "high" })
    );
}

#[test]
fn send_reads_standard_input_and_drops_one_line_feed() {
    let daemon = alice();
    assert_eq!(daemon.run(&["send", "bob"], b"two\nlines\n\n").code, 0);
    assert_eq!(daemon.calls("message.send")[0]["body"], "two\nlines\n");
    for empty in [&["send", "bob", ""][..], &["send", "bob"]] {
        let ran = daemon.run(empty, b"");
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.starts_with("chatctl: the text is empty"), "{}", ran.stderr);
    }
    assert_eq!(daemon.run(&["send", "bob", "--file", "x"], b"").code, 2);
}

#[test]
fn a_stranger_is_asked_first_and_send_says_so() {
    let daemon = Daemon::new(|call| {
        call.answer(json!({ "id": id(9), "state": "queued", "reason": "awaiting_acceptance" }));
    });
    let ran = daemon.run(&["send", "bob", "hello"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(ran.stderr, "queued: waiting for bob to accept your request\n");
    let ran = daemon.run(&["send", "bob", "hello", "--wait", "delivered", "--timeout", "1s"], b"");
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: chatctl trace 01977e5c"), "{}", ran.stderr);
}

#[test]
fn waiting_ends_as_the_message_does() {
    for (state, code) in [("delivered", 0), ("read", 0), ("rejected", 7), ("expired", 1)] {
        let daemon = Daemon::new(move |call| match call.method {
            "message.wait" => call.answer(json!({ "id": id(9), "state": state })),
            _ => call.answer(sample(call)),
        });
        let ran = daemon.run(&["send", "bob", "hi", "--wait", "delivered", "--json"], b"");
        assert_eq!(ran.code, code, "{state}: {}", ran.stderr);
        assert_eq!(ran.stdout, format!("{{\"id\":\"{}\",\"state\":\"{state}\"}}\n", id(9)));
        let wait = &daemon.calls("message.wait")[0];
        assert_eq!((wait["state"].as_str(), wait["timeout_ms"].as_u64().unwrap() > 29_000), (Some("delivered"), true));
    }
}

#[test]
fn lines_are_sent_in_order_and_exactly() {
    let daemon = alice();
    let mut input = Vec::new();
    let mut lines = Vec::new();
    for n in 0..5_000 {
        let line = match n % 5 {
            0 => String::new(),
            1 => format!("{n}\r"),
            2 => "x".repeat(n),
            _ => format!("line {n} \u{202e}é"),
        };
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
        // Blank lines are no messages, and a CRLF ends a line as an LF does.
        lines.extend(Some(line.trim_end_matches('\r').to_owned()).filter(|line| !line.is_empty()));
    }
    let ran = daemon.run(&["send", "bob", "--stdin-lines", "--json", "--wait", "delivered"], &input);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout.lines().count(), lines.len());
    let bodies: Vec<_> =
        daemon.calls("message.send").iter().map(|call| call["body"].as_str().unwrap().to_owned()).collect();
    assert!(bodies == lines);
    assert_eq!(daemon.methods().last().map(String::as_str), Some("message.wait"));
}

#[test]
fn a_bad_line_stops_the_rest() {
    let long = [b"a\n\n".to_vec(), vec![b'x'; 61_441], b"\nb\n".to_vec()].concat();
    for (input, says) in [(&b"a\n\n\xff\nb\n"[..], "line 3 is not UTF-8"), (&long, "line 3 is too long")] {
        let daemon = alice();
        let ran = daemon.run(&["send", "bob", "--stdin-lines"], input);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.starts_with("1 line queued\n") && ran.stderr.contains(says), "{}", ran.stderr);
        assert_eq!(daemon.calls("message.send").len(), 1);
    }
}

#[test]
fn a_refused_line_is_named() {
    let daemon = Daemon::new(|call| match call.params["body"].as_str() {
        Some("c") => call.refuse(ErrorCode::RateLimited, "too many messages; wait 3 s"),
        _ => call.answer(sample(call)),
    });
    let ran = daemon.run(&["send", "bob", "--stdin-lines"], b"a\nb\nc\n");
    assert_eq!(ran.code, 5);
    assert_eq!(ran.stderr, "2 lines queued\nchatctl: line 3: too many messages; wait 3 s\n");
}

#[test]
fn errors_of_the_daemon_have_their_exit_codes() {
    let table = [
        (ErrorCode::NotFound, 1),
        (ErrorCode::InvalidParams, 2),
        (ErrorCode::AmbiguousAccount, 2),
        (ErrorCode::ShuttingDown, 3),
        (ErrorCode::KeyNotTrusted, 4),
        (ErrorCode::RateLimited, 5),
        (ErrorCode::TimedOut, 6),
        (ErrorCode::Refused, 7),
    ];
    for (code, exit) in table {
        let daemon = Daemon::new(move |call| call.refuse(code, "no bob\u{1b}[2J here"));
        let ran = daemon.run(&["verify", "bob", "--json"], b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (exit, ""), "{code:?}");
        assert!(ran.stderr.starts_with("chatctl: no bob\\u{1b}[2J here\n"), "{}", ran.stderr);
    }
}

#[test]
fn without_a_daemon_it_says_what_it_tried() {
    let ran = finish(chatctl(&["whoami"]), b"");
    assert_eq!(ran.code, 3);
    // Root's own daemon is the system's.
    let own =
        if ran.stderr.contains("/nonexistent/") { "/nonexistent/chatd/chatd.sock" } else { "/run/chatd/chatd.sock" };
    assert!(ran.stderr.contains(&format!("{own} (no such socket)")), "{}", ran.stderr);
    assert!(ran.stderr.contains("systemctl start chatd"), "{}", ran.stderr);
    let ran = finish(chatctl(&["whoami", "--socket", "/nonexistent/x"]), b"");
    assert!(ran.code == 3 && ran.stderr.contains("tried /nonexistent/x (no such socket)\n"), "{}", ran.stderr);
    let daemon = Daemon::new(|call| call.hang_up());
    assert_eq!(daemon.run(&["whoami"], b"").code, 3, "went away under the call");
}

#[test]
fn every_user_is_listed() {
    let daemon = Daemon::new(|call| {
        let from: usize = call.params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let users: Vec<_> = (from..from + 1_000)
            .map(|n| json!({ "name": format!("user{n:05}"), "account": "22".repeat(16), "contact": false }))
            .collect();
        let next = (from + 1_000 < 10_000).then(|| (from + 1_000).to_string());
        call.answer(match next {
            Some(next) => json!({ "users": users, "next": next }),
            None => json!({ "users": users }),
        });
    });
    let people = daemon.run(&["users"], b"");
    assert_eq!((people.code, people.stdout.lines().count()), (0, 10_000));
    assert!(people.stdout.ends_with("user09999     -\n"), "aligned");
    let json = daemon.run(&["list", "--json"], b"").stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["users"].as_array().unwrap().len(), 10_000);
    // Whoever reads may have seen enough.
    let mut child = common::start(daemon.chatctl(&["users"]));
    drop(child.take_stdout());
    let ran = common::end(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn b2_a_list_of_nobody_is_an_answer() {
    let daemon = Daemon::new(|call| call.answer(json!({ "users": [] })));
    let ran = daemon.run(&["users"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("nobody"), "{}", ran.stderr);
    assert_eq!(daemon.run(&["users", "--json"], b"").stdout, "{\"users\":[]}\n");
}

#[test]
fn history_takes_as_many_pages_as_it_needs() {
    let daemon = Daemon::new(|call| {
        let end: u8 = call.params["before"].as_str().map_or(90, |b| u8::from_str_radix(&b[34..], 16).unwrap());
        let messages: Vec<_> = (end.saturating_sub(30)..end).map(|n| common::message(n, &n.to_string())).collect();
        call.answer(json!({ "messages": messages, "more": end > 30 }));
    });
    let ran = daemon.run(&["history", "bob", "-n", "1000", "--json"], b"");
    let result: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let bodies: Vec<_> = result["messages"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, (0..90).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(result["more"], false);
}

#[test]
fn somebody_named_by_a_label_is_shown_by_it() {
    let daemon = Daemon::new(|call| match call.method {
        "contact.list" => {
            let mut bob = common::contact("bob", "accepted");
            (bob["label"], bob["who"]) = (json!("ally"), json!("ally"));
            call.answer(json!({ "contacts": [bob] }));
        }
        "message.history" | "message.search" => {
            let mut message = common::message(1, "hello");
            message["label"] = json!("ally");
            call.answer(json!({ "messages": [message], "more": false }));
        }
        _ => call.answer(sample(call)),
    });
    let shown = |args: &[&str]| daemon.run(args, b"").stdout;
    assert!(shown(&["history", "bob"]).contains(" ally: hello\n"));
    assert!(shown(&["search", "hello"]).contains(" ally to alice: hello"));
    assert!(shown(&["contacts"]).starts_with("ally (bob)  contact"));
    assert!(shown(&["history", "ally", "--json"]).contains("\"from\":\"bob\""), "JSON is as the daemon says it");
    assert_eq!(daemon.calls("contact.list").len(), 1, "who is called what needs no list");
}

#[test]
fn lists_are_read_to_their_end() {
    let daemon = Daemon::new(|call| {
        let list = matches!(call.method, "contact.list" | "contact.requests");
        if !list {
            return call.answer(sample(call));
        }
        let n: usize = call.params["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let state = if call.method == "contact.list" { "accepted" } else { "pending" };
        let page: Vec<_> = (n..n + 3).map(|n| common::contact(&format!("p{n}"), state)).collect();
        let next = (n < 6).then(|| (n + 3).to_string());
        call.answer(json!({ "contacts": page, "next": next }));
    });
    assert_eq!(daemon.run(&["contacts"], b"").stdout.lines().count(), 9);
    assert_eq!(daemon.run(&["requests"], b"").stdout.lines().count(), 9);
    let json: serde_json::Value = serde_json::from_str(&daemon.run(&["contacts", "--json"], b"").stdout).unwrap();
    assert_eq!(json["contacts"].as_array().unwrap().len(), 9);
}

#[test]
fn the_recovery_key_goes_where_it_is_asked_to() {
    let daemon = alice();
    let ran = daemon.run(&["register", "alice"], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "chat-recovery-1abc\n"));
    let file = daemon.dir.path().join("key");
    let path = file.to_str().unwrap();
    let ran = daemon.run(&["register", "alice", "--recovery-file", path], b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "chat-recovery-1abc\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = daemon.methods().len();
    let ran = daemon.run(&["register", "alice", "--recovery-file", path], b"");
    assert!(ran.code == 1 && ran.stderr.contains("nothing was registered"), "{}", ran.stderr);
    assert_eq!(daemon.methods().len(), before, "no account without a place for its key");

    let refusing = Daemon::new(|call| call.refuse(ErrorCode::NameTaken, "the name alice is taken"));
    let other = refusing.dir.path().join("key");
    let ran = refusing.run(&["register", "alice", "--recovery-file", other.to_str().unwrap()], b"");
    assert_eq!((ran.code, other.exists()), (1, false), "no empty file is left");
}

#[test]
fn unregister_wants_to_be_sure() {
    let daemon = alice();
    let ran = daemon.run(&["unregister"], b"alice\n");
    assert!(ran.code == 2 && ran.stderr.contains("--yes"), "{}", ran.stderr);
    assert!(daemon.methods().is_empty(), "a pipe confirms nothing");
    assert_eq!(daemon.run(&["unregister", "--yes"], b"").code, 0);
    assert_eq!(
        daemon.calls("account.unregister"),
        [json!({ "account": format!("id:{}", "22".repeat(16)), "confirm": "alice" })]
    );
}

#[test]
fn the_account_is_passed_on() {
    let daemon = alice();
    let mut command = daemon.chatctl(&["unread", "--json"]);
    command.env("CHATD_ACCOUNT", "alice");
    assert_eq!(finish(command, b"").code, 0);
    assert_eq!(daemon.calls("message.unread"), [json!({ "account": "alice", "limit": 1000 })]);
}

#[test]
fn usage_errors_suggest() {
    let ran = finish(chatctl(&["snd", "bob"]), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.starts_with("chatctl: unrecognized subcommand 'snd'"), "{}", ran.stderr);
    assert!(ran.stderr.contains("similar subcommand exists: 'send'"), "{}", ran.stderr);
}
