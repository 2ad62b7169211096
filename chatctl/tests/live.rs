//! `watch` and `chat` against a scripted daemon: nothing missed, nothing twice, nothing swallowed.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdout;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{DEADLINE, Daemon, alice, event, id, message, message_event, sample, start};
use serde_json::{Value, json};
use tests::process::Process;

struct Live {
    child: Process,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Live {
    fn start(daemon: &Daemon, args: &[&str]) -> Self {
        let mut child = start(daemon.chatctl(args));
        let lines = BufReader::new(child.take_stdout().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn event(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

#[test]
fn what_waits_comes_first_and_once() {
    let daemon = Daemon::new(|call| {
        call.answer(sample(call));
        if call.method == "feed.subscribe" {
            // Told before what waits is looked at: these are seen twice.
            call.event(message_event(11, 2, "how are you?"));
            call.event(message_event(12, 3, "new"));
        }
    });
    let mut live = Live::start(&daemon, &["watch", "--json"]);
    let seen: Vec<_> = (0..4).map(|_| live.event()).collect();
    let told: Vec<_> = seen.iter().map(|e| (e["type"].as_str().unwrap(), e["seq"].as_u64())).collect();
    // Only events of the feed have a number, so that nobody takes one for another.
    let (asks, waits) = ("contact.request", "message.received");
    assert_eq!(told, [(asks, None), (waits, None), (waits, None), (waits, Some(12))]);
    assert!(seen[..3].iter().all(|event| event.get("seq").is_none()), "absent, not null");
    let ids: Vec<_> = seen[1..].iter().map(|e| e["message"]["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [id(1), id(2), id(3)]);
    assert_eq!(daemon.methods()[..2], ["account.whoami", "feed.subscribe"], "before looking at what waits");
}

#[test]
fn the_commands_to_answer_with_are_shown() {
    let daemon = alice();
    let mut live = Live::start(&daemon, &["watch"]);
    let line = live.line();
    assert!(line.ends_with("; chatctl accept %7") && line.contains("it is \\u{202e}me"), "{line}");
    assert!(live.line().ends_with("bob: hello"));
    assert_eq!(live.line(), "      \\u{1b}[2Jalice");
}

#[test]
fn a_restarted_daemon_is_followed_from_where_it_was() {
    let count = AtomicUsize::new(0);
    let daemon = Daemon::new(move |call| {
        call.answer(sample(call));
        if call.method == "feed.subscribe" {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    call.event(message_event(11, 1, "one"));
                    call.hang_up();
                }
                _ => call.event(message_event(12, 2, "two")),
            }
        }
    });
    let mut live = Live::start(&daemon, &["watch", "--new"]);
    assert!(live.line().ends_with("bob: one"));
    assert!(live.line().ends_with("bob: two"));
    let subscribed = daemon.calls("feed.subscribe");
    assert_eq!((&subscribed[0]["since"], &subscribed[1]["since"]), (&Value::Null, &json!(11)));
}

#[test]
fn a_consumer_acknowledges_what_it_printed() {
    let count = AtomicUsize::new(0);
    let daemon = Daemon::new(move |call| {
        call.answer(sample(call));
        if call.method == "feed.subscribe" {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            // The second time, all that was not acknowledged comes again.
            (11..=260).for_each(|seq| call.event(message_event(seq, 1, &seq.to_string())));
            if first {
                call.hang_up();
            } else {
                call.event(event(261, "presence"));
            }
        }
    });
    let mut live = Live::start(&daemon, &["watch", "--consumer", "bot", "--json", "--ack", "printed"]);
    let seqs: Vec<_> = (0..251).map(|_| live.event()["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (11..=261).collect::<Vec<_>>(), "each once, in order");
    let acked = || daemon.calls("feed.ack").last().map(|ack| ack["seq"].as_u64().unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while acked() != Some(261) {
        assert!(std::time::Instant::now() < deadline, "acknowledged {:?}", acked());
        std::thread::yield_now();
    }
    let subscribed = daemon.calls("feed.subscribe");
    assert!(subscribed.iter().all(|call| call["since"].is_null() && call["consumer"] == "bot"));
    // After what it had taken when it noticed that the connection had ended.
    let resumed = subscribed[1]["resume"].as_u64().unwrap();
    assert!(subscribed[0]["resume"].is_null() && (11..=260).contains(&resumed), "{resumed}");
    live.child.signal(nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(live.child.wait(DEADLINE).unwrap().code(), Some(0), "ends cleanly");
}

#[test]
fn a_watch_ends_when_nobody_reads_it() {
    let daemon = alice();
    let mut child = start(daemon.chatctl(&["watch", "--json"]));
    let mut stdout = BufReader::new(child.take_stdout().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    // Nothing more comes: it is not a write that fails.
    drop(stdout);
    assert_eq!(child.wait(DEADLINE).unwrap().code(), Some(0));
}

#[test]
fn filters_are_passed_on() {
    let daemon = Daemon::new(|call| {
        call.answer(sample(call));
        if call.method == "feed.subscribe" {
            call.event(event(13, "presence"));
        }
    });
    let mut live =
        Live::start(&daemon, &["watch", "bob", "--since", "7", "--type", "presence", "--type", "message.gap"]);
    assert!(live.line().ends_with("bob is offline"));
    let params = &daemon.calls("feed.subscribe")[0];
    let bob = format!("id:{}", "33".repeat(16));
    assert_eq!((&params["who"], &params["since"]), (&json!(bob), &json!(7)), "by account, whoever is called so later");
    assert_eq!(params["types"], json!(["presence", "message.gap"]));
    assert_eq!(
        daemon.methods(),
        ["account.whoami", "contact.show", "feed.subscribe"],
        "nothing that waits is asked for"
    );
}

#[test]
fn a_chat_shows_and_sends_and_marks_as_read() {
    let daemon = Daemon::new(|call| {
        call.answer(sample(call));
        if call.method == "feed.subscribe" {
            call.event(message_event(11, 3, "are you there?"));
        }
    });
    let mut live = Live::start(&daemon, &["chat", "bob"]);
    assert!(live.line().ends_with("bob: hello"));
    live.line();
    assert!(live.line().contains("bob: how are you?"));
    assert!(live.line().ends_with("bob: are you there?"));
    let mut input = live.child.take_stdin().unwrap();
    input.write_all(b"yes\n\nand well\n").unwrap();
    drop(input);
    assert_eq!(live.child.wait(DEADLINE).unwrap().code(), Some(0));
    let sent: Vec<_> = daemon.calls("message.send").iter().map(|call| call["body"].clone()).collect();
    assert_eq!(sent, [json!("yes"), json!("and well")]);
    let read: Vec<_> = daemon.calls("message.read").iter().map(|call| call["up_to"].clone()).collect();
    assert_eq!(read, [json!(id(2)), json!(id(3))]);
}

#[test]
fn a_line_typed_while_the_daemon_restarts_is_sent_once_it_is_back() {
    let count = AtomicUsize::new(0);
    let daemon = Daemon::new(move |call| {
        if call.method == "message.send" && count.fetch_add(1, Ordering::SeqCst) == 0 {
            return call.hang_up();
        }
        call.answer(sample(call));
    });
    let mut live = Live::start(&daemon, &["chat", "bob"]);
    live.child.take_stdin().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(live.child.wait(DEADLINE).unwrap().code(), Some(0));
    let sent = daemon.calls("message.send");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "with the same id, so that it cannot arrive twice");
    assert_eq!(message(1, "x")["from"], "bob");
}
