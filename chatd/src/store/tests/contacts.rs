//! Who is who, who may what: cards, records, devices, labels, blocks.

use proto::directory::ContactPolicy;
use proto::ids::DeviceId;
use proto::wire::payload::Kind;

use crate::model::{ContactChange, EventKind, Trust};
use crate::policy::contact::{Event, Incoming, Outgoing, Relation};
use crate::store::feed::read_events;
use crate::store::peers;
use crate::store::peers::devices::{self, by_device, device_of};
use crate::store::peers::trust;
use crate::store::tests::fixture::{Person, sign_record};

fn pair() -> (Person, Person) {
    (Person::new("alice"), Person::new("bob"))
}

fn count_events(person: &Person, change: ContactChange) -> usize {
    let kind = EventKind::Contact(change);
    person.read(|conn| read_events(conn, 0, 10_000)).events.iter().filter(|event| event.kind() == kind).count()
}

#[test]
fn an_accept_that_nobody_asked_for_changes_nothing() {
    let (alice, bob) = pair();
    alice.meet(&bob);
    alice.hear(&bob, &bob.core(&alice, "contact.accept", 0, &bob.card(1)));
    let row = alice.row(&bob);
    assert_eq!((row.state.relation, row.token_held), (Relation::NONE, None));
    assert_eq!(count_events(&alice, ContactChange::Accepted), 0);
    // The other takes us for a contact, and is told that we are none.
    assert_eq!(alice.signals(&bob)[0].kind, Kind::ContactRemove);
}

#[test]
fn an_accept_of_another_request_is_none() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    alice.tell(&bob);
    bob.wish(&alice, Event::UserAccepts);
    let accept = bob.signals(&alice)[0].core.clone();
    alice.wish(&bob, Event::UserRemoves);
    alice.wish(&bob, Event::UserAdds);
    alice.hear(&bob, &accept);
    let row = alice.row(&bob);
    assert_eq!(row.state.relation, Relation::Apart { outgoing: Outgoing::Requested, incoming: Incoming::None });
    assert_eq!(row.token_held, None);
}

#[test]
fn an_old_card_does_not_replace_the_token() {
    let (alice, bob) = pair();
    let old = bob.core(&alice, "contact.request", 0, &bob.card(1));
    alice.meet(&bob);
    alice.hear(&bob, &old);
    assert_eq!(alice.row(&bob).token_held, Some([1; 32]));
    alice.hear(&bob, &bob.core(&alice, "contact.request", 0, &bob.card(2)));
    alice.hear(&bob, &old);
    assert_eq!(alice.row(&bob).token_held, Some([2; 32]));
}

#[test]
fn a_block_in_between_keeps_the_request_sendable() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    let first = alice.row(&bob).token_given;
    alice.wish(&bob, Event::UserBlocks);
    assert_eq!(alice.row(&bob).token_given, None, "revoked");
    assert!(alice.signals(&bob).is_empty());
    alice.wish(&bob, Event::UserUnblocks);
    let signals = alice.signals(&bob);
    assert_eq!(signals.iter().map(|signal| signal.kind).collect::<Vec<_>>(), [Kind::ContactRequest]);
    assert!(alice.row(&bob).token_given.is_some() && alice.row(&bob).token_given != first);
    alice.tell(&bob);
    bob.wish(&alice, Event::UserAccepts);
    bob.tell(&alice);
    assert!(alice.row(&bob).state.may_talk());
}

#[test]
fn a_removal_while_our_accept_waits_leaves_nothing_that_cannot_be_sent() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    alice.tell(&bob);
    bob.wish(&alice, Event::UserAccepts);
    alice.wish(&bob, Event::UserRemoves);
    alice.tell(&bob);
    assert_eq!(bob.row(&alice).state.relation, Relation::NONE);
    assert!(bob.signals(&alice).is_empty());
}

#[test]
fn a_block_outlasts_what_the_other_sends() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    bob.wish(&alice, Event::UserBlocks);
    let before = bob.row(&alice);
    bob.hear(&alice, &alice.core(&bob, "contact.request", 0, &alice.card(9)));
    bob.hear(&alice, &alice.core(&bob, "contact.remove", 0, b""));
    let after = bob.row(&alice);
    assert_eq!((before.state, before.token_held, before.ids), (after.state, after.token_held, after.ids));
    assert!(bob.write(|tx| tx.read(trust::pending_requests)).unwrap() == 0);
}

#[test]
fn naming_somebodys_device_does_not_take_it() {
    let (alice, bob) = pair();
    let mallory = Person::new("mallory");
    let squat =
        sign_record(&mallory.identity, "mallory", 1, &[&mallory.device, &bob.device], None, ContactPolicy::Open);
    let mut new = mallory.as_contact();
    new.record = squat;
    let thief = alice.write(move |tx| trust::upsert_contact(tx, &new)).unwrap();
    let real = alice.meet(&bob);
    let device = bob.device_id();
    let found = alice.read(|conn| device_of(conn, bob.account, device)).unwrap();
    assert_eq!((found.contact, found.proved), (real, false));
    alice.write(move |tx| devices::device_proved(tx, real, device)).unwrap();
    assert_eq!(alice.read(|conn| by_device(conn, device)).unwrap().0, real);
    // A newer record of bob's keeps what is proved, and drops what it does not name.
    let second = crate::crypto::keys::SigningKey::generate().unwrap();
    let both = sign_record(&bob.identity, "bob", 2, &[&bob.device, &second], None, ContactPolicy::Members);
    assert!(alice.write(move |tx| trust::take_record(tx, real, &both)).unwrap());
    assert!(alice.read(|conn| device_of(conn, bob.account, device)).unwrap().proved);
    let one = sign_record(&bob.identity, "bob", 3, &[&second], None, ContactPolicy::Members);
    assert!(alice.write(move |tx| trust::take_record(tx, real, &one)).unwrap());
    assert_eq!(alice.read(|conn| device_of(conn, bob.account, device)), None);
    assert_eq!(alice.read(|conn| by_device(conn, device)).unwrap().0, thief);
    assert!(alice.read(|conn| by_device(conn, DeviceId::of_key(&second.public()))).is_some());
}

#[test]
fn an_old_record_is_not_taken_and_a_foreign_one_neither() {
    let (alice, bob) = pair();
    let contact = alice.meet(&bob);
    let newer = sign_record(&bob.identity, "bob", 5, &[&bob.device], None, ContactPolicy::Members);
    let (take, old) = (newer.clone(), bob.record.clone());
    assert!(alice.write(move |tx| trust::take_record(tx, contact, &take)).unwrap());
    assert!(alice.write(move |tx| trust::take_record(tx, contact, &old)).unwrap(), "theirs, but old");
    assert_eq!((alice.row(&bob).record, alice.row(&bob).record_seq), (newer, 5));
    let mallory = Person::new("mallory");
    assert!(!alice.write(move |tx| trust::take_record(tx, contact, &mallory.record)).unwrap());
    assert!(!alice.write(move |tx| trust::take_record(tx, contact, b"no record")).unwrap());
    assert_eq!(alice.row(&bob).trust, Trust::Unverified);
}

#[test]
fn a_newer_reach_counts_and_only_that_of_a_named_device() {
    let (alice, bob) = pair();
    let contact = alice.meet(&bob);
    let (new, old) = (bob.reach(9), bob.reach(8));
    for reach in [new.clone(), old] {
        alice.write(move |tx| trust::take_reach(tx, contact, &reach)).unwrap();
    }
    let foreign = Person::new("mallory").reach(10);
    alice.write(move |tx| trust::take_reach(tx, contact, &foreign)).unwrap();
    assert_eq!(alice.row(&bob).reach, new);
}

#[test]
fn a_direct_conversation_has_two_members_and_a_number_of_its_own() {
    let (alice, bob) = pair();
    alice.meet(&bob);
    let row = alice.row(&bob);
    assert_ne!(row.direct.0, row.id.0);
    assert_eq!(alice.read(|conn| peers::partner(conn, row.direct)), row.id);
    let members =
        format!("SELECT count(*) FROM members WHERE conversation = {} AND peer IN (-1, {})", row.direct, row.id);
    assert_eq!((alice.count(&members), alice.count("SELECT count(*) FROM members")), (2, 2));
}
