//! Identity keys that are replaced: by the old key, by the recovery key, by a thief, and with a kill between any two steps.

use std::path::{Path, PathBuf};

use chatd::crypto::prekey::PrekeySecret;
use ed25519_dalek::SigningKey;
use proto::directory::{Device, Prekey, Rotation, SignedRecord, Statement};
use proto::ids::{AccountId, sha256};
use proto::wire::SUITE_HYBRID;
use rusqlite::{Connection, OpenFlags, params};
use tests::people::contact;
use tests::registry::Registrant;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Pair};

use crate::util::{follow, send, state_of, text};

fn fingerprint(ctl: &Ctl) -> String {
    text(&ctl.json(["whoami"])["fingerprint"]).to_owned()
}

/// What `ctl` has of a contact: (fingerprint, trust).
#[track_caller]
fn pinned(ctl: &Ctl, who: &str) -> (String, String) {
    let contact = contact(ctl, who).unwrap();
    (text(&contact["fingerprint"]).to_owned(), text(&contact["trust"]).to_owned())
}

#[track_caller]
fn verify(alice: &Ctl, bob: &Ctl) {
    let number = text(&bob.json(["verify", alice.name()])["safety_number"]).to_owned();
    alice.ok(["verify", bob.name(), &number]);
    assert_eq!(pinned(alice, bob.name()).1, "verified");
}

/// The folder of the only account of a daemon.
fn account_folder(daemon: &Daemon) -> PathBuf {
    let folders = std::fs::read_dir(daemon.data_dir().join("accounts")).unwrap();
    folders
        .map(|entry| entry.unwrap().path())
        .find(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
        .unwrap()
}

fn talk(alice: &Ctl, bob: &Ctl, what: &str) {
    alice.ok(["send", "bob", what, "--wait", "delivered"]);
    bob.ok(["send", "alice", what, "--wait", "delivered"]);
}

#[test]
fn a_key_signed_by_the_old_one_is_followed_and_compared_again() {
    let mut pair = Pair::start();
    verify(&pair.alice, &pair.bob);
    let before = fingerprint(&pair.bob);
    let mut events = follow(&pair.alice, &["--type", "contact.key_changed"]);
    pair.bob.ok(["key", "rotate"]).says(&["new identity key"]);
    let after = fingerprint(&pair.bob);
    assert_ne!(before, after);
    talk(&pair.alice, &pair.bob, "one");
    wait_for("alice has the new key", || pinned(&pair.alice, "bob") == (after.clone(), "rotated".to_owned()));
    assert_eq!(events.until_json("it is told", |_| true)["reason"], "rotated");
    verify(&pair.alice, &pair.bob);
    pair.bob_daemon().restart();
    assert_eq!(fingerprint(&pair.bob), after);
    talk(&pair.alice, &pair.bob, "two");
    // Who meets bob now meets the new key.
    let (_daemon, carol) = pair.join("carol");
    carol.ok(["add", "bob"]);
    assert_eq!(pinned(&carol, "bob").0, after);
}

#[test]
fn the_recovery_key_makes_a_new_identity_and_a_new_recovery_key() {
    let pair = Pair::strangers();
    let daemon = Daemon::start(DaemonOptions::new("carol", pair.directory.url()).place(pair.directory.place()));
    let carol = daemon.ctl("carol");
    let file = |name: &str| daemon.home().join(name).display().to_string();
    carol.ok(["register", "carol", "--recovery-file", &file("first")]);
    tests::people::befriend(&pair.alice, &carol);
    verify(&pair.alice, &carol);
    let before = fingerprint(&carol);
    std::fs::write(file("wrong"), "11".repeat(32)).unwrap();
    std::fs::set_permissions(file("wrong"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    carol.run(["key", "recover", "--recovery-file", &file("wrong")]).expect_code(4).says(&["not the recovery key"]);
    carol.run(["key", "recover", "--recovery-file", &file("absent")]).expect_code(1);
    assert_eq!(fingerprint(&carol), before);
    let mut events = follow(&pair.alice, &["--type", "contact.key_changed"]);
    carol.ok(["key", "recover", "--recovery-file", &file("first"), "--new-recovery-file", &file("second")]);
    let after = fingerprint(&carol);
    assert_ne!(before, after);
    pair.alice.ok(["send", "carol", "hello", "--wait", "delivered"]);
    wait_for("alice has the new key", || pinned(&pair.alice, "carol") == (after.clone(), "rotated".to_owned()));
    assert_eq!(events.until_json("it is told, loudly", |_| true)["reason"], "recovered");
    carol.run(["key", "recover", "--recovery-file", &file("first")]).expect_code(4);
    // The new one is printed when no file is named.
    let printed = carol.ok(["key", "recover", "--recovery-file", &file("second")]).stdout;
    assert_eq!(printed.trim().len(), 64, "{printed:?}");
    assert!(!daemon.log_text().contains(printed.trim()), "no log holds it");
}

#[test]
fn a_kill_between_any_two_steps_leaves_exactly_one_key() {
    let mut pair = Pair::start();
    for (step, changed) in [("key.next", false), ("key.record", true), ("key.renamed", true), ("key.published", true)] {
        let before = fingerprint(&pair.bob);
        let fault = ("CHATD_FAULT".to_owned(), format!("{step}:1"));
        pair.bob_daemon().restart_with(|options| options.env.push(fault));
        let ran = pair.bob.run(["key", "rotate"]);
        assert_ne!(ran.code, Some(0), "the daemon died at {step}");
        pair.bob_daemon().kill9();
        pair.bob_daemon().restart_with(|options| options.env.retain(|(name, _)| name != "CHATD_FAULT"));
        let after = fingerprint(&pair.bob);
        assert_eq!(after != before, changed, "killed at {step}");
        talk(&pair.alice, &pair.bob, step);
        wait_for("alice has it", || pinned(&pair.alice, "bob").0 == after);
        let keys = std::fs::read_dir(account_folder(pair.bob_daemon())).unwrap();
        let keys = keys.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("identity"));
        assert_eq!(keys.count(), 1, "killed at {step}");
        // And it can be rotated again.
        pair.bob.ok(["key", "rotate"]);
        let newest = fingerprint(&pair.bob);
        wait_for("the directory has the newest", || {
            let database = pair.directory.data_dir();
            let record = stored_record(&database, "bob");
            chat_fingerprint(&record.identity_key) == newest
        });
    }
}

/// The fingerprint as people see it.
fn chat_fingerprint(key: &[u8; 32]) -> String {
    chatd::crypto::safety::fingerprint(key)
}

fn database(folder: &Path) -> Connection {
    let mut file = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = file.find(|path| path.extension().is_some_and(|ext| ext == "db" || ext == "sqlite")).unwrap();
    // chatd's own layer, which is in this process, wants a database for itself.
    Connection::open_with_flags_and_vfs(file, OpenFlags::default(), c"unix").unwrap()
}

fn stored_record(folder: &Path, name: &str) -> proto::directory::Record {
    let bytes: Vec<u8> =
        database(folder).query_row("SELECT record FROM accounts WHERE name = ?1", [name], |row| row.get(0)).unwrap();
    SignedRecord::decode(&bytes).unwrap().verify().unwrap()
}

fn in_mailbox(folder: &Path, device: &Device) -> i64 {
    database(folder)
        .query_row("SELECT count(*) FROM mailbox WHERE device = ?1", [&device.id.0[..]], |row| row.get(0))
        .unwrap()
}

/// The threat model's 'key swap later': the thief of an old key, with the directory's help.
#[test]
fn a_lying_directory_gets_nothing_sealed_to_its_key() {
    let mut pair = Pair::strangers();
    let daemon = Daemon::start(DaemonOptions::new("carol", pair.directory.url()).place(pair.directory.place()));
    let mut daemon = daemon;
    let carol = daemon.ctl("carol");
    let recovery = daemon.home().join("recovery").display().to_string();
    carol.ok(["register", "carol", "--recovery-file", &recovery]);
    let stolen: [u8; 32] = std::fs::read(account_folder(&daemon).join("identity.key")).unwrap().try_into().unwrap();
    tests::people::befriend(&pair.alice, &carol);
    carol.ok(["key", "recover", "--recovery-file", &recovery]);
    pair.alice.ok(["send", "carol", "before", "--wait", "delivered"]);
    wait_for("alice has the recovered key", || pinned(&pair.alice, "carol").0 == fingerprint(&carol));
    verify(&pair.alice, &carol);
    let honest = fingerprint(&carol);

    // Carol is away: what alice cannot deliver makes her ask the directory for a newer record.
    daemon.stop();
    // The thief makes a record of his own from what was before, and the directory serves it.
    pair.directory.stop();
    let folder = pair.directory.data_dir();
    let mut record = stored_record(&folder, "carol");
    let (thief, old) = (SigningKey::from_bytes(&[66; 32]), SigningKey::from_bytes(&stolen));
    let eve = Device::of_key(SigningKey::from_bytes(&[67; 32]).verifying_key().to_bytes());
    let genesis = record.rotations[0].clone();
    let recovery_hash = genesis.statement().unwrap().recovery_hash;
    let statement = Statement {
        account: AccountId::of_first_key(&record.first_key),
        number: 1,
        identity_key: thief.verifying_key().to_bytes(),
        recovery_hash,
    };
    record.rotations = vec![genesis, Rotation::by_identity(&statement, &old)];
    (record.identity_key, record.recovery_hash) = (statement.identity_key, recovery_hash);
    // The highest: carol cannot publish above it.
    record.seq = i64::MAX as u64;
    let (created, not_after) = (record.issued, record.expires);
    let prekey = PrekeySecret::from_stored(SUITE_HYBRID, &sha256(&[b"eve"]), created, not_after).unwrap();
    let recipient = prekey.public().recipient().to_vec();
    record.prekeys = vec![Prekey { device: eve.id, suite: SUITE_HYBRID, recipient, created, not_after }];
    record.devices = vec![eve.clone()];
    let forged = SignedRecord::sign(&record, &thief).unwrap().encode();
    database(&folder)
        .execute("UPDATE accounts SET record = ?1, seq = ?2 WHERE name = 'carol'", params![forged, record.seq as i64])
        .unwrap();
    pair.directory.restart();
    let mut events = follow(&pair.alice, &["--type", "contact.key_changed"]);
    let waiting = send(&pair.alice, "carol", "for carol only");
    let event = events.until_json("the swap is noticed", |_| true);
    assert_eq!(event["reason"], "no_valid_rotation");
    let refused = pair.alice.run(["send", "carol", "another"]).expect_code(4);
    refused.says(&["key of carol changed", "chatctl verify carol NUMBER", "--accept-unverified"]);
    let seen = contact(&pair.alice, "carol").unwrap();
    assert_eq!((text(&seen["trust"]), text(&seen["fingerprint"])), ("changed", honest.as_str()));
    assert_eq!(text(&seen["new_fingerprint"]), chat_fingerprint(&record.identity_key));
    assert_eq!(state_of(&pair.alice, &waiting), "queued");
    assert_eq!(pair.alice.json(["trace", &waiting])["reason"], "key_changed");
    pair.alice_daemon.restart();
    pair.alice.run(["send", "carol", "another"]).expect_code(4);
    assert_eq!(in_mailbox(&folder, &eve), 0, "0 bytes go to the new key");
    // A number that is nobody's decides nothing.
    pair.alice.run(["verify", "carol", &"12345".repeat(12)]).expect_code(4);
    assert_eq!(in_mailbox(&folder, &eve), 0);
    // The control: when alice takes the thief's key, it is the thief who gets it.
    pair.alice.ok(["verify", "carol", "--accept-unverified"]);
    assert_eq!(pinned(&pair.alice, "carol").1, "unverified");
    wait_for("the control finds something", || in_mailbox(&folder, &eve) > 0);
}

/// The threat model's 'key substitution at first contact': nothing but comparing tells, and comparing does.
#[test]
fn a_lying_directory_is_found_out_by_comparing() {
    let mut pair = Pair::strangers();
    let eve = Registrant::new("bob", "eve", "example.org").unwrap();
    pair.directory.stop();
    let folder = pair.directory.data_dir();
    database(&folder)
        .execute(
            "UPDATE accounts SET account = ?1, record = ?2, seq = 1 WHERE name = 'bob'",
            params![&eve.account().0[..], eve.signed(1).unwrap()],
        )
        .unwrap();
    pair.directory.restart();
    wait_for("alice is online again", || pair.alice.json(["whoami"])["online"] == true);
    pair.alice.ok(["add", "bob"]);
    let (fingerprint_seen, trust) = pinned(&pair.alice, "bob");
    assert_eq!(trust, "unverified");
    assert_eq!(fingerprint_seen, chat_fingerprint(&eve.identity.verifying_key().to_bytes()));
    assert_ne!(fingerprint_seen, fingerprint(&pair.bob), "what bob would read out");
    // Any number that is not of eve's key: bob's own shows him another.
    let number = "01234".repeat(12);
    pair.alice.run(["verify", "bob", &number]).expect_code(4).says(&["the numbers differ"]);
    assert_eq!(pinned(&pair.alice, "bob").1, "unverified");
}
