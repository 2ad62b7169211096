//! Storage in trouble: bytes that the disk turned, keys that are gone, a disk that is full.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tests::wait::{times_are_judged, wait_for};
use tests::{Ctl, Daemon, DaemonOptions, Directory, Pair, Place};

use crate::start::Tmpfs;
use crate::util::{bodies, send, state_of, status, text, wait_for_body};

/// The folder of an account.
fn folder(daemon: &Daemon, ctl: &Ctl) -> PathBuf {
    daemon.data_dir().join("accounts").join(text(&ctl.json(["whoami"])["id"]))
}

/// Turns a byte of the page that holds this text.
#[track_caller]
fn flip_where(path: &Path, words: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(words.len()).position(|window| window == words.as_bytes()).expect("the text is in the file");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_account_can_be_read_and_others_work() {
    let mut pair = Pair::on_one_daemon();
    let (alice, bob) = (pair.alice.clone(), pair.bob.clone());
    let written: Vec<String> =
        (0..120).map(|n| format!("number-{n}-of-alice {}", "and more words ".repeat(30))).collect();
    for body in &written {
        send(&alice, "bob", body);
    }
    wait_for_body(&bob, "alice", written.last().unwrap());
    let files = folder(&pair.alice_daemon, &bob);
    pair.alice_daemon.stop();
    flip_where(&files.join("messages.db"), "number-60-of-alice");
    pair.alice_daemon.restart();

    // The daemon starts, and what is intact is read: nothing wrong, and not without a word.
    let output = bob.ok(["history", "alice", "-n", "500", "--json"]);
    let read = output.json();
    let messages: Vec<&str> =
        read["messages"].as_array().unwrap().iter().map(|message| text(&message["body"])).collect();
    assert!(messages.iter().all(|body| written.iter().any(|own| own == body)), "nothing wrong is read");
    assert!(messages.len() > 100 && messages.len() < 120, "{}", messages.len());
    assert!(!messages.contains(&written[60].as_str()));
    let damaged = text(&read["damaged"]);
    for word in ["cannot be read", "messages.db", "page"] {
        assert!(damaged.contains(word), "{word}: {damaged}");
    }
    assert_eq!((text(&read["repair"]["do"]), text(&read["repair"]["name"])), ("restore", files.to_str().unwrap()));
    bob.ok(["history", "alice"]).says(&[
        "may be missing",
        "chatctl restore",
        "chatctl backup",
        files.to_str().unwrap(),
    ]);
    let found = bob.json(["search", "number-61-of-alice", "-n", "5"]);
    assert!(found["damaged"].is_string(), "{found}");
    let found = bob.json(["search", "number-3-of-alice", "-n", "5"]);
    assert_eq!(text(&found["messages"][0]["body"]), written[3]);
    println!("figure: 120 messages, one page damaged: {} are read, wrong = 0", messages.len());

    // Nothing is written, and it says why.
    wait_for("bob is offline", || bob.json(["status"])["accounts"][0]["online"] == false);
    assert!(text(&status(&bob)["damaged"]).contains("messages.db"));
    bob.run(["send", "alice", "never"]).says(&["messages.db", "read-only", "chatctl restore"]);
    assert_ne!(bob.run(["login"]).code, Some(0));
    let id = send(&alice, "bob", "to the damaged one");
    assert_ne!(state_of(&alice, &id), "delivered");
    // Also after a start that finds it.
    pair.alice_daemon.restart();
    bob.ok(["history", "alice"]).says(&["may be missing"]);
    alice.ok(["status"]);

    // Others go on: alice finds a new friend on the same daemon.
    let carol = pair.alice_daemon.ctl("carol");
    carol.ok(["register", "carol"]);
    tests::people::befriend(&alice, &carol);
    alice.ok(["send", "carol", "hello", "--wait", "delivered"]);
}

#[test]
fn keys_are_never_made_anew() {
    let mut pair = Pair::on_one_daemon();
    let (alice, bob) = (pair.alice.clone(), pair.bob.clone());
    send(&alice, "bob", "before");
    wait_for_body(&bob, "alice", "before");
    let files = folder(&pair.alice_daemon, &bob);
    for (key, damage) in [("identity.key", None), ("device.key", None), ("device.key", Some(&b"nonsense"[..]))] {
        pair.alice_daemon.stop();
        let saved = std::fs::read(files.join(key)).unwrap();
        match damage {
            Some(bytes) => std::fs::write(files.join(key), bytes).unwrap(),
            None => std::fs::remove_file(files.join(key)).unwrap(),
        }
        pair.alice_daemon.restart();
        assert_eq!(bodies(&bob, "alice", 9)[0], "before");
        assert!(text(&status(&bob)["damaged"]).contains(key), "{}", status(&bob));
        bob.run(["send", "alice", "never"]).says(&[key, "read-only"]);
        alice.ok(["whoami"]);
        pair.alice_daemon.stop();
        assert_eq!(files.join(key).exists(), damage.is_some(), "no key is made in the place of one that is gone");
        std::fs::write(files.join(key), saved).unwrap();
        std::fs::set_permissions(files.join(key), std::fs::Permissions::from_mode(0o600)).unwrap();
        pair.alice_daemon.restart();
        bob.ok(["send", "alice", "with the key again", "--wait", "delivered"]);
        assert!(status(&bob)["damaged"].is_null());
    }
}

/// Takes all room that there is.
fn fill(folder: &Path, name: &str) {
    let mut file = std::fs::File::options().create(true).append(true).open(folder.join(name)).unwrap();
    let block = vec![1_u8; 4_096];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

/// Bob's data on a small disk of its own; alice's not.
pub struct SmallDisk {
    directory: Directory,
    alice: Ctl,
    pub bob: Ctl,
    _alice_daemon: Daemon,
    pub bob_daemon: Daemon,
    pub data: PathBuf,
    // Unmounted last.
    _disk: Tmpfs,
}

impl SmallDisk {
    pub fn start(size: &str) -> Option<Self> {
        let directory = Directory::start();
        let place: Arc<Place> = Arc::clone(directory.place());
        let data = place.folder("bob").unwrap().join("data");
        tests::place::private_folder(&data).unwrap();
        let disk = Tmpfs::mount(&data, size)?;
        let start = |name: &str| Daemon::start(DaemonOptions::new(name, directory.url()).place(&place));
        let (alice_daemon, bob_daemon) = (start("alice"), start("bob"));
        let (alice, bob) = (alice_daemon.ctl("alice"), bob_daemon.ctl("bob"));
        alice.ok(["register", "alice"]);
        bob.ok(["register", "bob"]);
        tests::people::befriend(&alice, &bob);
        Some(Self { directory, alice, bob, _alice_daemon: alice_daemon, bob_daemon, data, _disk: disk })
    }
}

#[test]
fn a_full_disk_loses_nothing_and_recovers_by_itself() {
    if !nix::unistd::geteuid().is_root() {
        tests::skip!("needs root, to mount a small file system");
    }
    let Some(mut it) = SmallDisk::start("48m") else {
        tests::skip!("cannot mount a tmpfs here");
    };
    let (alice, bob) = (it.alice.clone(), it.bob.clone());
    assert!(std::fs::metadata(it.data.join("ballast")).unwrap().len() >= 8 << 20);
    let mut written = Vec::new();
    let mut say = |count: usize| {
        for _ in 0..count {
            written.push(format!("number {}", written.len()));
            send(&alice, "bob", written.last().unwrap());
        }
        written.clone()
    };
    let all = say(10);
    wait_for_body(&bob, "alice", all.last().unwrap());
    let own = send(&bob, "alice", "said in time");
    wait_for_body(&alice, "bob", "said in time");

    fill(&it.data, "filler");
    // Bob's daemon notices within seconds, and gives its ballast up.
    wait_for("the ballast is given up", || {
        let _ = bob.run(["send", "alice", "anything"]);
        !it.data.join("ballast").exists()
    });
    let accepted = bodies(&bob, "alice", 500).into_iter().filter(|body| body == "anything").count();
    // What frees space still commits: reading marks, acknowledgements.
    let before = bodies(&bob, "alice", 500);
    say(5);
    bob.run(["send", "alice", "never"]).says(&["disk is full"]);
    bob.ok(["read", "alice"]);
    assert!(text(&status(&bob)["store_error"]).contains("full"), "{}", status(&bob));
    wait_for("alice learns what was read", || {
        let first = alice.list(["history", "bob", "-n", "500"], "messages");
        first.iter().any(|message| message["body"] == "number 0" && message["state"] == "read")
    });
    assert_eq!(bodies(&bob, "alice", 500), before, "nothing new is taken");
    let undelivered = alice.list(["history", "bob", "-n", "500"], "messages");
    let waiting = undelivered.iter().filter(|message| text(&message["body"]).starts_with("number 1"));
    for message in waiting {
        let (body, state) = (text(&message["body"]), text(&message["state"]));
        let there = before.iter().any(|own| own == body);
        assert!(there || !["delivered", "read"].contains(&state), "{body} is {state} and not there");
    }

    // Now without any room at all: killed, started, read.
    fill(&it.data, "filler-2");
    it.bob_daemon.kill9();
    it.bob_daemon.restart();
    assert_eq!(bodies(&bob, "alice", 500), before, "a start on a full disk reads");
    bob.run(["send", "alice", "never"]).says(&["full"]);
    let all = say(5);

    // Room again.
    std::fs::remove_file(it.data.join("filler")).unwrap();
    std::fs::remove_file(it.data.join("filler-2")).unwrap();
    let since = Instant::now();
    wait_for_body(&bob, "alice", all.last().unwrap());
    let incoming = since.elapsed();
    wait_for("bob can write", || bob.run(["send", "alice", "after"]).code == Some(0));
    let took = since.elapsed();
    wait_for_body(&alice, "bob", "after");
    let expected: Vec<&String> = all.iter().collect();
    let theirs = bodies(&bob, "alice", 500);
    let received: Vec<&String> = theirs.iter().filter(|body| body.starts_with("number")).collect();
    assert_eq!(received, expected, "all of them, once, in order");
    assert_eq!(bodies(&alice, "bob", 500).iter().filter(|body| *body == "anything").count(), accepted);
    assert!(!bodies(&alice, "bob", 500).contains(&"never".to_owned()));
    assert_eq!(state_of(&bob, &own), "delivered");
    println!("figure: full disk: violations = 0, receives again after {incoming:?}, all after {took:?}");
    assert!(!times_are_judged() || took < Duration::from_secs(5), "{took:?}");
    wait_for("the ballast is back", || it.data.join("ballast").exists());
    it.bob_daemon.stop();
    it.directory.stop();
}

#[test]
fn a_program_that_has_the_database_open_is_waited_for() {
    let mut pair = Pair::start();
    let id = send(&pair.alice, "bob", "before");
    wait_for_body(&pair.bob, "alice", "before");
    let bob = pair.bob.clone();
    let database = folder(pair.bob_daemon(), &bob).join("messages.db");
    pair.bob_daemon().stop();
    // chatd's own layer, which is in this process, wants a database for itself.
    let other = Connection::open_with_flags_and_vfs(database, OpenFlags::default(), c"unix").unwrap();
    other.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap();
    let log = pair.bob_daemon().home().join("chatd.log");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            wait_for("the daemon waits", || std::fs::read_to_string(&log).unwrap().contains("another program has"));
            drop(other);
        });
        pair.bob_daemon().restart();
    });
    assert!(status(&pair.bob)["damaged"].is_null());
    send(&pair.alice, "bob", "after");
    wait_for_body(&pair.bob, "alice", "after");
    assert_eq!(state_of(&pair.alice, &id), "delivered");
}
