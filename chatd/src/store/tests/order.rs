//! Each core once and in its sender's order, whatever happens on the way; acknowledgements say what is stored.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proto::ids::Epoch;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Skip};

use crate::store::engine::writer::steps;
use crate::store::history::conversations;
use crate::store::log::outgoing;
use crate::store::log::told::resume_entries;
use crate::store::tests::fixture::{Person, message, text_payload};
use crate::store::tests::streams::{Link, stream};

/// The seqs that an acknowledgement covers.
fn covered(entry: &AckEntry) -> BTreeSet<u64> {
    (1..=entry.contiguous).chain(entry.ranges.iter().flat_map(|(low, high)| *low..=*high)).collect()
}

/// The form that the decoder of the other side insists on.
fn well_formed(entry: &AckEntry) -> bool {
    let mut above = entry.contiguous;
    entry.ranges.len() <= proto::wire::MAX_ACK_RANGES
        && entry.ranges.iter().all(|(low, high)| {
            let fits = *low > above + 1 && high >= low;
            above = *high;
            fits
        })
}

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

#[derive(Debug, Clone)]
struct Plan {
    links: Vec<Link>,
    /// Envelopes: which of the cores each carries, in its order.
    envelopes: Vec<Vec<prop::sample::Index>>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let link = prop_oneof![6 => Just((true, 0)), 1 => Just((false, 0)), 1 => Just((true, 1))];
    let links = prop::collection::vec(link, 1..24).prop_map(|raw| {
        let mut lost = 0;
        let mut links = Vec::new();
        for (sent, skip) in raw {
            match (sent, skip, lost) {
                (false, ..) => {
                    lost += 1;
                    links.push(Link::Lost);
                }
                // Whatever was dropped before is named by the next that goes out.
                (true, _, lost_now) if lost_now > 0 => {
                    links.push(Link::Skip(lost_now));
                    lost = 0;
                }
                _ => links.push(Link::Text),
            }
        }
        links.push(if lost > 0 { Link::Skip(lost) } else { Link::Text });
        links
    });
    let envelope = prop::collection::vec(any::<prop::sample::Index>(), 0..6);
    (links, prop::collection::vec(envelope, 0..12)).prop_map(|(links, envelopes)| Plan { links, envelopes })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_core_is_shown_once_and_in_order(plan in plan()) {
        let (alice, bob) = friends();
        let contact = bob.id(&alice);
        let cores = stream(&alice, &bob, 1, &plan.links);
        let mut acked = BTreeSet::new();
        for envelope in &plan.envelopes {
            let picked: Vec<Vec<u8>> = envelope.iter().map(|index| index.get(&cores).1.clone()).collect();
            let received = bob.receive(&alice, &picked);
            prop_assert!(!received.chain_broken);
            for entry in &received.entries {
                prop_assert!(well_formed(entry), "{entry:?}");
                let now = covered(entry);
                prop_assert!(acked.is_subset(&now), "what was acknowledged stays acknowledged");
                acked = now;
            }
            // What is acknowledged is on disk: shown, held, or skipped; and nothing else is there.
            let seqs = |sql: &str| -> BTreeSet<u64> {
                bob.read(|conn| {
                    let mut select = conn.prepare(sql)?;
                    Ok(select.query_map([], |row| row.get::<_, i64>(0))?.map(|seq| seq.unwrap() as u64).collect())
                })
            };
            let (shown, held) = (seqs("SELECT seq FROM messages WHERE sender <> 0"), seqs("SELECT seq FROM reorder_buffer"));
            prop_assert!(shown.is_disjoint(&held));
            let texts: BTreeSet<u64> = (1..).zip(&plan.links).filter(|(_, l)| **l == Link::Text).map(|(s, _)| s).collect();
            let stored: BTreeSet<u64> = shown.union(&held).copied().filter(|seq| texts.contains(seq)).collect();
            prop_assert_eq!(&stored, &acked.intersection(&texts).copied().collect());
        }
        // The link comes back: bob's resume says where to begin, and everything that is not covered is sent again.
        let resume = bob.read(|conn| resume_entries(conn, contact, alice.device_id()));
        prop_assert!(resume.iter().all(well_formed));
        let have: BTreeSet<u64> = resume.iter().flat_map(covered).collect();
        prop_assert_eq!(&have, &acked);
        let rest: Vec<Vec<u8>> = cores.iter().filter(|(seq, _)| !have.contains(seq)).map(|(_, core)| core.clone()).collect();
        bob.receive(&alice, &rest);
        let last = bob.receive(&alice, &cores.iter().map(|(_, core)| core.clone()).collect::<Vec<_>>());
        prop_assert_eq!(last.shown, 0);
        prop_assert_eq!(last.entries[0].contiguous, plan.links.len() as u64);
        prop_assert!(last.entries[0].ranges.is_empty());
        let expected: Vec<String> =
            (1..).zip(&plan.links).filter(|(_, l)| **l == Link::Text).map(|(seq, _): (u64, _)| seq.to_string()).collect();
        prop_assert_eq!(bob.shown(&alice), expected);
        prop_assert_eq!(bob.count("SELECT count(*) FROM reorder_buffer"), 0);
    }
}

#[test]
fn numbers_that_cannot_be_counted_are_not_taken() {
    let (alice, bob) = friends();
    for seq in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, (1 << 62) + 1] {
        let received = bob.receive(&alice, &[alice.core(&bob, "text", seq, &text_payload("far"))]);
        assert!(received.entries.iter().all(|entry| covered(entry).is_empty()), "{seq}");
    }
    let far = 1 << 62;
    let skip = Skip { low: 1, high: u64::MAX, reason: "" }.encode();
    let received = bob.receive(&alice, &[alice.core(&bob, "skip", far, &skip)]);
    assert_eq!(
        (received.entries[0].contiguous, received.shown),
        (far, 0),
        "its own stream ends there, and nothing else"
    );
    assert_eq!(bob.count("SELECT count(*) FROM streams_in WHERE contiguous < 0"), 0);
    assert_eq!(bob.count("SELECT count(*) FROM messages"), 0);
}

#[test]
fn many_wide_skips_are_cheap() {
    let (alice, bob) = friends();
    let cores: Vec<Vec<u8>> = (1..=300)
        .map(|n| {
            let seq = n * 10_000_000;
            alice.core(&bob, "skip", seq, &Skip { low: 2, high: seq, reason: "" }.encode())
        })
        .collect();
    let before = bob.write(|_| Ok(steps())).unwrap();
    let received = bob.receive(&alice, &cores);
    let took = bob.write(|_| Ok(steps())).unwrap() - before;
    println!("figure: 300 skips of ten million numbers each: {took} steps of SQLite");
    assert!(took < 300 * 50, "{took} steps");
    assert_eq!(received.entries[0].ranges, [(2, 3_000_000_000)]);
}

#[test]
fn a_skip_below_held_cores_shows_them() {
    let (alice, bob) = friends();
    let links = [Link::Text, Link::Lost, Link::Lost, Link::Text, Link::Text, Link::Text];
    let cores = stream(&alice, &bob, 1, &links);
    bob.receive(&alice, &cores.iter().map(|(_, core)| core.clone()).collect::<Vec<_>>());
    assert_eq!(bob.shown(&alice), ["1"]);
    // It names the hole, and itself comes after a gap of its own.
    let skip = alice.core(&bob, "skip", 9, &Skip { low: 2, high: 3, reason: "" }.encode());
    let received = bob.receive(&alice, &[skip]);
    assert_eq!(bob.shown(&alice), ["1", "4", "5", "6"]);
    assert_eq!((received.entries[0].contiguous, received.entries[0].ranges.clone()), (6, vec![(9, 9)]));
    assert!(!received.chain_broken, "the hash of what was skipped is not known to be wrong");
}

#[test]
fn a_ninth_hole_is_neither_stored_nor_acknowledged() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 24]);
    let every_other: Vec<Vec<u8>> =
        cores.iter().filter(|(seq, _)| seq % 2 == 0).map(|(_, core)| core.clone()).collect();
    let received = bob.receive(&alice, &every_other);
    assert_eq!(received.entries[0].ranges.len(), 8);
    assert_eq!(bob.count("SELECT count(*) FROM reorder_buffer"), 8);
    bob.receive(&alice, &cores.into_iter().map(|(_, core)| core).collect::<Vec<_>>());
    assert_eq!(bob.shown(&alice).len(), 24);
}

#[test]
fn epochs_are_streams_of_their_own_and_a_message_id_shows_once() {
    let (alice, bob) = friends();
    let (first, second) = (stream(&alice, &bob, 1, &[Link::Text; 3]), stream(&alice, &bob, 2, &[Link::Text; 2]));
    let mixed = [&second[0], &first[0], &second[1], &first[2], &first[1]].map(|(_, core)| core.clone());
    let received = bob.receive(&alice, &mixed);
    assert_eq!(received.entries.len(), 2, "one entry for each stream");
    assert_eq!(bob.shown(&alice), ["1", "1", "2", "2", "3"]);
    // Issued again in a new epoch under the old message id: its seq counts, it is not shown again.
    let core = Core::decode(&first[0].1).unwrap();
    let again = Core { epoch: Epoch([3; 8]), prev: [0; 32], seq: 1, ..core }.encode();
    let received = bob.receive(&alice, &[again]);
    assert_eq!((received.shown, received.entries[0].contiguous), (0, 1));
    assert_eq!(bob.count("SELECT sum(unread) FROM conversations"), 5);
}

#[test]
fn a_chain_that_does_not_link_is_stored_and_told() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &[Link::Text; 3]);
    let forged = Core { prev: [9; 32], ..Core::decode(&cores[1].1).unwrap() }.encode();
    assert!(!bob.receive(&alice, &[cores[0].1.clone()]).chain_broken);
    assert!(bob.receive(&alice, &[forged]).chain_broken);
    assert!(bob.receive(&alice, &[cores[2].1.clone()]).chain_broken);
    assert_eq!(bob.shown(&alice).len(), 3);
}

#[test]
fn what_cannot_be_read_keeps_its_place() {
    let (alice, bob) = friends();
    let cores = [
        alice.core(&bob, "text", 1, b"\xc1"),
        alice.core(&bob, "poll.new", 2, b"of a later version"),
        alice.core(&bob, Kind::Text.as_str(), 3, &text_payload("third")),
    ];
    let received = bob.receive(&alice, &cores);
    assert_eq!((received.entries[0].contiguous, received.shown), (3, 1));
    assert_eq!(bob.shown(&alice), ["third"]);
}

#[test]
fn the_same_id_from_both_sides_is_two_messages() {
    let (alice, bob) = friends();
    let own = message("mine");
    let id = own.id;
    let contact = bob.id(&alice);
    bob.write(move |tx| outgoing::send(tx, contact, &[own])).unwrap();
    let core = alice.core(&bob, "text", 1, &text_payload("theirs"));
    let copied = Core { id, ..Core::decode(&core).unwrap() }.encode();
    bob.receive(&alice, &[copied]);
    assert_eq!(bob.shown(&alice), ["theirs"]);
    assert_eq!(bob.write(move |tx| conversations::mark_read(tx, contact, Some(id))).unwrap(), 1);
    assert_eq!(bob.count("SELECT sum(unread) FROM conversations"), 0);
}

#[test]
fn the_number_of_a_message_is_never_used_again() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one", "two"]);
    let newest = alice.count("SELECT max(id) FROM messages");
    alice.write(|tx| Ok(tx.conn.execute("DELETE FROM messages", [])?)).unwrap();
    alice.send(&bob, &["three"]);
    assert_eq!(alice.count("SELECT id FROM messages"), newest + 1);
}
