//! Keys that change under the eyes of a contact: with a word of the old key, of the recovery key, and of nobody.

use proptest::prelude::*;
use proto::directory::{MAX_SEQ_STEP, Record, Rotation, SignedRecord, Statement, recovery_hash};

use crate::crypto::keys::SigningKey;
use crate::model::{ContactChange, EventKind, Suite, Trust};
use crate::store::contacts::list;
use crate::store::feed;
use crate::store::peers::row::ContactRow;
use crate::store::peers::trust;
use crate::store::tests::fixture::{Person, run};

const RECOVERY: [u8; 32] = [77; 32];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Bob as his record tells of him, with a recovery key that is known here.
fn bob() -> (Person, Record) {
    let mut bob = Person::new("bob");
    let mut record = SignedRecord::decode(&bob.record).unwrap().verify().unwrap();
    record.recovery_hash = recovery_hash(&key(RECOVERY[0]).public());
    record.rotations = vec![Rotation::genesis(bob.identity.inner(), record.recovery_hash)];
    bob.record = SignedRecord::sign(&record, bob.identity.inner()).unwrap().encode();
    (bob, record)
}

/// The record after it, at this number of the chain.
fn rotated(
    record: &Record,
    seq: u64,
    number: u32,
    next: &SigningKey,
    by: &SigningKey,
    recovery: bool,
) -> (Record, Vec<u8>) {
    let mut new = record.clone();
    let recovery_hash = record.recovery_hash;
    let statement = Statement { account: record.account(), number, identity_key: next.public(), recovery_hash };
    new.rotations.push(if recovery {
        Rotation::by_recovery(&statement, by.inner())
    } else {
        Rotation::by_identity(&statement, by.inner())
    });
    (new.seq, new.identity_key) = (seq, next.public());
    let bytes = SignedRecord::sign(&new, next.inner()).unwrap().encode();
    (new, bytes)
}

fn take(alice: &Person, bob: &Person, record: &[u8]) -> (bool, ContactRow) {
    let (contact, record) = (alice.id(bob), record.to_vec());
    let taken = alice.write(move |tx| trust::take_record(tx, contact, &record)).unwrap();
    (taken, alice.row(bob))
}

fn verified(alice: &Person, bob: &Person) {
    let contact = alice.meet(bob);
    alice.write(move |tx| trust::set_trust(tx, contact, Trust::Verified)).unwrap();
}

fn reasons(alice: &Person) -> Vec<String> {
    let page = alice.read(|conn| feed::read_events(conn, 0, 100));
    let changes = page.events.into_iter().filter(|event| event.kind() == EventKind::Contact(ContactChange::KeyChanged));
    changes.map(|event| event.reason().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_old_key_hands_over_and_the_recovery_key_overrules() {
    let (bob, record) = bob();
    let alice = Person::new("alice");
    verified(&alice, &bob);
    let (_, stolen) = rotated(&record, 2, 1, &key(2), &bob.identity, false);
    let (taken, row) = take(&alice, &bob, &stolen);
    assert_eq!((taken, row.trust, row.identity_key), (true, Trust::Rotated, key(2).public()));
    // It was a thief who rotated: at the same number, the recovery key's word stands above.
    let (_, recovered) = rotated(&record, 3, 1, &key(3), &key(RECOVERY[0]), true);
    let (taken, row) = take(&alice, &bob, &recovered);
    assert_eq!((taken, row.trust, row.identity_key), (true, Trust::Rotated, key(3).public()));
    // And the thief cannot come back, with whatever seq.
    let (_, again) = rotated(&record, 9, 1, &key(4), &bob.identity, false);
    let (taken, row) = take(&alice, &bob, &again);
    assert_eq!((taken, row.trust, row.identity_key), (false, Trust::Changed, key(3).public()));
    assert_eq!(reasons(&alice), ["rotated", "recovered", "no_valid_rotation"]);
}

#[test]
fn what_the_recovery_key_resets_is_worth_a_place_in_the_queue() {
    let (bob, record) = bob();
    let alice = Person::new("alice");
    verified(&alice, &bob);
    let contact = alice.id(&bob);
    // A thief who has the identity key shows numbers that nobody can go above.
    let mut burnt = record.clone();
    for _ in 0..2 {
        burnt.seq += MAX_SEQ_STEP;
        assert!(take(&alice, &bob, &SignedRecord::sign(&burnt, bob.identity.inner()).unwrap().encode()).0);
    }
    let looks = |bytes: &[u8]| alice.read(|conn| trust::may_replace_record(conn, contact, bytes));
    let (_, recovered) = rotated(&record, 3, 1, &key(3), &key(RECOVERY[0]), true);
    let (_, handed_over) = rotated(&record, 3, 1, &key(4), &bob.identity, false);
    assert!(looks(&recovered));
    assert!(!looks(&bob.record) && !looks(&handed_over) && !looks(&alice.row(&bob).record), "these reset nothing");
    let (taken, row) = take(&alice, &bob, &recovered);
    assert_eq!((taken, row.record_seq, row.identity_key), (true, 3, key(3).public()));
}

/// The threat model's 'key swap later'.
#[test]
fn nothing_is_taken_of_a_key_that_nobody_vouches_for_until_the_user_decides() {
    let (bob, record) = bob();
    let alice = Person::new("alice");
    alice.befriend(&bob);
    verified(&alice, &bob);
    let (mine, first) = rotated(&record, 2, 1, &key(2), &key(RECOVERY[0]), true);
    assert!(take(&alice, &bob, &first).0);
    verified(&alice, &bob);
    let eve = SigningKey::generate().unwrap();
    let (mut swapped, _) = rotated(&record, 5, 1, &key(66), &bob.identity, false);
    swapped.devices = vec![proto::directory::Device::of_key(eve.public())];
    swapped.prekeys.clear();
    let swapped = SignedRecord::sign(&swapped, key(66).inner()).unwrap().encode();
    let (taken, row) = take(&alice, &bob, &swapped);
    assert!(!taken);
    assert_eq!((row.trust, row.identity_key, row.record_seq), (Trust::Changed, key(2).public(), 2));
    assert_eq!(row.record, first, "what is sealed is sealed to this one's prekeys");
    assert_eq!(row.new_key(), Some(key(66).public()));
    let devices = || alice.count("SELECT count(*) FROM peer_devices WHERE proved = 0 OR proved = 1");
    assert_eq!(devices(), 1, "eve's device is nobody's");
    // Records of the pinned key are taken meanwhile, and end nothing.
    let (_, newer) = rotated(&mine, 7, 2, &key(5), &key(2), false);
    let (taken, row) = take(&alice, &bob, &newer);
    assert_eq!((taken, row.trust, row.new_key()), (true, Trust::Changed, Some(key(66).public())));
    // The user compares, and it is the pinned one: the other is refused from now on, and blocks nothing again.
    let contact = alice.id(&bob);
    alice.write(move |tx| trust::keep_pinned_key(tx, contact)).unwrap();
    let (mut again, _) = rotated(&record, 40, 1, &key(66), &bob.identity, false);
    again.seq = 50;
    let again = SignedRecord::sign(&again, key(66).inner()).unwrap().encode();
    let (taken, row) = take(&alice, &bob, &again);
    assert_eq!((taken, row.trust, row.identity_key), (false, Trust::Verified, key(5).public()));
    // A third key is another question.
    let (_, third) = rotated(&record, 60, 1, &key(67), &bob.identity, false);
    let (_, row) = take(&alice, &bob, &third);
    assert_eq!((row.trust, row.new_key()), (Trust::Changed, Some(key(67).public())));
    // The user takes it; not another one that came since.
    let wrong = key(66).public();
    assert!(run(alice.store.write(move |tx| trust::adopt_changed_key(tx, contact, &wrong, Trust::Verified))).is_err());
    let right = key(67).public();
    alice.write(move |tx| trust::adopt_changed_key(tx, contact, &right, Trust::Verified)).unwrap();
    let row = alice.row(&bob);
    assert_eq!((row.trust, row.identity_key, row.record), (Trust::Verified, right, third));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// The threat model's 'record rollback or replay', against a model of one line: the newest is what counts.
    #[test]
    fn an_older_record_is_never_taken(seqs in prop::collection::vec((1u64..40, any::<bool>()), 1..24)) {
        let (bob, record) = bob();
        let alice = Person::new("alice");
        alice.meet(&bob);
        let mut newest = 1;
        for (seq, online) in seqs {
            let mut offered = record.clone();
            (offered.seq, offered.show_online) = (seq, online);
            let bytes = SignedRecord::sign(&offered, bob.identity.inner()).unwrap().encode();
            let contact = alice.id(&bob);
            let copy = bytes.clone();
            // What is no news does not come to the store at all.
            prop_assert_eq!(alice.read(|conn| trust::may_replace_record(conn, contact, &bytes)), seq > newest);
            alice.write(move |tx| trust::take_record(tx, contact, &copy)).unwrap();
            let row = alice.row(&bob);
            if seq > newest {
                newest = seq;
                prop_assert_eq!(&row.record, &bytes);
            }
            prop_assert_eq!(row.record_seq, newest);
            prop_assert_eq!(SignedRecord::decode(&row.record).unwrap().peek().unwrap().seq, newest);
            prop_assert_eq!(row.trust, Trust::Unverified);
        }
    }
}

/// More of them in a torture run.
fn cases() -> u32 {
    std::env::var("CHATD_TORTURE_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse::<u32>().ok())
        .map_or(16, |n| n.clamp(16, 2_000))
}

/// Bob's suite as the owner is told it.
fn suite(alice: &Person, bob: &Person) -> Option<Suite> {
    let row = alice.row(bob);
    alice.read(|conn| list::describe(conn, &row, "example.org")).suite
}

#[test]
fn who_offered_better_is_sealed_to_no_worse_until_verified() {
    let (bob, record) = bob();
    let alice = Person::new("alice");
    let contact = alice.meet(&bob);
    assert_eq!((alice.row(&bob).suite_floor, suite(&alice, &bob)), (2, Some(Suite::Hybrid)));
    // As if an invented suite had been known and offered.
    alice.write(move |tx| Ok(tx.conn.execute("UPDATE peers SET suite_floor = 3", [])?)).unwrap();
    assert_eq!(suite(&alice, &bob), None);
    // The thief of bob's identity key publishes a record that offers less: it is bob's, and is not sealed to.
    let newer = Record { seq: record.seq + 1, ..record.clone() };
    let newer = SignedRecord::sign(&newer, bob.identity.inner()).unwrap().encode();
    assert!(take(&alice, &bob, &newer).0);
    assert_eq!((alice.row(&bob).suite_floor, suite(&alice, &bob)), (3, None));
    // Nor after a record that offers nothing, and then the same again.
    for (seq, prekeys) in [(2, Vec::new()), (3, record.prekeys.clone())] {
        let next = Record { seq: record.seq + seq, prekeys, ..record.clone() };
        let next = SignedRecord::sign(&next, bob.identity.inner()).unwrap().encode();
        assert!(take(&alice, &bob, &next).0);
        assert_eq!((alice.row(&bob).suite_floor, suite(&alice, &bob)), (3, None));
    }
    let key = record.identity_key;
    alice.write(move |tx| trust::trust_key(tx, contact, &key, Trust::Verified)).unwrap();
    assert_eq!((alice.row(&bob).suite_floor, suite(&alice, &bob)), (2, Some(Suite::Hybrid)));
}
