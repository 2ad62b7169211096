//! Clocks that are wrong or jump, and prekeys over time.

use std::path::{Path, PathBuf};

use chatd::store::PrekeyStore;
use tests::people::{befriend, contact_state};
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions};

use crate::util::{bodies, send, state_of, status, text, wait_for_body};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const ERRORS: [i64; 6] = [HOUR, -HOUR, DAY, -DAY, 3_650 * DAY, -3_650 * DAY];

/// A daemon whose clocks the test moves.
struct Moving {
    daemon: Daemon,
    ctl: Ctl,
}

impl Moving {
    fn start(name: &str, directory: Option<&Directory>) -> Self {
        let mut options = DaemonOptions { name: name.into(), ..DaemonOptions::default() };
        if let Some(directory) = directory {
            options = DaemonOptions::new(name, directory.url()).place(directory.place());
        }
        let place = options.place.get_or_insert_with(|| tests::Place::new().unwrap().into()).clone();
        for (variable, file) in [("CHATD_CLOCK_FILE", "clock"), ("CHATD_UPTIME_FILE", "uptime")] {
            let path = place.path().join(format!("{name}.{file}"));
            std::fs::write(&path, "0").unwrap();
            options.env.push((variable.into(), path.to_str().unwrap().into()));
        }
        let daemon = Daemon::start(options);
        let ctl = daemon.ctl(name);
        ctl.ok(["register", name]);
        Self { daemon, ctl }
    }

    fn write(&self, file: &str, seconds: i64) {
        let folder = self.daemon.place().path();
        let path = folder.join(format!("{}.{file}", self.ctl.name()));
        // Never half a number.
        let new = path.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// The wall clock is wrong from now on.
    fn set_clock(&self, error: i64) {
        self.write("clock", error);
    }

    /// So much time has passed since the start.
    fn pass(&self, seconds: i64) {
        self.write("uptime", seconds);
    }

    fn folder(&self) -> PathBuf {
        let accounts = self.daemon.data_dir().join("accounts");
        std::fs::read_dir(accounts).unwrap().next().unwrap().unwrap().path()
    }

    /// The secrets that are stored, read in a copy.
    fn secrets(&self) -> Vec<[u8; 32]> {
        let copy = tempfile::tempdir().unwrap();
        for name in ["prekeys.db", "prekeys.db-wal"] {
            // The WAL may go at any moment.
            let _ = std::fs::copy(self.folder().join(name), copy.path().join(name));
        }
        let store = PrekeyStore::open(copy.path()).unwrap();
        store.all().unwrap().iter().map(|key| *key.secret_bytes()).collect()
    }

    fn wait_for_secrets(&self, count: usize) -> Vec<[u8; 32]> {
        wait_for(&format!("{count} prekeys"), || self.secrets().len() == count);
        self.secrets()
    }
}

/// Files under a folder that hold a secret: raw, in hexadecimal, in base64, or as age writes it.
fn holding(folder: &Path, secret: &[u8]) -> Vec<PathBuf> {
    use proto::directory::api::Base64;
    let hex = proto::ids::hex(secret);
    // Base64 and Bech32 without their last characters, which depend on more than the secret's own bits.
    let base64 = Base64::text(secret);
    let bech32 = bech32_of(secret);
    let needles = [
        secret[..secret.len() / 2].to_vec(),
        secret[secret.len() / 2..].to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        base64.as_bytes()[..base64.len() - 4].to_vec(),
        bech32.to_uppercase().into_bytes(),
        bech32.into_bytes(),
        // As a derived Debug prints bytes.
        format!("{:?}", &secret[..8]).trim_end_matches(']').as_bytes().to_vec(),
    ];
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            let holds = |needle: &Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle);
            if needles.iter().any(holds) {
                found.push(path);
            }
        }
    }
    found
}

/// The data part of Bech32: 5 bits a character (BIP 173).
fn bech32_of(bytes: &[u8]) -> String {
    let alphabet = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let word = |five: &[u8]| five.iter().fold(0, |sum, bit| sum << 1 | bit);
    bits.chunks_exact(5).map(|five| char::from(alphabet[usize::from(word(five))])).collect()
}

#[test]
fn clocks_that_are_wrong_or_jump_lose_nothing() {
    let mut directory = Directory::start();
    let (mut alice, bob) = (Moving::start("alice", Some(&directory)), Moving::start("bob", Some(&directory)));
    befriend(&alice.ctl, &bob.ctl);
    let (mine, his) = (alice.secrets(), bob.secrets());
    let mut said: Vec<String> = Vec::new();
    for (round, error) in ERRORS.into_iter().enumerate() {
        let wrong = if round % 2 == 0 { [error, 0] } else { [0, error] };
        alice.set_clock(wrong[0]);
        bob.set_clock(wrong[1]);
        let lines: Vec<String> = (0..20).map(|n| format!("{error}/{n}")).collect();
        alice.ctl.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
        // Jumping while messages flow.
        alice.set_clock(wrong[1]);
        bob.set_clock(-error);
        said.extend(lines);
        let answer = format!("re {error}");
        bob.ctl.ok(["send", "alice", &answer, "--wait", "delivered"]);
        wait_for("all of it came", || bodies(&bob.ctl, "alice", 1_000).len() == said.len() + 1);
        said.push(answer);
        let shown = bodies(&bob.ctl, "alice", 1_000);
        let by_alice = |all: &[String]| all.iter().filter(|body| !body.starts_with("re")).cloned().collect::<Vec<_>>();
        assert_eq!(by_alice(&shown), by_alice(&said), "in the order of arrival, whatever the clocks say");
        // His own answer stands where he gave it, which may be before the last of hers arrived.
        assert!(shown.contains(said.last().unwrap()));
        if round == 4 {
            // Starting with a clock that is ten years off, and no directory that says so.
            directory.stop();
            alice.daemon.restart();
            let id = send(&alice.ctl, "bob", "with no directory");
            alice.set_clock(0);
            wait_for("it goes once the clock is right", || state_of(&alice.ctl, &id) == "delivered");
            said.push("with no directory".into());
            directory.restart();
            wait_for("alice is online again", || status(&alice.ctl)["online"] == true);
        }
    }
    for (person, before) in [(&alice, mine), (&bob, his)] {
        let now = person.secrets();
        assert!(before.iter().all(|secret| now.contains(secret)), "nothing is destroyed early");
        assert!(!person.daemon.log_text().contains("prekeys are destroyed"));
    }
    println!("6 errors, {} messages, 0 lost, 0 prekeys destroyed early", said.len());
}

#[test]
fn a_registration_survives_a_clock_that_is_ten_years_slow_or_fast() {
    let directory = Directory::start();
    let alice = Moving::start("alice", Some(&directory));
    for (name, error) in [("bob", -3_650 * DAY), ("carol", 3_650 * DAY)] {
        let file = directory.place().path().join(format!("{name}.clock"));
        std::fs::write(&file, error.to_string()).unwrap();
        let mut options = DaemonOptions::new(name, directory.url()).place(directory.place());
        options.env.push(("CHATD_CLOCK_FILE".into(), file.to_str().unwrap().into()));
        let daemon = Daemon::start(options);
        let ctl = daemon.ctl(name);
        ctl.ok(["register", name]);
        befriend(&ctl, &alice.ctl);
        alice.ctl.ok(["send", name, "hello", "--wait", "delivered"]);
        assert_eq!(contact_state(&alice.ctl, name).as_deref(), Some("accepted"));
    }
}

#[test]
fn status_tells_of_a_clock_that_is_wrong() {
    let directory = Directory::start();
    let alice = Moving::start("alice", Some(&directory));
    assert!(status(&alice.ctl)["clock"].is_null(), "five minutes are not worth telling");
    for (error, word) in [(2 * HOUR, "2 h 0 min ahead of"), (-3_650 * DAY, "behind")] {
        alice.set_clock(error);
        let told = status(&alice.ctl)["clock"].clone();
        assert!((told["ahead"].as_i64().unwrap() - error).abs() < 60, "{told}");
        assert_eq!(told["of"], "directory");
        let people = alice.ctl.ok(["status"]).stdout;
        assert!(people.contains(word) && people.contains("timedatectl"), "{people}");
    }
    alice.set_clock(0);
    assert!(status(&alice.ctl)["clock"].is_null());
}

#[test]
fn a_message_to_somebody_whose_keys_are_too_old_waits_and_says_so() {
    let mut directory = Directory::start();
    let (mut alice, bob) = (Moving::start("alice", Some(&directory)), Moving::start("bob", Some(&directory)));
    befriend(&alice.ctl, &bob.ctl);
    directory.stop();
    alice.set_clock(3_650 * DAY);
    alice.daemon.restart();
    let id = send(&alice.ctl, "bob", "too late?");
    let waits = || alice.ctl.json(["trace", &id])["reason"] == "recipient_keys_expired";
    wait_for("trace says why", waits);
    let trace = alice.ctl.json(["trace", &id]);
    assert_eq!(trace["state"], "queued");
    assert!(text(&trace["next"]).contains("was online once"), "{trace}");
    let sent = alice.ctl.run(["send", "bob", "me too", "--wait", "delivered", "--timeout", "3s"]).expect_code(6);
    assert!(sent.stderr.contains("keys"), "{sent:?}");
    assert!(bodies(&bob.ctl, "alice", 10).is_empty(), "nothing is sealed to a key that has expired");
    alice.set_clock(0);
    wait_for_body(&bob.ctl, "alice", "me too");
    assert_eq!(bodies(&bob.ctl, "alice", 10), ["too late?", "me too"]);
}

#[test]
fn prekeys_are_renewed_daily_and_destroyed_when_nothing_can_come_for_them() {
    let time = tempfile::NamedTempFile::new().unwrap();
    let env = vec![("CHATD_CLOCK_FILE".into(), time.path().to_str().unwrap().into())];
    let mut directory = Directory::start_with(DirectoryOptions { env, ..DirectoryOptions::default() });
    let (alice, bob) = (Moving::start("alice", Some(&directory)), Moving::start("bob", Some(&directory)));
    befriend(&alice.ctl, &bob.ctl);
    // Bob's own clock stands still.
    let pass = |seconds: i64| {
        std::fs::write(time.path(), seconds.to_string()).unwrap();
        bob.pass(seconds);
    };
    let first = bob.wait_for_secrets(1)[0];
    assert!(!holding(bob.daemon.home(), &first).is_empty(), "the control: it is there before");
    pass(25 * HOUR);
    let second = bob.wait_for_secrets(2)[1];
    assert_ne!(first, second);
    alice.ctl.ok(["send", "bob", "to the old one or the new one", "--wait", "delivered"]);
    pass(16 * DAY);
    bob.wait_for_secrets(3);
    assert!(!holding(bob.daemon.home(), &first).is_empty(), "the mailbox was not emptied since");
    // Going online again empties it.
    directory.restart();
    wait_for("bob has emptied his mailbox", || holding(bob.daemon.home(), &first).is_empty());
    assert!(bob.secrets().contains(&second) || holding(bob.daemon.home(), &second).is_empty());
    assert!(bob.daemon.log_text().contains("old prekeys are destroyed"));
    alice.ctl.ok(["send", "bob", "and still", "--wait", "delivered"]);
    assert_eq!(bodies(&bob.ctl, "alice", 10).last().unwrap(), "and still");
}

#[test]
fn a_kill_while_a_prekey_is_destroyed_leaves_nothing_of_it_after_the_restart() {
    for point in ["prekey.deleted", "prekey.delete.committed", "prekey.truncated"] {
        let mut alice = Moving::start("alice", None);
        let doomed = alice.wait_for_secrets(1)[0];
        alice.pass(25 * HOUR);
        alice.wait_for_secrets(2);
        assert!(!holding(&alice.daemon.data_dir(), &doomed).is_empty(), "{point}: it is there before");
        alice.daemon.restart_with(|options| options.env.push(("CHATD_FAULT".into(), format!("{point}:1"))));
        // The start looks once with nothing to destroy.
        if alice.daemon.is_running() {
            alice.pass(17 * DAY);
        }
        wait_for("the fail point", || !alice.daemon.is_running());
        alice.daemon.kill9();
        alice.pass(17 * DAY);
        alice.daemon.restart_with(|options| {
            options.env.retain(|(name, _)| name != "CHATD_FAULT");
        });
        alice.pass(40 * DAY);
        wait_for(&format!("{point}: it is gone"), || holding(&alice.daemon.data_dir(), &doomed).is_empty());
        assert!(!alice.secrets().contains(&doomed));
    }
}

#[test]
fn a_kill_after_a_new_prekey_was_committed_leaves_one_that_can_be_used() {
    let directory = Directory::start();
    let (alice, mut bob) = (Moving::start("alice", Some(&directory)), Moving::start("bob", Some(&directory)));
    befriend(&alice.ctl, &bob.ctl);
    bob.daemon.restart_with(|options| options.env.push(("CHATD_FAULT".into(), "prekey.committed:1".into())));
    bob.pass(25 * HOUR);
    wait_for("the fail point", || !bob.daemon.is_running());
    bob.daemon.kill9();
    assert_eq!(bob.secrets().len(), 2, "the secret is on the disk before anybody has heard of it");
    bob.daemon.restart_with(|options| options.env.retain(|(name, _)| name != "CHATD_FAULT"));
    alice.ctl.ok(["send", "bob", "who is there?", "--wait", "delivered"]);
}

#[test]
fn not_even_the_most_talkative_log_tells_a_secret() {
    let directory = Directory::start();
    let start = |name: &str| {
        let mut options = DaemonOptions::new(name, directory.url()).place(directory.place());
        options.env.push(("CHATD_LOG".into(), "trace".into()));
        Daemon::start(options)
    };
    let (alice_daemon, bob_daemon) = (start("alice"), start("bob"));
    let (alice, bob) = (alice_daemon.ctl("alice"), bob_daemon.ctl("bob"));
    let recovery = text(&alice.json(["register", "alice"])["recovery_key"]).to_owned();
    bob.ok(["register", "bob"]);
    befriend(&alice, &bob);
    let words = "canary-of-the-coal-mine-5521";
    alice.ok(["send", "bob", words, "--wait", "delivered"]);
    bob.ok(["read", "alice"]);
    let mut secrets: Vec<(String, Vec<u8>)> =
        vec![("words".into(), words.into()), ("recovery".into(), recovery.into())];
    for daemon in [&alice_daemon, &bob_daemon] {
        let data = daemon.data_dir();
        let folder = std::fs::read_dir(data.join("accounts")).unwrap().next().unwrap().unwrap().path();
        for key in [data.join("node.key"), folder.join("identity.key"), folder.join("device.key")] {
            let bytes = chatd::crypto::keyfile::load(&key).unwrap();
            assert!(bytes.iter().any(|byte| *byte != 0));
            secrets.push((key.display().to_string(), bytes.to_vec()));
        }
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        for prekey in PrekeyStore::open(copy.path()).unwrap().all().unwrap() {
            secrets.push(("prekey".into(), prekey.secret_bytes().to_vec()));
        }
        let indexer = chatd::store::history::search::Indexer::start();
        let store = chatd::store::Store::open(copy.path(), &indexer).unwrap();
        for row in store.read_blocking(chatd::store::peers::all).unwrap() {
            for token in [row.token_given, row.token_held].into_iter().flatten() {
                secrets.push(("deposit token".into(), token.to_vec()));
            }
        }
    }
    assert!(secrets.len() >= 14, "{} secrets", secrets.len());
    let mut searched = 0;
    for log in [
        alice_daemon.home().join("chatd.log"),
        bob_daemon.home().join("chatd.log"),
        directory.home().join("directoryd.log"),
    ] {
        let logs = tempfile::tempdir().unwrap();
        searched += std::fs::copy(&log, logs.path().join("log")).unwrap();
        for (what, secret) in &secrets {
            assert!(holding(logs.path(), secret).is_empty(), "{} tells {what}", log.display());
        }
    }
    for (what, secret) in &secrets {
        assert!(holding(&directory.data_dir(), secret).is_empty(), "the directory has {what}");
    }
    let trace = std::fs::read_to_string(alice_daemon.home().join("chatd.log")).unwrap();
    assert!(trace.contains("TRACE"), "the control: the log is as talkative as it gets");
    println!("{} secrets, {searched} bytes of logs, 0 told", secrets.len());
}
