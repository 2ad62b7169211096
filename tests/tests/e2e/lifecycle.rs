//! Accounts that come and go while others use them, wait for them, or leave in the middle.

use proto::rpc::methods::{AccountList, AccountRegister, MessageSend};
use proto::rpc::types::{Empty, RegisterParams, SendParams};
use tests::process::Process;
use tests::wait::{DEADLINE, wait_for};
use tests::{Daemon, DaemonOptions, Directory, Pair};

use crate::util::{bodies, send, status, wait_for_body};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_register_one_name_at_once_one_wins() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let mut calls = Vec::new();
    for _ in 0..6 {
        let client = daemon.client().await;
        calls.push(tokio::spawn(async move {
            // Without a directory nobody else decides.
            let params = RegisterParams { name: "alice".into(), directory: Some(String::new()), ..Default::default() };
            client.call::<AccountRegister>(&params).await.map_err(|error| error.to_string())
        }));
    }
    let mut won = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(error.contains("alice"), "{error}"),
        }
    }
    assert_eq!(won, 1);
    let accounts = daemon.client().await.call::<AccountList>(&Empty {}).await.unwrap().accounts;
    assert_eq!(accounts.len(), 1);
    let folders = std::fs::read_dir(daemon.data_dir().join("accounts")).unwrap().count();
    assert_eq!(folders, 1, "nothing is left of those who lost");
}

#[test]
fn deletion_ends_what_waits_for_the_account() {
    let mut pair = Pair::start();
    pair.bob_daemon().stop();
    let id = send(&pair.alice, "bob", "never read");
    let mut watch = Process::spawn(pair.alice.command(["watch"]).unwrap()).unwrap();
    let waiting = pair.alice.command(["send", "bob", "never read, too", "--wait", "delivered"]).unwrap();
    let mut waiting = Process::spawn(waiting).unwrap();
    wait_for("both messages wait", || status(&pair.alice)["queued"] == 2);
    assert!(watch.is_running() && waiting.is_running(), "{id}");
    pair.alice.ok(["unregister", "--yes"]);
    wait_for("both have ended", || !watch.is_running() && !waiting.is_running());
    let folders = std::fs::read_dir(pair.alice_daemon.data_dir().join("accounts")).unwrap().count();
    assert_eq!(folders, 0);
}

#[test]
fn a_login_in_the_middle_of_a_logout_ends_online() {
    let pair = Pair::start();
    for round in 0..5 {
        let (leaver, comer) = (pair.bob.clone(), pair.bob.clone());
        let leave = std::thread::spawn(move || leaver.run(["logout"]));
        // Refused while it is online still.
        wait_for("a login is taken", || comer.run(["login"]).code == Some(0));
        leave.join().unwrap();
        wait_for("the session is up, and status says so", || status(&pair.bob)["online"] == true);
        let body = format!("{round}");
        pair.alice.ok(["send", "bob", &body]);
        wait_for_body(&pair.bob, "alice", &body);
    }
    assert_eq!(bodies(&pair.bob, "alice", 10), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_while_the_recipient_comes_and_goes() {
    for pair in [Pair::start(), Pair::on_one_daemon()] {
        let client = pair.alice_daemon.client().await;
        let sending = tokio::spawn(async move {
            for number in 0..400 {
                let params = SendParams {
                    account: Some("alice".into()),
                    to: "bob".into(),
                    body: number.to_string(),
                    ..Default::default()
                };
                client.call::<MessageSend>(&params).await.unwrap();
            }
        });
        let bob = pair.bob.clone();
        let coming = tokio::task::spawn_blocking(move || {
            for _ in 0..6 {
                bob.ok(["logout"]);
                bob.ok(["login"]);
            }
        });
        sending.await.unwrap();
        coming.await.unwrap();
        let (bob, alice) = (pair.bob.clone(), pair.alice.clone());
        tokio::task::spawn_blocking(move || {
            wait_for_body(&bob, "alice", "399");
            let all: Vec<String> = (0..400).map(|number| number.to_string()).collect();
            assert_eq!(bodies(&bob, "alice", 500), all, "whole, in order, once");
            wait_for("alice learns that all has arrived", || status(&alice)["queued"] == 0);
        })
        .await
        .unwrap();
    }
}

#[test]
fn lines_go_on_over_restarts_of_the_daemon_and_none_comes_twice() {
    use std::io::Write;
    use std::process::Stdio;
    let mut pair = Pair::start();
    let mut command = pair.alice.command(["send", "bob", "--stdin-lines"]).unwrap();
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut sender = Process::spawn(command).unwrap();
    let mut lines = sender.take_stdin().unwrap();
    let expected: Vec<String> = (0..60).map(|number| format!("line {number}")).collect();
    for (part, texts) in expected.chunks(20).enumerate() {
        for text in texts {
            writeln!(lines, "{text}").unwrap();
        }
        match part {
            0 => {
                wait_for_body(&pair.bob, "alice", "line 19");
                pair.alice_daemon.kill9();
            }
            // These were written while there was no daemon, and some of the last are under way, perhaps.
            _ => pair.alice_daemon.restart(),
        }
    }
    drop(lines);
    assert!(sender.wait(DEADLINE).unwrap().success());
    wait_for_body(&pair.bob, "alice", "line 59");
    assert_eq!(bodies(&pair.bob, "alice", 200), expected);
}
