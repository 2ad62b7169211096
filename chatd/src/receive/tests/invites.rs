//! Requests that show the token of an invite.

use proto::directory::ContactPolicy;
use proto::ids::sha256;
use proto::time::Timestamp;
use proto::wire::payload::ContactCard;

use super::*;
use crate::policy::contact::Event;
use crate::store::account;
use crate::store::contacts::invites;
use crate::store::tests::fixture::sign_record;

const TOKEN: [u8; 32] = [9; 32];
const HOUR_MS: i64 = 3_600_000;

/// Bob, who lets in nobody but those whom he invites, and has one invite out for so long.
fn bob_invites(label: Option<&str>, for_ms: i64) -> Person {
    let bob = Person::new("bob");
    let record = sign_record(&bob.identity, "bob", 2, &[&bob.device], Some(&bob.prekey), ContactPolicy::Invite);
    let label = label.map(str::to_owned);
    bob.write(move |tx| {
        account::set_own_record(tx, &record, 2)?;
        let expires = Timestamp(tx.now.0 + for_ms);
        invites::keep(tx, &sha256(&[&TOKEN]), (label.as_deref(), expires))
    })
    .unwrap()
    .unwrap();
    bob
}

fn ask(inbox: &Inbox, from: &Person, to: &Person, token: [u8; 32]) -> Outcome {
    let card = ContactCard {
        record: &from.record,
        reach: &[],
        deposit_token: [1; 32],
        invite_token: Some(token),
        text: "as you said",
        membership: &[],
    };
    take(inbox, sealed(from, to, &[from.core(to, "contact.request", 0, &card.encode())]))
}

fn invites_open(person: &Person) -> usize {
    person.read(|conn| invites::open(conn, Timestamp::now())).len()
}

#[test]
fn an_invite_is_good_once_and_for_its_time() {
    let (alice, carol) = (Person::new("alice"), Person::new("carol"));
    let bob = bob_invites(Some("al"), HOUR_MS);
    let inbox = inbox_with(&bob, &Limits::default());
    assert!(ask(&inbox, &carol, &bob, [8; 32]).is_ignored(), "another token is none");
    assert!(ask(&inbox, &alice, &bob, TOKEN).is_silent());
    let row = bob.row(&alice);
    assert_eq!((row.state.may_talk(), row.label.as_deref(), row.token_held), (true, Some("al"), Some([1; 32])));
    assert_eq!(invites_open(&bob), 0, "the directory lets nobody through by it any more");
    // Once: for others it is none; for its user it was.
    assert!(ask(&inbox, &carol, &bob, TOKEN).is_ignored());
    assert!(!ask(&inbox, &alice, &bob, TOKEN).is_blamed());
    assert_eq!(bob.count("SELECT count(*) FROM contacts"), 1);

    let bob = bob_invites(None, -1);
    assert!(ask(&inbox_with(&bob, &Limits::default()), &alice, &bob, TOKEN).is_ignored(), "its time is over");
    assert_eq!((bob.count("SELECT count(*) FROM contacts"), invites_open(&bob)), (0, 0));
}

#[test]
fn whoever_was_removed_does_not_come_back_by_an_invite() {
    for end in [Event::UserRemoves, Event::UserBlocks] {
        let (alice, bob) = (Person::new("alice"), bob_invites(None, HOUR_MS));
        let inbox = inbox_with(&bob, &Limits::default());
        ask(&inbox, &alice, &bob, TOKEN);
        assert!(bob.row(&alice).state.may_talk());
        bob.wish(&alice, end);
        ask(&inbox, &alice, &bob, TOKEN);
        assert!(!bob.row(&alice).state.may_talk(), "{end:?}");
    }
}

#[test]
fn somebody_who_is_known_already_is_invited_like_anybody() {
    let (alice, bob) = (Person::new("alice"), bob_invites(None, HOUR_MS));
    let inbox = inbox_with(&bob, &Limits::default());
    bob.meet(&alice);
    // More than an identity may ask in an hour.
    for _ in 0..5 {
        ask(&inbox, &alice, &bob, [8; 32]);
    }
    assert!(!bob.row(&alice).state.may_talk());
    ask(&inbox, &alice, &bob, TOKEN);
    assert!(bob.row(&alice).state.may_talk());
}

#[test]
fn invites_are_bounded() {
    let bob = Person::new("bob");
    for number in 0..=invites::MAX_INVITES {
        let expires = Timestamp(Timestamp::now().0 + HOUR_MS);
        let kept = bob.write(move |tx| invites::keep(tx, &[number as u8; 32], (None, expires))).unwrap();
        assert_eq!(kept.is_some(), number < invites::MAX_INVITES, "{number}");
    }
}
