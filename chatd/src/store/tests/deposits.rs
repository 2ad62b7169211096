//! What lies in a mailbox: what need not go there again, and what has to.

use proto::ids::MessageId;
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};

use crate::model::MessageState::{Delivered, Mailboxed, Queued};
use crate::model::Step;
use crate::model::ids::OutStreamRow;
use crate::store::delivery::deposits::{self, Deposit};
use crate::store::delivery::outbox;
use crate::store::delivery::trace::trace;
use crate::store::log::own_streams::stream_of;
use crate::store::log::told;
use crate::store::tests::fixture::Person;

const URL: &str = "http://127.0.0.1:1";
const TOKEN: [u8; 32] = [1; 32];

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

fn stream(alice: &Person, bob: &Person) -> OutStreamRow {
    let contact = alice.id(bob);
    let epoch = Core::decode(&alice.outbox(bob)[0]).unwrap().epoch;
    alice.read(|conn| stream_of(conn, contact, epoch)).unwrap()
}

fn deposit(alice: &Person, bob: &Person, range: (u64, u64), number: u64, floor: u64, at: i64) {
    deposit_with(TOKEN, alice, bob, range, (number, floor), at);
}

fn deposit_with(
    token: [u8; 32],
    alice: &Person,
    bob: &Person,
    (low, high): (u64, u64),
    (number, floor): (u64, u64),
    at: i64,
) {
    let (contact, stream) = (alice.id(bob), stream(alice, bob));
    let mailbox = URL.to_owned();
    let deposit = Deposit {
        stream,
        device: bob.device_id(),
        low,
        high,
        mailbox,
        token,
        number,
        floor,
        at: Timestamp(at),
        seconds: 604_800,
    };
    alice.write(move |tx| deposits::deposited(tx, contact, &deposit)).unwrap();
}

/// Why attempts on a message came to nothing.
fn failures(alice: &Person, id: &MessageId) -> Vec<Reason> {
    let steps = alice.read(|conn| trace(conn, id)).steps.into_iter();
    let failed = steps.filter_map(|step| match step.step {
        Step::Attempt { outcome, .. } => outcome.reason(),
        _ => None,
    });
    failed.collect()
}

/// Seqs that do not lie in bob's mailbox.
fn open(alice: &Person, bob: &Person) -> Vec<u64> {
    let contact = alice.id(bob);
    let rows = alice.read(|conn| outbox::undeposited(conn, bob.as_device(contact), usize::MAX));
    rows.into_iter().map(|row| row.seq).collect()
}

#[test]
fn what_lies_there_stays_in_the_outbox_and_goes_again_when_its_time_is_over() {
    let (alice, bob) = friends();
    let now = Timestamp::now().0;
    let ids = alice.send(&bob, &["one", "two", "three", "four"]);
    assert_eq!(open(&alice, &bob), [1, 2, 3, 4]);
    deposit(&alice, &bob, (1, 2), 1, 0, now);
    deposit(&alice, &bob, (4, 4), 2, 1, now);
    assert_eq!(open(&alice, &bob), [3]);
    assert_eq!(alice.outbox(&bob).len(), 4, "a mailbox ends nothing");
    let states: Vec<_> = ids.iter().map(|id| alice.state(*id).0).collect();
    assert_eq!(states, [Mailboxed, Mailboxed, Queued, Mailboxed]);
    let week = 604_800_000;
    alice.write(move |tx| deposits::end_deposits(tx, now + week - 1)).unwrap();
    assert_eq!(open(&alice, &bob), [3], "not a moment before");
    alice.write(move |tx| deposits::end_deposits(tx, now + week)).unwrap();
    assert_eq!(open(&alice, &bob), [1, 2, 3, 4]);
    assert_eq!(alice.state(ids[0]).0, Queued);
    deposit(&alice, &bob, (1, 4), 3, 2, now);
    alice.write(move |tx| deposits::end_deposits(tx, now - 1)).unwrap();
    assert_eq!(open(&alice, &bob), [1, 2, 3, 4], "after a clock that went back nothing is there for certain");
    deposit(&alice, &bob, (1, 4), 3, 2, now);
    assert!(open(&alice, &bob).is_empty());
    let way = failures(&alice, &ids[0]);
    assert!(way.contains(&Reason::MailboxTimeOver), "{way:?}");
}

#[test]
fn acknowledgements_end_deposits_and_show_what_was_lost() {
    let (alice, bob) = friends();
    let now = Timestamp::now().0;
    let ids = alice.send(&bob, &["one", "two", "three", "four"]);
    for seq in 1..=4 {
        deposit(&alice, &bob, (seq, seq), seq, seq - 1, now);
    }
    let cores = alice.outbox(&bob);
    // The second never comes out of the mailbox.
    let mut entries = bob.receive(&alice, &cores[..1]).entries;
    alice.acknowledged(&bob, entries);
    assert!(open(&alice, &bob).is_empty(), "what has not come yet may still come");
    entries = bob.receive(&alice, &cores[2..3]).entries;
    alice.acknowledged(&bob, entries);
    assert_eq!(open(&alice, &bob), [2], "what came after it did");
    assert_eq!(alice.state(ids[0]).0, Delivered);
    assert_eq!(alice.state(ids[1]).0, Queued);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["one", "two", "three", "four"]);
    assert_eq!(alice.count("SELECT count(*) FROM deposits"), 0);
    // A mailbox's answer that is slower than the acknowledgement.
    alice.send(&bob, &["five"]);
    let stream = stream(&alice, &bob);
    alice.deliver(&bob);
    let contact = alice.id(&bob);
    let late = Deposit {
        stream,
        device: bob.device_id(),
        low: 5,
        high: 5,
        mailbox: URL.into(),
        token: TOKEN,
        number: 9,
        floor: 4,
        at: Timestamp(now),
        seconds: 604_800,
    };
    alice.write(move |tx| deposits::deposited(tx, contact, &late)).unwrap();
    assert_eq!(alice.count("SELECT count(*) FROM deposits"), 0);
}

#[test]
fn a_directory_that_went_back_is_given_again_what_it_lost() {
    let (alice, bob) = friends();
    let now = Timestamp::now().0;
    let ids = alice.send(&bob, &["one", "two", "three", "four"]);
    deposit(&alice, &bob, (1, 1), 10, 0, now);
    deposit(&alice, &bob, (2, 2), 20, 10, now);
    deposit(&alice, &bob, (3, 3), 30, 20, now);
    // Two jobs at one time: their answers may be stored in any order.
    deposit(&alice, &bob, (3, 3), 29, 20, now);
    assert_eq!(open(&alice, &bob), [4]);
    // The backup was made between 10 and 20.
    deposit(&alice, &bob, (4, 4), 15, 30, now);
    assert_eq!(open(&alice, &bob), [2, 3]);
    for id in &ids[1..3] {
        let way = failures(&alice, id);
        assert!(way.contains(&Reason::MailboxRestored), "{way:?}");
    }
    let contact = alice.id(&bob);
    assert_eq!(alice.read(|conn| deposits::highest_of(conn, URL, contact, &TOKEN)), 15);
    alice
        .write(|tx| {
            let contacts = deposits::deposited_at(tx, URL)?;
            deposits::mailbox_went_back(tx, URL, &contacts)
        })
        .unwrap();
    assert_eq!(open(&alice, &bob), [1, 2, 3, 4]);
}

#[test]
fn the_numbers_of_one_contact_or_token_say_nothing_of_anothers() {
    let (alice, bob) = friends();
    let carol = Person::new("carol");
    alice.befriend(&carol);
    let now = Timestamp::now().0;
    alice.send(&bob, &["one", "two", "three"]);
    alice.send(&carol, &["one"]);
    let known = |who: &Person, token: &[u8; 32]| {
        let contact = alice.id(who);
        alice.read(|conn| deposits::highest_of(conn, URL, contact, token))
    };
    deposit(&alice, &bob, (1, 1), 7, 0, now);
    deposit_with([2; 32], &alice, &carol, (1, 1), (1, known(&carol, &[2; 32])), now);
    assert_eq!((known(&bob, &TOKEN), known(&carol, &[2; 32]), known(&carol, &TOKEN)), (7, 1, 0));
    assert!(open(&alice, &carol).is_empty(), "a first number is no lower one");
    // Bob gave another token, which is counted from the beginning.
    assert_eq!(known(&bob, &[3; 32]), 0);
    deposit_with([3; 32], &alice, &bob, (2, 2), (1, 0), now);
    assert_eq!((known(&bob, &[3; 32]), known(&bob, &TOKEN)), (1, 0));
    assert_eq!(open(&alice, &bob), [3], "nothing was lost");
    // Whatever carol's directory says of hers, bob's mail stays where it is.
    alice.send(&carol, &["two"]);
    deposit_with([2; 32], &alice, &carol, (2, 2), (1, 1), now);
    assert_eq!(open(&alice, &carol), [1]);
    assert_eq!(open(&alice, &bob), [3]);
}

#[test]
fn an_acknowledgement_is_due_until_it_was_told() {
    let (alice, bob) = friends();
    let contact = bob.id(&alice);
    bob.write(move |tx| told::set_ack_due(tx, contact, true)).unwrap();
    assert!(bob.read(|conn| told::ack_is_due(conn, contact)));
    assert_eq!(bob.read(crate::store::peers::with_pending), [contact], "a restart does not forget it");
    bob.receive(&alice, &[]);
    alice.send(&bob, &["one"]);
    bob.receive(&alice, &alice.outbox(&bob));
    let acks: Vec<AckEntry> = bob.read(|conn| told::acks_for(conn, contact, alice.device_id()));
    assert_eq!(acks.iter().map(|entry| entry.contiguous).collect::<Vec<_>>(), [1]);
    bob.write(move |tx| told::set_ack_due(tx, contact, false)).unwrap();
    assert!(!bob.read(|conn| told::ack_is_due(conn, contact)));
}
