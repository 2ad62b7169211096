//! Work that goes on when its report is not read, when the daemon restarts, and when that has no place for one more client.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Daemon, alice, end, finish, hello, id, sample, start};
use proto::rpc::ErrorCode;
use serde_json::json;

fn bodies(daemon: &Daemon) -> Vec<String> {
    daemon.calls("message.send").iter().map(|call| call["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_line_is_sent_when_the_reader_of_the_report_has_left() {
    let daemon = alice();
    let args = ["send", "bob", "--stdin-lines", "--json", "--wait", "delivered"];
    let mut child = start(daemon.chatctl(&args));
    let mut input = child.take_stdin().unwrap();
    input.write_all(b"1\n").unwrap();
    let mut report = BufReader::new(child.take_stdout().unwrap());
    report.read_line(&mut String::new()).unwrap();
    // `| head -1` has what it wants.
    drop(report);
    for n in 2..=2_000 {
        writeln!(input, "{n}").unwrap();
    }
    drop(input);
    let ran = end(child);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(bodies(&daemon), (1..=2_000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(daemon.calls("message.wait").len(), 1, "and waited for");
}

#[test]
fn a_wait_that_fails_is_told_though_nobody_reads_the_report() {
    let daemon = Daemon::new(|call| match call.method {
        "message.wait" => call.answer(json!({ "id": id(9), "state": "rejected" })),
        _ => call.answer(sample(call)),
    });
    for args in [&["hi", "--wait", "delivered"][..], &["--stdin-lines", "--wait", "delivered"]] {
        let mut child = start(daemon.chatctl(&[&["send", "bob", "--json"], args].concat()));
        drop(child.take_stdout());
        let _ = child.take_stdin().unwrap().write_all(b"hi\n");
        assert_eq!(end(child).code, 7, "{args:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_fails_and_says_how_to_retry() {
    let daemon = alice();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = daemon.chatctl(&["send", "bob", "hello", "--json"]);
    command.stdout(full());
    let ran = finish(command, b"");
    let sent = daemon.calls("message.send").remove(0)["id"].as_str().unwrap().to_owned();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(&format!("the message is stored as {sent}\nhint: `--id {sent}`")), "{}", ran.stderr);
    // The retry is the same message.
    assert_eq!(daemon.run(&["send", "bob", "hello", "--json", "--id", &sent], b"").code, 0);
    assert_eq!(daemon.calls("message.send")[1]["id"], sent.as_str());
    assert_eq!(daemon.run(&["send", "bob", "--stdin-lines", "--id", &sent], b"x\n").code, 2, "one id, one message");

    let daemon = alice();
    let mut command = daemon.chatctl(&["send", "bob", "--stdin-lines", "--json"]);
    command.stdout(full());
    let input: String = (0..3_000).map(|n| format!("{n}\n")).collect();
    let ran = finish(command, input.as_bytes());
    assert_eq!((ran.code, bodies(&daemon).len()), (1, 3_000), "all are sent");
    assert!(ran.stderr.starts_with("3000 lines queued\nchatctl: cannot write to standard output"), "{}", ran.stderr);
}

#[test]
fn a_send_that_may_have_arrived_says_how_to_retry() {
    let daemon = Daemon::new(|call| call.hang_up());
    let ran = daemon.run(&["send", "bob", "hello"], b"");
    let sent = daemon.calls("message.send").remove(0)["id"].as_str().unwrap().to_owned();
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains(&format!("may be stored as {sent}\nhint: `--id {sent}`")), "{}", ran.stderr);
}

#[test]
fn a_key_that_is_shown_once_is_not_lost_with_its_reader() {
    let daemon = alice();
    let old = daemon.dir.path().join("old");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&old).unwrap();
    file.write_all(b"chat-recovery-1old\n").unwrap();
    let (register, recover) = (["register", "alice"], ["key", "recover", "--recovery-file", old.to_str().unwrap()]);
    for args in [&register[..], &[&register[..], &["--json"]].concat(), &recover, &[&recover[..], &["--json"]].concat()]
    {
        let mut child = start(daemon.chatctl(args));
        drop(child.take_stdout());
        let ran = end(child);
        assert_eq!(ran.code, 1, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("follows here, and is shown this once\nchat-recovery-1abc\n"), "{}", ran.stderr);
    }
}

#[test]
fn a_chat_sends_on_when_nobody_reads_it() {
    let daemon = alice();
    let mut child = start(daemon.chatctl(&["chat", "bob"]));
    drop(child.take_stdout());
    child.take_stdin().unwrap().write_all(b"one\ntwo\n").unwrap();
    assert_eq!(end(child).code, 0);
    assert_eq!(bodies(&daemon), ["one", "two"]);
}

/// Stores messages as a daemon does: an id that is there already is the same message.
#[derive(Default)]
struct Stored(Mutex<(Vec<String>, HashSet<String>)>);

impl Stored {
    fn store(&self, params: &serde_json::Value) -> usize {
        let mut stored = self.0.lock().unwrap();
        if stored.1.insert(params["id"].as_str().unwrap().to_owned()) {
            stored.0.push(params["body"].as_str().unwrap().to_owned());
        }
        stored.0.len()
    }
}

#[test]
fn lines_go_on_over_restarts_of_the_daemon_each_once_and_in_order() {
    let stored = std::sync::Arc::new(Stored::default());
    let (calls, keeps) = (AtomicUsize::new(0), stored.clone());
    let daemon = Daemon::new(move |call| {
        if call.method != "message.send" {
            return call.answer(sample(call));
        }
        match calls.fetch_add(1, Ordering::SeqCst) % 1_900 {
            // Gone before it is stored, and gone after.
            700 => call.hang_up(),
            1_400 => {
                keeps.store(&call.params);
                call.hang_up();
            }
            1_800 => call.refuse(ErrorCode::ShuttingDown, "the daemon is stopping"),
            // What a daemon has read it may still store when the client is told nothing any more.
            _ => {
                keeps.store(&call.params);
                call.answer(json!({ "id": call.params["id"], "state": "queued" }));
            }
        }
    });
    let lines: Vec<String> = (0..6_000).map(|n| format!("line {n}")).collect();
    let ran = daemon.run(&["send", "bob", "--stdin-lines", "--json"], (lines.join("\n") + "\n").as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("the daemon went away") && ran.stderr.contains("the daemon is back"), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), lines.len(), "each is reported once");
    let mut kept = stored.0.lock().unwrap().0.clone();
    assert_eq!(kept.len(), lines.len(), "nothing twice");
    // This daemon also stores what follows a refusal; a real one has stopped by then. Nothing is missing.
    kept.sort_by_key(|line| line[5..].parse::<u64>().unwrap());
    assert_eq!(kept, lines);
}

#[test]
fn a_bad_line_after_a_restart_has_its_number() {
    let calls = AtomicUsize::new(0);
    let daemon = Daemon::new(move |call| match call.method {
        "message.send" if calls.fetch_add(1, Ordering::SeqCst) == 1 => call.hang_up(),
        _ => call.answer(sample(call)),
    });
    let ran = daemon.run(&["send", "bob", "--stdin-lines"], b"a\n\nb\n\xff\nc\n");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("2 lines queued\nchatctl: line 4 is not UTF-8"), "{}", ran.stderr);
}

#[test]
fn a_place_at_a_full_daemon_is_waited_for() {
    let hellos = AtomicUsize::new(0);
    let daemon = Daemon::unwelcoming(move |call| match call.method {
        "system.hello" if hellos.fetch_add(1, Ordering::SeqCst) < 3 => {
            call.refuse(ErrorCode::LimitReached, "all places for clients are taken");
            call.hang_up();
        }
        "system.hello" => call.answer(hello()),
        // A limit of another kind is no reason to wait.
        "account.register" => call.refuse(ErrorCode::LimitReached, "32 accounts are the most"),
        _ => call.answer(sample(call)),
    });
    let ran = daemon.run(&["send", "bob", "hello"], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(daemon.calls("system.hello").len(), 4);
    assert!(daemon.calls("system.hello")[0]["client"].as_str().unwrap().starts_with("chatctl "));
    assert_eq!(daemon.run(&["register", "zoe"], b"").code, 1);
    assert_eq!(daemon.calls("account.register").len(), 1);
}

#[test]
fn a_name_that_is_free_in_a_moment_is_waited_for() {
    let calls = AtomicUsize::new(0);
    let daemon = Daemon::new(move |call| match call.method {
        "feed.subscribe" if calls.fetch_add(1, Ordering::SeqCst) < 2 => {
            call.refuse(ErrorCode::InUse, "bot is being read")
        }
        _ => call.answer(sample(call)),
    });
    let mut command = daemon.chatctl(&["watch", "--consumer", "bot", "--ack-stdin"]);
    command.stdin(Stdio::null());
    let ran = end(start(command));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let taken = Daemon::new(|call| match call.method {
        "feed.subscribe" => call.refuse(ErrorCode::InUse, "bot is being read"),
        _ => call.answer(sample(call)),
    });
    let ran = taken.run(&["watch", "--consumer", "bot", "--ack-stdin"], b"");
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "chatctl: bot is being read\n"));
}
