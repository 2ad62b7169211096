//! Own epochs: after a restore, a rolled-back disk, or a contact that lost what it had, nothing is lost and no number is
//! used twice.

use crate::model::Outcome;
use proto::ids::{ConversationId, Epoch};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Skip};

use crate::model::MessageState::{Delivered, Queued};
use crate::model::{Event, EventBody};
use crate::store::account;
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::feed::read_events;
use crate::store::log::own_streams::{self, stream_of};
use crate::store::log::recovery::epochs::{self, Resumed};
use crate::store::log::recovery::{RECIPIENT_RESTORED, RESTORED};
use crate::store::log::reorder::{self, HOLD_UNDRAINED_MS};
use crate::store::log::told::resume_entries;
use crate::store::tests::fixture::Person;

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

/// Epoch, seq and text of what waits.
fn waiting(alice: &Person, bob: &Person) -> Vec<(Epoch, u64)> {
    let place = |core: &Vec<u8>| {
        let core = Core::decode(core).unwrap();
        (core.epoch, core.seq)
    };
    alice.outbox(bob).iter().map(place).collect()
}

/// What bob's store shows of alice's streams.
fn resume(bob: &Person, alice: &Person) -> Vec<AckEntry> {
    let contact = bob.id(alice);
    bob.read(|conn| resume_entries(conn, contact, alice.device_id()))
}

fn resumed(alice: &Person, bob: &Person, entries: Vec<AckEntry>) -> Resumed {
    let (contact, device) = (alice.id(bob), bob.device_id());
    alice.write(move |tx| epochs::peer_resumed(tx, contact, device, &entries)).unwrap()
}

fn attempted(alice: &Person, bob: &Person) {
    let contact = alice.id(bob);
    let places = waiting(alice, bob);
    let stream = alice.read(|conn| stream_of(conn, contact, places[0].0)).unwrap();
    let (low, high) = (places[0].1, places[places.len() - 1].1);
    let note = AttemptNote { stream, low, high, path: "direct", outcome: Outcome::Sent, at: Timestamp::now() };
    alice.write(move |tx| attempts::attempt(tx, contact, &note)).unwrap();
}

/// A copy of everything that a store holds of its streams and messages, and its way back: as if the disk went back.
const TABLES: [&str; 7] = ["messages", "streams_out", "outbox", "marks", "attempts", "streams_in", "reorder_buffer"];

fn snapshot(person: &Person) {
    let sql: String = TABLES.iter().map(|t| format!("CREATE TABLE copy_{t} AS SELECT * FROM {t};")).collect();
    person.write(move |tx| Ok(tx.conn.execute_batch(&sql)?)).unwrap();
}

fn roll_back(person: &Person) {
    let sql: String =
        TABLES.iter().map(|t| format!("DELETE FROM {t}; INSERT INTO {t} SELECT * FROM copy_{t};")).collect();
    person
        .write(move |tx| {
            *tx.cache = crate::store::engine::cache::Cache::default();
            Ok(tx.conn.execute_batch(&sql)?)
        })
        .unwrap();
}

#[test]
fn what_waits_is_issued_again_under_its_id_and_skips_are_not() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    let ids = alice.send(&bob, &["1", "2", "3"]);
    alice.deliver(&bob);
    let more = alice.send(&bob, &["4", "5"]);
    alice
        .write(move |tx| {
            own_streams::append_core(tx, contact, Kind::Skip, &Skip { low: 9, high: 9, reason: "" }.encode())
        })
        .unwrap();
    alice.write(move |tx| own_streams::append_core(tx, contact, Kind::parse("skip").unwrap(), b"")).unwrap();
    assert_eq!(waiting(&alice, &bob).iter().map(|place| place.1).collect::<Vec<_>>(), [4, 5, 6, 7]);
    let old = waiting(&alice, &bob)[0].0;
    assert_eq!(alice.write(|tx| epochs::begin_epochs(tx, RESTORED)).unwrap(), 1);
    let places = waiting(&alice, &bob);
    assert_eq!(places.iter().map(|place| place.1).collect::<Vec<_>>(), [1, 2]);
    assert!(places.iter().all(|place| place.0 != old));
    let again: Vec<_> = alice.outbox(&bob).iter().map(|core| Core::decode(core).unwrap().id).collect();
    assert_eq!(again, more);
    alice.send(&bob, &["6"]);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3", "4", "5", "6"]);
    assert!(ids.iter().chain(&more).all(|id| alice.state(*id).0 == Delivered));
}

#[test]
fn a_crash_that_forgot_what_was_tried_costs_no_epoch() {
    let (mut alice, bob) = friends();
    for round in 1..=3 {
        alice.send(&bob, &["a", "b"]);
        let epoch = waiting(&alice, &bob)[0].0;
        // They went out, and alice was killed before that was written down.
        bob.receive(&alice, &alice.outbox(&bob));
        alice.reopen();
        assert_eq!(resumed(&alice, &bob, resume(&bob, &alice)), Resumed::default(), "round {round}");
        alice.acknowledged(&bob, resume(&bob, &alice));
        assert!(waiting(&alice, &bob).is_empty());
        alice.send(&bob, &["c"]);
        assert_eq!(waiting(&alice, &bob)[0], (epoch, 3 * round));
        bob.receive(&alice, &alice.outbox(&bob));
        attempted(&alice, &bob);
        alice.acknowledged(&bob, resume(&bob, &alice));
    }
    // What was written since the store was opened, and is acknowledged though nobody tried to send it, is not what bob has.
    alice.send(&bob, &["d"]);
    bob.receive(&alice, &alice.outbox(&bob));
    assert!(resumed(&alice, &bob, resume(&bob, &alice)).own_epoch_lost);
}

#[test]
fn what_was_acknowledged_above_a_hole_is_repeated() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["1", "2", "3"]);
    let cores = alice.outbox(&bob);
    let received = bob.receive(&alice, &[cores[0].clone(), cores[2].clone()]);
    alice.acknowledged(&bob, received.entries);
    alice.write(|tx| epochs::begin_epochs(tx, RESTORED)).unwrap();
    assert_eq!(waiting(&alice, &bob).len(), 2);
    assert_eq!(ids.iter().map(|id| alice.state(*id).0).collect::<Vec<_>>(), [Delivered, Queued, Queued]);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3"], "in order, though the hole of the old epoch stays");
    assert!(alice.outbox(&bob).is_empty());
}

#[test]
fn a_session_counter_that_did_not_count_on_begins_epochs() {
    let (alice, bob) = friends();
    let begins = || alice.write(account::next_session).unwrap();
    let counted = |said, number| alice.write(move |tx| epochs::session_counted(tx, said, number)).unwrap();
    assert!(begins() == 1 && !counted(Some(1), 1));
    alice.send(&bob, &["1"]);
    // Killed before the directory had it, or before its answer came: one number is skipped, and nothing is in doubt.
    assert!(begins() == 2 && begins() == 3 && begins() == 4 && !counted(Some(4), 4));
    assert!(begins() == 5 && counted(Some(5), 9), "sessions that we do not remember");
    assert!(begins() == 10 && !counted(Some(10), 10));
    // A disk on which no number could be kept.
    assert!(!counted(None, 11) && begins() == 12 && counted(None, 15));
    assert_eq!(waiting(&alice, &bob).len(), 1);
    alice.write(|tx| Ok(tx.conn.execute("UPDATE account SET restored = 1", [])?)).unwrap();
    assert!(begins() == 16 && counted(Some(16), 16), "a restore");
    assert!(begins() == 17 && !counted(Some(17), 17));
}

/// Alice knows of one message, and bob has three of her.
fn rolled_back_by_two() -> (Person, Person) {
    let (alice, bob) = friends();
    alice.send(&bob, &["1"]);
    alice.deliver(&bob);
    snapshot(&alice);
    alice.send(&bob, &["2", "3"]);
    attempted(&alice, &bob);
    alice.deliver(&bob);
    roll_back(&alice);
    (alice, bob)
}

#[test]
fn a_rolled_back_sender_uses_no_number_twice() {
    let (alice, bob) = rolled_back_by_two();
    // She writes before she meets bob: the same numbers, other words, and one number that is not new to bob either.
    let lost = alice.send(&bob, &["other 2", "other 3"]);
    let shown = resume(&bob, &alice);
    // What was acknowledged in that epoch is in doubt too, and goes again.
    assert_eq!(resumed(&alice, &bob, shown.clone()), Resumed { own_epoch_lost: true, reissued: 1 });
    alice.acknowledged(&bob, shown.clone());
    assert!(lost.iter().all(|id| alice.state(*id).0 == Queued), "bob's acknowledgement is of other words");
    assert_eq!(resumed(&alice, &bob, shown), Resumed::default(), "known now");
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3", "other 2", "other 3"]);
    assert!(lost.iter().all(|id| alice.state(*id).0 == Delivered));
}

#[test]
fn an_acknowledgement_of_other_words_takes_nothing() {
    let (alice, bob) = rolled_back_by_two();
    // Under the same numbers, one more than bob has, and on their way: nothing but the hash tells them apart.
    let others = alice.send(&bob, &["other 2", "other 3", "other 4"]);
    attempted(&alice, &bob);
    alice.acknowledged(&bob, resume(&bob, &alice));
    assert!(others.iter().all(|id| alice.state(*id).0 != Delivered), "bob has other words under these numbers");
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3", "other 2", "other 3", "other 4"]);
    assert!(others.iter().all(|id| alice.state(*id).0 == Delivered));
}

#[test]
fn a_recipient_tells_a_sender_that_it_uses_numbers_again() {
    let (alice, bob) = friends();
    snapshot(&alice);
    alice.send(&bob, &["1", "2"]);
    let first = alice.outbox(&bob);
    alice.deliver(&bob);
    roll_back(&alice);
    // The same epoch, as when the disk goes back within a session: here made by hand.
    let old = Core::decode(&first[0]).unwrap().epoch;
    let id = alice.send(&bob, &["other 1", "other 2"])[0];
    let mut prev = [0; 32];
    let mut again = Vec::new();
    for (seq, core) in (1..).zip(alice.outbox(&bob)) {
        let core = Core { epoch: old, seq, prev, ..Core::decode(&core).unwrap() }.encode();
        prev = proto::ids::sha256(&[&core]);
        again.push(core);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sql = format!("UPDATE streams_out SET epoch = x'{}'", hex(old.as_bytes()));
    alice.write(move |tx| Ok(tx.conn.execute(&sql, [])?)).unwrap();
    let received = bob.receive(&alice, &again);
    assert_eq!((received.duplicates, received.shown), (2, 0));
    assert_eq!(received.entries[0].ranges, [(1 << 62, 1 << 62)], "a number that alice cannot have given");
    assert_eq!(resume(&bob, &alice)[0], received.entries[0]);
    alice.acknowledged(&bob, received.entries);
    assert_eq!(alice.state(id).0, Queued);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "other 1", "other 2"]);
}

/// Of a sender that uses number 2 again, the recipient may meet the one after it alone: at its turn, or after the hole was given up.
#[test]
fn a_recipient_tells_a_sender_what_does_not_link() {
    for late in [false, true] {
        let (alice, bob) = friends();
        alice.send(&bob, &["1"]);
        alice.deliver(&bob);
        snapshot(&alice);
        alice.send(&bob, &["2"]);
        alice.deliver(&bob);
        roll_back(&alice);
        alice.send(&bob, &["other 2", "3", "4"]);
        let cores = alice.outbox(&bob);
        if late {
            bob.receive(&alice, &cores[2..]);
            let at = Timestamp(Timestamp::now().0 + HOLD_UNDRAINED_MS);
            bob.write(move |tx| reorder::give_up_gaps(tx, at, true)).unwrap();
            assert_eq!(bob.shown(&alice), ["1", "2", "4"]);
        }
        let received = bob.receive(&alice, &cores[1..2]);
        assert_eq!(received.entries[0].ranges, [(1 << 62, 1 << 62)], "late: {late}");
        alice.acknowledged(&bob, received.entries);
        alice.deliver(&bob);
        let mut shown = bob.shown(&alice);
        shown.sort_unstable();
        assert_eq!(shown, ["1", "2", "3", "4", "other 2"], "late: {late}");
    }
}

#[test]
fn an_acknowledgement_of_numbers_never_given_takes_nothing() {
    let (alice, bob) = friends();
    alice.send(&bob, &["1"]);
    alice.deliver(&bob);
    snapshot(&alice);
    alice.send(&bob, &["2", "3"]);
    alice.deliver(&bob);
    roll_back(&alice);
    let id = alice.send(&bob, &["other 2"])[0];
    alice.acknowledged(&bob, resume(&bob, &alice));
    assert_eq!(alice.state(id).0, Queued);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3", "other 2"]);
}

#[test]
fn a_recipient_that_went_back_gets_again_what_it_lost() {
    let (alice, bob) = friends();
    alice.send(&bob, &["1", "2"]);
    alice.deliver(&bob);
    snapshot(&bob);
    let lost = alice.send(&bob, &["3", "4"]);
    alice.deliver(&bob);
    let waits = alice.send(&bob, &["5"]);
    roll_back(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2"]);
    assert_eq!(resumed(&alice, &bob, resume(&bob, &alice)), Resumed { own_epoch_lost: false, reissued: 2 });
    assert_eq!(alice.state(lost[0]).0, Queued);
    let events = alice.read(|conn| read_events(conn, 0, 1_000)).events;
    let told = events.iter().filter(|event| event.reason() == Some(RECIPIENT_RESTORED));
    let queued = |event: &Event| match event.body {
        EventBody::State { id, state: Queued, .. } => Some(id),
        _ => None,
    };
    let told: Vec<_> = told.filter_map(queued).collect();
    assert_eq!(told, lost);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1", "2", "3", "4", "5"]);
    assert!(lost.iter().chain(&waits).all(|id| alice.state(*id).0 == Delivered));
    assert_eq!(resumed(&alice, &bob, resume(&bob, &alice)), Resumed::default());
}

#[test]
fn one_who_has_nothing_again_and_again_gets_no_more_than_a_days_worth() {
    let (alice, bob) = friends();
    for _ in 0..3 {
        alice.send(&bob, &["x"; 500]);
    }
    alice.deliver(&bob);
    let mut again = 0;
    for _ in 0..9 {
        again += resumed(&alice, &bob, Vec::new()).reissued;
        alice.deliver(&bob);
    }
    assert_eq!(again, 10_000);
    assert_eq!(bob.shown(&alice).len(), 1_500);
    alice.write(|tx| Ok(tx.conn.execute("UPDATE marks SET at = at - 86400001", [])?)).unwrap();
    assert_eq!(resumed(&alice, &bob, Vec::new()).reissued, 1_500);
}

#[test]
fn invented_epochs_are_bounded() {
    let (alice, bob) = friends();
    alice.send(&bob, &["1"]);
    let conversation = ConversationId::direct(alice.account, bob.account);
    for round in 0..18_u64 {
        let entries = (0..256).map(|n| AckEntry {
            from_device: alice.device_id(),
            conversation,
            epoch: Epoch((round << 8 | n).to_be_bytes()),
            contiguous: u64::MAX,
            ranges: Vec::new(),
            head: None,
        });
        let entries: Vec<AckEntry> = entries.collect();
        resumed(&alice, &bob, entries);
    }
    let streams = alice.count("SELECT count(*) FROM streams_out");
    assert!((256..300).contains(&streams), "{streams}");
    assert_eq!(waiting(&alice, &bob).len(), 1);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["1"]);
}

#[test]
fn somebody_who_is_no_contact_moves_nothing() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.meet(&bob);
    alice.send(&bob, &["1"]);
    assert_eq!(resumed(&alice, &bob, Vec::new()), Resumed::default());
}
