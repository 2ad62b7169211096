//! How messages are sealed: what users are told of it, and that nobody is brought to seal more weakly without a word.

use std::path::PathBuf;

use chatd::store::PrekeyStore;
use proto::directory::SignedRecord;
use rusqlite::Connection;
use serde_json::{Value, json};
use tests::people::contact;
use tests::registry::Registrant;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, Pair};

use crate::util::{bodies, send, state_of, status, text, wait_for_body};

/// A suite that does not exist.
const INVENTED: u8 = 3;

fn folder(daemon: &Daemon) -> PathBuf {
    std::fs::read_dir(daemon.data_dir().join("accounts")).unwrap().next().unwrap().unwrap().path()
}

/// The word behind which a message waits.
fn reason(ctl: &Ctl, id: &str) -> Option<String> {
    ctl.json(["trace", id])["reason"].as_str().map(str::to_owned)
}

fn hybrid() -> Value {
    json!({
        "suite": 2, "sealed": "mlkem768x25519", "signed": "ed25519",
        "post_quantum_confidentiality": true, "post_quantum_authentication": false,
    })
}

#[test]
fn users_are_told_how_messages_are_sealed_and_what_that_is_not() {
    let mut pair = Pair::start();
    let words =
        "mlkem768x25519 (suite 2): a later quantum computer cannot read it; signed with ed25519, which it could forge";
    assert_eq!(status(&pair.alice)["encryption"], hybrid());
    let shown = pair.alice.ok(["status"]).stdout;
    assert!(shown.contains(words), "{shown}");
    assert_eq!(contact(&pair.alice, "bob").unwrap()["encryption"], hybrid());
    assert_eq!(pair.alice.json(["verify", "bob"])["contact"]["encryption"], hybrid());
    pair.alice.ok(["verify", "bob"]).says(&["what goes to bob is sealed with", words]);
    // What lies in the database of secrets is of that suite alone.
    pair.alice_daemon.stop();
    let secrets = PrekeyStore::open(&folder(&pair.alice_daemon)).unwrap().all().unwrap();
    assert!(!secrets.is_empty() && secrets.iter().all(|prekey| prekey.suite() == 2));
}

#[test]
fn nothing_is_sealed_more_weakly_than_before_until_it_is_verified() {
    let mut pair = Pair::start();
    send(&pair.alice, "bob", "before");
    wait_for_body(&pair.bob, "alice", "before");
    let database = folder(&pair.alice_daemon).join("messages.db");
    pair.alice_daemon.stop();
    // As if bob had offered a better suite once. The databases of this process are written as the daemon's are.
    let scratch = tempfile::tempdir().unwrap();
    drop(PrekeyStore::open(scratch.path()).unwrap());
    let conn = Connection::open(database).unwrap();
    assert_eq!(conn.execute("UPDATE peers SET suite_floor = ?1 WHERE name = 'bob'", [INVENTED]).unwrap(), 1);
    drop(conn);
    pair.alice_daemon.restart();
    let id = send(&pair.alice, "bob", "after");
    wait_for("the message waits", || reason(&pair.alice, &id).as_deref() == Some("suite_weaker"));
    assert!(contact(&pair.alice, "bob").unwrap()["encryption"].is_null());
    pair.alice.ok(["verify", "bob"]).says(&["nothing can be sealed to bob"]);
    let trace = pair.alice.ok(["trace", &id]).stdout;
    assert!(trace.contains("as strong encryption as before") && trace.contains("chatctl verify bob"), "{trace}");
    assert!(status(&pair.alice)["damaged"].is_null());
    // A record that is renewed does not lower it either: bob's daemon has no better one.
    pair.bob_daemon().restart();
    assert_eq!(state_of(&pair.alice, &id), "queued");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["before"]);
    let number = text(&pair.bob.json(["verify", "alice"])["safety_number"]).to_owned();
    pair.alice.ok(["verify", "bob", &number]);
    wait_for_body(&pair.bob, "alice", "after");
    assert_eq!(contact(&pair.alice, "bob").unwrap()["encryption"], hybrid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_is_not_known_is_told_and_nothing_else_is_taken() {
    let mut pair = Pair::start();
    let carol = Registrant::new("carol", "sealing", "example.org").unwrap();
    let mut record = carol.record(1);
    // Both are offered, and the record allows the better one only.
    let mut better = record.prekeys[0].clone();
    better.suite = INVENTED;
    record.prekeys.push(better);
    record.min_suite = INVENTED;
    let record = SignedRecord::sign(&record, &carol.identity).unwrap().encode();
    let client = chatd::directory::DirectoryClient::new(pair.directory.url()).unwrap();
    let identity = chatd::crypto::keys::SigningKey::from_bytes(&carol.identity.to_bytes());
    client.publish(&carol.name, &record, &|message: &[u8]| identity.sign(&[message])).await.unwrap();
    tokio::task::block_in_place(|| {
        pair.alice.ok(["add", "carol"]);
        assert!(contact(&pair.alice, "carol").unwrap()["encryption"].is_null());
        let id = send(&pair.alice, "carol", "hush");
        // What is told is told of what waits when it is tried; the request may have been, before there was a message.
        pair.alice_daemon.restart();
        let alice = &pair.alice;
        wait_for("it is told", || alice.json(["trace", &id]).to_string().contains("suite_unknown"));
        alice.ok(["verify", "carol"]).says(&["nothing can be sealed to carol"]);
    });
}

#[test]
fn backups_are_for_hybrid_keys_and_say_so_if_not() {
    let mut pair = Pair::start();
    send(&pair.alice, "bob", "kept");
    wait_for_body(&pair.bob, "alice", "kept");
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).display().to_string();
    let seed = [5; 32];
    let text =
        |prefix: &str, bytes: &[u8]| age_core::primitives::bech32_encode(bech32::Hrp::parse(prefix).unwrap(), bytes);
    let recipient = text("age1pq", &hybrid::Identity::from_seed(&seed).public().to_bytes());
    std::fs::write(path("key"), format!("# a comment\n{}\n", text("age-secret-key-pq-", &seed).to_uppercase()))
        .unwrap();
    std::fs::set_permissions(path("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let classic = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let warning = "a later quantum computer could open it";
    let made = pair.bob.ok(["backup", &path("bob.age"), "--recipient", &recipient]);
    assert!(!made.stderr.contains(warning), "{}", made.stderr);
    assert!(std::fs::read(path("bob.age")).unwrap().starts_with(b"age-encryption.org/v1\n-> "));
    pair.bob.ok(["backup", &path("classic.age"), "--recipient", classic]).says(&[warning, "age-keygen -pq"]);
    let both = ["backup", &path("both.age"), "--recipient", classic, "--recipient", &recipient];
    pair.bob.run(both).expect_code(1).says(&["do not go together"]);
    pair.bob_daemon().stop();
    let daemon = Daemon::start(tests::DaemonOptions::new("fresh", pair.directory.url()).place(pair.directory.place()));
    daemon.bare_ctl().ok(["restore", &path("bob.age"), "--identity-file", &path("key")]);
    assert_eq!(bodies(&daemon.ctl("bob"), "alice", 10), ["kept"]);
}
