//! Accounts that are backed up, lost, restored, and copied.

use std::path::Path;
use std::process::Command;

use tests::people::contact_state;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Pair};

use crate::util::{bodies, send, state_of, status, wait_for_body};

const KEY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

/// Files of a test.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        std::fs::write(files.path("key"), format!("# created: today\n{KEY}\n")).unwrap();
        std::fs::write(files.path("phrase"), "correct horse battery staple\n").unwrap();
        std::fs::write(files.path("wrong"), "wrong\n").unwrap();
        for name in ["key", "phrase", "wrong"] {
            set_mode(&files.path(name), 0o600);
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
        names.sort();
        names
    }
}

fn set_mode(path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_that_others_may_read_are_refused_and_pipes_work() {
    let mut pair = Pair::start();
    let files = Files::new();
    set_mode(&files.path("phrase"), 0o666);
    let with = ["--passphrase-file", &files.path("phrase")];
    let refused = pair.bob.run(["backup", &files.path("a.age"), with[0], with[1]]).expect_code(1);
    refused.says(&["others may read", "chmod 600"]);
    assert!(!files.names().contains(&"a.age".to_owned()));
    set_mode(&files.path("phrase"), 0o600);
    // `-` is standard output and standard input, not a file of that name.
    let program = tests::binaries::program("chatctl").unwrap().display().to_string();
    let shell = |line: &str| {
        let script = format!("cd {} && {program} {line}", files.path(""));
        assert!(Command::new("sh").arg("-c").arg(&script).status().unwrap().success(), "{script}");
    };
    let socket = pair.bob_daemon().socket().display().to_string();
    shell(&format!("--socket {socket} --account bob backup - {} {} > piped.age && test ! -e ./-", with[0], with[1]));
    assert!(std::fs::read(files.path("piped.age")).unwrap().starts_with(b"age-encryption.org"));
    let daemon = Daemon::start(DaemonOptions::new("fresh", pair.directory.url()).place(pair.directory.place()));
    pair.bob_daemon().stop();
    let socket = daemon.socket().display().to_string();
    shell(&format!("--socket {socket} restore - {} {} < piped.age", with[0], with[1]));
    daemon.ctl("bob").ok(["whoami"]);
}

fn unfinished(daemon: &Daemon) -> Vec<String> {
    let entries = std::fs::read_dir(daemon.data_dir().join("accounts")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with('.')).collect()
}

fn restore(ctl: &Ctl, files: &Files, file: &str) {
    ctl.ok(["restore", &files.path(file), "--identity-file", &files.path("key")]).says(&["is restored"]);
}

#[test]
fn a20_what_was_lost_with_a_computer_comes_back() {
    let mut pair = Pair::start();
    let files = Files::new();
    for n in 0..5 {
        pair.alice.ok(["send", "bob", &format!("before {n}"), "--wait", "delivered"]);
        pair.bob.ok(["send", "alice", &format!("answer {n}"), "--wait", "delivered"]);
    }
    let waiting = {
        pair.alice_daemon.stop();
        let id = send(&pair.bob, "alice", "waits in the backup");
        pair.bob.ok(["backup", &files.path("bob.age"), "--recipient", RECIPIENT]);
        pair.alice_daemon.restart();
        id
    };
    wait_for("the backup is older than this", || state_of(&pair.bob, &waiting) == "delivered");
    for n in 0..5 {
        pair.alice.ok(["send", "bob", &format!("after {n}"), "--wait", "delivered"]);
        pair.bob.ok(["send", "alice", &format!("lost {n}"), "--wait", "delivered"]);
    }
    let on_alice = bodies(&pair.alice, "bob", 100);
    pair.bob_daemon().kill9();
    std::fs::remove_dir_all(pair.bob_daemon().data_dir()).unwrap();
    let queued = send(&pair.alice, "bob", "are you there?");

    let daemon = Daemon::start(DaemonOptions::new("fresh", pair.directory.url()).place(pair.directory.place()));
    let bob = daemon.ctl("bob");
    restore(&daemon.bare_ctl(), &files, "bob.age");
    assert_eq!(unfinished(&daemon), [""; 0]);
    assert_eq!(contact_state(&bob, "alice").as_deref(), Some("accepted"));
    wait_for("what waited for bob arrives", || state_of(&pair.alice, &queued) == "delivered");
    wait_for("and is shown", || bodies(&bob, "alice", 100).contains(&"are you there?".to_owned()));
    // What bob had received since comes again from alice's history.
    wait_for("what bob lost is there again", || {
        let shown = bodies(&bob, "alice", 100);
        (0..5).all(|n| shown.iter().filter(|body| **body == format!("after {n}")).count() == 1)
    });
    bob.ok(["send", "alice", "here I am again", "--wait", "delivered"]);
    let shown = bodies(&pair.alice, "bob", 100);
    let expected: Vec<String> =
        on_alice.into_iter().chain(["are you there?".to_owned(), "here I am again".to_owned()]).collect();
    assert_eq!(shown, expected, "alice sees nothing twice, what waited in the backup included");
    wait_for("nothing waits any more", || status(&bob)["queued"] == 0 && status(&pair.alice)["queued"] == 0);
}

#[test]
fn what_does_not_open_leaves_nothing_behind() {
    let mut pair = Pair::start();
    let files = Files::new();
    pair.alice.ok(["send", "bob", "hello", "--wait", "delivered"]);
    let by_phrase = ["backup", &files.path("a.age"), "--passphrase-file", &files.path("phrase")];
    pair.bob.ok(by_phrase).says(&["bob@", "bytes"]);
    pair.bob.run(by_phrase).expect_code(1).says(&["cannot create", "nothing was backed up"]);
    pair.bob.run(["backup", &files.path("b.age"), "--recipient", "bob"]).expect_code(2).says(&["not a recipient"]);
    pair.bob.run(["backup", &files.path("b.age")]).expect_code(2).says(&["--recipient or --passphrase-file"]);
    assert_eq!(files.names(), ["a.age", "key", "phrase", "wrong"], "no half file");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(files.path("a.age")).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(files.path("a.age")).unwrap();
    for needle in [&b"hello"[..], b"SQLite format"] {
        assert!(!whole.windows(needle.len()).any(|window| window == needle), "it is encrypted");
    }
    // On the daemon where the account is, it is not overwritten.
    let opened = ["restore", &files.path("a.age"), "--passphrase-file", &files.path("phrase")];
    pair.bob.run(opened).expect_code(1).says(&["is on this daemon", "stop chatd"]);
    pair.bob.ok(["send", "alice", "unharmed", "--wait", "delivered"]);

    let daemon = Daemon::start(DaemonOptions::new("fresh", pair.directory.url()).place(pair.directory.place()));
    let ctl = daemon.bare_ctl();
    let bad = |file: &str, with: [&str; 2], says: &str| {
        ctl.run(["restore", &files.path(file), with[0], &files.path(with[1])]).expect_code(1).says(&[says]);
        assert_eq!(unfinished(&daemon), [""; 0], "{says}");
        assert_eq!(ctl.json(["status"])["accounts"].as_array().unwrap().len(), 0);
    };
    bad("a.age", ["--passphrase-file", "wrong"], "does not open with this passphrase");
    bad("a.age", ["--identity-file", "key"], "encrypted with a passphrase");
    std::fs::write(files.path("cut"), &whole[..whole.len() / 2]).unwrap();
    bad("cut", ["--passphrase-file", "phrase"], "damaged");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(files.path("flipped"), flipped).unwrap();
    bad("flipped", ["--passphrase-file", "phrase"], "damaged");
    bad("phrase", ["--passphrase-file", "phrase"], "not a file of age");
    // What is in the file may be anybody's making.
    for (name, text) in [("text", &b"not a database, but long enough to look like something"[..]), ("empty", b"")] {
        seal(&files, name, text);
        bad(name, ["--identity-file", "key"], "backup");
    }
    let foreign = files.0.path().join("foreign.db");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    conn.execute_batch(
        "CREATE TABLE backup (format INTEGER NOT NULL, made INTEGER NOT NULL, identity_key BLOB NOT NULL) STRICT;
         INSERT INTO backup VALUES (1, 0, zeroblob(32)); CREATE VIEW account AS SELECT 1;",
    )
    .unwrap();
    drop(conn);
    seal(&files, "view", &std::fs::read(&foreign).unwrap());
    bad("view", ["--identity-file", "key"], "no backup of an account");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    conn.execute_batch("UPDATE backup SET format = 2").unwrap();
    drop(conn);
    seal(&files, "newer", &std::fs::read(&foreign).unwrap());
    bad("newer", ["--identity-file", "key"], "install the newer version");
    pair.bob_daemon().stop();
    ctl.ok(["restore", &files.path("a.age"), "--passphrase-file", &files.path("phrase")]);
}

/// Encrypts as `age` does.
fn seal(files: &Files, name: &str, text: &[u8]) {
    use std::io::Write;
    let mut writer = chatd::crypto::archive::encrypt(&[RECIPIENT.to_owned()], None, Vec::new()).unwrap();
    writer.write_all(text).unwrap();
    std::fs::write(files.path(name), writer.finish().unwrap()).unwrap();
}

#[test]
fn a_daemon_that_is_killed_meanwhile_keeps_no_plaintext() {
    let mut pair = Pair::start();
    let files = Files::new();
    let fault = |point: &str| ("CHATD_FAULT".to_owned(), format!("{point}:1"));
    pair.bob_daemon().restart_with(|options| options.env.push(fault("backup.copied")));
    let ran = pair.bob.run(["backup", &files.path("bob.age"), "--recipient", RECIPIENT]);
    assert_ne!(ran.code, Some(0));
    pair.bob_daemon().kill9();
    assert!(!unfinished(pair.bob_daemon()).is_empty(), "the fault came at the right moment");
    pair.bob_daemon().restart_with(|options| options.env.clear());
    assert_eq!(unfinished(pair.bob_daemon()), [""; 0]);
    pair.bob.ok(["backup", &files.path("bob.age"), "--recipient", RECIPIENT]);
    pair.bob_daemon().stop();
    for (point, there) in [("restore.made", 0), ("restore.renamed", 1)] {
        let options = DaemonOptions::new(point, pair.directory.url()).place(pair.directory.place());
        let mut daemon = Daemon::start(DaemonOptions { env: vec![fault(point)], ..options });
        let ctl = daemon.bare_ctl();
        let with = ["restore", &files.path("bob.age"), "--identity-file", &files.path("key")];
        assert_ne!(ctl.run(with).code, Some(0));
        daemon.kill9();
        daemon.restart_with(|options| options.env.clear());
        assert_eq!(unfinished(&daemon), [""; 0]);
        assert_eq!(ctl.json(["status"])["accounts"].as_array().unwrap().len(), there, "killed at {point}");
        if there == 0 {
            ctl.ok(with);
        }
        let bob = daemon.ctl("bob");
        pair.alice.ok(["send", "bob", point, "--wait", "delivered", "--timeout", "60s"]);
        wait_for_body(&bob, "alice", point);
        bob.ok(["send", "alice", point, "--wait", "delivered", "--timeout", "60s"]);
        daemon.stop();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_cloned_data_directory_is_noticed_and_no_number_is_used_twice() {
    let mut pair = Pair::start();
    pair.bob.ok(["send", "alice", "one of a kind", "--wait", "delivered"]);
    pair.bob_daemon().stop();
    let place = pair.directory.place().clone();
    let mut clone = Daemon::start(DaemonOptions::new("clone", pair.directory.url()).place(&place));
    clone.stop();
    std::fs::remove_dir_all(clone.data_dir()).unwrap();
    copy(&pair.bob_daemon().data_dir(), &clone.data_dir());
    pair.bob_daemon().restart();
    let (first, second) = (pair.bob.clone(), clone.ctl("bob"));
    wait_for("the first is online", || status(&first)["online"] == true);
    send(&first, "alice", "first 0");
    wait_for_body(&pair.alice, "bob", "first 0");
    clone.restart();
    let problem = |ctl: &Ctl| status(ctl)["directory_error"].as_str().unwrap_or_default().to_owned();
    let stopped = |ctl: &Ctl| problem(ctl).contains("also runs on another machine");
    wait_for("the first has stopped", || stopped(&first));
    assert_eq!(status(&first)["logged_in"], false);
    first
        .run(["send", "alice", "from a copy that was stopped"])
        .expect_code(1)
        .says(&["another machine", "chatctl login"]);
    // The other is told, too, and goes on; the first stays stopped.
    wait_for("the second is told", || {
        clone.log_text().contains("copy of this data directory") && problem(&second).contains("cloned")
    });
    pair.bob_daemon().restart();
    wait_for("the first stays stopped", || stopped(&first));
    assert_eq!(status(&first)["logged_in"], false);
    let mut sent: Vec<String> = vec!["one of a kind".into(), "first 0".into()];
    for n in 0..5 {
        let body = format!("second {n}");
        send(&second, "alice", &body);
        sent.push(body);
    }
    wait_for("alice has them all", || bodies(&pair.alice, "bob", 100).len() >= sent.len());
    // Its owner says which: the first goes on, under numbers of its own.
    first.ok(["login"]);
    wait_for("the second has stopped", || stopped(&second));
    first.ok(["send", "alice", "from the first after all", "--wait", "delivered", "--timeout", "80s"]);
    sent.push("from the first after all".into());
    let mut shown = bodies(&pair.alice, "bob", 100);
    shown.sort();
    sent.sort();
    assert_eq!(shown, sent, "each once");
}

#[test]
fn of_two_copies_one_stops_for_good_and_says_how_to_go_on() {
    let mut pair = Pair::start();
    let files = Files::new();
    pair.bob.ok(["backup", &files.path("bob.age"), "--recipient", RECIPIENT]);
    let daemon = Daemon::start(DaemonOptions::new("second", pair.directory.url()).place(pair.directory.place()));
    // The old one runs while the new one is made.
    restore(&daemon.bare_ctl(), &files, "bob.age");
    let bob = daemon.ctl("bob");
    let problem = |ctl: &Ctl| status(ctl)["directory_error"].as_str().unwrap_or_default().to_owned();
    wait_for("the old one has stopped", || problem(&pair.bob).contains("also runs on another machine"));
    assert_eq!(status(&pair.bob)["logged_in"], false);
    pair.bob.run(["send", "alice", "from the old one"]).expect_code(1).says(&["another machine", "chatctl login"]);
    // Also when it is started again.
    pair.bob_daemon().restart();
    assert!(problem(&pair.bob).contains("also runs on another machine"));
    bob.ok(["send", "alice", "from the new one", "--wait", "delivered"]);
    pair.alice.ok(["send", "bob", "to the new one", "--wait", "delivered"]);
    wait_for_body(&bob, "alice", "to the new one");
    assert_eq!(status(&bob)["online"], true);
    // Its owner says which: the old one goes on, and the new one stops.
    pair.bob.ok(["login"]);
    wait_for("the new one has stopped", || problem(&daemon.ctl("bob")).contains("also runs on another machine"));
    pair.bob.ok(["send", "alice", "from the old one after all", "--wait", "delivered", "--timeout", "80s"]);
    assert_eq!(status(&pair.bob)["online"], true);
}

/// Whoever was given a token may have been revoked on the machine that was lost.
#[test]
fn backups_hold_no_token() {
    let mut pair = Pair::start();
    let files = Files::new();
    let made = pair.bob.json(["token", "create", "--name", "grafana", "--send-to", "alice"]);
    let token = made["token"].as_str().unwrap().to_owned();
    pair.bob_daemon().bare_ctl().env("CHATD_TOKEN", &token).ok(["send", "alice", "before"]);
    pair.bob.ok(["backup", &files.path("bob.age"), "--recipient", RECIPIENT]);
    pair.bob_daemon().stop();
    let daemon = Daemon::start(DaemonOptions::new("fresh", pair.directory.url()).place(pair.directory.place()));
    restore(&daemon.bare_ctl(), &files, "bob.age");
    let refused = daemon.bare_ctl().env("CHATD_TOKEN", &token).run(["send", "alice", "after"]).expect_code(1);
    refused.says(&["no token in force"]);
    assert_eq!(daemon.ctl("bob").json_lines(["token", "list"]).len(), 0);
}
