//! The feed: numbers without holes, the same from the hub as from the store.

use proptest::prelude::*;
use proto::reason::Reason;

use crate::model::{ContactChange, Event, EventBody, EventKind, MessageState, ProfileRow};
use crate::store::engine::emit;
use crate::store::engine::numbers::{kind_number, kind_of, state_number, state_of};
use crate::store::error::StoreError;
use crate::store::feed::{consumers, read_events};
use crate::store::log::{acks, outgoing, reorder};
use crate::store::peers::profiles;
use crate::store::tests::fixture::{Person, message, text_payload};
use crate::store::tests::streams::{Link, stream};

#[derive(Debug, Clone, Copy)]
enum Step {
    Send(usize),
    Receive(usize),
    /// Jumps over a core, which comes with the next.
    Reorder,
    Acknowledge,
    Profile,
    Presence(bool),
    Fail,
    Reject,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1usize..4).prop_map(Step::Send),
        (1usize..4).prop_map(Step::Receive),
        Just(Step::Reorder),
        Just(Step::Acknowledge),
        Just(Step::Profile),
        any::<bool>().prop_map(Step::Presence),
        Just(Step::Fail),
        Just(Step::Reject),
    ];
    prop::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_feed_is_the_same_from_hub_and_store(steps in steps()) {
        let (alice, bob) = (Person::new("alice"), Person::new("bob"));
        alice.befriend(&bob);
        let contact = alice.id(&bob);
        let cores = stream(&bob, &alice, 1, &[Link::Text; 64]);
        let mut next = 0;
        let mut hub = alice.store.hub().listen();
        let mut head = alice.store.hub().head();
        for step in steps {
            match step {
                Step::Send(count) => drop(alice.send(&bob, &["text", "more", "most"][..count])),
                Step::Receive(count) => {
                    let some: Vec<Vec<u8>> = cores[next..next + count].iter().map(|(_, core)| core.clone()).collect();
                    alice.receive(&bob, &some);
                    next += count;
                }
                Step::Reorder => {
                    alice.receive(&bob, &[cores[next + 1].1.clone()]);
                    alice.receive(&bob, &[cores[next].1.clone()]);
                    next += 2;
                }
                Step::Acknowledge => alice.deliver(&bob),
                Step::Profile => {
                    let version = alice.row(&bob).profile.version + 1;
                    let row = ProfileRow { version, display_name: "Bob".into(), ..ProfileRow::default() };
                    alice.write(move |tx| profiles::set_contact_profile(tx, contact, &row)).unwrap();
                }
                Step::Presence(online) => alice.write(move |tx| { emit::presence(tx, contact, online); Ok(()) }).unwrap(),
                Step::Fail => {
                    let failed = alice.write(move |tx| {
                        outgoing::send(tx, contact, &[message("never")])?;
                        Err::<(), _>(StoreError::NotFound("anything"))
                    });
                    prop_assert!(failed.is_err());
                }
                Step::Reject => alice.write(move |tx| acks::reject_queued(tx, contact, MessageState::Rejected, Reason::Blocked)).unwrap(),
            }
            let mut told = head;
            while let Ok(batch) = hub.try_recv() {
                prop_assert_eq!(batch.first, told + 1, "no hole, no repetition");
                told = batch.last;
                let stored = alice.read(|conn| read_events(conn, batch.first - 1, 1_000)).events;
                let stored: Vec<Event> = stored.into_iter().filter(|event| event.seq <= batch.last).collect();
                prop_assert_eq!(stored.len() as u64, batch.last - batch.first + 1);
                if let Some(events) = batch.events {
                    prop_assert_eq!(&*events, &stored);
                }
            }
            head = alice.store.hub().head();
            prop_assert_eq!(told, head);
        }
        // From any place, to the end.
        for since in 0..=head {
            let page = alice.read(|conn| read_events(conn, since, 1_000));
            let seqs: Vec<u64> = page.events.iter().map(|event| event.seq).collect();
            prop_assert_eq!(seqs, (since + 1..=head).collect::<Vec<_>>());
            prop_assert_eq!(page.next, head.max(since));
        }
    }
}

#[test]
fn tags_are_the_same_in_event_and_store() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let mut hub = alice.store.hub().listen();
    let text = proto::wire::payload::Text {
        body: "tagged",
        format: 1,
        priority: 2,
        tags: vec!["a\r", "", "two\nlines", "é"],
        reply_to: Some(proto::ids::MessageId([1; 16])),
    };
    alice.receive(&bob, &[bob.core(&alice, "text", 1, &text.encode())]);
    let told = hub.try_recv().unwrap().events.unwrap();
    let stored = alice.read(|conn| read_events(conn, told[0].seq - 1, 10)).events;
    assert_eq!(*told, stored);
    assert_eq!(stored[0].message().unwrap().tags, ["a\r", "", "é"]);
}

#[test]
fn a_message_that_is_gone_leaves_its_number_unused() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let begin = alice.store.hub().head();
    alice.send(&bob, &["one", "two", "three"]);
    alice.write(|tx| Ok(tx.conn.execute("DELETE FROM messages WHERE body <> 'three'", [])?)).unwrap();
    let page = alice.read(|conn| read_events(conn, begin, 10));
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [begin + 3]);
    alice.write(|tx| Ok(tx.conn.execute("DELETE FROM messages", [])?)).unwrap();
    let page = alice.read(|conn| read_events(conn, begin, 10));
    assert_eq!((page.events.len(), page.next), (0, begin + 3));
}

#[test]
fn what_is_no_longer_stored_is_said_to_be_missing() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    alice.send(&bob, &["one"]);
    let head = alice.store.hub().head();
    alice.write(move |tx| Ok(tx.conn.execute("DELETE FROM events WHERE last < ?1", [head as i64])?)).unwrap();
    let page = alice.read(|conn| read_events(conn, 0, 10));
    let kinds: Vec<EventKind> = page.events.iter().map(Event::kind).collect();
    assert_eq!(kinds, [EventKind::FeedLagged, EventKind::MessageState]);
    assert_eq!(page.events[0].body, EventBody::Lagged { upto: head - 1 });
    for since in [head, head + 1, u64::MAX] {
        assert!(alice.read(|conn| read_events(conn, since, 10)).events.is_empty(), "{since}");
    }
}

#[test]
fn a_consumer_never_goes_back() {
    let alice = Person::new("alice");
    let ack = |seq: u64, head: u64| alice.write(move |tx| consumers::consumer_ack(tx, "bot", seq, head)).unwrap();
    let at = || alice.read(|conn| consumers::place(conn, "bot"));
    assert_eq!(at(), None);
    assert!(alice.write(|tx| consumers::consumer_ack(tx, "bot", 5, 10)).is_err(), "nobody subscribed under that name");
    alice.write(|tx| consumers::consumer_begin(tx, "bot", 0)).unwrap();
    ack(5, 10);
    ack(3, 10);
    assert_eq!(at(), Some(5));
    ack(u64::MAX, 10);
    assert_eq!(at(), Some(10), "not beyond the newest event");
}

#[test]
fn attempts_and_dead_letters_are_kept() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let begin = alice.store.hub().head();
    alice.send(&bob, &["one", "two"]);
    let head = alice.store.hub().head();
    let attempt = |name: &'static str, seq: u64| alice.write(move |tx| consumers::consumer_attempt(tx, name, seq));
    let give_up =
        |seq: u64| alice.write(move |tx| consumers::consumer_give_up(tx, "bot", seq, "exit code 3", head)).unwrap();
    let now = || alice.read(move |conn| consumers::one(conn, "bot", head));
    let letters = || alice.read(|conn| consumers::dead_letters(conn, "bot", 0, 10)).0;
    assert!(matches!(attempt("bot", 1), Err(StoreError::NotFound(_))), "of nobody");
    assert_eq!(alice.write(move |tx| consumers::consumer_begin(tx, "bot", begin)).unwrap(), 1);
    assert_eq!(alice.write(move |tx| consumers::consumer_begin(tx, "bot", 0)).unwrap(), 1, "it is there");
    assert_eq!((attempt("bot", begin + 1).unwrap(), attempt("bot", begin + 1).unwrap()), (1, 2));
    assert_eq!((now().attempts, now().waiting), (2, head - begin));
    give_up(begin + 1);
    give_up(begin + 1);
    assert_eq!((now().seq, now().attempts, now().dead_letters), (begin + 1, 0, 1));
    assert_eq!(attempt("bot", begin + 2).unwrap(), 1, "each event has its own");
    give_up(head + 7);
    assert_eq!(letters().len(), 1, "nothing that never was");
    let letter = letters().remove(0);
    assert_eq!((letter.seq, letter.attempts, letter.reason.as_str()), (begin + 1, 2, "exit code 3"));
    assert_eq!(letter.event.map(|event| event.seq), Some(begin + 1));
    alice.write(move |tx| consumers::consumer_reset(tx, "bot", begin)).unwrap();
    assert_eq!((now().seq, now().attempts, letters().len()), (begin, 0, 0));
    alice.write(|tx| consumers::consumer_remove(tx, "bot")).unwrap();
    assert!(alice.write(|tx| consumers::consumer_remove(tx, "bot")).is_err());
    assert!(alice.read(|conn| consumers::page(conn, "", 10, 0)).is_empty());
}

#[test]
fn consumers_are_counted() {
    let alice = Person::new("alice");
    let most = consumers::MAX_CONSUMERS;
    let begin = |n: u64| alice.write(move |tx| consumers::consumer_begin(tx, &format!("c{n:04}"), 0)).unwrap();
    for n in 0..most {
        assert_eq!(begin(n), n + 1);
    }
    assert_eq!(begin(most), most + 1);
    assert_eq!(begin(3), most, "one that is there");
    assert_eq!(alice.read(|conn| consumers::page(conn, "c0997", 10, 0)).len(), 2, "and none was made");
}

#[test]
fn a_profile_counts_if_it_is_newer() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    bob.befriend(&alice);
    let contact = alice.id(&bob);
    let set = |version: u64, name: &str| {
        let row = ProfileRow { version, display_name: name.to_owned(), ..ProfileRow::default() };
        alice.write(move |tx| profiles::set_contact_profile(tx, contact, &row)).unwrap();
    };
    set(2, "Bob");
    set(1, "Old");
    assert_eq!(alice.row(&bob).profile.display_name, "Bob");
    set(u64::MAX, "Last");
    set(u64::MAX, "Never");
    assert_eq!(alice.row(&bob).profile.display_name, "Last");
}

#[test]
fn a_stream_that_was_held_for_long_is_shown_in_pages() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let begin = alice.store.hub().head();
    let large = "x".repeat(20_000);
    let cores: Vec<Vec<u8>> = (1..=600).map(|seq| bob.core(&alice, "text", seq, &text_payload(&large))).collect();
    alice.receive(&bob, &cores[1..]);
    let mut hub = alice.store.hub().listen();
    alice.receive(&bob, &cores[..1]);
    let batch = hub.try_recv().unwrap();
    assert!(batch.events.is_none(), "12 MB of texts are not kept for listeners");
    while alice.write(reorder::show_ready).unwrap() {}
    let last = alice.store.hub().head();
    // One more than messages for each of two slices: these do not link, and that is told.
    assert_eq!((batch.first, batch.last, last), (begin + 1, begin + 513, begin + 602));
    let (mut after, mut pages, mut seqs) = (begin, Vec::new(), Vec::new());
    while after < last {
        let page = alice.read(|conn| read_events(conn, after, 10_000));
        after = page.next;
        pages.push(page.events.len());
        seqs.extend(page.events.iter().map(|event| event.seq));
    }
    assert_eq!(seqs, (begin + 1..=begin + 602).collect::<Vec<_>>());
    // A row covers 256 messages at most, and as many of 20,000 bytes are a page. The last one is what is left: what the first
    // slice told of its chain, 88 messages, and what the second told.
    assert_eq!(pages, [256, 256, 1 + 88 + 1]);
}

#[test]
fn numbers_of_kinds_and_states_never_change() {
    let kinds = [
        EventKind::MessageReceived,
        EventKind::MessageState,
        EventKind::MessageGap,
        EventKind::Contact(ContactChange::Requested),
        EventKind::Contact(ContactChange::Accepted),
        EventKind::Contact(ContactChange::Rejected),
        EventKind::Contact(ContactChange::Removed),
        EventKind::Contact(ContactChange::KeyChanged),
        EventKind::Contact(ContactChange::Profile),
        EventKind::Presence,
        EventKind::FeedLagged,
        EventKind::Contact(ContactChange::GivenUp),
    ];
    for (number, kind) in (0..).zip(kinds) {
        assert_eq!((kind_number(kind), kind_of(number)), (number, Some(kind)));
    }
    for (number, state) in (0..).zip(MessageState::ALL) {
        assert_eq!((state_number(state), state_of(number)), (number, Some(state)));
    }
    assert_eq!((kind_of(-1), kind_of(12), state_of(-1), state_of(8)), (None, None, None, None));
}

#[test]
fn an_event_row_that_lacks_what_its_type_needs_is_damage() {
    let alice = Person::new("alice");
    let put = |kind: i64, body: &'static [u8]| {
        alice
            .write(move |tx| {
                tx.conn.execute("DELETE FROM events", [])?;
                Ok(tx.conn.execute(
                    "INSERT INTO events (last, first, type, at, body) VALUES (1, 1, ?1, 0, ?2)",
                    rusqlite::params![kind, body],
                )?)
            })
            .unwrap();
        alice.store.read_blocking(|conn| read_events(conn, 0, 10))
    };
    // Contact 0, no messages, state, reason, online, count.
    let bare: &[u8] = &[0x96, 0, 0x90, 0xc0, 0xc0, 0xc0, 0xc0];
    let profile = kind_number(EventKind::Contact(ContactChange::Profile));
    let page = put(profile, bare).unwrap();
    let gone = EventBody::Contact { change: ContactChange::Profile, contact: None, reason: None };
    assert_eq!((&page.events[0].body, &page.events[0].about), (&gone, &None), "of one who is not there");
    for kind in [EventKind::MessageState, EventKind::MessageGap, EventKind::Presence, EventKind::FeedLagged] {
        assert!(matches!(put(kind_number(kind), bare), Err(StoreError::Damaged("event"))), "{kind:?}");
    }
    assert!(matches!(put(12, bare), Err(StoreError::Damaged("event"))), "of a type that is none");
    assert!(matches!(put(profile, &bare[..4]), Err(StoreError::Damaged("event"))), "cut off");
}
