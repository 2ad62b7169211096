//! Durable consumers: when an event counts as dealt with, what happens to one that fails, and who may read.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::wait::wait_for;
use tests::{Ctl, Pair, Stream};

use crate::util::text;

const MESSAGES: [&str; 2] = ["--type", "message.received"];

/// The arguments of a consumer that begins with the first event of all.
fn consumer<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["watch", "--since", "0", "--consumer", name], &MESSAGES[..], more].concat()
}

fn state(ctl: &Ctl, name: &str) -> Value {
    let all = ctl.json_lines(["consumers"]);
    all.into_iter().find(|consumer| consumer["name"] == name).unwrap_or_default()
}

fn send_all(pair: &Pair, bodies: &[&str]) {
    pair.alice.run_with(["send", "bob", "--stdin-lines"], bodies.join("\n").as_bytes()).expect_code(0);
    wait_for("all came", || pair.bob.json(["unread"])["total"] == bodies.len());
}

/// Ends one that has begun to read.
#[track_caller]
fn end(mut watch: Stream) {
    watch.signal(Signal::SIGTERM);
    let status = watch.wait();
    assert!(status.success(), "{status}: {:?}", watch.stderr_now());
}

/// A file that commands write to, and its lines.
struct Log(PathBuf);

impl Log {
    fn new(pair: &Pair, name: &str) -> Self {
        Self(pair.alice_daemon.place().path().join(name))
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn bodies(&self) -> Vec<String> {
        let body = |line: &String| text(&serde_json::from_str::<Value>(line).unwrap()["message"]["body"]).to_owned();
        self.lines().iter().map(body).collect()
    }
}

#[test]
fn a_consumer_on_a_pipe_says_when_it_acknowledges() {
    let pair = Pair::on_one_daemon();
    let refused = pair.bob.run(["watch", "--json", "--consumer", "bot"]).expect_code(2);
    refused.says(&["--exec", "--ack-stdin", "--ack printed"]);
    assert_eq!(pair.bob.ok(["consumers", "--json"]).stdout, "", "and makes nothing");
    for args in [&["--exec", "true"][..], &["--ack-stdin"], &["--ack", "printed"]] {
        pair.bob.run(["watch"].iter().chain(args)).expect_code(2).says(&["--consumer"]);
    }
}

#[test]
fn a_command_handles_each_event_once_and_in_order() {
    let pair = Pair::on_one_daemon();
    let (log, args) = (Log::new(&pair, "handled"), Log::new(&pair, "environment"));
    // Whatever a message holds, it is data: it reaches the command by standard input alone.
    let hostile = ["$(touch pwned)", "`id`; rm -rf x", "-rf --exec", "a'b\"c\\", "LD_PRELOAD=/x", "\u{1b}]0;x\u{7}"];
    let command = format!("cat >> {}; echo \"$# $0 $@ $(env)\" >> {}", log.0.display(), args.0.display());
    let watch = pair.bob.stream(consumer("bot", &["--exec", &command]));
    send_all(&pair, &hostile);
    wait_for("all are handled", || log.lines().len() == hostile.len());
    assert_eq!(log.bodies(), hostile);
    wait_for("all are acknowledged", || state(&pair.bob, "bot")["attempts"] == 0);
    end(watch);
    let seen = args.lines().join("\n");
    assert_eq!(args.lines().iter().filter(|line| line.starts_with("0 /bin/sh ")).count(), hostile.len(), "{seen}");
    for foreign in ["touch", "rm -rf", "LD_PRELOAD", "a'b"] {
        assert!(!seen.contains(foreign), "{foreign} reached the command's environment or arguments: {seen}");
    }
    // What was acknowledged does not come again; what was sent meanwhile does.
    pair.alice.ok(["send", "bob", "later", "--wait", "delivered"]);
    let watch = pair.bob.stream(consumer("bot", &["--exec", &command]));
    wait_for("the next is handled", || log.lines().len() > hostile.len());
    assert_eq!(log.bodies()[hostile.len()..], ["later"]);
    end(watch);
}

#[test]
fn what_fails_holds_back_the_rest_and_becomes_a_dead_letter() {
    let mut pair = Pair::on_one_daemon();
    let log = Log::new(&pair, "handled");
    let shown = log.0.display();
    let command = format!("line=$(cat); echo \"$line\" >> {shown}; case $line in *poison*) exit 3;; esac");
    let exec = ["--exec", command.as_str(), "--max-attempts", "3"];
    send_all(&pair, &["one", "poison", "two"]);
    let watch = pair.bob.stream(consumer("bot", &exec));
    assert!(watch.next_error().contains("exit code 3; attempt 1 of 3, the next in 1 s"));
    assert_eq!(log.bodies(), ["one", "poison"], "what is behind it waits");
    let stuck = state(&pair.bob, "bot");
    assert_eq!((&stuck["attempts"], &stuck["dead_letters"], &stuck["reading"]), (&1.into(), &0.into(), &true.into()));
    // The attempts are the daemon's: neither end of the bot nor its own forgets them.
    end(watch);
    pair.alice_daemon.kill9();
    pair.alice_daemon.restart();
    let watch = pair.bob.stream(consumer("bot", &exec));
    assert!(watch.next_error().contains("attempt 2 of 3"));
    let dead = watch.next_error();
    assert!(dead.contains("dead letter after 3 attempts (exit code 3)") && dead.contains("dead-letters bot"), "{dead}");
    wait_for("the rest is handled", || log.bodies().last().is_some_and(|last| last == "two"));
    assert_eq!(log.bodies(), ["one", "poison", "poison", "poison", "two"]);
    end(watch);
    // Like the attempts, they are the daemon's, which may crash.
    pair.alice_daemon.kill9();
    pair.alice_daemon.restart();
    let letters = pair.bob.json_lines(["consumers", "dead-letters", "bot"]);
    assert_eq!(letters.len(), 1);
    assert_eq!((text(&letters[0]["event"]["message"]["body"]), &letters[0]["attempts"]), ("poison", &3.into()));
    let people = pair.bob.ok(["consumers", "dead-letters", "bot"]).stdout;
    assert!(people.contains("after 3 attempts (exit code 3)") && people.contains("alice: poison"), "{people}");
    assert!(pair.bob.ok(["consumers"]).stdout.contains("1 dead letter"));
    // Back to where it began: all of them come again.
    let before = letters[0]["seq"].as_u64().unwrap() - 1;
    pair.bob.ok(["consumers", "reset", "bot", "--since", &before.to_string()]);
    assert_eq!(pair.bob.ok(["consumers", "dead-letters", "bot", "--json"]).stdout, "");
    let watch = pair.bob.stream(consumer("bot", &["--exec", &format!("cat >> {shown}")]));
    wait_for("they are handled again", || log.lines().len() == 7);
    assert_eq!(log.bodies()[5..], ["poison", "two"]);
    end(watch);
    pair.bob.ok(["consumers", "remove", "bot"]);
    pair.bob.run(["consumers", "remove", "bot"]).expect_code(1).says(&["no consumer bot"]);
}

#[test]
fn an_event_that_takes_the_bot_with_it_becomes_a_dead_letter_too() {
    let pair = Pair::on_one_daemon();
    send_all(&pair, &["poison", "fine"]);
    let log = Log::new(&pair, "handled");
    // Kills the chatctl that started it, as the system does when memory is short.
    let kill =
        format!("line=$(cat); case $line in *poison*) kill -9 $PPID;; *) echo \"$line\" >> {};; esac", log.0.display());
    for _ in 0..2 {
        let mut watch = pair.bob.stream(consumer("bot", &["--exec", &kill, "--max-attempts", "2"]));
        assert!(!watch.wait().success());
    }
    let watch = pair.bob.stream(consumer("bot", &["--exec", &kill, "--max-attempts", "2"]));
    assert!(watch.next_error().contains("no attempt came to an end"));
    wait_for("the next one is handled", || log.lines().len() == 1);
    assert_eq!(log.bodies(), ["fine"]);
    end(watch);
}

#[test]
fn an_event_is_tried_ten_times_unless_another_number_is_said() {
    let pair = Pair::on_one_daemon();
    send_all(&pair, &["poison"]);
    let watch = pair.bob.stream(consumer("bot", &["--exec", "exit 3"]));
    assert!(watch.next_error().contains("exit code 3; attempt 1 of 10, the next in 1 s"));
    assert_eq!(state(&pair.bob, "bot")["attempts"], 1);
}

#[test]
fn a_signal_lets_the_running_command_end() {
    let pair = Pair::on_one_daemon();
    send_all(&pair, &["one", "two"]);
    let (log, gate) = (Log::new(&pair, "handled"), Log::new(&pair, "gate"));
    std::fs::write(&gate.0, "closed").unwrap();
    let command = format!(
        "echo began >> {0}; while [ -e {1} ]; do sleep 0.02; done; echo ended >> {0}",
        log.0.display(),
        gate.0.display()
    );
    let mut watch = pair.bob.stream(consumer("bot", &["--exec", &command]));
    wait_for("it runs", || log.lines() == ["began"]);
    watch.signal(Signal::SIGTERM);
    std::fs::remove_file(&gate.0).unwrap();
    assert!(watch.wait().success());
    assert_eq!(log.lines(), ["began", "ended"], "the second did not begin");
    let left = state(&pair.bob, "bot");
    assert_eq!((&left["attempts"], &left["reading"]), (&0.into(), &false.into()), "the first is acknowledged: {left}");
    // One who does not want to wait for it says so twice.
    std::fs::write(&gate.0, "closed").unwrap();
    let mut watch = pair.bob.stream(consumer("bot", &["--exec", &command]));
    wait_for("it runs again", || log.lines().len() == 3);
    watch.signal(Signal::SIGTERM);
    wait_for("it ends without its command", || {
        watch.signal(Signal::SIGTERM);
        state(&pair.bob, "bot")["reading"] == false
    });
    assert!(watch.wait().success());
    assert_eq!(state(&pair.bob, "bot")["seq"], left["seq"], "nothing is acknowledged");
    std::fs::remove_file(&gate.0).unwrap();
    wait_for("the command that was left has ended", || log.lines().len() == 4);
}

#[test]
fn a_name_has_one_reader_and_is_free_when_that_is_gone() {
    let mut pair = Pair::on_one_daemon();
    send_all(&pair, &["one"]);
    let printed = consumer("bot", &["--json", "--ack", "printed"]);
    let mut first = pair.bob.stream(printed.clone());
    first.next_line();
    let second = pair.bob.run(printed.clone()).expect_code(1);
    second.says(&["consumer bot is being read by another program (process ", "stop that one"]);
    for args in [&["consumers", "reset", "bot"][..], &["consumers", "remove", "bot"]] {
        pair.bob.run(args).expect_code(1).says(&["being read"]);
    }
    // Another name, another account, a killed daemon and a killed reader: each is no obstacle.
    for (ctl, name) in [(&pair.bob, "other"), (&pair.alice, "bot")] {
        let watch = ctl.stream(consumer(name, &["--ack", "printed"]));
        wait_for("it reads", || state(ctl, name)["reading"] == true);
        end(watch);
    }
    pair.alice_daemon.kill9();
    pair.alice_daemon.restart();
    wait_for("the first is back", || state(&pair.bob, "bot")["reading"] == true);
    pair.bob.run(printed.clone()).expect_code(1);
    first.signal(Signal::SIGKILL);
    let mut next = pair.bob.stream(printed);
    pair.alice.ok(["send", "bob", "two", "--wait", "delivered"]);
    next.until("the next one", |line| line.contains("\"two\""));
    end(next);
}

#[test]
fn a_reader_says_by_number_what_it_has_finished() {
    let pair = Pair::on_one_daemon();
    send_all(&pair, &["one", "two", "three"]);
    let args = consumer("bot", &["--ack-stdin"]);
    let mut watch = pair.bob.stream(args.clone());
    let seqs: Vec<u64> = (0..3).map(|_| watch.next_json()["seq"].as_u64().unwrap()).collect();
    let begin = state(&pair.bob, "bot")["seq"].clone();
    watch.type_line(&seqs[1].to_string());
    watch.type_line("nonsense");
    assert_eq!(watch.wait().code(), Some(1));
    assert!(watch.next_error().contains("\"nonsense\" on standard input is not the number"));
    assert_eq!(state(&pair.bob, "bot")["seq"], begin, "the first was not finished");
    let mut watch = pair.bob.stream(args.clone());
    assert_eq!(watch.next_json()["seq"], seqs[0]);
    for seq in [seqs[1], seqs[0]] {
        watch.type_line(&seq.to_string());
    }
    wait_for("two are acknowledged", || state(&pair.bob, "bot")["seq"] == seqs[1]);
    // The end of its words is its end; what it said before counts.
    watch.type_line(&seqs[2].to_string());
    watch.close_stdin();
    assert!(watch.wait().success());
    assert_eq!(state(&pair.bob, "bot")["seq"], seqs[2]);
}
