//! Who is called what, and which names nobody can take.

use rusqlite::Connection;

use crate::model::Trust;
use crate::policy::contact::Event;
use crate::store::contacts::list::{Kept, describe, page};
use crate::store::error::StoreError;
use crate::store::peers::names::{self, Confirmation, Meant, by_handle, called, claimants, is_stranger, meant};
use crate::store::peers::row::ContactRow;
use crate::store::peers::trust;
use crate::store::tests::fixture::{HOME, Person};

fn pair() -> (Person, Person) {
    (Person::new("alice"), Person::new("bob"))
}

/// Somebody whom no directory has confirmed asks; the handle of the request.
fn asks_unconfirmed(alice: &Person, stranger: &Person) -> u64 {
    let new = stranger.as_contact();
    alice.write(move |tx| trust::upsert_contact(tx, &new).map(drop)).unwrap();
    alice.hear(stranger, &stranger.core(alice, "contact.request", 0, &stranger.card(1)));
    alice.row(stranger).handle.unwrap()
}

fn find(alice: &Person, word: &str) -> Meant {
    alice.read(|conn| meant(conn, word, HOME))
}

fn form(alice: &Person, other: &Person) -> String {
    let row = alice.row(other);
    alice.read(|conn| called(conn, &row, HOME)).form().to_owned()
}

fn confirm(alice: &Person, other: &Person, name: &str) -> Confirmation {
    let (id, name) = (alice.id(other), name.to_owned());
    alice.write(move |tx| names::confirm_name(tx, id, &name, HOME)).unwrap()
}

#[test]
fn nobody_is_found_by_a_name_that_is_not_confirmed() {
    let (alice, bob) = pair();
    let impostor = Person::new("bob");
    let handle = asks_unconfirmed(&alice, &impostor);
    for word in ["bob", "bob@example.org", "BOB"] {
        let found = find(&alice, word);
        assert!(found.named.is_none() && found.labelled.is_none(), "{word}");
    }
    assert_eq!(form(&alice, &impostor), format!("%{handle}"));
    assert_eq!(alice.read(|conn| claimants(conn, "bob", HOME)).len(), 1);
    // The real one comes, and goes; the name stays his.
    alice.befriend(&bob);
    assert_eq!(find(&alice, "bob").named.unwrap().account, bob.account);
    alice.wish(&bob, Event::UserRemoves);
    assert_eq!(find(&alice, "Bob@EXAMPLE.org").named.unwrap().account, bob.account);
    assert_eq!(alice.read(|conn| by_handle(conn, handle)).unwrap().account, impostor.account);
}

#[test]
fn a_record_alone_confirms_nothing() {
    let alice = Person::new("alice");
    let mallory = Person::new("mallory");
    asks_unconfirmed(&alice, &mallory);
    let (id, record) = (alice.id(&mallory), mallory.record.clone());
    assert!(alice.write(move |tx| trust::take_record(tx, id, &record)).unwrap());
    assert!(!alice.row(&mallory).confirmed);
    assert_eq!(confirm(&alice, &mallory, "mallory"), Confirmation::Given);
    assert!(alice.row(&mallory).confirmed);
}

#[test]
fn a_handle_names_one_request_for_ever() {
    let (alice, bob) = pair();
    let carol = Person::new("carol");
    let first = asks_unconfirmed(&alice, &bob);
    let second = asks_unconfirmed(&alice, &carol);
    assert_eq!((first, second), (1, 2));
    alice.wish(&bob, Event::UserRejects);
    // Who asks anew makes another request.
    alice.hear(&bob, &bob.core(&alice, "contact.request", 0, &bob.card(2)));
    assert_eq!(alice.row(&bob).handle, Some(3));
    assert!(alice.read(|conn| by_handle(conn, first)).is_none());
    assert!(alice.read(|conn| by_handle(conn, u64::MAX)).is_none());
    assert_eq!(alice.read(|conn| by_handle(conn, second)).unwrap().account, carol.account);
}

#[test]
fn a_label_that_is_also_a_name_names_nobody_alone() {
    let (alice, ben) = (Person::new("alice"), Person::new("ben"));
    let boss = Person::new("boss");
    alice.befriend(&ben);
    let id = alice.id(&ben);
    alice.write(move |tx| names::set_label(tx, id, Some("Boss"))).unwrap();
    assert_eq!(form(&alice, &ben), "Boss");
    alice.meet(&boss);
    let found = find(&alice, "boss");
    assert_eq!(found.labelled.unwrap().account, ben.account);
    assert_eq!(found.named.unwrap().account, boss.account);
    assert!(alice.read(|conn| is_stranger(conn, &alice.row(&boss))));
    assert_eq!((form(&alice, &ben), form(&alice, &boss)), ("ben".into(), "boss@example.org".into()));
    alice.wish(&boss, Event::UserAdds);
    assert!(!alice.read(|conn| is_stranger(conn, &alice.row(&boss))));
    alice.write(move |tx| names::set_label(tx, id, None)).unwrap();
    assert_eq!((form(&alice, &ben), form(&alice, &boss)), ("ben".into(), "boss".into()));
}

#[test]
fn a_label_is_one_persons_in_any_spelling() {
    let (alice, bob) = pair();
    let carol = Person::new("carol");
    let (first, second) = (alice.meet(&bob), alice.meet(&carol));
    alice.write(move |tx| names::set_label(tx, first, Some("José"))).unwrap();
    for word in ["José", "jose\u{301}", "JOSÉ", " josé "] {
        assert_eq!(find(&alice, word).labelled.unwrap().id, first, "{word}");
    }
    assert!(alice.write(move |tx| names::set_label(tx, second, Some("Jose\u{301}"))).is_err());
}

#[test]
fn a_name_passes_to_another_account_only_when_the_owner_let_go() {
    let (alice, bob) = pair();
    let second = Person::new("bob");
    alice.befriend(&bob);
    let known = alice.id(&bob);
    asks_unconfirmed(&alice, &second);
    assert_eq!(confirm(&alice, &second, "bob"), Confirmation::HeldBy(known));
    assert!(!alice.row(&second).confirmed && alice.row(&bob).confirmed);
    alice.wish(&bob, Event::UserRemoves);
    alice.write(move |tx| trust::set_trust(tx, known, Trust::Unverified)).unwrap();
    assert_eq!(confirm(&alice, &second, "bob"), Confirmation::Given);
    assert_eq!(find(&alice, "bob").named.unwrap().account, second.account);
    // The old one keeps a name of its own.
    let old = alice.row(&bob);
    assert!(!old.confirmed);
    assert_eq!(form(&alice, &bob), format!("%{}", old.handle.unwrap()));
}

#[test]
fn pages_hold_everybody_once() {
    let alice = Person::new("alice");
    let people: Vec<Person> = (0..7).map(|n| Person::new(&format!("p{n}"))).collect();
    people.iter().for_each(|person| alice.befriend(person));
    asks_unconfirmed(&alice, &Person::new("p3"));
    let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let (rows, more) = alice.read(|conn| page(conn, Kept::All, after, 3));
        let view = |conn: &Connection| -> Result<Vec<_>, StoreError> {
            rows.iter().map(|row: &ContactRow| describe(conn, row, HOME)).collect()
        };
        seen.extend(alice.read(view).into_iter().map(|contact| contact.who));
        after = rows.last().map(|row| row.account);
        pages += 1;
        if !more {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, ["p0", "p1", "p2", "p3", "%1", "p4", "p5", "p6"]);
    assert_eq!(alice.read(|conn| page(conn, Kept::Pending, None, 10)).0.len(), 1);
    assert!(alice.store.read_blocking(|conn| page(conn, Kept::All, Some(alice.account), 3)).is_err());
}
