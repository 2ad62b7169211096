//! Events and consumers that are pruned.

use crate::model::EventKind;
use crate::store::feed::{self, consumers};
use crate::store::prune;
use crate::store::tests::prune::*;

/// Rows of many numbers each, so that the bounds are reached soon.
fn fill_events(person: &Person, upto: i64) {
    person
        .write(move |tx| {
            let head: i64 = tx.conn.query_row("SELECT max(last) FROM events", [], |row| row.get(0))?;
            let mut insert = tx.conn.prepare(
                "INSERT INTO events (last, first, type, at, body) SELECT ?1, ?2, type, at, body FROM events LIMIT 1",
            )?;
            for first in (head + 1..=upto).step_by(1_000) {
                insert.execute([(first + 999).min(upto), first])?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn events_are_kept_for_consumers_up_to_a_bound_and_numbers_go_on() {
    let (alice, bob) = friends();
    let oldest = |person: &Person| person.count("SELECT min(first) FROM events");
    let keep = Retention::default();
    let head = keep.consumer_events + 500_000;
    fill_events(&alice, head);
    for (name, seq) in [("far", 100_000), ("behind", head - keep.events - 300_000), ("near", head)] {
        alice.write(move |tx| consumers::consumer_begin(tx, name, seq as u64)).unwrap();
    }
    prune(&alice);
    let bound = head - keep.consumer_events;
    assert!((bound - 1_000..=bound + 1).contains(&oldest(&alice)), "no consumer holds more than the bound");
    let page = alice.read(|conn| feed::read_events(conn, 100_000, 10));
    assert_eq!(page.events[0].kind(), EventKind::FeedLagged, "it is told what it missed");
    alice.write(|tx| consumers::consumer_remove(tx, "far")).unwrap();
    prune(&alice);
    let bound = head - keep.events - 300_000;
    assert!((bound - 1_000..=bound + 1).contains(&oldest(&alice)), "what one waits for is kept");
    // A dead letter holds its event as a consumer does.
    let dead = head - keep.events - 200_000;
    alice
        .write(move |tx| {
            consumers::consumer_begin(tx, "late", dead as u64 - 1)?;
            consumers::consumer_give_up(tx, "late", dead as u64, "exit code 1", head as u64)?;
            consumers::consumer_ack(tx, "late", head as u64, head as u64)?;
            consumers::consumer_reset(tx, "behind", head as u64)
        })
        .unwrap();
    prune(&alice);
    assert!((dead - 1_000..=dead).contains(&oldest(&alice)), "{} for {dead}", oldest(&alice));
    alice.write(move |tx| consumers::consumer_reset(tx, "late", head as u64)).unwrap();
    prune(&alice);
    let bound = head - keep.events;
    assert!((bound - 1_000..=bound + 1).contains(&oldest(&alice)));
    // Everything but the newest may go, and the newest stays, so that numbers go on after a restart.
    alice
        .write(|tx| Ok(tx.conn.execute("DELETE FROM events WHERE last < (SELECT max(last) FROM events)", [])?))
        .unwrap();
    prune(&alice);
    super::super::fixture::run(alice.store.close());
    let again = Store::open(alice.folder.path(), &Indexer::start()).unwrap();
    let alice = Person { store: again, ..alice };
    alice.send(&bob, &["next"]);
    assert_eq!(alice.count("SELECT max(last) FROM events"), keep.consumer_events + 500_001);
}

#[test]
fn an_operator_says_how_many_events_are_kept() {
    let (alice, _bob) = friends();
    fill_events(&alice, 100_000);
    let keep = Retention { events: 5_000, ..Retention::default() };
    let mut next = Some(Progress::default());
    while let Some(at) = next {
        next = alice.write(move |tx| prune::prune(tx, at, &keep, &[])).unwrap();
    }
    assert!((94_000..=95_001).contains(&alice.count("SELECT min(first) FROM events")));
}

#[test]
fn a_consumer_goes_when_it_is_idle_and_far_behind_and_not_read() {
    let (alice, _bob) = friends();
    let keep = Retention::default();
    let head = keep.events + 1_000;
    for name in ["idle", "read", "young"] {
        alice.write(move |tx| consumers::consumer_begin(tx, name, 1)).unwrap();
    }
    alice.write(move |tx| consumers::consumer_begin(tx, "near", 900)).unwrap();
    fill_events(&alice, head);
    let old = Timestamp::now().0 - keep.consumer_ms - 1_000;
    alice
        .write(move |tx| {
            Ok(tx.conn.execute(
                "UPDATE consumers SET at = ?1, seq = iif(name = 'near', 2000, seq) WHERE name <> 'young'",
                [old],
            )?)
        })
        .unwrap();
    alice.write(move |tx| prune::prune(tx, Progress::Consumers, &keep, &["read".to_owned()])).unwrap();
    let left: Vec<String> =
        alice.read(|conn| consumers::page(conn, "", 10, 0)).into_iter().map(|one| one.name).collect();
    assert_eq!(left, ["near", "read", "young"]);
}
