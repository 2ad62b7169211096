//! Envelopes that name a newer record than is known.

use proto::directory::ContactPolicy;

use super::*;
use crate::crypto::keys::SigningKey;
use crate::model::ids::PeerId;
use crate::store::peers::trust;
use crate::store::tests::fixture::{sign_record, text_payload};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

fn retried(inbox: &Inbox, contact: PeerId) -> usize {
    run(async {
        let taken = inbox.retry_parked(contact).await;
        let count = taken.len();
        for one in taken {
            one.outcome.outcome().await.unwrap();
        }
        count
    })
}

#[test]
fn a_newer_record_is_awaited_and_then_the_envelope_counts() {
    let (mut alice, bob) = friends();
    alice.send(&bob, &["one"]);
    let newer = sign_record(&alice.identity, "alice", 2, &[&alice.device], Some(&alice.prekey), ContactPolicy::Members);
    alice.record = newer.clone();
    let envelope = sealed_naming(2, &alice, &bob, Vec::new(), &alice.outbox(&bob));
    let inbox = inbox(&bob);
    assert!(matches!(take(&inbox, envelope), Outcome::Parked { proved: true }));
    assert!(bob.shown(&alice).is_empty());
    let contact = bob.id(&alice);
    assert!(bob.write(move |tx| trust::take_record(tx, contact, &newer)).unwrap());
    assert_eq!(retried(&inbox, contact), 1);
    assert_eq!(bob.shown(&alice), ["one"]);
    assert_eq!(retried(&inbox, contact), 0);
}

#[test]
fn a_newer_record_that_takes_the_device_away_takes_its_words_away() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one"]);
    let envelope = sealed_naming(2, &alice, &bob, Vec::new(), &alice.outbox(&bob));
    let inbox = inbox(&bob);
    assert!(matches!(take(&inbox, envelope), Outcome::Parked { .. }));
    let (contact, other) = (bob.id(&alice), SigningKey::generate().unwrap());
    let newer = sign_record(&alice.identity, "alice", 2, &[&other], None, ContactPolicy::Members);
    bob.write(move |tx| trust::take_record(tx, contact, &newer)).unwrap();
    assert_eq!(retried(&inbox, contact), 0);
    assert!(bob.shown(&alice).is_empty());
}

#[test]
fn a_record_that_nobody_can_get_holds_up_no_known_device() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one"]);
    let envelope = sealed_naming(2, &alice, &bob, Vec::new(), &alice.outbox(&bob));
    let inbox = inbox(&bob);
    assert!(matches!(take(&inbox, envelope), Outcome::Parked { .. }));
    // Fetching it failed.
    assert_eq!(retried(&inbox, bob.id(&alice)), 1);
    assert_eq!(bob.shown(&alice), ["one"]);
    alice.send(&bob, &["two"]);
    let next = sealed_naming(2, &alice, &bob, Vec::new(), &alice.outbox(&bob));
    assert!(!take(&inbox, next).receipt().silent, "the next is not held up either");
}

#[test]
fn a_device_that_no_known_record_names_waits_however_long() {
    let (mut alice, bob) = friends();
    alice.send(&bob, &["one"]);
    let known = std::mem::replace(&mut alice.device, SigningKey::generate().unwrap());
    let core = alice.core(&bob, "text", 1, &text_payload("from the new device"));
    let newer = sign_record(&alice.identity, "alice", 2, &[&known, &alice.device], None, ContactPolicy::Members);
    alice.record = newer.clone();
    let envelope = sealed_naming(2, &alice, &bob, Vec::new(), &[core]);
    let inbox = inbox(&bob);
    assert!(matches!(take(&inbox, envelope.clone()), Outcome::Parked { proved: false }));
    let contact = bob.id(&alice);
    assert_eq!(retried(&inbox, contact), 0, "without the record, nothing vouches for it");
    assert!(matches!(take(&inbox, envelope), Outcome::Parked { proved: false }));
    bob.write(move |tx| trust::take_record(tx, contact, &newer)).unwrap();
    assert_eq!(retried(&inbox, contact), 1);
    assert_eq!(bob.shown(&alice), ["from the new device"]);
}

#[test]
fn nobody_makes_another_wait() {
    let (alice, bob) = friends();
    let mallory = Person::new("mallory");
    // In alice's name and of her device, but signed by somebody else.
    let forger = Person { device: mallory.device, account: alice.account, ..Person::new("forger") };
    let core = forger.core(&bob, "text", 1, &text_payload("it is me"));
    let inbox = inbox(&bob);
    assert!(!matches!(
        take(&inbox, sealed_naming(1, &forger, &bob, Vec::new(), std::slice::from_ref(&core))),
        Outcome::Parked { .. } | Outcome::Committed(_)
    ));
    // With a record that nobody has it waits, bounded, and says nothing.
    assert!(matches!(
        take(&inbox, sealed_naming(9, &forger, &bob, Vec::new(), &[core])),
        Outcome::Parked { proved: false }
    ));
    assert_eq!(retried(&inbox, bob.id(&alice)), 0);
    assert!(bob.shown(&alice).is_empty());
}

#[test]
fn another_record_of_the_same_number_is_awaited_then_refused_until_a_newer_one_is_there() {
    let (mut alice, bob) = friends();
    alice.send(&bob, &["one"]);
    let inbox = inbox(&bob);
    let contact = bob.id(&alice);
    // As bob knows it, and as somebody else with the same identity key has made it: the same number.
    let other = sign_record(&alice.identity, "alice", 1, &[&alice.device], None, ContactPolicy::Open);
    let known = std::mem::replace(&mut alice.record, other);
    assert_ne!(known, alice.record);
    let envelope = sealed_naming(1, &alice, &bob, Vec::new(), &alice.outbox(&bob));
    assert!(
        matches!(take(&inbox, envelope.clone()), Outcome::Parked { proved: true }),
        "it may be that a newer one exists"
    );
    assert_eq!(retried(&inbox, contact), 0, "none did");
    assert!(matches!(take(&inbox, envelope), Outcome::Refused(RefuseCode::Record)));
    assert!(bob.shown(&alice).is_empty());
    // What names the known one, or an older one, is not held up by that.
    let with_hers = std::mem::replace(&mut alice.record, known);
    assert!(!take(&inbox, sealed_naming(1, &alice, &bob, Vec::new(), &alice.outbox(&bob))).receipt().silent);
    assert_eq!(bob.shown(&alice), ["one"]);
    // A newer one settles it.
    alice.send(&bob, &["two"]);
    let newer = sign_record(&alice.identity, "alice", 2, &[&alice.device], Some(&alice.prekey), ContactPolicy::Members);
    alice.record = newer.clone();
    bob.write(move |tx| trust::take_record(tx, contact, &newer)).unwrap();
    assert!(!take(&inbox, sealed_naming(2, &alice, &bob, Vec::new(), &alice.outbox(&bob))).receipt().silent);
    alice.record = with_hers;
    assert!(!take(&inbox, sealed_naming(1, &alice, &bob, Vec::new(), &alice.outbox(&bob))).receipt().silent);
    assert_eq!(bob.shown(&alice), ["one", "two"]);
}
