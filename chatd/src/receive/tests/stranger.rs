//! The stranger lane: one request, small, in the name of who signs it, and not too many.

use proto::directory::rotation::Statement;
use proto::directory::{ContactPolicy, MAX_ROTATIONS, Prekey, Rotation, SignedRecord};
use proto::ids::DeviceId;
use proto::wire::envelope::Core;
use proto::wire::payload::{ContactCard, Kind};
use proto::wire::{MAX_REQUEST_TEXT_BYTES, MAX_STRANGER_ENVELOPE_BYTES, MAX_STRANGER_PLAINTEXT_BYTES};

use super::*;
use crate::crypto::keys::SigningKey;
use crate::model::{ContactChange, EventKind, Trust};
use crate::policy::contact::{Event, Incoming, Relation};
use crate::store::account;
use crate::store::feed::read_events;
use crate::store::peers::devices::device_of;
use crate::store::peers::trust;
use crate::store::tests::fixture::{sign_record, text_payload};

fn pair() -> (Person, Person) {
    (Person::new("alice"), Person::new("bob"))
}

fn request(from: &Person, to: &Person) -> Vec<u8> {
    from.core(to, "contact.request", 0, &from.card(1))
}

fn pending(person: &Person) -> u32 {
    person.write(|tx| tx.read(trust::pending_requests)).unwrap()
}

/// The same person on another device, with the record that says so.
fn on_new_device(person: &Person, seq: u64) -> Person {
    let device = SigningKey::generate().unwrap();
    let record = sign_record(&person.identity, &person.name, seq, &[&device], None, ContactPolicy::Members);
    let mut moved = Person::new(&person.name);
    (moved.account, moved.identity, moved.device, moved.record) =
        (person.account, person.identity.clone(), device, record);
    moved
}

#[test]
fn a_request_waits_for_the_user() {
    let (alice, bob) = pair();
    assert!(take(&inbox(&bob), sealed(&alice, &bob, &[request(&alice, &bob)])).is_silent());
    let row = bob.row(&alice);
    assert!(matches!(row.state.relation, Relation::Apart { incoming: Incoming::Pending, .. }));
    assert_eq!((row.request_text.as_str(), row.confirmed, row.token_held), ("hello", false, Some([1; 32])));
    let events = bob.read(|conn| read_events(conn, 0, 10)).events;
    assert_eq!(
        events.iter().map(|event| event.kind()).collect::<Vec<_>>(),
        [EventKind::Contact(ContactChange::Requested)]
    );
    // Again: nothing new.
    assert!(take(&inbox(&bob), sealed(&alice, &bob, &[request(&alice, &bob)])).is_silent());
    assert_eq!((pending(&bob), bob.store.hub().head()), (1, 1));
    // Accepted, and the acceptance reaches alice as one who asked.
    bob.wish(&alice, Event::UserAccepts);
    assert!(bob.row(&alice).state.may_talk());
}

#[test]
fn whatever_is_not_one_request_of_its_signer_leaves_no_trace() {
    let (alice, bob) = pair();
    let carol = Person::new("carol");
    let before = fingerprint(&bob);
    let good = request(&alice, &bob);
    let core = Core::decode(&good).unwrap();
    let card = |record: &[u8], text: &str| {
        ContactCard { record, reach: &[], deposit_token: [1; 32], invite_token: None, text, membership: &[] }.encode()
    };
    let no_device = sign_record(&alice.identity, "alice", 1, &[], None, ContactPolicy::Open);
    let other_device = sign_record(&alice.identity, "alice", 1, &[&carol.device], None, ContactPolicy::Open);
    let mut unsigned = alice.record.clone();
    *unsigned.last_mut().unwrap() ^= 1;
    let with = |kind: &str, seq: u64, payload: &[u8]| vec![alice.core(&bob, kind, seq, payload)];
    let bad: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", Vec::new()),
        ("two", vec![good.clone(), good.clone()]),
        ("with a text", vec![good.clone(), alice.core(&bob, "text", 1, &text_payload("hi"))]),
        ("a text", with("text", 1, &text_payload("hi"))),
        ("an accept", with("contact.accept", 0, &alice.card(1))),
        ("a removal", with("contact.remove", 0, b"")),
        ("a receipt", with("receipt", 0, b"")),
        ("an unknown kind", with("contact.poke", 0, &alice.card(1))),
        ("a request with a seq", with("contact.request", 1, &alice.card(1))),
        ("no card", with("contact.request", 0, b"card")),
        ("no record", with("contact.request", 0, &card(b"", ""))),
        ("a record of another account", with("contact.request", 0, &card(&carol.record, ""))),
        ("a record that is not signed", with("contact.request", 0, &card(&unsigned, ""))),
        ("a record without devices", with("contact.request", 0, &card(&no_device, ""))),
        ("a record of another device", with("contact.request", 0, &card(&other_device, ""))),
        ("too long a text", with("contact.request", 0, &card(&alice.record, &"x".repeat(1_025)))),
        ("for carol", vec![Core { to: carol.account, ..core.clone() }.encode()]),
        (
            "in another conversation",
            vec![Core { conversation: proto::ids::ConversationId([1; 16]), ..core.clone() }.encode()],
        ),
    ];
    for (what, cores) in bad {
        assert!(take(&inbox(&bob), sealed(&alice, &bob, &cores)).is_blamed(), "{what}");
        assert_eq!(fingerprint(&bob), before, "{what}");
    }
    // Alice's own record, over the signature of a device that it does not name.
    let forged = Person { record: alice.record.clone(), ..on_new_device(&alice, 1) };
    assert!(take(&inbox(&bob), sealed(&forged, &bob, &[request(&forged, &bob)])).is_blamed());
    assert_eq!(fingerprint(&bob), before);
}

#[test]
fn a_large_envelope_is_not_even_looked_into() {
    let (alice, bob) = pair();
    let before = fingerprint(&bob);
    let large = alice.core(&bob, "contact.request", 0, &vec![0; MAX_STRANGER_PLAINTEXT_BYTES]);
    let envelope = sealed(&alice, &bob, &[large]);
    assert!(envelope.len() > MAX_STRANGER_ENVELOPE_BYTES);
    assert!(take(&inbox(&bob), envelope).is_blamed());
    assert_eq!(fingerprint(&bob), before);
}

/// Whoever has all devices that there may be, and has changed the key often, can still ask.
#[test]
fn the_largest_request_is_small_enough() {
    let (mut alice, bob) = pair();
    let devices: Vec<SigningKey> =
        [alice.device.clone()].into_iter().chain((0..3).map(|_| SigningKey::generate().unwrap())).collect();
    let names: Vec<&SigningKey> = devices.iter().collect();
    let first = sign_record(&alice.identity, "alice", 1, &names, None, ContactPolicy::Members);
    let mut record = SignedRecord::decode(&first).unwrap().verify().unwrap();
    let (created, not_after) = (record.issued, record.expires);
    record.prekeys = devices
        .iter()
        .map(|device| {
            let recipient = PrekeySecret::generate(created).unwrap().public().recipient().to_vec();
            let device = DeviceId::of_key(&device.public());
            Prekey { device, suite: SUITE_HYBRID, recipient, created, not_after }
        })
        .collect();
    record.rotations = vec![Rotation::genesis(alice.identity.inner(), record.recovery_hash)];
    for number in 1..MAX_ROTATIONS as u32 {
        let next = SigningKey::generate().unwrap();
        let (identity_key, recovery_hash) = (next.public(), record.recovery_hash);
        let statement = Statement { account: alice.account, number, identity_key, recovery_hash };
        record.rotations.push(Rotation::by_identity(&statement, alice.identity.inner()));
        alice.identity = next;
    }
    record.identity_key = alice.identity.public();
    record.mailbox = Some(format!("https://{}", "m".repeat(500)));
    alice.record = SignedRecord::sign(&record, alice.identity.inner()).unwrap().encode();
    let (text, reach) = ("x".repeat(MAX_REQUEST_TEXT_BYTES), vec![0; 2_048]);
    let card = ContactCard {
        record: &alice.record,
        reach: &reach,
        deposit_token: [1; 32],
        invite_token: Some([2; 32]),
        text: &text,
        membership: &alice.membership(),
    };
    let envelope = sealed(&alice, &bob, &[alice.core(&bob, "contact.request", 0, &card.encode())]);
    println!("figure: the largest request: {} bytes of card, {} in all", card.encode().len(), envelope.len());
    assert!(card.encode().len() > 8_192, "it did not fit before");
    assert!(envelope.len() <= MAX_STRANGER_ENVELOPE_BYTES, "{} bytes", envelope.len());
    assert!(take(&inbox(&bob), envelope).is_silent());
    assert_eq!((pending(&bob), bob.row(&alice).request_text.len()), (1, MAX_REQUEST_TEXT_BYTES));
}

#[test]
fn one_identity_asks_so_often_and_no_more() {
    let (alice, bob) = pair();
    let inbox = inbox_with(&bob, &Limits::default());
    let ask = || take(&inbox, sealed(&alice, &bob, &[request(&alice, &bob)]));
    // From the stranger lane first, and then as somebody whose key is known.
    for n in 0..3 {
        assert!(ask().is_silent());
        assert_eq!(pending(&bob), 1, "{n}");
        bob.wish(&alice, Event::UserRejects);
    }
    for _ in 0..3 {
        assert!(ask().is_silent());
        assert_eq!(pending(&bob), 0);
    }
}

#[test]
fn a_flood_of_identities_of_one_domain_meets_the_limit() {
    let bob = Person::new("bob");
    let inbox = inbox_with(&bob, &Limits::default());
    let outcomes: Vec<Outcome> =
        (0..12).map(|_| Person::new("mallory")).map(|m| take(&inbox, sealed(&m, &bob, &[request(&m, &bob)]))).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.wants_work()).count(), 2, "10 an hour from one domain");
    assert_eq!(pending(&bob), 10);
}

#[test]
fn so_many_requests_wait_and_no_more() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    let limits = Limits { pending_requests: NonZeroU32::new(3).unwrap(), ..generous() };
    let inbox = inbox_with(&bob, &limits);
    let people: Vec<Person> = (0..5).map(|_| Person::new("mallory")).collect();
    for (n, person) in people.iter().enumerate() {
        let outcome = take(&inbox, sealed(person, &bob, &[request(person, &bob)]));
        assert!(if n < 3 { outcome.is_silent() } else { outcome.wants_work() }, "{n}: {outcome:?}");
    }
    assert_eq!(pending(&bob), 3);
    assert_eq!(bob.count("SELECT count(*) FROM contacts"), 4, "those over the limit left no row");
    // One that is known and asks again does not get past it either.
    bob.wish(&people[0], Event::UserRejects);
    assert!(take(&inbox, sealed(&people[3], &bob, &[request(&people[3], &bob)])).is_silent());
    assert!(take(&inbox, sealed(&people[0], &bob, &[request(&people[0], &bob)])).is_silent());
    assert_eq!(pending(&bob), 3);
    // A contact on a new device is no stranger.
    let moved = on_new_device(&alice, 2);
    assert!(take(&inbox, sealed(&moved, &bob, &[request(&moved, &bob)])).is_silent());
    assert!(bob.read(|conn| device_of(conn, alice.account, moved.device_id())).is_some());
    assert!(bob.signals(&alice).iter().any(|signal| signal.kind == Kind::ContactAccept));
}

#[test]
fn the_default_limit_is_64() {
    assert_eq!(Limits::default().pending_requests.get(), 64);
}

#[test]
fn a_closed_account_hears_no_stranger() {
    for policy in [ContactPolicy::Closed, ContactPolicy::Invite] {
        let (alice, bob) = pair();
        let record = sign_record(&bob.identity, "bob", 2, &[&bob.device], Some(&bob.prekey), policy);
        bob.write(move |tx| account::set_own_record(tx, &record, 2)).unwrap();
        let before = fingerprint(&bob);
        assert!(take(&inbox(&bob), sealed(&alice, &bob, &[request(&alice, &bob)])).is_ignored());
        assert_eq!(fingerprint(&bob), before);
    }
}

#[test]
fn a_device_that_the_newest_record_dropped_stays_dropped() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    let moved = on_new_device(&alice, 2);
    assert!(take(&inbox(&bob), sealed(&moved, &bob, &[request(&moved, &bob)])).is_silent());
    // The old device comes back with the record of its time.
    let before = bob.row(&alice);
    assert!(take(&inbox(&bob), sealed(&alice, &bob, &[request(&alice, &bob)])).is_silent());
    let after = bob.row(&alice);
    assert_eq!((before.token_held, before.ids, before.record), (after.token_held, after.ids, after.record));
    assert_eq!(bob.read(|conn| device_of(conn, alice.account, alice.device_id())), None);
    let text = alice.core(&bob, "text", 1, &text_payload("from a stolen laptop"));
    assert!(take(&inbox(&bob), sealed(&alice, &bob, &[text])).is_blamed());
    assert!(bob.shown(&alice).is_empty());
}

#[test]
fn a_block_holds_on_a_new_device() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    bob.wish(&alice, Event::UserBlocks);
    let (row, before) = (bob.row(&alice), fingerprint(&bob));
    let moved = on_new_device(&alice, 2);
    assert!(take(&inbox(&bob), sealed(&moved, &bob, &[request(&moved, &bob)])).is_silent());
    assert_eq!((bob.row(&alice), fingerprint(&bob)), (row, before));
}

#[test]
fn somebody_who_names_bobs_device_does_not_shut_bob_out() {
    let (alice, bob) = pair();
    let mut mallory = Person::new("mallory");
    mallory.record =
        sign_record(&mallory.identity, "mallory", 1, &[&mallory.device, &bob.device], None, ContactPolicy::Members);
    let inbox = inbox(&alice);
    assert!(take(&inbox, sealed(&mallory, &alice, &[request(&mallory, &alice)])).is_silent());
    assert!(take(&inbox, sealed(&bob, &alice, &[request(&bob, &alice)])).is_silent());
    assert_eq!(pending(&alice), 2);
    alice.wish(&bob, Event::UserAccepts);
    let text = bob.core(&alice, "text", 1, &text_payload("it is me"));
    assert_eq!(take(&inbox, sealed(&bob, &alice, &[text])).receipt().entries.len(), 1);
    assert_eq!(alice.shown(&bob), ["it is me"]);
}

#[test]
fn an_identity_key_that_was_given_up_names_no_devices() {
    let (alice, bob) = pair();
    alice.befriend(&bob);
    let contact = bob.id(&alice);
    let new_key = SigningKey::generate().unwrap();
    let mut record = SignedRecord::decode(&alice.record).unwrap().verify().unwrap();
    let statement = Statement {
        account: alice.account,
        number: 1,
        identity_key: new_key.public(),
        recovery_hash: record.recovery_hash,
    };
    record.rotations = vec![Rotation::by_identity(&statement, alice.identity.inner())];
    (record.identity_key, record.seq) = (new_key.public(), 2);
    let rotated = SignedRecord::sign(&record, new_key.inner()).unwrap().encode();
    assert!(bob.write(move |tx| trust::take_record(tx, contact, &rotated)).unwrap());
    assert_eq!(bob.row(&alice).identity_key, new_key.public());
    // Whoever has the old key makes a record with a higher seq and a device of their own.
    let thief = on_new_device(&alice, 9);
    let (row, changes) = (bob.row(&alice), |bob: &Person| bob.count("SELECT count(*) FROM events WHERE type = 7"));
    let before = changes(&bob);
    for _ in 0..3 {
        assert!(take(&inbox(&bob), sealed(&thief, &bob, &[request(&thief, &bob)])).is_silent());
    }
    let after = bob.row(&alice);
    assert_eq!((&row.record, row.identity_key, row.token_held), (&after.record, after.identity_key, after.token_held));
    assert_eq!(bob.read(|conn| device_of(conn, alice.account, thief.device_id())), None);
    assert_eq!((after.trust, changes(&bob)), (Trust::Changed, before + 1), "told once");
}
