//! Where an own message stands: marks, attempts, receipts, rejections, epochs.

use crate::model::Outcome;
use crate::policy::limits::Retention;
use crate::store::prune::Progress;
use crate::store::prune::prune;
use proto::ids::{ConversationId, DeviceId, Epoch};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Receipt};

use crate::model::MessageState::{self, Delivered, Queued, Read, Rejected, Sent};
use crate::model::Step;
use crate::policy::contact::Event;
use crate::store::contacts::profiles;
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::control;
use crate::store::delivery::trace::trace;
use crate::store::history::conversations;
use crate::store::log::acks;
use crate::store::log::outgoing;
use crate::store::log::own_streams::stream_of;
use crate::store::peers;
use crate::store::tests::fixture::{Person, message};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

fn place(core: &[u8]) -> (Epoch, u64) {
    let core = Core::decode(core).unwrap();
    (core.epoch, core.seq)
}

/// What an acknowledgement by bob of alice's newest stream would say.
fn entry(alice: &Person, bob: &Person, contiguous: u64, ranges: &[(u64, u64)]) -> AckEntry {
    let (epoch, _) = place(&alice.outbox(bob)[0]);
    AckEntry {
        from_device: alice.device_id(),
        conversation: ConversationId::direct(alice.account, bob.account),
        epoch,
        contiguous,
        ranges: ranges.to_vec(),
        head: None,
    }
}

fn unreachable(why: &str) -> Outcome {
    Outcome::failed_with(Reason::PeerUnreachable, why)
}

fn attempt(alice: &Person, bob: &Person, low: u64, high: u64, outcome: Outcome) {
    let contact = alice.id(bob);
    let (epoch, _) = place(&alice.outbox(bob)[0]);
    let stream = alice.read(|conn| stream_of(conn, contact, epoch)).unwrap();
    let note = AttemptNote { stream, low, high, path: "direct", outcome, at: Timestamp::now() };
    alice.write(move |tx| attempts::attempt(tx, contact, &note)).unwrap();
}

/// Bob reads everything, and alice hears it.
fn read_all(alice: &Person, bob: &Person) -> u64 {
    let (here, from) = (bob.id(alice), bob.as_device(alice.id(bob)));
    let marked = bob.write(move |tx| conversations::mark_read(tx, here, None)).unwrap();
    for signal in bob.signals(alice).into_iter().filter(|signal| signal.kind == Kind::Receipt) {
        let receipt = Receipt::decode(Core::decode(&signal.core).unwrap().payload).unwrap();
        alice.write(move |tx| acks::read_by(tx, from, &receipt.id)).unwrap();
        bob.write(move |tx| control::signals_done(tx, here, &[signal.msgid])).unwrap();
    }
    marked
}

#[test]
fn a_message_goes_from_queued_to_read() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["one", "two", "three"]);
    assert_eq!(alice.state(ids[0]), (Queued, None));
    attempt(&alice, &bob, 1, 3, unreachable("timeout"));
    assert_eq!(alice.state(ids[2]), (Queued, Some("peer_unreachable: timeout".into())));
    attempt(&alice, &bob, 1, 2, Outcome::Sent);
    attempt(&alice, &bob, 1, 3, unreachable("later"));
    assert_eq!([0, 1, 2].map(|n| alice.state(ids[n]).0), [Sent, Sent, Queued], "what was sent stays sent");
    let cores = alice.outbox(&bob);
    let received = bob.receive(&alice, &cores[..2]);
    alice.acknowledged(&bob, received.entries);
    assert_eq!([0, 1, 2].map(|n| alice.state(ids[n]).0), [Delivered, Delivered, Queued]);
    alice.deliver(&bob);
    assert_eq!(read_all(&alice, &bob), 3);
    assert!(ids.iter().all(|id| alice.state(*id) == (Read, None)));
    let way = alice.read(|conn| trace(conn, &ids[0]));
    let steps: Vec<Option<MessageState>> = way
        .steps
        .iter()
        .map(|step| match &step.step {
            Step::State { state, .. } => Some(*state),
            Step::Attempt { .. } => None,
            Step::Received => panic!("it is an own one"),
        })
        .collect();
    assert_eq!(steps, [Some(Queued), None, None, None, Some(Delivered), Some(Read)]);
    assert!(way.own && way.state == Read);
    let theirs = bob.read(|conn| trace(conn, &ids[0]));
    assert!(!theirs.own && theirs.state == Read);
}

#[test]
fn a_receipt_stands_for_an_acknowledgement_that_was_lost() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["one", "two"]);
    bob.receive(&alice, &alice.outbox(&bob));
    read_all(&alice, &bob);
    assert!(ids.iter().all(|id| alice.state(*id).0 == Read));
    assert!(alice.outbox(&bob).is_empty());
    // Again, and one for something that is not there.
    let (from, id) = (bob.as_device(alice.id(&bob)), ids[0]);
    alice.write(move |tx| acks::read_by(tx, from, &id)).unwrap();
    alice.write(move |tx| acks::read_by(tx, from, &message("").id)).unwrap();
    assert_eq!(alice.state(ids[1]).0, Read);
}

#[test]
fn unread_counts_and_read_marks() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["one", "two", "three"]);
    alice.deliver(&bob);
    let contact = bob.id(&alice);
    bob.send(&alice, &["mine"]);
    assert_eq!(bob.row(&alice).unread, 3);
    let second = ids[1];
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, Some(second))).unwrap(), 2);
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, Some(second))).unwrap(), 0);
    assert_eq!(bob.row(&alice).unread, 1);
    assert_eq!(read_all(&alice, &bob), 1);
    assert_eq!(
        (bob.row(&alice).unread, bob.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap()),
        (0, 0)
    );
    assert!(bob.write(move |tx| conversations::mark_read(tx, contact, Some(message("").id))).is_err());
    assert_eq!(alice.state(ids[2]).0, Read);
}

#[test]
fn an_acknowledgement_counts_for_what_it_names_and_nothing_else() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["1", "2", "3", "4", "5", "6"]);
    // With numbers that alice never gave, what is meant is not what she has under them: a new epoch begins.
    for (what, begins, change) in [
        ("another device", false, &(|e: &mut AckEntry| e.from_device = DeviceId([9; 16])) as &dyn Fn(&mut AckEntry)),
        ("another conversation", false, &|e| e.conversation = ConversationId([9; 16])),
        ("nothing", false, &|e| e.contiguous = 0),
        ("another epoch", true, &|e| e.epoch = Epoch([9; 8])),
        ("beyond the last", true, &|e| e.contiguous = 7),
        ("beyond counting", true, &|e| e.ranges = vec![(u64::MAX - 1, u64::MAX)]),
        ("beyond an i64", true, &|e| (e.contiguous, e.ranges) = (0, vec![(1 << 63, u64::MAX)])),
    ] {
        let mut wrong = entry(&alice, &bob, 6, &[]);
        change(&mut wrong);
        let before = place(&alice.outbox(&bob)[0]).0;
        alice.acknowledged(&bob, vec![wrong]);
        assert_eq!(alice.outbox(&bob).len(), 6, "{what}");
        assert_eq!(place(&alice.outbox(&bob)[0]).0 != before, begins, "{what}");
    }
    let good = entry(&alice, &bob, 1, &[]);
    alice.acknowledged(&bob, vec![AckEntry { ranges: vec![(3, 4), (6, 6)], ..good.clone() }]);
    let states: Vec<_> = ids.iter().map(|id| alice.state(*id).0).collect();
    assert_eq!(states, [Delivered, Queued, Delivered, Delivered, Queued, Delivered]);
    alice.acknowledged(&bob, vec![AckEntry { contiguous: 6, ..good }]);
    assert!(ids.iter().all(|id| alice.state(*id).0 == Delivered));
    // What is sent later is not covered by what was said before.
    let later = alice.send(&bob, &["7"]);
    assert_eq!(alice.state(later[0]).0, Queued);
}

#[test]
fn an_acknowledgement_of_a_stranger_is_not_ours() {
    let (alice, bob) = friends();
    let carol = Person::new("carol");
    alice.befriend(&carol);
    alice.send(&bob, &["for bob"]);
    let stolen = entry(&alice, &bob, 1, &[]);
    alice.acknowledged(&carol, vec![stolen]);
    assert_eq!(alice.outbox(&bob).len(), 1);
}

#[test]
fn a_rejection_ends_what_waits_and_an_acceptance_begins_a_new_epoch() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.wish(&bob, Event::UserAdds);
    let first = alice.send(&bob, &["one", "two"]);
    assert_eq!(alice.state(first[0]), (Queued, Some("awaiting_acceptance".into())));
    let (epoch, _) = place(&alice.outbox(&bob)[0]);
    alice.tell(&bob);
    bob.wish(&alice, Event::UserRejects);
    bob.tell(&alice);
    assert!(first.iter().all(|id| alice.state(*id) == (Rejected, Some("request_rejected".into()))));
    assert!(alice.outbox(&bob).is_empty());

    alice.wish(&bob, Event::UserAdds);
    let second = alice.send(&bob, &["three", "four"]);
    let places: Vec<_> = alice.outbox(&bob).iter().map(|core| place(core)).collect();
    assert_eq!(places.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [1, 2]);
    assert!(places.iter().all(|(new, _)| *new != epoch && *new == places[0].0));
    alice.tell(&bob);
    bob.wish(&alice, Event::UserAccepts);
    bob.tell(&alice);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["three", "four"]);
    assert!(second.iter().all(|id| alice.state(*id).0 == Delivered));
    assert!(first.iter().all(|id| alice.state(*id).0 == Rejected));
    read_all(&alice, &bob);
    assert!(second.iter().all(|id| alice.state(*id).0 == Read));
    assert!(first.iter().all(|id| alice.state(*id).0 == Rejected));
}

#[test]
fn a_removal_rejects_on_both_sides_and_messages_flow_again_after_a_new_accept() {
    let (alice, bob) = friends();
    alice.send(&bob, &["seen"]);
    alice.deliver(&bob);
    let lost = alice.send(&bob, &["lost"]);
    bob.send(&alice, &["lost too"]);
    bob.wish(&alice, Event::UserRemoves);
    bob.tell(&alice);
    assert_eq!(alice.state(lost[0]), (Rejected, Some("removed_by_peer".into())));
    assert!(alice.outbox(&bob).is_empty() && bob.outbox(&alice).is_empty());
    alice.befriend(&bob);
    alice.send(&bob, &["again"]);
    bob.send(&alice, &["hello"]);
    assert_eq!((place(&alice.outbox(&bob)[0]).1, place(&bob.outbox(&alice)[0]).1), (1, 1));
    alice.deliver(&bob);
    bob.deliver(&alice);
    assert_eq!((bob.shown(&alice), alice.shown(&bob)), (vec!["seen".into(), "again".into()], vec!["hello".into()]));
}

#[test]
fn nothing_waits_for_somebody_who_is_no_contact_any_more() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one"]);
    alice.deliver(&bob);
    let contact = bob.id(&alice);
    bob.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap();
    bob.write(|tx| profiles::set_profile(tx, Some("Bob"), None, None)).unwrap();
    bob.wish(&alice, Event::UserRemoves);
    assert_eq!(bob.signals(&alice).into_iter().map(|s| s.kind).collect::<Vec<_>>(), [Kind::ContactRemove]);
    bob.tell(&alice);
    assert!(bob.read(peers::with_pending).is_empty());
    // Reading what is there later tells nobody.
    alice.befriend(&bob);
    alice.send(&bob, &["two"]);
    alice.deliver(&bob);
    bob.wish(&alice, Event::UserRemoves);
    bob.tell(&alice);
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap(), 1);
    assert!(bob.read(peers::with_pending).is_empty());
}

#[test]
fn an_id_that_was_stored_is_answered_with_its_state() {
    let (alice, bob) = friends();
    let (contact, same) = (alice.id(&bob), message("once"));
    let (first, again) = (same.clone(), [message("before"), same.clone(), message("after")]);
    alice.write(move |tx| outgoing::send(tx, contact, &[first])).unwrap();
    alice.deliver(&bob);
    let stored = alice.write(move |tx| outgoing::send(tx, contact, &again)).unwrap();
    assert_eq!(stored.iter().map(|s| s.state).collect::<Vec<_>>(), [Queued, Delivered, Queued]);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["once", "before", "after"]);
}

/// Whatever came of an attempt is told as it was, and by no other word.
#[test]
fn every_outcome_is_kept_and_told_also_when_it_is_packed() {
    let (alice, bob) = friends();
    let mut outcomes = vec![Outcome::Sent, Outcome::Deposited];
    for &reason in Reason::ALL {
        outcomes.extend([Outcome::failed(reason), Outcome::failed_with(reason, "sent: deposited")]);
    }
    for outcome in &outcomes {
        let id = alice.send(&bob, &["one"])[0];
        let seq = alice.count("SELECT seq FROM streams_out ORDER BY id DESC LIMIT 1") as u64;
        attempt(&alice, &bob, seq, seq, outcome.clone());
        let (state, reason) = alice.state(id);
        let expected = match outcome {
            Outcome::Sent => (Sent, None),
            Outcome::Deposited => (Queued, None),
            Outcome::Failed(failure) if failure.reason == Reason::AccountGone => (Queued, Some("account_gone".into())),
            Outcome::Failed(failure) => (Queued, Some(failure.to_string())),
        };
        assert_eq!((state, reason), expected, "{outcome:?}");
        let told = || {
            let mut steps = alice.read(|conn| trace(conn, &id)).steps.into_iter();
            steps.find_map(|step| match step.step {
                Step::Attempt { outcome, .. } => Some(outcome),
                _ => None,
            })
        };
        assert_eq!(told().as_ref(), Some(outcome));
        alice.deliver(&bob);
        let mut next = Some(Progress::default());
        while let Some(at) = next {
            next = alice.write(move |tx| prune(tx, at, &Retention::default(), &[])).unwrap();
        }
        assert_eq!(alice.count("SELECT count(*) FROM attempts"), 0);
        assert_eq!(told().as_ref(), Some(outcome), "from a pack");
    }
}

#[test]
fn failures_that_repeat_are_two_rows() {
    let (alice, bob) = friends();
    let (contact, ids) = (alice.id(&bob), alice.send(&bob, &["one"]));
    let fail = |outcome: &'static str| {
        alice.write(move |tx| attempts::attempt_failed(tx, contact, "direct", unreachable(outcome))).unwrap()
    };
    let outcomes = ["timeout", "timeout", "timeout", "no route", "timeout", "timeout", "timeout"];
    for outcome in outcomes {
        fail(outcome);
    }
    let outcomes = alice.read(|conn| {
        let mut select = conn.prepare("SELECT detail FROM attempts ORDER BY id")?;
        Ok(select.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?)
    });
    assert_eq!(outcomes, ["timeout", "timeout", "no route"], "the first of each, and the last");
    alice.send(&bob, &["two"]);
    fail("timeout");
    assert_eq!(alice.count("SELECT count(*) FROM attempts"), 4, "another range is another row");
    assert_eq!(alice.state(ids[0]).1.unwrap(), "peer_unreachable: timeout");
}
