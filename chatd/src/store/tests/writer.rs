//! The writer thread when things go wrong: failing operations, a full disk, a lock, a kill.

use crate::model::Outcome;
use proto::reason::Reason;
use std::sync::mpsc;

use proto::ids::MessageId;
use rusqlite::Connection;

use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::Store;
use crate::store::delivery::{attempts, outbox};
use crate::store::disk::share::Share;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::feed::read_events;
use crate::store::log::outgoing;
use crate::store::tests::fixture::{Person, message, run};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

type Op = Box<dyn FnOnce(&mut Tx<'_>) -> Result<MessageId, StoreError> + Send>;

/// Runs the operations in one transaction: the first keeps the writer until all are queued.
fn grouped(person: &Person, ops: Vec<Op>) -> Vec<Result<MessageId, StoreError>> {
    run(async {
        let (go, wait) = mpsc::channel::<()>();
        let first = person.store.enqueue(move |_| Ok(wait.recv().is_ok())).await.unwrap();
        let mut pending = Vec::new();
        for op in ops {
            pending.push(person.store.enqueue(op).await.unwrap());
        }
        go.send(()).unwrap();
        let mut out = Vec::new();
        for one in pending {
            out.push(one.outcome().await);
        }
        let _ = first.outcome().await;
        out
    })
}

fn sends(contact: PeerId, text: &'static str) -> Op {
    Box::new(move |tx| Ok(outgoing::send(tx, contact, &[message(text)])?[0].id))
}

fn bodies(person: &Person) -> Vec<String> {
    person.read(|conn| {
        let mut select = conn.prepare("SELECT body FROM messages ORDER BY id")?;
        Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    })
}

/// Every number from 1 to the head has its event.
fn events_are_whole(person: &Person) {
    let page = person.read(|conn| read_events(conn, 0, 10_000));
    let seqs: Vec<u64> = page.events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=person.store.hub().head()).collect::<Vec<_>>());
}

#[test]
fn a_failed_operation_leaves_its_neighbours_alone() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    let fails: Op = Box::new(move |tx| {
        outgoing::send(tx, contact, &[message("never")])?;
        Err(StoreError::NotFound("what was looked for"))
    });
    let outcomes = grouped(&alice, vec![sends(contact, "one"), fails, sends(contact, "two"), sends(contact, "three")]);
    assert!(matches!(outcomes[1], Err(StoreError::NotFound(_))));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert_eq!(bodies(&alice), ["one", "two", "three"]);
    events_are_whole(&alice);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice), ["one", "two", "three"], "no hole in the stream");
    assert!(!bob.receive(&alice, &[]).chain_broken);
}

#[test]
fn nothing_of_a_lost_transaction_is_answered_as_stored() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    // What SQLite may do by itself when the disk is full.
    let loses: Op = Box::new(move |tx| {
        tx.conn.execute_batch("ROLLBACK")?;
        Err(StoreError::Full)
    });
    let before = alice.store.hub().head();
    let outcomes = grouped(&alice, vec![sends(contact, "one"), loses, sends(contact, "two")]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Full))), "{outcomes:?}");
    let fails: Op = Box::new(move |tx| {
        tx.conn.execute_batch("ROLLBACK")?;
        Err(StoreError::Damaged("page"))
    });
    let outcomes = grouped(&alice, vec![sends(contact, "one"), fails]);
    assert!(matches!(&outcomes[0], Err(StoreError::NotStored(why)) if why.contains("page")), "{outcomes:?}");
    assert!(bodies(&alice).is_empty());
    assert_eq!((alice.store.hub().head(), alice.store.write_error().is_some()), (before, true));
    assert!(grouped(&alice, vec![sends(contact, "three")])[0].is_ok());
    assert_eq!((bodies(&alice), alice.store.write_error()), (vec!["three".to_owned()], None));
    events_are_whole(&alice);
}

#[test]
fn a_full_disk_is_told_and_passes() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    alice.send(&bob, &["before"]);
    let pages = alice.write(|tx| Ok(tx.conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?)).unwrap();
    let limit = |pages: i64| {
        move |tx: &mut Tx<'_>| Ok(tx.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
    };
    alice.write(limit(pages + 2)).unwrap();
    let large = "x".repeat(60_000);
    let big = move || -> Op {
        let large = large.clone();
        Box::new(move |tx| Ok(outgoing::send(tx, contact, &[message(&large)])?[0].id))
    };
    let outcomes = grouped(&alice, vec![big(), big(), sends(contact, "small")]);
    assert!(outcomes[..2].iter().all(|outcome| matches!(outcome, Err(StoreError::Full))), "{outcomes:?}");
    let text = outcomes[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("disk is full"), "{text}");
    // Whoever was told that it is stored has it stored, and nobody else.
    let small = usize::from(outcomes[2].is_ok());
    assert_eq!(bodies(&alice).len(), 1 + small);
    assert_eq!(alice.count("SELECT count(*) FROM outbox"), 1 + small as i64);
    events_are_whole(&alice);
    alice.write(limit(1_000_000)).unwrap();
    assert!(grouped(&alice, vec![big()])[0].is_ok());
    events_are_whole(&alice);
    alice.deliver(&bob);
    assert_eq!(bob.shown(&alice).len(), 2 + small);
}

#[test]
fn without_a_transaction_the_answer_says_why() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    alice.write(|tx| Ok(tx.conn.busy_timeout(std::time::Duration::ZERO)?)).unwrap();
    let other = Connection::open(alice.folder.path().join("messages.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = alice.write(move |tx| outgoing::send(tx, contact, &[message("one")]));
    assert!(matches!(&outcome, Err(StoreError::NotStored(why)) if why.contains("locked")), "{outcome:?}");
    assert!(alice.outbox(&bob).is_empty(), "readers go on");
    other.execute_batch("ROLLBACK").unwrap();
    alice.write(move |tx| outgoing::send(tx, contact, &[message("two")])).unwrap();
    assert_eq!(bodies(&alice), ["two"]);
}

#[test]
fn what_was_answered_survives_a_kill() {
    let (alice, bob) = friends();
    alice.send(&bob, &["one", "two"]);
    bob.receive(&alice, &alice.outbox(&bob));
    // The files as they are at this moment, with the daemons still running.
    for (person, rows) in [(&alice, 2), (&bob, 2)] {
        let copy = tempfile::tempdir().unwrap();
        for file in ["messages.db", "messages.db-wal"] {
            std::fs::copy(person.folder.path().join(file), copy.path().join(file)).unwrap();
        }
        let indexer = crate::store::history::search::Indexer::start();
        let store = Store::open(copy.path(), &indexer).unwrap();
        let found: i64 = store
            .read_blocking(|conn| Ok(conn.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?))
            .unwrap();
        assert_eq!(found, rows);
        assert_eq!(store.hub().head(), person.store.hub().head());
        run(store.close());
    }
    let contact = alice.id(&bob);
    assert_eq!(
        alice.read(|conn| outbox::outbox_after(conn, bob.as_device(contact), (OutStreamRow(0), 0), usize::MAX)).len(),
        2
    );
}

#[test]
fn a_closed_store_says_so() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    run(alice.store.close());
    assert!(matches!(alice.write(move |tx| outgoing::send(tx, contact, &[message("late")])), Err(StoreError::Closed)));
    assert_eq!(alice.row(&bob).id, contact, "reading still works");
}

#[test]
fn notes_are_stored_with_the_next_operation() {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    alice.send(&bob, &["one"]);
    alice.store.write_lazily(move |tx| {
        attempts::attempt_failed(tx, contact, "direct", Outcome::failed_with(Reason::PeerUnreachable, "no route"))
    });
    alice.store.write_lazily(|_| Err(StoreError::NotFound("a note that fails")));
    alice.write(|_| Ok(())).unwrap();
    assert_eq!(alice.count("SELECT count(*) FROM attempts"), 1);
}

#[test]
fn what_a_store_has_counts_when_it_is_opened() {
    let share = Share::new(u64::MAX);
    let alice = Person::new("alice");
    alice.store.count_against(&share);
    assert!(share.used().bytes > 0, "nothing was written since");
}
