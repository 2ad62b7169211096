//! Other users of the same machine. Needs root, to become them.

use std::path::{Path, PathBuf};

use tests::users;
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, Stream};

/// Two users that have nothing on this machine; both count as people (uid >= UID_MIN).
const USERS: [u32; 2] = [23_001, 23_002];

/// A system daemon whose folders are open, and `chatctl` of some users of it.
fn system_daemon(directory: &Directory, config: &str) -> (Daemon, PathBuf) {
    let options = DaemonOptions::new("chatd", directory.url()).config(&format!("system = true\n{config}"));
    let daemon = Daemon::start(options);
    users::open_folders(&daemon).unwrap();
    let program = users::shared_program(daemon.place(), "chatctl").unwrap();
    (daemon, program)
}

#[test]
fn another_user_cannot_reach_a_users_own_daemon() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    daemon.ctl("alice").ok(["register", "alice"]);
    let program = users::shared_program(daemon.place(), "chatctl").unwrap();
    let other = users::ctl(USERS[0], &daemon, &program).unwrap();
    let refused = other.run(["whoami"]).expect_code(3);
    assert!(refused.stderr.contains("not allowed"), "{refused:?}");
    // Even with open folders the socket itself is closed.
    users::open_folders(&daemon).unwrap();
    let refused = other.run(["whoami"]).expect_code(3);
    assert!(refused.stderr.contains("not allowed"), "{refused:?}");
    assert!(!refused.stderr.contains("alice"));
}

/// Whoever has no account here may upload one backup at a time: with an account it is two.
#[test]
fn a_user_without_an_account_has_one_place_for_a_backup() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    let directory = Directory::start();
    let (daemon, program) = system_daemon(&directory, "");
    for (user, places) in [(USERS[0], 1), (USERS[1], 2)] {
        let ctl = users::ctl(user, &daemon, &program).unwrap();
        if places == 2 {
            ctl.ok(["register", "bob"]);
        }
        let phrase = daemon.place().path().join(format!("home{user}/phrase"));
        std::fs::write(&phrase, "a phrase\n").unwrap();
        users::set_mode(&phrase, 0o600).unwrap();
        users::give(&phrase, user).unwrap();
        let args = ["restore", "-", "--passphrase-file", phrase.to_str().unwrap()];
        // Each waits for the rest of its backup, until its input ends.
        let mut held: Vec<_> = (0..places).map(|_| ctl.stream(args)).collect();
        let begun = || {
            let clients = ctl.json(["status"])["own_clients"].as_array().cloned().unwrap_or_default();
            clients.iter().filter(|client| client["does"] == "idle since restore.begin").count()
        };
        wait_for("all have begun", || begun() == places);
        let refused = ctl.run(args).expect_code(1);
        assert!(refused.stderr.contains("wait for one to end"), "{user}: {refused:?}");
        for restore in &mut held {
            restore.close_stdin();
            assert_eq!(restore.wait().code(), Some(1), "nothing is no backup");
        }
        let again = ctl.run(args).expect_code(1);
        assert!(!again.stderr.contains("wait for one to end"), "the place is free: {again:?}");
    }
}

/// Makes eight connections when it is told to, says nothing on them, and tells when all are ended.
const SILENT: &str = "import socket, sys
print('ready', flush=True)
sys.stdin.readline()
held = [socket.socket(socket.AF_UNIX) for n in range(8)]
for s in held:
    s.connect(sys.argv[1])
print('held', flush=True)
ended = 0
for s in held:
    s.settimeout(60)
    try:
        while s.recv(4096):
            pass
    except ConnectionError:
        pass
    ended += 1
print('ended', ended, flush=True)
";

/// Four users that connect and say nothing, and one who goes on working beside them.
#[test]
fn silent_connections_of_several_users_stop_nobody() {
    const PYTHON: &str = "/usr/bin/python3";
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    if !Path::new(PYTHON).exists() {
        tests::skip!("{PYTHON} is missing, to connect as other users and to say nothing");
    }
    let directory = Directory::start();
    // Few places in all: with more, as many connections would be needed to take them.
    let config = "[limits]\nrpc_clients = 48\nrpc_clients_per_uid = 16\n";
    let (daemon, program) = system_daemon(&directory, config);
    let bob = users::ctl(USERS[0], &daemon, &program).unwrap();
    bob.ok(["register", "bob"]);
    let mut silent: Vec<Stream> = (23_101..23_105)
        .map(|user| {
            let mut command = users::command(user, Path::new(PYTHON));
            command.args(["-c", SILENT]).arg(daemon.socket());
            Stream::start(command).unwrap()
        })
        .collect();
    for stream in &mut silent {
        stream.until("that it runs", |line| line == "ready");
        stream.type_line("connect");
    }
    for stream in &mut silent {
        stream.until("its connections", |line| line == "held");
    }
    // A quarter of the places is for who has no account; one is bob's.
    assert_eq!(bob.json(["status"])["clients"], 12 + 1, "they are there, and hold no more");
    for n in 0..20 {
        bob.ok(["profile", "set", "--status", &format!("still here, {n}")]);
    }
    for stream in &mut silent {
        stream.until("their end", |line| line == "ended 8");
    }
    assert_eq!(bob.json(["status"])["clients"], 1);
}

#[test]
fn users_of_a_system_daemon_see_their_own_accounts_only() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    let directory = Directory::start();
    let (daemon, program) = system_daemon(&directory, "");
    let [one, two] = USERS.map(|user| users::ctl(user, &daemon, &program).unwrap());
    one.clone().account("alice").ok(["register", "alice"]);
    one.ok(["profile", "set", "--bio", "private to alice"]);
    let nothing = two.json(["status"]);
    assert_eq!(nothing["accounts"].as_array().map(Vec::len), Some(0), "{nothing}");
    for args in [&["whoami"][..], &["contacts"], &["history", "bob"], &["unregister", "--yes"], &["login"], &["watch"]]
    {
        let output = two.clone().account("alice").run(args).expect_code(1);
        let unknown = two.clone().account("nobody").run(args).expect_code(1);
        let blind = |text: &str| text.replace("alice", "NAME").replace("nobody", "NAME");
        assert_eq!(blind(&output.stderr), blind(&unknown.stderr), "whose it is, is not told: {output:?}");
        assert_eq!(output.stdout, "");
    }
    two.ok(["register", "bob"]);
    assert_eq!(two.json(["whoami"])["name"], "bob");
    assert_eq!(one.json(["whoami"])["name"], "alice", "one account is implied, whatever others have");
    let taken = two.run(["register", "alice"]).expect_code(1);
    assert!(!taken.stderr.is_empty());
    // System users have no business here.
    let daemon_user = users::ctl(2, &daemon, &program).unwrap().run(["status"]);
    assert!(matches!(daemon_user.code, Some(1 | 3)), "{daemon_user:?}");
    // Root gets no account implicitly.
    let root = daemon.bare_ctl().run(["status", "--json"]);
    assert!(!root.stdout.contains("alice"), "{root:?}");
}
