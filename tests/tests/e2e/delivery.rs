//! Messages arrive: whole, once, in order, whatever is away or killed meanwhile.

use tests::Pair;
use tests::wait::wait_for;

use crate::util::{bodies, send, state_of, status, text, wait_for_body};

#[test]
fn a5_send_wait_delivered() {
    let pair = Pair::start();
    let sent = pair.alice.json(["send", "bob", "hello", "--wait", "delivered"]);
    assert_eq!(sent["state"], "delivered");
    // No waiting here: delivered means that bob's daemon has committed it.
    let messages = pair.bob.list(["history", "alice"], "messages");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["id"], sent["id"], "the same id on both sides");
    assert_eq!(messages[0]["body"], "hello");
    assert_eq!((text(&messages[0]["from"]), text(&messages[0]["to"])), ("alice", "bob"));
    assert!(messages[0]["received_at"].is_string());
}

#[test]
fn a5_two_accounts_on_one_daemon() {
    let pair = Pair::on_one_daemon();
    for number in 0..20 {
        pair.alice.ok(["send", "bob", &format!("{number}"), "--wait", "delivered"]);
        pair.bob.ok(["send", "alice", &format!("re {number}"), "--wait", "delivered"]);
    }
    let all: Vec<String> = (0..20).flat_map(|n| [format!("{n}"), format!("re {n}")]).collect();
    assert_eq!(bodies(&pair.alice, "bob", 100), all);
    assert_eq!(bodies(&pair.bob, "alice", 100), all);
}

#[test]
fn a5_read_is_told_to_the_sender() {
    let pair = Pair::start();
    let id = send(&pair.alice, "bob", "read me");
    wait_for_body(&pair.bob, "alice", "read me");
    assert_ne!(state_of(&pair.alice, &id), "read", "showing history does not mark as read");
    pair.bob.ok(["read", "alice"]);
    wait_for("alice learns that it was read", || state_of(&pair.alice, &id) == "read");
    pair.alice.ok(["send", "bob", "and me"]);
    let mut bob = pair.bob.stream(["watch"]);
    bob.until("the message", |line| line.contains("and me"));
    pair.bob.ok(["read", "alice"]);
}

#[test]
fn a7_a_known_contact_is_reached_while_the_directory_is_down() {
    let mut pair = Pair::start();
    pair.alice.ok(["send", "bob", "once before", "--wait", "delivered"]);
    pair.directory.stop();
    pair.alice.ok(["send", "bob", "without a directory", "--wait", "delivered"]);
    // Nor does a restart of the sender need one: contacts, keys and addresses are in its store.
    pair.alice_daemon.restart();
    pair.alice.ok(["send", "bob", "after a restart", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "alice", 10), ["once before", "without a directory", "after a restart"]);
    assert_eq!(status(&pair.alice)["online"], false, "and status says how it is");
}

#[test]
fn a10_states_and_trace() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let id = send(&pair.alice, "bob", "follow me");
    wait_for("it lies in bob's mailbox", || state_of(&pair.alice, &id) == "mailboxed");
    wait_for("an attempt is traced", || {
        let trace = pair.alice.json(["trace", &id]);
        trace["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["what"] == "attempt"))
    });
    assert!(!text(&pair.alice.json(["trace", &id])["next"]).is_empty(), "says what comes next");
    pair.bob_daemon().restart();
    wait_for("it is delivered", || state_of(&pair.alice, &id) == "delivered");
    let trace = pair.alice.json(["trace", &id]);
    let steps: Vec<&str> = trace["steps"].as_array().unwrap().iter().map(|step| text(&step["what"])).collect();
    let place = |what: &str| steps.iter().position(|step| *step == what);
    assert!(place("queued") < place("delivered") && place("queued").is_some(), "{steps:?}");
    assert!(trace["steps"].as_array().unwrap().iter().all(|step| step["at"].is_string()), "each has its time");
    let people = pair.alice.ok(["trace", &id]);
    assert!(people.stdout.contains("delivered"), "{people:?}");
    pair.alice.run(["trace", "01977e5c-0000-7000-8000-000000000000"]).expect_code(1);
}

#[test]
fn b3_two_hundred_of_two_hundred_in_order_after_being_away() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let lines: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
    assert_eq!(status(&pair.alice)["queued"], 200);
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "message 199");
    assert_eq!(bodies(&pair.bob, "alice", 1_000), lines);
    wait_for("everything is acknowledged", || status(&pair.alice)["queued"] == 0);
}

/// Whoever answers the first connection goes without a word: the lines wait for the daemon, as they do later.
#[test]
fn lines_wait_also_for_a_daemon_that_goes_before_its_first_answer() {
    let mut pair = Pair::start();
    let socket = pair.alice.socket().to_owned();
    pair.alice_daemon.stop();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut lines = pair.alice.stream(["send", "bob", "--stdin-lines"]);
    lines.type_line("before there was a daemon");
    drop(listener.accept().unwrap());
    drop(listener);
    std::fs::remove_file(&socket).unwrap();
    pair.alice_daemon.restart();
    lines.close_stdin();
    assert_eq!(lines.wait().code(), Some(0), "{:?}", lines.stderr_now());
    wait_for_body(&pair.bob, "alice", "before there was a daemon");
    // Where nobody ever was, nothing is waited for.
    pair.alice_daemon.stop();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], b"nobody").expect_code(3);
}

#[test]
fn b3_also_when_the_receiver_is_killed_while_draining() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let mut sent: Vec<String> = (0..200).map(|number| format!("message {number} {}", "x".repeat(200))).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], sent.join("\n").as_bytes()).expect_code(0);
    // More and more of it arrives before each kill; whatever was acknowledged may not come twice.
    for round in 0..5 {
        pair.bob_daemon().restart();
        let line = format!("round {round}");
        send(&pair.alice, "bob", &line);
        sent.push(line);
        let least = round * 20;
        wait_for("some of it came", || bodies(&pair.bob, "alice", 1_000).len() > least);
        pair.bob_daemon().kill9();
    }
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "round 4");
    assert_eq!(bodies(&pair.bob, "alice", 1_000), sent, "whole, once, in order");
    wait_for("everything is acknowledged", || status(&pair.alice)["queued"] == 0);
}

#[test]
fn b3_also_when_the_sender_is_killed() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let mut sent = Vec::new();
    for round in 0..5 {
        let lines: Vec<String> = (0..40).map(|number| format!("{round}/{number}")).collect();
        pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
        sent.extend(lines);
        // chatctl has ended with 0, so all of it is on disk.
        pair.alice_daemon.kill9();
        pair.alice_daemon.restart();
    }
    assert_eq!(status(&pair.alice)["queued"], 200);
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", sent.last().unwrap());
    assert_eq!(bodies(&pair.bob, "alice", 1_000), sent);
}

#[test]
fn both_talk_at_once_and_both_are_killed() {
    let mut pair = Pair::start();
    let lines = |who: &str, round: usize| -> Vec<String> { (0..50).map(|n| format!("{who} {round}/{n}")).collect() };
    let (mut by_alice, mut by_bob) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let (a, b) = (lines("alice", round), lines("bob", round));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pair.alice.run_with(["send", "bob", "--stdin-lines"], a.join("\n").as_bytes()).expect_code(0)
            });
            scope.spawn(|| {
                pair.bob.run_with(["send", "alice", "--stdin-lines"], b.join("\n").as_bytes()).expect_code(0)
            });
        });
        by_alice.extend(a);
        by_bob.extend(b);
        if round % 2 == 0 {
            pair.alice_daemon.kill9();
            pair.alice_daemon.restart();
        } else {
            pair.bob_daemon().kill9();
            pair.bob_daemon().restart();
        }
    }
    let of = |all: &[serde_json::Value], who: &str| -> Vec<String> {
        all.iter().filter(|m| m["from"] == who).map(|m| text(&m["body"]).to_owned()).collect()
    };
    wait_for("everything is acknowledged", || status(&pair.alice)["queued"] == 0 && status(&pair.bob)["queued"] == 0);
    for (ctl, other) in [(&pair.alice, "bob"), (&pair.bob, "alice")] {
        let all = ctl.list(["history", other, "-n", "1000"], "messages");
        assert_eq!(of(&all, "alice"), by_alice, "as {} sees it", ctl.name());
        assert_eq!(of(&all, "bob"), by_bob, "as {} sees it", ctl.name());
    }
}

#[test]
fn peer_offline_is_mailboxed_and_says_so() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let queued = pair.alice.json(["send", "bob", "later"]);
    assert_eq!(queued["state"], "queued");
    let waited = pair.alice.run(["send", "bob", "later, too", "--wait", "delivered", "--timeout", "1s"]).expect_code(6);
    assert!(waited.stderr.contains("mailbox") || waited.stderr.contains("queued"), "{waited:?}");
    pair.bob_daemon().restart();
    wait_for_body(&pair.bob, "alice", "later, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_sent_once() {
    use proto::rpc::methods::MessageSend;
    let pair = Pair::start();
    let client = pair.alice_daemon.client().await;
    let id = proto::ids::MessageId::now();
    let params = proto::rpc::types::SendParams {
        to: "bob".into(),
        body: "only once".into(),
        id: Some(id),
        ..Default::default()
    };
    for _ in 0..3 {
        assert_eq!(client.call::<MessageSend>(&params).await.unwrap().id, id);
    }
    pair.alice.ok(["send", "bob", "then this", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "alice", 10), ["only once", "then this"]);
    // The same id for somebody else is a mistake, not a repetition: nothing would be sent, and nobody told.
    let (_carol_daemon, _carol) = pair.join("carol");
    let params = proto::rpc::types::SendParams { to: "carol".into(), ..params };
    let error = client.call::<MessageSend>(&params).await.unwrap_err().to_string();
    assert!(error.contains(&id.to_string()) && error.contains("somebody else"), "{error}");
}

#[test]
fn tags_priority_and_replies_travel() {
    let pair = Pair::start();
    let first = send(&pair.alice, "bob", "the question");
    wait_for_body(&pair.bob, "alice", "the question");
    let args = ["send", "alice", "the answer", "--tag", "work", "--tag", "urgent", "--priority", "high"];
    pair.bob.ok(args.iter().chain(&["--format", "markdown", "--reply-to", &first, "--wait", "delivered"]));
    let message = pair.alice.list(["history", "bob", "-n", "1"], "messages")[0].clone();
    assert_eq!(message["tags"], serde_json::json!(["work", "urgent"]));
    assert_eq!((text(&message["priority"]), text(&message["format"])), ("high", "markdown"));
    assert_eq!(message["reply_to"], first.as_str());
    assert_eq!(pair.alice.list(["history", "bob", "--tag", "work"], "messages").len(), 1);
}
