//! What is pruned, what of it is noticed (nothing), and how much is left.

mod events;

use crate::model::Outcome;
use proto::ids::{ConversationId, Epoch, MessageId};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};

use crate::model::MessageState::{self, Delivered, Expired, Mailboxed, Queued, Read, Rejected, Sent, Withdrawn};
use crate::model::ids::{OutStreamRow, PeerId};
use crate::policy::limits::Retention;
use crate::store::Store;
use crate::store::contacts::giveup;
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::deposits::{self, Deposit};
use crate::store::delivery::trace;
use crate::store::engine::writer::steps;
use crate::store::history::search::Indexer;
use crate::store::history::{self, conversations};
use crate::store::log::acks;
use crate::store::log::expiry::expiry;
use crate::store::log::outgoing::{self, NewMessage};
use crate::store::log::recovery::epochs;
use crate::store::prune::{self, Progress, STREAMS_WITH_UNSEEN};
use crate::store::tests::fixture::{Person, message};
use crate::store::tests::streams::{Link, stream};

const NOW: i64 = 1_800_000_000;

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

/// One round; the longest slice in steps of SQLite, and how many there were.
fn prune(person: &Person) -> (u64, u64) {
    let (mut next, mut longest, mut slices) = (Some(Progress::default()), 0, 0);
    while let Some(at) = next {
        let (then, took) = person
            .write(move |tx| {
                let before = steps();
                let next = prune::prune(tx, at, &Retention::default(), &[])?;
                Ok((next, steps() - before))
            })
            .unwrap();
        (next, longest, slices) = (then, longest.max(took), slices + 1);
    }
    (longest, slices)
}

/// History as it is shown, and the trace of each message in it.
fn told(store: &Store, contact: PeerId) -> Vec<String> {
    store
        .read_blocking(|conn| {
            let page = history::page(conn, contact, 100_000, None, None, None)?;
            page.messages
                .iter()
                .map(|message| Ok(format!("{message:?}: {:?}", trace::trace(conn, &message.id)?)))
                .collect()
        })
        .unwrap()
}

fn entry(alice: &Person, bob: &Person, contiguous: u64, ranges: &[(u64, u64)]) -> AckEntry {
    let epoch = alice.read(|conn| {
        Ok(conn
            .query_row("SELECT epoch FROM streams_out ORDER BY id DESC LIMIT 1", [], |row| row.get::<_, Vec<u8>>(0))?)
    });
    AckEntry {
        from_device: alice.device_id(),
        conversation: ConversationId::direct(alice.account, bob.account),
        epoch: Epoch::from_slice(&epoch).unwrap(),
        contiguous,
        ranges: ranges.to_vec(),
        head: None,
    }
}

fn attempt(alice: &Person, bob: &Person, (low, high): (u64, u64), path: &'static str, outcome: Outcome, at: i64) {
    let (contact, stream) = (alice.id(bob), alice.count("SELECT max(id) FROM streams_out"));
    let note = AttemptNote { stream: OutStreamRow(stream), low, high, path, outcome, at: Timestamp(at) };
    alice.write(move |tx| attempts::attempt(tx, contact, &note)).unwrap();
}

fn send_one(alice: &Person, bob: &Person, expires: Option<i64>) -> MessageId {
    let contact = alice.id(bob);
    let new = NewMessage { expires, ..message("words") };
    alice.write(move |tx| outgoing::send(tx, contact, &[new])).unwrap()[0].id
}

/// Alice, with messages to bob that came to every state there is, and some of his; with what each should be.
fn every_kind() -> (Person, Person, Vec<(MessageId, MessageState)>) {
    let (alice, bob) = friends();
    let contact = alice.id(&bob);
    let mut kinds = Vec::new();
    // Rejected and withdrawn, some of which had left.
    for state in [Rejected, Withdrawn] {
        let ids = alice.send(&bob, &["1", "2", "3"]);
        attempt(&alice, &bob, (1, 2), "direct", Outcome::Sent, 1_000);
        alice.write(move |tx| acks::reject_queued(tx, contact, state, Reason::Blocked)).unwrap();
        kinds.extend(ids.into_iter().map(|id| (id, state)));
    }
    // Two that end, one of which left; then one that arrives after all.
    for left in [false, true, true] {
        let id = send_one(&alice, &bob, Some(expiry(60, Some(NOW))));
        let seq = alice.count("SELECT seq FROM streams_out ORDER BY id DESC LIMIT 1") as u64;
        if left {
            attempt(&alice, &bob, (seq, seq), "direct", Outcome::Sent, 2_000 + seq as i64);
        }
        alice.write(move |tx| giveup::expire_due(tx, NOW + 60)).unwrap();
        kinds.push((id, Expired));
    }
    let arrived = kinds.last().unwrap().0;
    let from = bob.as_device(alice.id(&bob));
    alice.write(move |tx| acks::read_by(tx, from, &arrived)).unwrap();
    kinds.last_mut().unwrap().1 = Read;
    // A long talk: each message tried once or more, acknowledged at a moment of its own, and read now and then.
    let first = alice.count("SELECT seq FROM streams_out ORDER BY id DESC LIMIT 1") as u64 + 1;
    let mut ids = Vec::new();
    for n in 0..300u64 {
        ids.extend(alice.send(&bob, &["words"]));
        let seq = first + n;
        if n % 7 == 0 {
            let outcome = Outcome::failed_with(Reason::PeerUnreachable, format!("for the {}th time", n / 70));
            alice.write(move |tx| attempts::attempt_failed(tx, contact, "direct", outcome)).unwrap();
        }
        let path = if n % 5 == 0 { "mailbox" } else { "direct" };
        attempt(&alice, &bob, (seq.saturating_sub(n % 3).max(first), seq), path, Outcome::Sent, 10_000 + n as i64 * 13);
        alice.acknowledged(&bob, vec![entry(&alice, &bob, seq, &[])]);
    }
    let upto = ids[199];
    alice.write(move |tx| acks::read_by(tx, from, &upto)).unwrap();
    kinds.extend(ids.iter().enumerate().map(|(n, id)| (*id, if n < 200 { Read } else { Delivered })));
    // Lies in a mailbox, is on its way, and waits; one beyond them has arrived.
    let ids = alice.send(&bob, &["m", "s", "a", "q"]);
    let last = first + 300;
    let (stream, mailbox) = (alice.count("SELECT max(id) FROM streams_out"), "http://127.0.0.1:1".to_owned());
    let deposit = Deposit {
        stream: OutStreamRow(stream),
        device: bob.device_id(),
        low: last,
        high: last,
        mailbox,
        token: [1; 32],
        number: 1,
        floor: 0,
        at: Timestamp(50_000),
        seconds: 604_800,
    };
    attempt(&alice, &bob, (last + 1, last + 1), "direct", Outcome::Sent, 60_000);
    attempt(&alice, &bob, (last + 1, last + 2), "direct", Outcome::Sent, 61_000);
    alice.acknowledged(&bob, vec![entry(&alice, &bob, last - 1, &[(last + 2, last + 2)])]);
    // Afterwards: what lay there before something above it arrived would be lost.
    alice.write(move |tx| deposits::deposited(tx, contact, &deposit)).unwrap();
    kinds.extend(ids.into_iter().zip([Mailboxed, Sent, Delivered, Queued]));
    // Of his: in order, late, some read.
    let cores = stream_of_his(&bob, &alice);
    alice.receive(&bob, &cores);
    alice.write(move |tx| conversations::mark_read(tx, contact, None)).unwrap();
    // No two at the same moment: what is merged must keep each.
    alice.write(|tx| Ok(tx.conn.execute("UPDATE marks SET at = at + high * 1009", [])?)).unwrap();
    (alice, bob, kinds)
}

fn stream_of_his(bob: &Person, alice: &Person) -> Vec<Vec<u8>> {
    stream(bob, alice, 1, &[Link::Text; 5]).into_iter().map(|(_, core)| core).collect()
}

#[test]
fn history_and_traces_are_the_same_before_and_after() {
    let (alice, bob, kinds) = every_kind();
    let contact = alice.id(&bob);
    for (n, (id, state)) in kinds.iter().enumerate() {
        assert_eq!(alice.state(*id).0, *state, "message {n}");
    }
    let before = told(&alice.store, contact);
    let rows = |table: &str| alice.count(&format!("SELECT count(*) FROM {table}"));
    let (marks, attempts) = (rows("marks"), rows("attempts"));
    prune(&alice);
    assert_eq!(told(&alice.store, contact), before);
    println!(
        "figure: {} messages: {marks} marks, then {}; {attempts} attempts, then {} and {} packs",
        before.len(),
        rows("marks"),
        rows("attempts"),
        rows("packs")
    );
    assert!(rows("marks") * 10 < marks && rows("attempts") * 10 < attempts, "little is left");
    // Once more changes nothing; nor do a restart, and what comes then.
    let dump = |store: &Store| super::fixture::dump(store).unwrap();
    let (pruned, _) = (dump(&alice.store), prune(&alice));
    assert_eq!(dump(&alice.store), pruned);
    super::fixture::run(alice.store.close());
    let again = Store::open(alice.folder.path(), &Indexer::start()).unwrap();
    assert_eq!(told(&again, contact), before);
    let alice = Person { store: again, ..alice };
    let last = entry(&alice, &bob, MAX, &[]);
    let highest = alice.count("SELECT seq FROM streams_out ORDER BY id DESC LIMIT 1") as u64;
    alice.acknowledged(&bob, vec![AckEntry { contiguous: highest, ..last }]);
    for (id, state) in &kinds {
        let then = if matches!(state, Mailboxed | Sent | Queued) { Delivered } else { *state };
        assert_eq!(alice.state(*id).0, then);
    }
    let settled = told(&alice.store, contact);
    prune(&alice);
    assert_eq!(told(&alice.store, contact), settled);
    assert_eq!(alice.count("SELECT count(*) FROM attempts"), 0, "nothing waits: all of them are in packs");
}

const MAX: u64 = 1 << 40;

/// Two stores with the same history, one of them pruned, do the same from then on.
#[test]
fn what_a_contact_lost_is_found_in_merged_marks_as_in_others() {
    let of = |pruned: bool| {
        let (alice, bob) = friends();
        let contact = alice.id(&bob);
        let mut ids = Vec::new();
        for seq in 1..=400 {
            ids.extend(alice.send(&bob, &["x"]));
            alice.acknowledged(&bob, vec![entry(&alice, &bob, seq, &[])]);
        }
        alice.write(|tx| Ok(tx.conn.execute("UPDATE marks SET at = high * 1000", [])?)).unwrap();
        if pruned {
            prune(&alice);
            assert!(alice.count("SELECT count(*) FROM marks") <= 2);
        }
        let device = bob.device_id();
        let entry = entry(&alice, &bob, 100, &[(150, 299), (350, 390)]);
        let resumed = alice.write(move |tx| epochs::peer_resumed(tx, contact, device, &[entry])).unwrap();
        let states: Vec<_> = ids.iter().map(|id| alice.state(*id).0).collect();
        let times: Vec<Option<Timestamp>> = alice
            .read(|conn| history::page(conn, contact, 1_000, None, None, None))
            .messages
            .iter()
            .map(|message| message.state_at.filter(|_| message.state == Delivered))
            .collect();
        (resumed, states, times, alice.outbox(&bob).len())
    };
    let (with, without) = (of(true), of(false));
    assert_eq!(with, without);
    assert_eq!(with.0.reissued, 49 + 50 + 10);
}

#[test]
fn unseen_numbers_are_kept_of_the_newest_streams() {
    let (alice, bob) = friends();
    let poke = |epoch: u64, seq: u64| {
        let bytes = alice.core(&bob, "poke", seq, b"");
        Core { epoch: Epoch(epoch.to_be_bytes()), id: MessageId::now(), ..Core::decode(&bytes).unwrap() }.encode()
    };
    for epoch in 0..40 {
        let cores: Vec<Vec<u8>> = (1..=20).map(|seq| poke(epoch, seq)).collect();
        bob.receive(&alice, &cores);
    }
    prune(&bob);
    assert_eq!(bob.count("SELECT count(DISTINCT stream) FROM unseen"), STREAMS_WITH_UNSEEN);
    assert_eq!(bob.count("SELECT count(*) FROM unseen"), STREAMS_WITH_UNSEEN * 20);
    assert_eq!(bob.count("SELECT count(*) FROM streams_in"), 40, "what makes a message visible once is never pruned");
    assert_eq!(bob.receive(&alice, &[poke(0, 1)]).duplicates, 1);
}

#[test]
fn a_slice_is_short_however_much_there_is() {
    let (alice, bob) = friends();
    alice.send(&bob, &["x"]);
    let stream = alice.count("SELECT max(id) FROM streams_out");
    alice
        .write(move |tx| {
            tx.conn.execute("DELETE FROM outbox", [])?;
            for seq in 1..=20_000 {
                tx.conn.prepare_cached("INSERT INTO marks (stream, state, high, low, at, cause) VALUES (?1, 3, ?2, ?2, ?2 * 977, 'acknowledged')")?.execute([stream, seq])?;
                tx.conn.prepare_cached("INSERT INTO attempts (stream, low, high, at, path, outcome, detail) VALUES (?1, ?2, ?2, ?2 * 977, 'direct', 'sent', '')")?.execute([stream, seq])?;
            }
            Ok(())
        })
        .unwrap();
    let bytes =
        |table: &str| alice.count(&format!("SELECT sum(pgsize - unused) FROM dbstat WHERE name LIKE '{table}%'"));
    let size = |tables: &[&str]| -> i64 {
        tables
            .iter()
            .filter(|table| alice.count(&format!("SELECT count(*) FROM {table}")) > 0)
            .map(|table| bytes(table))
            .sum()
    };
    let before = size(&["marks", "attempts", "packs"]);
    let (longest, slices) = prune(&alice);
    let after = size(&["marks", "attempts", "packs"]);
    println!(
        "figure: 20,000 marks and 20,000 attempts: {slices} slices, {longest} steps of SQLite for the longest; {} bytes for each pair, then {}",
        before / 20_000,
        after / 20_000
    );
    assert!(slices > 60 && longest < 40_000, "{slices} slices, {longest} steps");
    assert!(after * 4 < before, "{before} bytes, then {after}");
    let (_, again) = prune(&alice);
    assert!(again < 10, "{again} slices for what is pruned");
}

#[test]
fn one_that_has_the_same_sent_again_and_again_makes_no_rows() {
    let (alice, bob) = friends();
    alice.send(&bob, &["x"; 3]);
    for n in 0..1_000 {
        attempt(&alice, &bob, (1, 3), "direct", Outcome::Sent, n);
    }
    assert_eq!(alice.count("SELECT count(*) FROM attempts"), 2);
    assert_eq!(alice.count("SELECT max(at) FROM attempts"), 999, "the first and the last");
    assert_eq!(alice.count("SELECT min(at) FROM attempts"), 0);
}

#[test]
fn what_a_hostile_contact_leaves_on_the_disk_is_bounded() {
    let (alice, bob) = friends();
    let pages = |person: &Person| {
        person.read(|conn| {
            let free: i64 = conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
            let all: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            Ok((all - free) * 4_096)
        })
    };
    let mut before = pages(&bob);
    let mut grown = |what: &str, count: i64, bytes: i64| {
        prune(&bob);
        let now = pages(&bob);
        let each = (now - before) / count;
        println!(
            "figure: {count} {what} of {bytes} bytes each leave {each} bytes each, {} KiB in all",
            (now - before) >> 10
        );
        before = now;
        each
    };
    let cores: Vec<Vec<u8>> = stream(&alice, &bob, 1, &[Link::Text; 5_000]).into_iter().map(|(_, core)| core).collect();
    for part in cores.chunks(100) {
        bob.receive(&alice, part);
    }
    let size = cores[0].len() as i64;
    let message = grown("messages", 5_000, size);
    assert!(message < 4 * size, "{message}");
    // What nobody can read is forgotten beyond the newest 4,096 numbers.
    let poke = |epoch: u64, seq: u64| {
        let bytes = alice.core(&bob, "poke", seq, b"");
        Core { epoch: Epoch(epoch.to_be_bytes()), id: MessageId::now(), ..Core::decode(&bytes).unwrap() }.encode()
    };
    for part in (1..=12_000u64).collect::<Vec<_>>().chunks(500) {
        bob.receive(&alice, &part.iter().map(|seq| poke(9, *seq)).collect::<Vec<_>>());
    }
    let size = poke(9, 1).len() as i64;
    assert!(grown("messages of unknown kinds", 12_000, size) < size);
    // New streams are refused beyond 256 a day: what stays for ever of a day.
    let streams: Vec<Vec<u8>> = (100..1_000).map(|epoch| poke(epoch, 1)).collect();
    let received = bob.receive(&alice, &streams);
    assert_eq!(received.refused, 900 - 254, "two had begun today");
    assert!(grown("streams in a day", 254, size) < 1_024);
    // Again and again: nothing more.
    for _ in 0..20 {
        bob.receive(&alice, &cores[..100]);
        bob.receive(&alice, &streams);
    }
    assert!(grown("cores that were there, or are refused", 20 * 1_000, size) <= 2);
}
