//! Many users of one daemon: each with all the clients that are for certain, one of them without any restraint; and a user whose share of
//! the disk is used up. Needs root, to become them.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::daemon::isolate;
use tests::people::befriend;
use tests::users;
use tests::wait::{times_are_judged, wait_for};
use tests::{Ctl, Daemon, DaemonOptions, Directory, Stream};

use crate::util::{bodies, send, state_of, wait_for_body};

const USERS: u32 = 40;
const CLIENTS: usize = 16;
const FIRST_UID: u32 = 23_200;
const PYTHON: &str = "/usr/bin/python3";

/// One user: connects so many clients, waits to be told to begin, has so many calls under way on each for so many seconds, and tells how many
/// were answered on each, and how long they took. Every eighth call stores something.
const CROWD: &str = "import json, msgpack, socket, sys, threading, time
path, count, seconds, burst = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
class Client:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(60)
        self.unpacker, self.number, self.took = msgpack.Unpacker(), 0, []
        self.calls(1)
    def calls(self, burst):
        began, out = time.monotonic(), b''
        for n in range(burst):
            self.number += 1
            stores = self.number % 8 == 2
            method = 'profile.set' if stores else 'account.whoami'
            out += msgpack.packb([0, self.number, method, [{'status': str(self.number)} if stores else {}]])
        self.socket.sendall(out)
        left = burst
        while left:
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit('closed')
            self.unpacker.feed(data)
            for message in self.unpacker:
                if message[2] is not None:
                    raise SystemExit(str(message))
                left -= 1
                self.took.append(time.monotonic() - began)
    def run(self, until):
        self.took = []
        while time.monotonic() < until:
            self.calls(burst)
clients = [Client() for _ in range(count)]
print('ready', flush=True)
sys.stdin.readline()
until = time.monotonic() + seconds
threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
for thread in threads: thread.start()
for thread in threads: thread.join()
took = sorted(one for client in clients for one in client.took)
print(json.dumps({'each': [len(client.took) for client in clients], 'p50': took[len(took) // 2], 'p99': took[len(took) * 99 // 100]}), flush=True)
";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Of a system daemon whose folders are open, with these lines in its configuration.
fn system_daemon(directory: &Directory, config: &str) -> (Daemon, std::path::PathBuf) {
    let daemon =
        Daemon::start(DaemonOptions::new("chatd", directory.url()).config(&format!("system = true\n{config}")));
    users::open_folders(&daemon).unwrap();
    let program = users::shared_program(daemon.place(), "chatctl").unwrap();
    (daemon, program)
}

/// Forty users with sixteen clients each, all at work; the first has sixty-four calls under way on each of them.
#[test]
fn forty_users_with_sixteen_clients_do_not_starve_one_another() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    let mut probe = std::process::Command::new(PYTHON);
    isolate(&mut probe, Path::new("/"));
    if !probe.args(["-c", "import msgpack"]).output().is_ok_and(|run| run.status.success()) {
        tests::skip!("msgpack for {PYTHON} is missing: apt-get install python3-msgpack");
    }
    let seconds = if times_are_judged() { "20" } else { "3" };
    let directory = Directory::start();
    let (daemon, program) = system_daemon(&directory, "");
    for user in 0..USERS {
        let ctl = users::ctl(FIRST_UID + user, &daemon, &program).unwrap();
        ctl.ok(["register", &format!("user{user}")]);
    }
    let mut crowd: Vec<Stream> = (0..USERS)
        .map(|user| {
            let burst = if user == 0 { "64" } else { "1" };
            let mut command = users::command(FIRST_UID + user, Path::new(PYTHON));
            command.args(["-c", CROWD]).arg(daemon.socket()).args([&CLIENTS.to_string(), seconds, burst]);
            Stream::start(command).unwrap()
        })
        .collect();
    for stream in &mut crowd {
        stream.until("its clients", |line| line == "ready");
    }
    let root = daemon.bare_ctl().json(["status"]);
    assert_eq!(root["user_clients"].as_array().unwrap().len(), USERS as usize + 1, "{root}");
    for stream in &mut crowd {
        stream.type_line("begin");
    }
    let told: Vec<Value> = crowd
        .iter_mut()
        .map(|stream| {
            let line = stream.until("what became of its calls", |line| line.starts_with('{'));
            serde_json::from_str(&line).unwrap()
        })
        .collect();
    let calls = |told: &Value| told["each"].as_array().unwrap().iter().map(number).sum::<f64>();
    for (user, told) in told.iter().enumerate() {
        assert!(told["each"].as_array().unwrap().iter().all(|calls| number(calls) >= 1.0), "user {user}: {told}");
    }
    let mut honest: Vec<f64> = told[1..].iter().map(calls).collect();
    honest.sort_by(f64::total_cmp);
    let (least, median, most) = (honest[0], honest[honest.len() / 2], honest[honest.len() - 1]);
    let p99 = told[1..].iter().map(|told| number(&told["p99"])).fold(0.0, f64::max);
    let p50 = told[1..].iter().map(|told| number(&told["p50"])).fold(0.0, f64::max);
    println!(
        "figure: {USERS} users with {CLIENTS} clients each, {seconds} s: the greedy one {} calls, of the others {least} to {most} (median \
         {median}); worst p50 {:.0} ms, worst p99 {:.0} ms; {} KiB",
        calls(&told[0]),
        p50 * 1e3,
        p99 * 1e3,
        daemon.resident_kib().unwrap_or_default()
    );
    assert!(least * 4.0 >= median, "somebody starves: {honest:?}");
    assert!(!times_are_judged() || p99 < 2.0, "{p99} s");
}

/// Nothing more is taken for a user whose share is used up, others notice nothing, and what is forgotten makes room.
#[test]
fn a_share_that_is_used_up_stops_its_user_alone() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    let directory = Directory::start();
    let (daemon, program) = system_daemon(&directory, "[space]\nuser_mib = 1\n");
    let [alice, bob, carol]: [Ctl; 3] = [("alice", 0), ("bob", 1), ("carol", 2)].map(|(name, user)| {
        let ctl = users::ctl(FIRST_UID + user, &daemon, &program).unwrap().account(name);
        ctl.ok(["register", name]);
        ctl
    });
    befriend(&alice, &bob);
    befriend(&bob, &carol);
    let long = "x".repeat(40_000);
    let mut taken = 0;
    let refused = loop {
        let output = alice.run(["send", "bob", &long, "--wait", "delivered"]);
        if output.code != Some(0) {
            break output;
        }
        taken += 1;
        assert!(taken < 100, "4 MiB were taken");
        // His own share stays free.
        bob.ok(["forget", "alice"]);
    };
    refused.expect_code(1).says(&["share of this user is used up", "user_mib"]);
    assert!(taken > 5, "{taken}");
    let stored = alice.json(["status"])["stored"].clone();
    assert!(number(&stored["bytes"]) >= number(&stored["most"]) && stored["most"] == 1 << 20, "{stored}");
    let report = alice.run(["doctor", "--json"]).expect_code(1).json();
    let share = report["checks"].as_array().unwrap().iter().find(|check| check["what"] == "share").unwrap();
    assert_eq!(share["level"], "error");
    // What she is sent stays with its sender, and others go on.
    let waits = send(&bob, "alice", "when there is room");
    carol.ok(["send", "bob", "nobody told me of anything", "--wait", "delivered"]);
    wait_for_body(&bob, "carol", "nobody told me of anything");
    assert_ne!(state_of(&bob, &waits), "delivered");
    // Who operates the daemon gives more, and takes it back, without a restart.
    let config = daemon.home().join("chatd.toml");
    let share_is = |mib: u32| {
        let text = std::fs::read_to_string(&config).unwrap();
        let (before, after) = text.split_once("user_mib = ").unwrap();
        std::fs::write(&config, format!("{before}user_mib = {mib}{}", &after[1..])).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_for("it is in force", || alice.json(["status"])["stored"]["most"] == u64::from(mib) << 20);
    };
    share_is(2);
    alice.ok(["send", "bob", "with more"]);
    wait_for("what waited has come", || bodies(&alice, "bob", 10).contains(&"when there is room".to_owned()));
    share_is(1);
    alice.run(["send", "bob", "with less"]).expect_code(1).says(&["share of this user is used up"]);
    let waits = send(&bob, "alice", "when there is room again");
    alice.ok(["forget", "bob"]);
    wait_for("there is room", || alice.run(["send", "bob", "and again"]).code == Some(0));
    wait_for("what waited has come", || state_of(&bob, &waits) == "delivered");
    println!("figure: {taken} messages of 40,000 bytes in a share of 1 MiB");
}
