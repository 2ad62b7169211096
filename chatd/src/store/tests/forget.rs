//! Forgetting a conversation, or the older part of it.

use proto::time::Timestamp;

use crate::policy::limits::Quotas;
use crate::store::history::forget;
use crate::store::tests::fixture::{Person, run};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

fn forget(person: &Person, other: &Person, before: Option<Timestamp>) -> u64 {
    let contact = person.id(other);
    let mut all = 0;
    loop {
        let forgotten = person.write(move |tx| forget::forget(tx, contact, before)).unwrap();
        all += forgotten.messages;
        if !forgotten.more {
            return all;
        }
    }
}

#[test]
fn what_was_forgotten_is_gone_and_does_not_come_back() {
    let (alice, bob) = friends();
    for _ in 0..3 {
        alice.send(&bob, &["x"; 300]);
    }
    let cores = alice.outbox(&bob);
    alice.deliver(&bob);
    bob.send(&alice, &["seen"]);
    bob.deliver(&alice);
    bob.send(&alice, &["waits"]);
    assert_eq!(bob.row(&alice).unread, 900);
    assert_eq!(bob.count("SELECT all_messages FROM usage"), 900);
    assert_eq!(forget(&bob, &alice, None), 901, "what waits stays");
    assert_eq!(bob.count("SELECT count(*) FROM messages"), 1);
    assert_eq!(bob.row(&alice).unread, 0);
    assert_eq!(bob.count("SELECT all_messages FROM usage"), 0);
    assert!(bob.count("SELECT all_bytes FROM usage") < 900 * 160);
    let received = bob.receive(&alice, &cores);
    assert_eq!((received.shown, received.duplicates), (0, 900), "its numbers are known for ever");
    assert_eq!(received.entries[0].ranges, []);
    let waits = bob.outbox(&alice);
    assert_eq!(waits.len(), 1);
    bob.deliver(&alice);
    assert_eq!(alice.shown(&bob), ["seen", "waits"]);
    run(bob.store.close());
}

#[test]
fn only_what_is_older_goes_and_makes_room_in_the_quota() {
    let (alice, bob) = friends();
    alice.send(&bob, &["old"; 5]);
    alice.deliver(&bob);
    bob.write(|tx| Ok(tx.conn.execute("UPDATE messages SET received_at = received_at - 86400000", [])?)).unwrap();
    alice.send(&bob, &["new"]);
    alice.deliver(&bob);
    let an_hour_ago = Timestamp(Timestamp::now().0 - 3_600_000);
    assert_eq!(forget(&bob, &alice, Some(an_hour_ago)), 5);
    assert_eq!(bob.shown(&alice), ["new"]);
    let usage = bob.count("SELECT all_messages FROM usage");
    assert!(usage == 1 && usage < Quotas::default().messages);
}
