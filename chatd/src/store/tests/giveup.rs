//! What ends because nobody answers, or because there is nobody.

use proto::wire::payload::Kind;

use crate::model::ids::PeerId;
use crate::model::{ContactChange, ContactStage, EventKind, MessageState};
use crate::policy::contact::{Event, Outgoing, Relation};
use crate::store::contacts::{giveup, list};
use crate::store::engine::tx::Tx;
use crate::store::feed::read_events;
use crate::store::log::{expiry, told};
use crate::store::peers;
use crate::store::tests::fixture::{HOME, Person};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn pair() -> (Person, Person) {
    (Person::new("alice"), Person::new("bob"))
}

fn expire(alice: &Person, now: i64) {
    alice.write(move |tx: &mut Tx<'_>| giveup::expire_due(tx, now)).unwrap();
}

fn gone(alice: &Person, bob: &Person, sure: bool) {
    let contact = alice.id(bob);
    alice.write(move |tx: &mut Tx<'_>| giveup::account_gone(tx, contact, "mailbox", sure)).unwrap();
}

/// How its owner sees it: stage and reason.
fn shown(alice: &Person, bob: &Person) -> (ContactStage, Option<String>) {
    let id = alice.id(bob);
    let contact = alice.read(|conn| list::describe(conn, &peers::load(conn, id)?, HOME));
    (contact.stage, contact.reason)
}

fn ends(alice: &Person) -> usize {
    let events = alice.read(|conn| read_events(conn, 0, 10_000)).events;
    events.iter().filter(|event| event.kind() == EventKind::Contact(ContactChange::GivenUp)).count()
}

#[test]
fn a_request_that_nobody_answers_ends_after_thirty_days_of_the_agreed_clock() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    let id = alice.send(&bob, &["are you there?"])[0];
    // A clock that nobody vouches for counts nothing: what is there is the span.
    assert_eq!(alice.read(expiry::next), (None, true));
    expire(&alice, NOW);
    assert_eq!(alice.read(expiry::next), (Some(NOW + 30 * DAY), false));
    expire(&alice, NOW + 30 * DAY - 1);
    assert_eq!(shown(&alice, &bob), (ContactStage::Requested, None));
    expire(&alice, NOW + 30 * DAY);
    assert_eq!(shown(&alice, &bob), (ContactStage::GivenUp, Some("request_expired".into())));
    assert_eq!(alice.state(id), (MessageState::Expired, Some("request_expired".into())));
    assert_eq!((alice.signals(&bob).len(), ends(&alice)), (0, 1));
    assert_eq!(alice.read(expiry::next), (None, false), "no timer is left");
    // Asking again begins anew.
    alice.wish(&bob, Event::UserAdds);
    assert_eq!(shown(&alice, &bob), (ContactStage::Requested, None));
}

#[test]
fn a_request_to_an_account_that_is_gone_ends_when_that_is_sure() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    let id = alice.send(&bob, &["are you there?"])[0];
    gone(&alice, &bob, false);
    assert_eq!(shown(&alice, &bob), (ContactStage::Requested, None));
    gone(&alice, &bob, true);
    assert_eq!(shown(&alice, &bob), (ContactStage::GivenUp, Some("account_gone".into())));
    assert_eq!(alice.state(id), (MessageState::Expired, Some("account_gone".into())));
    assert_eq!(alice.read(giveup::gone), [alice.id(&bob)]);
    assert_eq!(alice.read(peers::with_pending), [] as [PeerId; 0], "nothing is left to try");
    gone(&alice, &bob, true);
    assert_eq!(ends(&alice), 1, "it is told once");
}

#[test]
fn messages_to_a_contact_who_is_gone_wait_and_what_is_owed_to_it_does_not() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    let id = alice.send(&bob, &["are you there?"])[0];
    let contact = alice.id(&bob);
    alice.write(move |tx: &mut Tx<'_>| told::set_ack_due(tx, contact, true)).unwrap();
    gone(&alice, &bob, true);
    assert_eq!(shown(&alice, &bob), (ContactStage::Accepted, Some("account_gone".into())));
    assert_eq!(alice.state(id), (MessageState::Queued, Some("account_gone".into())));
    assert_eq!(alice.count("SELECT count(*) FROM contacts WHERE ack_due = 1"), 0);
    alice.write(move |tx: &mut Tx<'_>| giveup::account_found(tx, contact)).unwrap();
    assert_eq!(shown(&alice, &bob), (ContactStage::Accepted, None));
    // A removal has nobody to reach.
    alice.wish(&bob, Event::UserRemoves);
    assert_eq!(alice.signals(&bob)[0].kind, Kind::ContactRemove);
    gone(&alice, &bob, true);
    assert_eq!(alice.signals(&bob).len(), 0);
}

#[test]
fn a_late_answer_to_a_request_that_was_given_up_makes_a_contact() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    alice.tell(&bob);
    gone(&alice, &bob, true);
    assert_eq!(alice.row(&bob).token_given, None);
    bob.wish(&alice, Event::UserAccepts);
    bob.tell(&alice);
    let row = alice.row(&bob);
    assert_eq!(row.state.relation, Relation::Accepted);
    assert!(row.token_given.is_some(), "with a new token");
    assert!(alice.signals(&bob).iter().any(|signal| signal.kind == Kind::ContactAccept));
}

#[test]
fn a_block_does_not_keep_a_request_alive() {
    let (alice, bob) = pair();
    alice.wish(&bob, Event::UserAdds);
    alice.wish(&bob, Event::UserBlocks);
    expire(&alice, NOW);
    expire(&alice, NOW + 30 * DAY);
    let relation = alice.row(&bob).state.relation;
    assert!(matches!(relation, Relation::Apart { outgoing: Outgoing::GivenUp, .. }), "{relation:?}");
}
