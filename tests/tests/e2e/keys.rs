//! Keys cannot be derived from names, and text is not readable for those in between.

use std::path::Path;

use tests::Pair;
use tests::wait::wait_for;

use crate::util::{bodies, text};

fn holds(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn b8_the_same_names_have_other_keys_elsewhere() {
    let (one, two) = (Pair::start(), Pair::start());
    for (first, second) in [(&one.alice, &two.alice), (&one.bob, &two.bob)] {
        let (first, second) = (first.json(["whoami"]), second.json(["whoami"]));
        assert_eq!(first["name"], second["name"]);
        assert_ne!(first["id"], second["id"]);
        assert_ne!(first["fingerprint"], second["fingerprint"]);
    }
    let number = |pair: &Pair| text(&pair.alice.json(["verify", "bob"])["safety_number"]).to_owned();
    assert_ne!(number(&one), number(&two));
}

#[test]
fn b8_a_third_party_reads_nothing_and_forges_nothing() {
    let pair = Pair::start();
    let (mallory_daemon, mallory) = pair.join("mallory");
    let secret = "the-password-is-swordfish-7421";
    pair.alice.ok(["send", "bob", secret, "--wait", "delivered"]);
    assert!(!holds(pair.directory.home(), secret.as_bytes()), "the directory knows nothing of it");
    assert!(!holds(mallory_daemon.home(), secret.as_bytes()));
    for log in [pair.alice_daemon.log_text(), pair.directory.log_text(), mallory_daemon.log_text()] {
        assert!(!log.contains(secret), "no log holds text");
    }
    // All that mallory can do with two names is ask under her own.
    mallory.run(["send", "bob", "hello, it is alice"]).expect_code(0);
    wait_for("bob is asked", || !pair.bob.list(["requests"], "contacts").is_empty());
    let requests = pair.bob.list(["requests"], "contacts");
    assert_eq!(requests[0]["name"], "mallory");
    assert_eq!(bodies(&pair.bob, "alice", 10), [secret]);
    assert!(pair.bob.list(["search", "hello"], "messages").is_empty());
}

#[test]
fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    fn check(path: &Path) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
        }
    }
    let pair = Pair::start();
    check(&pair.alice_daemon.data_dir());
    let mode = std::fs::metadata(pair.alice_daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the socket of a user's own daemon");
}
