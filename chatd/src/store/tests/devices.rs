//! Several devices of one account: what is owed to each, and what the account's own others get.

use std::collections::HashMap;

use proto::directory::ContactPolicy;
use proto::ids::MessageId;
use proto::wire::envelope::AckEntry;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::model::{EventBody, EventKind, MessageState};
use crate::policy::contact::Event;
use crate::store::account;
use crate::store::delivery::outbox;
use crate::store::feed::read_events;
use crate::store::history;
use crate::store::log::outgoing;
use crate::store::log::recovery::epochs;
use crate::store::log::told::resume_entries;
use crate::store::peers::trust;
use crate::store::tests::fixture::{Person, message, sign_record};

/// What everybody knows of an account from now on: a record made by hand that names these devices.
pub(crate) fn publish(devices: &[&Person], seq: u64, to: &[&Person]) {
    let keys: Vec<_> = devices.iter().map(|person| &person.device).collect();
    let one = devices[0];
    let record = sign_record(&one.identity, &one.name, seq, &keys, None, ContactPolicy::Members);
    for own in devices {
        let record = record.clone();
        own.write(move |tx| account::set_own_record(tx, &record, seq)).unwrap();
    }
    for other in to {
        let (contact, record) = (other.id(one), record.clone());
        assert!(other.write(move |tx| trust::take_record(tx, contact, &record)).unwrap());
    }
}

/// Alice with a device, bob with two.
pub(crate) fn bob_has_two() -> (Person, Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let laptop = bob.another();
    alice.befriend(&bob);
    alice.meet(&bob);
    befriend_alone(&laptop, &alice);
    publish(&[&bob, &laptop], 2, &[&alice]);
    (alice, bob, laptop)
}

/// What another device of an account knows already: the contact is one.
pub(crate) fn befriend_alone(device: &Person, contact: &Person) {
    let peer = device.meet(contact);
    device.wish(contact, Event::UserAdds);
    device
        .write(move |tx| Ok(tx.test_conn().execute("UPDATE contacts SET state = 16 WHERE peer = ?1", [peer])?))
        .unwrap();
    device.write(|tx| Ok(tx.test_conn().execute("DELETE FROM signals", [])?)).unwrap();
}

fn waiting(alice: &Person) -> i64 {
    alice.count("SELECT count(*) FROM outbox")
}

#[test]
fn a_message_waits_until_each_device_of_its_recipient_has_it() {
    let (alice, bob, laptop) = bob_has_two();
    let ids = alice.send(&bob, &["one", "two", "three"]);
    let received = bob.receive(&alice, &alice.outbox(&bob));
    assert_eq!(alice.read(history::counts).0, 3);
    alice.acknowledged(&bob, received.entries.clone());
    assert!(ids.iter().all(|id| alice.state(*id).0 == MessageState::Delivered), "one device is enough to be delivered");
    assert_eq!((waiting(&alice), alice.outbox(&bob).len(), alice.outbox(&laptop).len()), (3, 0, 3));
    assert_eq!(alice.read(history::counts).0, 0, "nothing of it is queued");
    // The same again is nothing new, and says nothing of the other device.
    alice.acknowledged(&bob, received.entries);
    assert_eq!(alice.outbox(&laptop).len(), 3);
    let received = laptop.receive(&alice, &alice.outbox(&laptop));
    assert_eq!(laptop.shown(&alice), ["one", "two", "three"]);
    alice.acknowledged(&laptop, received.entries);
    assert_eq!(waiting(&alice), 0);
    let delivered = |body: &EventBody| matches!(body, EventBody::State { state: MessageState::Delivered, .. });
    let events = alice.read(|conn| read_events(conn, 0, 10_000)).events;
    let told = events.iter().filter(|event| delivered(&event.body)).count();
    assert_eq!(told, 3, "each is told once");
}

#[test]
fn a_device_speaks_for_itself_and_a_stranger_for_none() {
    let (alice, bob, laptop) = bob_has_two();
    let (carol, phone) = (Person::new("carol"), bob.another());
    alice.befriend(&carol);
    alice.send(&bob, &["one", "two"]);
    let entries = bob.receive(&alice, &alice.outbox(&bob)).entries;
    // Carol says what bob's device would say; and so does one of his that his record does not name.
    alice.acknowledged(&carol, entries.clone());
    alice.acknowledged(&phone, entries.clone());
    assert_eq!((alice.outbox(&bob).len(), alice.outbox(&laptop).len(), alice.outbox(&phone).len()), (2, 2, 0));
    // More than there is counts for what there is.
    let beyond: Vec<AckEntry> = entries.into_iter().map(|entry| AckEntry { ranges: vec![(2, 2)], ..entry }).collect();
    alice.acknowledged(&laptop, beyond);
    assert_eq!((alice.outbox(&bob).len(), alice.outbox(&laptop).len()), (2, 0));
    alice.send(&bob, &["three"]);
    assert_eq!((alice.outbox(&bob).len(), alice.outbox(&laptop).len()), (3, 1));
}

#[test]
fn what_waits_goes_to_a_device_that_came_and_not_to_one_that_went() {
    let (alice, bob, laptop) = bob_has_two();
    let phone = bob.another();
    befriend_alone(&phone, &alice);
    let ids = alice.send(&bob, &["one", "two"]);
    alice.deliver(&bob);
    publish(&[&bob, &laptop, &phone], 3, &[&alice]);
    alice.send(&bob, &["three"]);
    // In a new epoch, so that a newcomer need not wait for what came before it.
    alice.deliver(&phone);
    assert_eq!(phone.shown(&alice), ["one", "two", "three"]);
    assert!(ids.iter().all(|id| alice.state(*id).0 == MessageState::Delivered), "the first device has them");
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["one", "two", "three"], "each once");
    assert_eq!(waiting(&alice), 3, "for the laptop");
    publish(&[&bob, &phone], 4, &[&alice]);
    alice.send(&bob, &["four"]);
    assert!(alice.outbox(&laptop).is_empty());
    for device in [&bob, &phone] {
        alice.deliver(device);
        assert_eq!(device.shown(&alice), ["one", "two", "three", "four"]);
    }
    assert_eq!((waiting(&alice), alice.count("SELECT count(*) FROM owed WHERE device = x''")), (0, 0));
}

#[test]
fn the_one_device_in_place_of_the_one_gets_what_is_left() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    alice.send(&bob, &["one"]);
    let epoch = alice.count("SELECT count(*) FROM streams_out");
    let restored = bob.another();
    befriend_alone(&restored, &alice);
    publish(&[&restored], 2, &[&alice]);
    alice.deliver(&restored);
    assert_eq!(restored.shown(&alice), ["one"]);
    assert_eq!((waiting(&alice), alice.count("SELECT count(*) FROM streams_out")), (0, epoch));
}

#[test]
fn an_end_is_none_for_what_one_device_has() {
    let (alice, bob, laptop) = bob_has_two();
    let ids = alice.send(&bob, &["one", "two"]);
    let received = bob.receive(&alice, &alice.outbox(&bob)[..1]);
    alice.acknowledged(&bob, received.entries);
    alice.wish(&bob, Event::UserBlocks);
    assert_eq!(alice.state(ids[0]).0, MessageState::Delivered);
    assert_eq!(alice.state(ids[1]).0, MessageState::Withdrawn);
    assert_eq!((waiting(&alice), alice.outbox(&laptop).len()), (0, 0));
}

#[test]
fn what_one_device_lost_it_gets_again() {
    let (alice, bob, laptop) = bob_has_two();
    let ids = alice.send(&bob, &["one", "two", "three"]);
    alice.deliver(&bob);
    // Bob's phone was put back to before it had anything, while the laptop has not come yet.
    let (contact, device) = (alice.id(&bob), bob.device_id());
    let resumed = alice.write(move |tx| epochs::peer_resumed(tx, contact, device, &[])).unwrap();
    assert_eq!((resumed.reissued, alice.outbox(&bob).len()), (0, 3), "they still wait for the other");
    alice.deliver(&bob);
    alice.deliver(&laptop);
    assert_eq!(waiting(&alice), 0);
    // And again, when nothing waits any more.
    let resumed = alice.write(move |tx| epochs::peer_resumed(tx, contact, device, &[])).unwrap();
    assert_eq!(resumed.reissued, 3);
    assert!(ids.iter().all(|id| alice.state(*id).0 == MessageState::Delivered));
    alice.deliver(&bob);
    alice.deliver(&laptop);
    assert_eq!((waiting(&alice), laptop.shown(&alice).len(), bob.shown(&alice).len()), (0, 3, 3));
}

#[test]
fn what_is_sent_on_one_device_is_history_on_the_others() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let desk = alice.another();
    alice.befriend(&bob);
    befriend_alone(&desk, &bob);
    publish(&[&alice, &desk], 2, &[&bob]);
    let ids = alice.send(&bob, &["one", "two"]);
    alice.deliver(&desk);
    assert_eq!(alice.state(ids[0]).0, MessageState::Queued, "what the owner has is delivered to nobody");
    let (contact, home) = (desk.id(&bob), ids.clone());
    let page = desk.read(|conn| history::page(conn, contact, 10, None, None, None)).messages;
    let seen: Vec<_> = page.iter().map(|message| (message.id, message.from.as_str(), message.state)).collect();
    assert_eq!(seen, home.iter().map(|id| (*id, "alice", MessageState::Sent)).collect::<Vec<_>>());
    assert_eq!(desk.count("SELECT sum(unread) FROM conversations"), 0);
    let kinds: Vec<_> = desk.read(|conn| read_events(conn, 0, 10_000)).events.iter().map(|e| e.kind()).collect();
    assert!(!kinds.contains(&EventKind::MessageReceived), "{kinds:?}");
    alice.deliver(&bob);
    assert_eq!((waiting(&alice), alice.state(ids[1]).0), (0, MessageState::Delivered));
    // Somebody who names it as a device of his own gets nothing by that.
    let mallory = Person::new("mallory");
    alice.befriend(&mallory);
    let keys = [&mallory.device, &desk.device, &alice.device];
    let record = sign_record(&mallory.identity, "mallory", 2, &keys, None, ContactPolicy::Members);
    let contact = alice.id(&mallory);
    assert!(alice.write(move |tx| trust::take_record(tx, contact, &record)).unwrap());
    alice.send(&mallory, &["to mallory"]);
    let to = PeerDevice { peer: contact, device: desk.device_id() };
    assert!(alice.read(|conn| outbox::outbox_after(conn, to, (OutStreamRow(0), 0), usize::MAX)).is_empty());
    alice.deliver(&mallory);
    alice.deliver(&desk);
    assert_eq!(waiting(&alice), 1, "the desk does not know mallory yet");
}

/// Four devices of two accounts, each of which sends; what goes from one to another is lost, comes twice, late, in parts,
/// or is not acknowledged.
fn live(seed: u64) -> usize {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let (desk, laptop) = (alice.another(), bob.another());
    alice.befriend(&bob);
    for (device, contact) in [(&desk, &bob), (&laptop, &alice)] {
        befriend_alone(device, contact);
    }
    let all = [&alice, &desk, &bob, &laptop];
    publish(&[&alice, &desk], 2, &[&bob, &laptop]);
    let mut seq = 2;
    let mut random = StdRng::seed_from_u64(seed);
    let mut sent: HashMap<usize, Vec<(MessageId, String)>> = HashMap::new();
    let step = |random: &mut StdRng, kind: bool| {
        let from = random.random_range(0..4);
        let to = (from + random.random_range(1..4)) % 4;
        let (one, other) = (all[from], all[to]);
        let mut rows = one.outbox(other);
        rows.truncate(random.random_range(1..5));
        if rows.is_empty() || (!kind && random.random_bool(0.2)) {
            return false;
        }
        if !kind && random.random_bool(0.2) {
            rows.remove(0);
        }
        let mut received = other.receive(one, &rows);
        if !kind && random.random_bool(0.1) {
            received = other.receive(one, &rows);
        }
        if kind || random.random_bool(0.7) {
            one.acknowledged(other, received.entries);
        }
        true
    };
    for n in 0..60 {
        if random.random_bool(0.3) {
            let from = random.random_range(0..4);
            let to = if from < 2 { &bob } else { &alice };
            let text = format!("{from} {n}");
            let contact = all[from].id(to);
            let (new, id) = (message(&text), message(&text).id);
            let new = outgoing::NewMessage { id, ..new };
            all[from].write(move |tx| outgoing::send(tx, contact, &[new]).map(drop)).unwrap();
            sent.entry(from).or_default().push((id, text));
        }
        if n == 30 {
            // Bob's laptop came only now.
            seq += 1;
            publish(&[&bob, &laptop], seq, &[&alice, &desk]);
        }
        if random.random_bool(0.05) {
            let (from, to) = (random.random_range(0..2), random.random_range(2..4));
            let (contact, device) = (all[from].id(all[to]), all[to].device_id());
            let shown = all[to].read(|conn| resume_entries(conn, all[to].id(all[from]), all[from].device_id()));
            all[from].write(move |tx| epochs::peer_resumed(tx, contact, device, &shown)).unwrap();
        }
        step(&mut random, false);
    }
    // A last word to each, so that nothing waits for devices that are known only since.
    for (from, to) in [(0, 2), (1, 2), (2, 0), (3, 0)] {
        let ids = all[from].send(all[to], &["last"]);
        sent.entry(from).or_default().push((ids[0], "last".to_owned()));
    }
    let mut rounds = 0;
    while all.iter().any(|device| waiting(device) > 0) {
        step(&mut random, true);
        rounds += 1;
        assert!(rounds < 20_000, "seed {seed}: it ends");
    }
    let mut count = 0;
    for (at, device) in all.iter().enumerate() {
        for (from, messages) in &sent {
            if *from == at {
                continue;
            }
            let peer = device.id(all[*from]);
            let seen: Vec<String> = device.read(|conn| {
                let mut select = conn.prepare(
                    "SELECT m.body FROM messages m JOIN streams_in s ON s.id = m.stream
                     WHERE m.sender = ?1 AND s.device = ?2 ORDER BY m.id",
                )?;
                let device = all[*from].device_id();
                let rows = select.query_map(rusqlite::params![peer, device.as_bytes()], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            });
            let wanted: Vec<&str> = messages.iter().map(|(_, text)| text.as_str()).collect();
            // A laptop that came later has what waited then.
            let begins = wanted.len() - seen.len().min(wanted.len());
            assert_eq!(seen, wanted[begins..], "seed {seed}: of {from} at {at}");
            assert!(begins == 0 || at == 3, "seed {seed}: of {from} at {at}: {seen:?} of {wanted:?}");
            count += seen.len();
        }
    }
    for (from, messages) in &sent {
        for (id, text) in messages {
            assert_eq!(all[*from].state(*id).0, MessageState::Delivered, "seed {seed}: {text}");
        }
    }
    assert!(all.iter().all(|device| device.id(device) == PeerId::SELF));
    count
}

#[test]
fn each_of_several_devices_gets_everything_once_and_in_order() {
    let seeds = std::env::var("CHATD_TORTURE_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let shown: usize = (0..seeds).map(live).sum();
    println!("figure: {seeds} lives of four devices of two accounts: {shown} messages shown");
    assert!(shown > 0);
}
