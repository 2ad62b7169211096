//! Bad input at the command line: a clear, typed error, and nothing lost.

use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, Pair};

use crate::util::{bodies, status, wait_for_body};

/// Bytes of a message's text at most.
const MAX_TEXT: usize = 61_440;

#[test]
fn unknown_names_are_named_with_the_nearest() {
    let pair = Pair::start();
    let unknown = pair.alice.run(["send", "bobb", "hello"]).expect_code(1);
    assert!(unknown.stderr.contains("bobb"), "{unknown:?}");
    assert!(
        unknown.stderr.contains("bob") && unknown.stderr.contains("add"),
        "the nearest, and what to do: {unknown:?}"
    );
    pair.alice.run(["add", "nobody-of-that-name"]).expect_code(1).says(&["nobody-of-that-name"]);
    pair.alice.run(["add", "bob@no.such.domain.invalid"]).expect_code(1);
    pair.alice.run(["add", "not a name"]).expect_code(1);
    pair.alice.run(["add", "chat:nonsense"]).expect_code(2).says(&["copy it again, whole"]);
}

#[test]
fn empty_over_long_and_broken_text() {
    use std::os::unix::ffi::OsStrExt;
    let pair = Pair::start();
    pair.alice.run(["send", "bob", ""]).expect_code(2);
    pair.alice.run_with(["send", "bob"], b"\n").expect_code(2);
    let long = "x".repeat(MAX_TEXT + 1);
    let refused = pair.alice.run_with(["send", "bob"], long.as_bytes()).expect_code(1);
    assert!(refused.stderr.contains("61,440") || refused.stderr.contains("61440"), "says the limit: {refused:?}");
    let broken = std::ffi::OsStr::from_bytes(b"not \xff\xfe text");
    let refused = pair.alice.run(["send".as_ref(), "bob".as_ref(), broken]);
    assert!(matches!(refused.code, Some(1 | 2)) && refused.stderr.contains("UTF-8"), "{refused:?}");
    pair.alice.run_with(["send", "bob"], b"broken \xc3\x28 stdin").expect_code(1).says(&["UTF-8"]);
    assert_eq!(status(&pair.alice)["queued"], 0, "nothing of it was queued");
    // The longest text is no error.
    pair.alice.run_with(["send", "bob", "--wait", "delivered"], &long.as_bytes()[1..]).expect_code(0);
    assert_eq!(bodies(&pair.bob, "alice", 10), [&long[1..]]);
    // One trailing LF of stdin is dropped, and only one.
    pair.alice.run_with(["send", "bob", "--wait", "delivered"], b"two\n\n").expect_code(0);
    wait_for_body(&pair.bob, "alice", "two\n");
}

#[test]
fn a_bad_line_ends_stdin_lines_and_is_named() {
    let pair = Pair::start();
    let mut input = b"one\n\ntwo\r\nthree\n".to_vec();
    input.extend_from_slice(b"broken \xff line\nnever sent\n");
    let output = pair.alice.run_with(["send", "bob", "--stdin-lines"], &input).expect_code(1);
    assert!(output.stderr.contains("line 5"), "{output:?}");
    assert!(output.stderr.contains("3 lines queued"), "{output:?}");
    wait_for_body(&pair.bob, "alice", "three");
    let came = bodies(&pair.bob, "alice", 10);
    assert_eq!(came, ["one", "two", "three"], "blank lines are counted and no messages; LF and CRLF are cut");

    let long = "x".repeat(MAX_TEXT + 1);
    let output = pair.alice.run_with(["send", "bob", "--stdin-lines"], format!("four\n{long}\nno\n").as_bytes());
    let output = output.expect_code(1);
    assert!(output.stderr.contains("line 2") && output.stderr.contains("1 line"), "{output:?}");
    wait_for_body(&pair.bob, "alice", "four");
    // A last line without its LF is a line; no input is no message and no error.
    pair.alice.run_with(["send", "bob", "--stdin-lines"], b"five").expect_code(0);
    wait_for_body(&pair.bob, "alice", "five");
    pair.alice.run(["send", "bob", "--stdin-lines"]).expect_code(0);
}

#[test]
fn directory_down() {
    let mut directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    directory.stop();
    for args in [&["users"][..], &["add", "bob"], &["users", "--name", "bob"]] {
        let output = alice.run(args).expect_code(1);
        assert!(output.stderr.contains("directory"), "{output:?}");
    }
    wait_for("status says so", || status(&alice)["online"] == false);
    assert!(status(&alice)["directory_error"].is_string());
    alice.ok(["contacts"]);
    alice.ok(["whoami"]);
    directory.restart();
    wait_for("it is found again", || alice.run(["users"]).code == Some(0));
}

#[test]
fn no_directory_at_all() {
    let daemon = Daemon::start(DaemonOptions { name: "chatd".into(), ..DaemonOptions::default() });
    let output = daemon.bare_ctl().run(["register", "alice", "--directory", "http://127.0.0.1:1"]).expect_code(1);
    assert!(output.stderr.contains("127.0.0.1:1"), "names what it could not reach: {output:?}");
    let output = daemon.bare_ctl().run(["register", "alice", "--directory", "http://192.0.2.1:7470"]).expect_code(2);
    assert!(output.stderr.to_lowercase().contains("http"), "plain http is for loopback only: {output:?}");
    // Without a directory the account is there, for invites and the LAN.
    daemon.bare_ctl().ok(["register", "alice"]);
    let alone = daemon.ctl("alice").run(["users"]).expect_code(1);
    assert!(alone.stderr.contains("directory"), "{alone:?}");
}

#[test]
fn socket_missing_or_not_a_socket() {
    let place = tests::Place::new().unwrap();
    let home = place.folder("home").unwrap();
    let missing = tests::Ctl::new(&home.join("none.sock"), &home).run(["whoami"]).expect_code(3);
    assert!(missing.stderr.contains("none.sock"), "{missing:?}");
    assert!(missing.stderr.contains("chatd"), "says what to start: {missing:?}");
    std::fs::write(home.join("file.sock"), "no socket").unwrap();
    tests::Ctl::new(&home.join("file.sock"), &home).run(["whoami"]).expect_code(3);
    let listener = std::os::unix::net::UnixListener::bind(home.join("stale.sock")).unwrap();
    drop(listener);
    tests::Ctl::new(&home.join("stale.sock"), &home).run(["whoami"]).expect_code(3);
}
