//! Holes: held back, asked for, given up, told, filled late; and what does not fit is not taken.

use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};

use crate::model::{Event, EventBody};
use crate::store::feed::read_events;
use crate::store::history;
use crate::store::log::reorder::{self, HOLD_MS, HOLD_UNDRAINED_MS, has_hole, holes};
use crate::store::tests::fixture::Person;
use crate::store::tests::streams::{Link, stream};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

/// Cores `seqs` of a stream of texts.
fn some(cores: &[(u64, Vec<u8>)], seqs: &[u64]) -> Vec<Vec<u8>> {
    cores.iter().filter(|(seq, _)| seqs.contains(seq)).map(|(_, core)| core.clone()).collect()
}

fn later(ms: i64) -> Timestamp {
    Timestamp(Timestamp::now().0 + ms)
}

fn give_up(person: &Person, at: Timestamp, drained: bool) -> Option<Timestamp> {
    person.write(move |tx| reorder::give_up_gaps(tx, at, drained)).unwrap()
}

/// Gaps and messages in the order in which a reader of the feed sees them.
fn feed(person: &Person) -> Vec<String> {
    let events = person.read(|conn| read_events(conn, 0, 10_000)).events;
    let word = |event: &Event| match &event.body {
        EventBody::Gap { count, reason } => Some(reason.clone().unwrap_or_else(|| format!("{count} missing"))),
        EventBody::Received { message, .. } => {
            Some(if message.late { format!("{} late", message.body) } else { message.body.clone() })
        }
        _ => None,
    };
    events.iter().filter_map(word).collect()
}

#[test]
fn what_follows_a_hole_is_shown_after_a_minute_and_a_gap() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 9]);
    let contact = bob.id(&alice);
    let received = bob.receive(&alice, &some(&cores, &[1, 4, 5, 8, 9]));
    assert_eq!((received.shown, received.held), (1, 4));
    assert!(bob.read(|conn| has_hole(conn, contact)));
    assert_eq!(bob.read(holes)[0].contact, contact);
    let again = give_up(&bob, Timestamp::now(), true).unwrap();
    assert!(again > later(HOLD_MS - 5_000) && again <= later(HOLD_MS));
    assert_eq!(bob.shown(&alice), ["1"], "not before its time");
    assert_eq!(give_up(&bob, later(HOLD_MS), true), None);
    assert_eq!(feed(&bob), ["1", "2 missing", "4", "5", "2 missing", "8", "9"]);
    assert!(!bob.read(|conn| has_hole(conn, contact)));
    // The hole is not acknowledged: whoever has it still may send it.
    let AckEntry { contiguous, ranges, .. } = bob.receive(&alice, &some(&cores, &[1])).entries[0].clone();
    assert_eq!((contiguous, ranges), (1, vec![(4, 5), (8, 9)]));
    // It comes late, once, and what follows goes on.
    assert_eq!(bob.receive(&alice, &some(&cores, &[3])).shown, 1);
    let received = bob.receive(&alice, &some(&cores, &[2, 3]));
    assert_eq!((received.shown, received.duplicates, received.entries[0].contiguous), (1, 1, 5));
    assert!(!received.chain_broken);
    assert_eq!(feed(&bob)[7..], ["3 late", "2 late"]);
    let page = bob.read(|conn| history::page(conn, contact, 20, None, None, None)).messages;
    let marks: Vec<(&str, bool, u64)> = page.iter().map(|m| (m.body.as_str(), m.late, m.missing)).collect();
    let before = [("1", false, 0), ("4", false, 2), ("5", false, 0), ("8", false, 2), ("9", false, 0)];
    assert_eq!(marks, [&before[..], &[("3", true, 0), ("2", true, 0)]].concat());
    assert_eq!(bob.row(&alice).unread, 7);
}

#[test]
fn the_mailbox_is_awaited_but_not_for_ever() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 2]);
    bob.receive(&alice, &some(&cores, &[2]));
    assert!(give_up(&bob, later(HOLD_MS), false).is_some());
    assert!(bob.shown(&alice).is_empty());
    assert_eq!(give_up(&bob, later(HOLD_UNDRAINED_MS), false), None);
    assert_eq!(feed(&bob), ["1 missing", "2"]);
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_back() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 2]);
    bob.receive(&alice, &some(&cores, &[2]));
    let ten_years = 10 * 365 * 86_400_000;
    let before = later(-ten_years);
    let again = give_up(&bob, before, true).unwrap();
    assert_eq!(again, Timestamp(before.0 + HOLD_MS));
    assert_eq!(give_up(&bob, again, true), None);
    assert_eq!(bob.shown(&alice), ["2"]);
}

#[test]
fn dropped_messages_are_gaps_of_their_number() {
    for dropped in [1, 2, 7] {
        let (alice, bob) = friends();
        let cores = stream(&alice, &bob, 1, &[Link::Text; 24]);
        // Every third is dropped, so that each is a gap of its own.
        let kept: Vec<u64> = (1..=24).filter(|seq| seq % 3 != 2 || seq / 3 >= dropped).collect();
        bob.receive(&alice, &some(&cores, &kept));
        give_up(&bob, later(HOLD_MS), true);
        let told = feed(&bob);
        let gaps = told.iter().filter(|word| *word == "1 missing").count() as u64;
        println!("dropped {dropped}: {gaps} gaps told, {} messages shown", told.len() as u64 - gaps);
        assert_eq!((gaps, told.len() as u64 - gaps), (dropped, 24 - dropped));
    }
}

#[test]
fn what_the_sender_gave_up_is_no_gap() {
    let (alice, bob) = friends();
    let links = [Link::Text, Link::Lost, Link::Lost, Link::Skip(2), Link::Text];
    let cores = stream(&alice, &bob, 1, &links);
    bob.receive(&alice, &some(&cores, &[1, 5]));
    bob.receive(&alice, &some(&cores, &[4]));
    assert_eq!(feed(&bob), ["1", "5"]);
}

#[test]
fn no_gap_is_told_when_everything_came_in_another_epoch() {
    let (alice, bob) = friends();
    let old = stream(&alice, &bob, 1, &[Link::Text; 4]);
    bob.receive(&alice, &some(&old, &[1, 3, 4]));
    // Alice begins a new epoch, and repeats what stands above the hole.
    let mut prev = [0; 32];
    for (seq, (_, bytes)) in (1..).zip(&old[1..]) {
        let epoch = proto::ids::Epoch([2; 8]);
        let core = Core { epoch, seq, prev, ..Core::decode(bytes).unwrap() }.encode();
        prev = proto::ids::sha256(&[&core]);
        bob.receive(&alice, &[core]);
    }
    give_up(&bob, later(HOLD_MS), true);
    assert_eq!(feed(&bob), ["1", "2", "3", "4"]);
    assert_eq!(bob.count("SELECT count(*) FROM reorder_buffer"), 0);
}

#[test]
fn what_does_not_fit_is_refused_until_a_hole_is_old() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 24]);
    let even: Vec<u64> = (1..=16).map(|n| n * 2 - 1).skip(1).collect();
    let received = bob.receive(&alice, &some(&cores, &even[..9]));
    assert_eq!((received.held, received.refused), (8, 1));
    give_up(&bob, later(HOLD_MS), true);
    assert_eq!(bob.receive(&alice, &some(&cores, &even[8..9])).refused, 1, "the holes may be filled yet");
    // A week later nobody expects that any more, and one hole makes room.
    bob.write(|tx| Ok(tx.conn.execute("UPDATE streams_in SET given_up = given_up - 8 * 86400000", [])?)).unwrap();
    bob.write(|tx| {
        crate::store::log::streams::forget_cached(tx);
        Ok(())
    })
    .unwrap();
    let received = bob.receive(&alice, &some(&cores, &even[8..10]));
    assert_eq!((received.refused, received.held), (0, 2));
    assert_eq!(received.entries[0].contiguous, 5);
    give_up(&bob, later(HOLD_MS), true);
    assert_eq!(bob.shown(&alice).len(), 10);
}

#[test]
fn a_chain_that_does_not_link_is_told() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 2]);
    let forged = Core { prev: [9; 32], ..Core::decode(&cores[1].1).unwrap() }.encode();
    bob.receive(&alice, &[cores[0].1.clone(), forged]);
    assert_eq!(feed(&bob), ["1", "2", "chain_broken"]);
}

#[test]
fn duplicated_and_reordered_frames_are_seen_once() {
    let frames: u64 = std::env::var("CHATD_TORTURE_FRAMES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let (alice, bob) = friends();
    let sent = frames / 10;
    let cores = stream(&alice, &bob, 1, &vec![Link::Text; sent as usize]);
    // Ten copies of each, every one some places away from where it belongs; at most 8 ranges wide, as a link and a
    // mailbox together would deliver.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut arrived, mut duplicates, mut refused) = (0_u64, 0_u64, 0_u64);
    let mut window: Vec<usize> = Vec::new();
    let mut next = 0;
    while arrived < frames {
        while window.len() < 60 && next < cores.len() * 10 {
            window.push(next / 10);
            next += 1;
        }
        let mut envelope = Vec::new();
        while envelope.len() < 256 && !window.is_empty() {
            let at = random() as usize % window.len();
            envelope.push(cores[window.swap_remove(at)].1.clone());
            while window.len() < 60 && next < cores.len() * 10 {
                window.push(next / 10);
                next += 1;
            }
        }
        if envelope.is_empty() {
            break;
        }
        arrived += envelope.len() as u64;
        let received = bob.receive(&alice, &envelope);
        duplicates += received.duplicates as u64;
        refused += received.refused as u64;
    }
    let seen = bob.shown(&alice);
    println!("{arrived} frames: {sent} sent, {} seen, {duplicates} duplicates, {refused} refused", seen.len());
    assert_eq!(seen, (1..=sent).map(|seq| seq.to_string()).collect::<Vec<_>>(), "once each, in order");
    assert_eq!(duplicates + refused + sent, arrived);
}
