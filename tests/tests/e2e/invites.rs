//! Invites: becoming contacts with nobody in between, or while the other is away; once, for a time, and by one key.

use std::process::Stdio;

use proto::invite::Invite;
use tests::people::{contact, contact_state};
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory};

use crate::mailbox::has_deposits;
use crate::util::{bodies, send, state_of, wait_for_body};

/// Of a machine whose addresses may be dialled, which in these tests are all of this one.
const NEAR: &str = "allow_private_addresses = true\nname_servers = [\"127.0.0.1:9\"]\n";

fn alone(name: &str) -> (Daemon, Ctl) {
    let daemon = Daemon::start(DaemonOptions { name: name.into(), ..DaemonOptions::default() }.config(NEAR));
    let ctl = daemon.ctl(name);
    ctl.ok(["register", name, "--directory", ""]);
    (daemon, ctl)
}

fn invite(maker: &Ctl, args: &[&str]) -> String {
    let made = maker.json([&["invite"], args].concat());
    made["uri"].as_str().unwrap().to_owned()
}

fn accepted(of: &Ctl, who: &str) -> bool {
    contact_state(of, who).as_deref() == Some("accepted")
}

#[test]
fn two_without_a_directory_meet_by_an_invite() {
    let (mut alices, alice) = alone("alice");
    let (mut bobs, bob) = alone("bob");
    let uri = invite(&alice, &["--label", "robert"]);
    assert!(uri.starts_with("chat:") && uri.len() < 900, "{} characters: {uri}", uri.len());
    let open = alice.list(["invite", "list"], "invites");
    assert_eq!((open.len(), open[0]["label"].as_str(), open[0]["used_by"].as_str()), (1, Some("robert"), None));
    bob.run(["add", "-"]).expect_code(2).says(&["says nobody to add"]);
    // Where no list of processes shows it.
    bob.run_with(["add", "-"], format!("{uri}\n").as_bytes()).expect_code(0);
    wait_for("both are contacts", || accepted(&alice, "bob") && accepted(&bob, "alice"));
    // The invite carried the key, and alice's word for whoever has it.
    assert_eq!(contact(&bob, "alice").unwrap()["trust"], "verified");
    assert_eq!(contact(&alice, "bob").unwrap()["who"], "robert");
    assert_eq!(alice.list(["invite", "list"], "invites")[0]["used_by"], "robert");
    bob.ok(["send", "alice", "by nobody's leave"]);
    wait_for_body(&alice, "robert", "by nobody's leave");
    let id = send(&alice, "robert", "and back");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    // Both find each other where they were before.
    bobs.stop();
    let id = send(&alice, "robert", "when you are there");
    alices.stop();
    bobs.restart();
    alices.restart();
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    assert_eq!(bodies(&bob, "alice", 10), ["by nobody's leave", "and back", "when you are there"]);

    // It is good once.
    let (_carols, carol) = alone("carol");
    carol.run(["add", &uri]).expect_code(1).says(&["nobody there knows of this invite"]);
    // Whoever was removed does not come back by it.
    alice.ok(["remove", "robert"]);
    wait_for("bob hears of it", || !accepted(&bob, "alice"));
    bob.run(["add", &uri]).expect_code(1).says(&["nobody there knows of this invite"]);
    assert!(alice.list(["requests"], "contacts").is_empty());
}

#[test]
fn an_invite_is_used_while_its_maker_is_away() {
    let directory = Directory::start();
    let options = DaemonOptions::new("alice", directory.url());
    let place = "first_contact = \"invite\"\nname_servers = [\"127.0.0.1:9\"]\n";
    let mut alices = Daemon::start(options.config(place));
    let bobs = Daemon::start(DaemonOptions::new("bob", directory.url()));
    let (alice, bob, carol) = (alices.ctl("alice"), bobs.ctl("bob"), bobs.ctl("carol"));
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    let uri = invite(&alice, &["--expires", "1h"]);
    alices.stop();
    bob.ok(["add", &uri, "--message", "it is me"]);
    let id = send(&bob, "alice", "as agreed");
    wait_for("the request lies in the mailbox", || has_deposits(&directory, 1));
    // Whoever has none is let in neither by the directory nor by alice.
    carol.ok(["register", "carol"]);
    carol.ok(["add", "alice"]);
    alices.restart();
    wait_for("both are contacts", || accepted(&alice, "bob") && accepted(&bob, "alice"));
    wait_for("what waited is delivered", || state_of(&bob, &id) == "delivered");
    assert!(alice.list(["requests"], "contacts").is_empty(), "carol has no invite");
}

#[test]
fn an_invite_is_worth_nothing_when_it_was_taken_back_or_changed() {
    let (_alices, alice) = alone("alice");
    let (_bobs, bob) = alone("bob");
    let uri = invite(&alice, &[]);
    let id = alice.list(["invite", "list"], "invites")[0]["id"].as_str().unwrap().to_owned();
    alice.ok(["invite", "revoke", &id]);
    alice.run(["invite", "revoke", &id]).expect_code(1).says(&["no invite is called", "chatctl invite list"]);
    bob.run(["add", &uri]).expect_code(1).says(&["nobody there knows of this invite"]);

    let uri = invite(&alice, &[]);
    let mut other: Invite = uri.parse().unwrap();
    other.identity_key[0] ^= 1;
    bob.run(["add", &other.to_string()])
        .expect_code(4)
        .says(&["another key than the invite's", "Ask for a new invite"]);
    bob.run(["add", &uri[..uri.len() - 9]]).expect_code(2).says(&["copy it again, whole"]);
    alice.run(["add", &uri]).expect_code(2).says(&["your own"]);
    bob.run(["send", &uri, "hi"]).expect_code(1).says(&["chatctl add chat:"]);
    assert!(bob.list(["contacts"], "contacts").is_empty(), "nothing is left of any of these");
    alice.run(["invite", "--expires", "5s"]).expect_code(2).says(&["a minute at least"]);
    // It is told this once: what standard output does not take is told nevertheless.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = alice.command(["invite"]).unwrap().stdin(Stdio::null()).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("\nchat:") && !said.contains("Whoever uses it"), "{said}");
    // On paper, or on another screen.
    let shown = alice.ok(["invite", "--qr"]).stdout;
    assert!(shown.contains('█') && shown.lines().last().unwrap().starts_with("chat:"), "{shown}");
}
