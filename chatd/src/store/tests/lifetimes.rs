//! Own messages that end by themselves, and whose ends are taken back.

use crate::model::Outcome;
use proto::ids::MessageId;
use proto::time::Timestamp;

use crate::model::MessageState;
use crate::model::ids::OutStreamRow;
use crate::store::account;
use crate::store::contacts::giveup;
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::engine::tx::Tx;
use crate::store::history::conversations;
use crate::store::log::expiry::{self, COPY_MAY_ARRIVE, LIFETIME_ENDED, expiry};
use crate::store::log::{acks, outgoing};
use crate::store::tests::fixture::{Person, message};

const NOW: i64 = 1_800_000_000;

fn pair() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

/// Sends one with a lifetime.
fn send(alice: &Person, bob: &Person, text: &str, expires: Option<i64>) -> MessageId {
    let contact = alice.id(bob);
    let new = outgoing::NewMessage { expires, ..message(text) };
    alice.write(move |tx| outgoing::send(tx, contact, &[new])).unwrap()[0].id
}

fn expire(alice: &Person, now: i64) {
    alice.write(move |tx: &mut Tx<'_>| giveup::expire_due(tx, now)).unwrap();
}

fn sent(alice: &Person, bob: &Person, low: u64, high: u64) {
    let contact = alice.id(bob);
    let stream = alice.count("SELECT max(id) FROM streams_out");
    let note = AttemptNote {
        stream: OutStreamRow(stream),
        low,
        high,
        path: "direct",
        outcome: Outcome::Sent,
        at: Timestamp(NOW * 1_000),
    };
    alice.write(move |tx| attempts::attempt(tx, contact, &note)).unwrap();
}

fn ended(alice: &Person, id: MessageId) -> (MessageState, String) {
    let (state, reason) = alice.state(id);
    (state, reason.unwrap_or_default())
}

#[test]
fn only_what_has_a_lifetime_ends_and_the_recipient_sees_no_hole() {
    let (alice, bob) = pair();
    let first = send(&alice, &bob, "stays", None);
    let gone: Vec<MessageId> = (0..3).map(|_| send(&alice, &bob, "goes", Some(expiry(600, Some(NOW))))).collect();
    let last = send(&alice, &bob, "stays, too", Some(expiry(601, Some(NOW))));
    assert_eq!(alice.read(expiry::next), (Some(NOW + 600), false));
    expire(&alice, NOW + 599);
    assert_eq!(alice.state(gone[0]).0, MessageState::Queued);
    expire(&alice, NOW + 600);
    for id in &gone {
        assert_eq!(ended(&alice, *id), (MessageState::Expired, LIFETIME_ENDED.to_owned()));
    }
    assert_eq!(alice.outbox(&bob).len(), 3, "two texts and one skip for the run");
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["stays", "stays, too"]);
    assert_eq!(bob.count("SELECT count(*) FROM reorder_buffer"), 0, "the skip fills the hole");
    assert_eq!(alice.outbox(&bob).len(), 0);
    assert_eq!(alice.state(first).0, MessageState::Delivered);
    assert_eq!(alice.state(last).0, MessageState::Delivered);
    // Bob's acknowledgement covers what he never had.
    assert_eq!(alice.state(gone[1]).0, MessageState::Expired);
    expire(&alice, NOW + 10_000);
    assert_eq!(alice.state(last).0, MessageState::Delivered, "what is delivered does not end");
}

#[test]
fn without_an_agreed_clock_nothing_is_counted() {
    let (alice, bob) = pair();
    let id = send(&alice, &bob, "hello", Some(expiry(600, None)));
    assert_eq!(alice.read(expiry::next), (None, true));
    // The first agreed time begins the count, however late.
    expire(&alice, NOW);
    assert_eq!(alice.state(id).0, MessageState::Queued);
    assert_eq!(alice.read(expiry::next), (Some(NOW + 600), false));
    expire(&alice, NOW + 600);
    assert_eq!(alice.state(id).0, MessageState::Expired);
}

#[test]
fn a_copy_that_was_on_its_way_is_told_and_proof_takes_the_end_back() {
    let (alice, bob) = pair();
    let [one, two] = ["one", "two"].map(|text| send(&alice, &bob, text, Some(expiry(60, Some(NOW)))));
    let copies = alice.outbox(&bob);
    sent(&alice, &bob, 1, 2);
    expire(&alice, NOW + 60);
    for id in [one, two] {
        assert_eq!(ended(&alice, id), (MessageState::Expired, COPY_MAY_ARRIVE.to_owned()));
    }
    // The copy arrives before the skip: bob's acknowledgement of 1 cannot come from the skip, which has number 3.
    let received = bob.receive(&alice, &copies[..1]);
    alice.acknowledged(&bob, received.entries);
    assert_eq!(alice.state(one).0, MessageState::Delivered);
    assert_eq!(alice.state(two).0, MessageState::Expired, "of this nobody has said anything");
    // Now the skip: what covers it proves nothing of the second.
    alice.deliver(&bob);
    assert_eq!(alice.state(two).0, MessageState::Expired);
    assert_eq!(bob.shown(&alice), ["one"]);
    assert_eq!(bob.receive(&alice, &copies[1..]).shown, 0, "the copy comes too late");
}

#[test]
fn a_read_receipt_speaks_of_its_own_message_only() {
    let (alice, bob) = pair();
    let [one, two] = ["one", "two"].map(|text| send(&alice, &bob, text, Some(expiry(60, Some(NOW)))));
    let three = send(&alice, &bob, "three", None);
    sent(&alice, &bob, 1, 3);
    expire(&alice, NOW + 60);
    let from = bob.as_device(alice.id(&bob));
    alice.write(move |tx| acks::read_by(tx, from, &three)).unwrap();
    assert_eq!(alice.state(three).0, MessageState::Read);
    for id in [one, two] {
        assert_eq!(alice.state(id).0, MessageState::Expired);
    }
    alice.write(move |tx| acks::read_by(tx, from, &two)).unwrap();
    assert_eq!(alice.state(two).0, MessageState::Read);
    assert_eq!(alice.state(one).0, MessageState::Expired);
}

#[test]
fn read_receipts_can_be_switched_off() {
    let (alice, bob) = pair();
    alice.send(&bob, &["one"]);
    alice.deliver(&bob);
    let contact = bob.id(&alice);
    let receipts = || bob.count("SELECT count(*) FROM signals WHERE kind = 'receipt'");
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap(), 1);
    assert_eq!(receipts(), 1);
    let settings = bob.write(|tx| account::set_settings(tx, Some(false), Some(60))).unwrap();
    assert_eq!(settings, account::Settings { read_receipts: false, lifetime: Some(60) });
    assert_eq!(receipts(), 0, "what has not left stays");
    alice.send(&bob, &["two"]);
    alice.deliver(&bob);
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap(), 1, "read here all the same");
    assert_eq!(receipts(), 0);
    let settings = bob.write(|tx| account::set_settings(tx, Some(true), Some(0))).unwrap();
    assert_eq!(settings, account::Settings { read_receipts: true, lifetime: None });
}
