//! Real envelopes to several devices of one account, by records made by hand.

use proto::directory::ContactPolicy;
use proto::time::Timestamp;

use super::{inbox, sealed, sealed_with, take};
use crate::model::ids::{OutStreamRow, PeerId};
use crate::model::{MessageState, Outcome};
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::peers::trust;
use crate::store::tests::devices::{befriend_alone, bob_has_two, publish};
use crate::store::tests::fixture::{Person, sign_record, text_payload};

#[test]
fn each_device_of_the_recipient_opens_and_acknowledges_its_own_envelope() {
    let (alice, bob, laptop) = bob_has_two();
    let ids = alice.send(&bob, &["one", "two"]);
    // They left: a mark for what never did would be doubted.
    let contact = alice.id(&bob);
    let stream = OutStreamRow(alice.count("SELECT max(id) FROM streams_out"));
    let (path, outcome, at) = ("direct", Outcome::Sent, Timestamp::now());
    let note = AttemptNote { stream, low: 1, high: 2, path, outcome, at };
    alice.write(move |tx| attempts::attempt(tx, contact, &note)).unwrap();
    let at_alice = inbox(&alice);
    for (n, device) in [&laptop, &bob].into_iter().enumerate() {
        let envelope = sealed(&alice, device, &alice.outbox(device));
        let other = if n == 0 { &bob } else { &laptop };
        assert!(!matches!(take(&inbox(other), envelope.clone()), super::Outcome::Committed(_)), "sealed to one alone");
        let receipt = take(&inbox(device), envelope).receipt();
        assert_eq!(device.shown(&alice), ["one", "two"]);
        // As by mailbox: the acknowledgement comes in an envelope of the device's own.
        take(&at_alice, sealed_with(device, &alice, receipt.entries, &[])).receipt();
        assert!(alice.outbox(device).is_empty());
        assert_eq!(alice.outbox(other).len(), if n == 0 { 2 } else { 0 });
        assert_eq!(alice.state(ids[1]).0, MessageState::Delivered);
    }
    assert_eq!(alice.count("SELECT count(*) FROM outbox"), 0);
}

#[test]
fn what_an_own_device_sent_is_taken_into_history_and_acknowledged() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let desk = alice.another();
    alice.befriend(&bob);
    befriend_alone(&desk, &bob);
    publish(&[&alice, &desk], 2, &[&bob]);
    alice.send(&bob, &["from the phone"]);
    let receipt = take(&inbox(&desk), sealed(&alice, &desk, &alice.outbox(&desk))).receipt();
    assert_eq!(desk.shown(&alice), ["from the phone"]);
    take(&inbox(&alice), sealed_with(&desk, &alice, receipt.entries, &[])).receipt();
    assert!(alice.outbox(&desk).is_empty() && alice.outbox(&bob).len() == 1);
    // To somebody whom it does not know: not taken, so that whoever has it keeps it.
    let carol = Person::new("carol");
    alice.befriend(&carol);
    alice.send(&carol, &["to carol"]);
    let receipt = take(&inbox(&desk), sealed(&alice, &desk, &alice.outbox(&desk))).receipt();
    assert!(receipt.refused && receipt.entries.is_empty(), "{receipt:?}");
    befriend_alone(&desk, &carol);
    let receipt = take(&inbox(&desk), sealed(&alice, &desk, &alice.outbox(&desk))).receipt();
    assert!(!receipt.refused && receipt.entries.len() == 1);
    assert_eq!(desk.shown(&alice), ["from the phone", "to carol"]);
}

#[test]
fn nobody_speaks_as_an_own_device() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let (desk, thief) = (alice.another(), alice.another());
    alice.befriend(&bob);
    publish(&[&alice, &desk], 2, &[&bob]);
    let at_alice = inbox(&alice);
    let before = super::fingerprint(&alice);
    // A device that the record does not name, and one whose key is another's.
    let core = thief.core(&bob, "text", 1, &text_payload("forged"));
    assert!(take(&at_alice, sealed(&thief, &alice, std::slice::from_ref(&core))).is_blamed());
    let mallory = Person::new("mallory");
    alice.befriend(&mallory);
    let keys = [&mallory.device, &desk.device];
    let record = sign_record(&mallory.identity, "mallory", 2, &keys, None, ContactPolicy::Members);
    let contact = alice.id(&mallory);
    assert!(alice.write(move |tx| trust::take_record(tx, contact, &record)).unwrap());
    let forged = mallory.core(&bob, "text", 1, &text_payload("forged"));
    take(&at_alice, sealed(&mallory, &alice, &[forged])).receipt();
    assert_eq!(alice.count("SELECT count(*) FROM messages"), 0);
    assert_eq!(alice.count(&format!("SELECT count(*) FROM streams_in WHERE peer = {}", PeerId::SELF)), 0);
    assert!(before.len() == super::fingerprint(&alice).len());
}
