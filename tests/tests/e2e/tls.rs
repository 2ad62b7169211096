//! Directories by https: whom a daemon believes, and what it tells its owner about the others.

use tests::hostile_directory::{Answer, HostileDirectory};
use tests::internet::{Internet, port};
use tests::people::befriend;
use tests::tls::{Authority, Certificate, Holds, self_signed};
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions};

use crate::util::{bodies, send, state_of, status, wait_for_body};

const ORIGIN: &str = "example.org";

fn own_key() -> DirectoryOptions {
    DirectoryOptions { config: Some("tls = \"own\"\n".to_owned()), ..DirectoryOptions::default() }
}

#[test]
fn a_pinned_key_is_all_that_is_needed() {
    let mut directory = Directory::start_with(own_key());
    let url = directory.url().to_owned();
    assert!(url.starts_with("https://127.0.0.1:") && url.contains("#sha256-"), "{url}");
    let daemons = ["alice", "bob"].map(|name| Daemon::start(DaemonOptions::new(name, &url)));
    let (alice, bob) = (daemons[0].ctl("alice"), daemons[1].ctl("bob"));
    // Without TLS it is nobody; that is told, and not what a parser thinks of it.
    let plain = url.split('#').next().unwrap().replace("https:", "http:");
    alice.run(["register", "alice", "--directory", &plain]).says(&["does not speak HTTP", "directoryd --init"]);
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    assert_eq!(alice.json(["whoami"])["directory"], url.as_str());
    befriend(&alice, &bob);
    let id = send(&alice, "bob", "over TLS");
    wait_for_body(&bob, "alice", "over TLS");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    directory.stop();
    directory.restart();
    assert_eq!(directory.url(), url, "the key is the same");
    wait_for("she is back", || status(&alice)["online"] == true);
    // Another key in the same place: the old URL is nobody's any more, and says so.
    directory.stop();
    std::fs::remove_file(directory.home().join("data/identity.pem")).unwrap();
    directory.restart_with(&["--new-identity"]);
    assert_ne!(directory.url(), url);
    wait_for("she is told", || {
        let status = alice.run(["status"]);
        format!("{}{}", status.stdout, status.stderr).contains("and its URL says sha256-")
    });
    alice.run(["users"]).expect_code(4).says(&["is not trusted", "get the new URL", "Nothing was sent"]);
}

/// Somebody answers in the place of a directory, with all that can be had without its key.
#[test]
fn certificates_that_prove_nothing_are_refused_in_words() {
    let internet = Internet::new().unwrap();
    let stranger = Authority::new().unwrap();
    let certify = |names: &[&str], holds| internet.authority.certify(names, holds).unwrap();
    let cases: Vec<(&str, Certificate, &str)> = vec![
        // The DNS is poisoned, and whoever did it has a good certificate for a domain of their own.
        ("of another domain", certify(&["evil.test"], Holds::Now), "for evil.test, and not for a.test"),
        ("of the machine, not of the domain", certify(&["dir.a.test"], Holds::Now), "and not for a.test"),
        ("of what is below", certify(&["*.a.test"], Holds::Now), "and not for a.test"),
        ("expired", certify(&["a.test"], Holds::Ended), "has expired"),
        ("not yet", certify(&["a.test"], Holds::Later), "does not hold yet"),
        ("self-signed", self_signed(&["a.test"]).unwrap(), "nobody whom this machine trusts"),
        (
            "of an unknown authority",
            stranger.certify(&["a.test"], Holds::Now).unwrap(),
            "nobody whom this machine trusts",
        ),
    ];
    let daemon = internet.daemon("alice").unwrap();
    let alice = daemon.ctl("alice");
    for (what, certificate, words) in cases {
        let answer = Answer::Body(200, b"{}".to_vec());
        let impostor = HostileDirectory::start_tls("127.0.0.1:0", "a.test", answer, &certificate).unwrap();
        let port = port(impostor.url().trim_start_matches("http://")).unwrap();
        internet.dns.ttl(0);
        internet.name("a.test", &[port]);
        let output = alice.run(["register", "alice@a.test"]);
        println!("{what}: {}", output.stderr.trim());
        output.expect_code(4).says(&["is not trusted", words, "Nothing was sent"]);
        // By its URL, for the name in it.
        let url = format!("https://localhost:{port}");
        alice.run(["register", "alice", "--directory", &url]).expect_code(4).says(&["is not trusted"]);
        let pinned = format!("{url}#{}", self_signed(&["a.test"]).unwrap().pin);
        alice.run(["register", "alice", "--directory", &pinned]).expect_code(4).says(&["and its URL says"]);
        assert_eq!(impostor.asked(), [""; 0], "{what}: what an impostor was told");
    }
    assert!(!daemon.log_text().contains("panicked"));
}

#[test]
fn a_renewed_certificate_is_taken_and_another_identity_is_not() {
    let internet = Internet::new().unwrap();
    let mut directory = internet.directory("a.test").unwrap();
    let daemon = internet.daemon("alice").unwrap();
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice@a.test"]);
    let renewed = internet.authority.certify(&["a.test"], Holds::Now).unwrap();
    renewed.write(&internet.place.folder("cert-a.test").unwrap()).unwrap();
    directory.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("it is shown", || directory.log_text().contains("the certificate was replaced"));
    alice.ok(["users"]);
    assert_eq!(status(&alice)["online"], true, "what stood goes on");
    // A certificate is not all: the directory has the key that was pinned.
    directory.stop();
    std::fs::remove_file(directory.home().join("data/identity.pem")).unwrap();
    directory.restart_with(&["--new-identity"]);
    alice.run(["users"]).expect_code(4).says(&["is not the one that this account knows"]);
}

/// Before a certificate ends, whoever depends on it is told.
#[test]
fn a_certificate_that_ends_soon_is_told_of() {
    let internet = Internet::new().unwrap();
    let _directory = internet.directory("a.test").unwrap();
    let soon = internet.authority.certify(&["b.test"], Holds::AWeek).unwrap();
    let ending = internet.certified("b.test", &soon).unwrap();
    internet.name("b.test", &[port(ending.address()).unwrap()]);
    let daemon = internet.daemon("alice").unwrap();
    for (address, level, words) in [
        ("alice@a.test", "ok", "its certificate holds until 2100-01-01T00:00:00"),
        ("bob@b.test", "warning", "its operator has to renew it"),
    ] {
        daemon.bare_ctl().ok(["register", address]);
        let report = daemon.ctl(address).run(["doctor", "--json"]).json();
        let found = report["checks"].as_array().unwrap().iter().find(|check| check["what"] == "certificate").unwrap();
        assert!(found["level"] == level && found["text"].as_str().unwrap().contains(words), "{found}");
    }
}

/// What holds for hostile directories on loopback holds by TLS.
#[test]
fn over_tls_too_answers_are_bounded_and_nobody_is_followed() {
    let internet = Internet::new().unwrap();
    let certificate = internet.authority.certify(&["a.test"], Holds::Now).unwrap();
    let elsewhere = HostileDirectory::start("127.0.0.1:0", "a.test", Answer::Body(200, b"{}".to_vec())).unwrap();
    let hostile = HostileDirectory::start_tls("127.0.0.1:0", "a.test", Answer::Stall, &certificate).unwrap();
    internet.name("a.test", &[port(hostile.url().trim_start_matches("http://")).unwrap()]);
    let daemon = internet.daemon("alice").unwrap();
    let alice = daemon.ctl("alice");
    let before = daemon.resident_kib().unwrap();
    hostile.say(Answer::Endless);
    alice.run(["register", "alice@a.test"]).expect_code(1).says(&["more than 1048576 bytes"]);
    let grown = daemon.resident_kib().unwrap().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB");
    for status in [301, 302, 303, 307, 308] {
        hostile.say(Answer::Redirect(status, elsewhere.url()));
        assert_ne!(alice.run(["register", "alice@a.test"]).code, Some(0), "{status}");
    }
    assert_eq!(elsewhere.asked(), [""; 0], "nobody was followed");
    hostile.say(Answer::Stall);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| alice.run(["register", "alice@a.test"]));
        alice.run(["status"]).expect_code(1).says(&["no account"]);
        waiting.join().unwrap().expect_code(1);
    });
}

/// Whoever listens on the port of a directory, and says nothing: before TLS, and within it.
#[test]
fn a_handshake_that_never_comes_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url =
        format!("https://127.0.0.1:{}#{}", listener.local_addr().unwrap().port(), self_signed(&[ORIGIN]).unwrap().pin);
    let daemon = Daemon::start(DaemonOptions::new("alice", &url));
    let begun = std::time::Instant::now();
    daemon.ctl("alice").run(["register", "alice"]).expect_code(1).says(&["no answer within"]);
    assert!(begun.elapsed() < std::time::Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// A directory that is elsewhere names addresses of this machine: nobody is dialled there, unless the owner allows it. A mailbox is
/// used meanwhile.
#[test]
fn addresses_of_this_machine_are_not_dialled_on_the_word_of_a_directory_elsewhere() {
    let internet = Internet::new().unwrap();
    let mut options = own_key();
    // Its relay would be a way that leads through none of these addresses.
    options.config = Some("tls = \"own\"\nhosts = [\"dir.test\"]\n[relay]\nenabled = false\n".to_owned());
    let directory = Directory::start_with(options);
    let (_, pin) = directory.url().split_once('#').unwrap();
    internet.dns.a("dir.test", &[[127, 0, 0, 1].into()]);
    let url = format!("https://dir.test:{}#{pin}", port(directory.address()).unwrap());
    let names = format!("name_servers = [\"{}\"]\n", internet.dns.address());
    let start = |name: &str, more: &str| {
        let options = internet.options(name, "");
        Daemon::start(DaemonOptions { config: Some(format!("{names}{more}")), directory: Some(url.clone()), ..options })
    };
    let (mut alices, bobs) = (start("alice", ""), start("bob", ""));
    let (alice, bob) = (alices.ctl("alice"), bobs.ctl("bob"));
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    befriend(&alice, &bob);
    let id = send(&alice, "bob", "by mail");
    wait_for_body(&bob, "alice", "by mail");
    let way = alice.json(["trace", &id]).to_string();
    assert!(way.contains("mailbox"), "{way}");
    assert!(!alices.log_text().contains("link is up") && !way.contains("\"link\""), "{way}");
    alices.restart_with(|options| options.config = Some(format!("{names}allow_private_addresses = true\n")));
    wait_for("she is back", || status(&alice)["online"] == true);
    let id = send(&alice, "bob", "directly");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    assert_eq!(bodies(&bob, "alice", 10), ["by mail", "directly"]);
}
