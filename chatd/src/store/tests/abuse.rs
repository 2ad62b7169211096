//! What a contact may make us do: no more than what it sends is worth, however much there is of ours.

use proto::ids::{ConversationId, Epoch, MessageId};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};

use crate::model::MessageState::{Delivered, Queued};
use crate::policy::limits::Quotas;
use crate::store::engine::tx::Tx;
use crate::store::engine::writer::steps;
use crate::store::log::acks;
use crate::store::log::incoming::{self, OVER_QUOTA};
use crate::store::log::recovery::epochs;
use crate::store::log::reorder::{self, HOLD_MS};
use crate::store::log::taking::Received;
use crate::store::peers::usage::{MAX_HELD, MAX_RENEWALS};
use crate::store::tests::fixture::{Person, text_payload};
use crate::store::tests::streams::{Link, stream};

fn friends() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    (alice, bob)
}

/// Runs an operation on a person's store, and how many steps of SQLite it took there: the same each time, on every machine.
fn cost<T: Send + 'static>(
    person: &Person,
    op: impl FnOnce(&mut Tx<'_>) -> Result<T, crate::store::StoreError> + Send + 'static,
) -> (T, u64) {
    person
        .write(move |tx| {
            let before = steps();
            let value = op(tx)?;
            Ok((value, steps() - before))
        })
        .unwrap()
}

fn receive_for(person: &Person, from: &Person, cores: &[Vec<u8>]) -> (Received, u64) {
    let (contact, cores) = (person.id(from), cores.to_vec());
    cost(person, move |tx| {
        let list: Vec<(&[u8], Core<'_>)> =
            cores.iter().map(|bytes| (bytes.as_slice(), Core::decode(bytes).unwrap())).collect();
        let refs: Vec<(&[u8], &Core<'_>)> = list.iter().map(|(bytes, core)| (*bytes, core)).collect();
        incoming::receive(tx, contact, &refs, &Quotas::default())
    })
}

/// An acknowledgement by bob of an epoch that alice never had.
fn invented(alice: &Person, bob: &Person, n: u64) -> AckEntry {
    AckEntry {
        from_device: alice.device_id(),
        conversation: ConversationId::direct(alice.account, bob.account),
        epoch: Epoch(n.to_be_bytes()),
        contiguous: 1,
        ranges: Vec::new(),
        head: None,
    }
}

#[test]
fn duplicates_cost_the_same_however_long_history_is() {
    let of = |history: usize| {
        let (alice, bob) = friends();
        let cores: Vec<Vec<u8>> =
            stream(&alice, &bob, 1, &vec![Link::Text; history]).into_iter().map(|(_, core)| core).collect();
        bob.receive(&alice, &cores);
        // The first number was taken by a kind that nobody knows: what comes again under it is in no row of history.
        let bytes = alice.core(&bob, "poke", 1, b"");
        let epoch = Epoch([7; 8]);
        let poke = Core { epoch, ..Core::decode(&bytes).unwrap() }.encode();
        bob.receive(&alice, std::slice::from_ref(&poke));
        let again: Vec<Vec<u8>> =
            (0..500).map(|_| Core { id: MessageId::now(), ..Core::decode(&cores[0]).unwrap() }.encode()).collect();
        // The stream would be known for one that uses numbers again at the first: each is judged anew.
        let mut took = 0;
        for core in &again {
            bob.write(|tx| {
                crate::store::log::streams::forget_cached(tx);
                Ok(tx.conn.execute("UPDATE streams_in SET reused = 0", [])?)
            })
            .unwrap();
            let (received, cost) = receive_for(&bob, &alice, std::slice::from_ref(core));
            assert_eq!((received.duplicates, received.shown), (1, 0));
            assert_eq!(received.entries[0].ranges, [(1 << 62, 1 << 62)], "its sender is told");
            took += cost;
        }
        took / 500
    };
    let (short, long) = (of(50), of(10_000));
    println!("figure: a duplicate costs {short} steps of SQLite with 50 messages of history, {long} with 10,000");
    assert!(short > 10 && long <= short + 20, "{short} steps, then {long}");
}

#[test]
fn whatever_kind_took_a_number_its_second_use_is_noticed() {
    for (first, second) in [("poke", "text"), ("text", "poke"), ("poke", "shove"), ("text", "text")] {
        let (alice, bob) = friends();
        let of = |kind: &str| match kind {
            "text" => alice.core(&bob, kind, 1, &text_payload("words")),
            _ => alice.core(&bob, kind, 1, b"whatever"),
        };
        let one = of(first);
        assert_eq!(bob.receive(&alice, std::slice::from_ref(&one)).entries[0].ranges, []);
        assert_eq!(bob.receive(&alice, &[one]).entries[0].ranges, [], "the same core is no second use");
        let again = bob.receive(&alice, &[of(second)]);
        assert_eq!(again.entries[0].ranges, [(1 << 62, 1 << 62)], "{first}, then {second}");
    }
}

#[test]
fn acknowledgements_of_invented_epochs_rewrite_the_outbox_a_few_times_a_day() {
    let (alice, bob) = friends();
    let ids = alice.send(&bob, &["x"; 400]);
    let epoch_of = |person: &Person| Core::decode(&person.outbox(&bob)[0]).unwrap().epoch;
    let (mut rewrites, mut costs) = (0, Vec::new());
    for n in 0..200 {
        let (before, entry, from) = (epoch_of(&alice), invented(&alice, &bob, n), bob.as_device(alice.id(&bob)));
        let ((), took) = cost(&alice, move |tx| acks::acknowledged(tx, from, &[entry]));
        rewrites += i64::from(epoch_of(&alice) != before);
        costs.push(took);
    }
    let later = costs[100..].iter().max().unwrap();
    println!(
        "figure: 200 acknowledgements of invented epochs: {rewrites} times a new epoch, then {later} steps of SQLite at most"
    );
    assert!(*later < 600, "{later} steps for what is not heeded");
    assert!(rewrites <= MAX_RENEWALS && rewrites > 0, "{rewrites}");
    assert_eq!(alice.outbox(&bob).len(), 400);
    // It does not count for the rest of the day, and does again after it.
    alice.deliver(&bob);
    assert_eq!(alice.state(ids[0]).0, Queued, "a new epoch is owed first");
    alice.write(|tx| Ok(tx.conn.execute("UPDATE usage SET day = day - 1", [])?)).unwrap();
    alice.deliver(&bob);
    alice.deliver(&bob);
    assert!(ids.iter().all(|id| alice.state(*id).0 == Delivered));
    assert_eq!(bob.shown(&alice).len(), 400);
}

#[test]
fn large_messages_are_rewritten_less_often() {
    let (alice, bob) = friends();
    alice.send(&bob, &["x".repeat(60_000).as_str(); 100]);
    let mut epochs = std::collections::HashSet::new();
    for n in 0..30 {
        epochs.insert(Core::decode(&alice.outbox(&bob)[0]).unwrap().epoch);
        alice.acknowledged(&bob, vec![invented(&alice, &bob, n)]);
    }
    // 6 MB each: the first, and what of a day's 10 MB is left after it.
    assert_eq!(epochs.len(), 2, "the epoch of the beginning and one more");
    assert_eq!(alice.outbox(&bob).len(), 100);
}

#[test]
fn one_who_lost_one_message_again_and_again_costs_the_same_however_long_history_is() {
    let of = |history: usize| {
        let (alice, bob) = friends();
        for _ in 0..history / 100 {
            alice.send(&bob, &["x"; 100]);
        }
        alice.deliver(&bob);
        let core = {
            alice.send(&bob, &["last"]);
            alice.outbox(&bob)[0].clone()
        };
        alice.deliver(&bob);
        let (epoch, seq) = Core::decode(&core).map(|core| (core.epoch, core.seq)).unwrap();
        let entry = AckEntry { epoch, contiguous: seq - 1, ..invented(&alice, &bob, 0) };
        let (contact, device) = (alice.id(&bob), bob.device_id());
        let (resumed, took) = cost(&alice, move |tx| epochs::peer_resumed(tx, contact, device, &[entry]));
        assert_eq!(resumed.reissued, 1);
        took
    };
    let (short, long) = (of(100), of(5_000));
    println!("figure: one lost message costs {short} steps of SQLite with 100 messages of history, {long} with 5,000");
    assert!(short > 10 && long <= short + 20, "{short} steps, then {long}");
}

#[test]
fn what_waits_behind_a_hole_is_bounded_and_shown_in_slices() {
    let (alice, bob) = friends();
    let cores = stream(&alice, &bob, 1, &vec![Link::Text; MAX_HELD as usize + 102]);
    let cores: Vec<Vec<u8>> = cores.into_iter().map(|(_, core)| core).collect();
    let received = bob.receive(&alice, &cores[1..]);
    assert_eq!((received.held, received.refused), (MAX_HELD as usize, 101));
    assert_eq!(bob.count("SELECT held FROM usage"), MAX_HELD);
    // The hole is filled: others get their turn between two slices.
    let (received, first) = receive_for(&bob, &alice, &cores[..1]);
    assert!(received.unfinished && received.shown <= 512 && received.shown > 1, "{received:?}");
    let contiguous = received.entries[0].contiguous;
    assert_eq!(contiguous, MAX_HELD as u64 + 1, "all of it is on disk");
    let mut slowest = first;
    loop {
        let (more, took) = cost(&bob, reorder::show_ready);
        slowest = slowest.max(took);
        if !more {
            break;
        }
    }
    println!("figure: {MAX_HELD} cores behind a hole: {slowest} steps of SQLite for the longest transaction");
    assert!(slowest < 512 * 300, "{slowest} steps for 512 messages");
    assert_eq!(bob.shown(&alice), (1..=MAX_HELD + 1).map(|seq| seq.to_string()).collect::<Vec<_>>());
    assert_eq!(bob.count("SELECT held + held_bytes FROM usage"), 0);
    // What was refused is taken now.
    assert_eq!(bob.receive(&alice, &cores[MAX_HELD as usize + 1..]).shown, 101);
}

#[test]
fn what_is_given_up_is_shown_in_slices_too() {
    let (alice, bob) = friends();
    let cores: Vec<Vec<u8>> = stream(&alice, &bob, 1, &[Link::Text; 2_000]).into_iter().map(|(_, core)| core).collect();
    bob.receive(&alice, &cores[1..]);
    let at = Timestamp(Timestamp::now().0 + HOLD_MS);
    let mut rounds = 0;
    let mut before = 0;
    while let Some(again) = bob.write(move |tx| reorder::give_up_gaps(tx, at, true)).unwrap() {
        assert!(again <= at);
        bob.write(reorder::show_ready).unwrap();
        let shown = bob.shown(&alice).len();
        assert!(shown - before <= 1_024);
        (before, rounds) = (shown, rounds + 1);
        assert!(rounds < 20);
    }
    assert_eq!(bob.shown(&alice).len(), 1_999);
}

#[test]
fn a_quota_refuses_what_is_beyond_tells_once_and_goes_on_the_next_day() {
    let (alice, bob) = friends();
    let cores: Vec<Vec<u8>> = stream(&alice, &bob, 1, &[Link::Text; 30]).into_iter().map(|(_, core)| core).collect();
    let quotas = Quotas { messages_a_day: 10, messages: 25, ..Quotas::default() };
    let receive = |cores: &[Vec<u8>]| {
        let (contact, cores) = (bob.id(&alice), cores.to_vec());
        bob.write(move |tx| {
            let list: Vec<(&[u8], Core<'_>)> =
                cores.iter().map(|bytes| (bytes.as_slice(), Core::decode(bytes).unwrap())).collect();
            let refs: Vec<(&[u8], &Core<'_>)> = list.iter().map(|(bytes, core)| (*bytes, core)).collect();
            incoming::receive(tx, contact, &refs, &quotas)
        })
        .unwrap()
    };
    let received = receive(&cores);
    assert_eq!((received.shown, received.refused, received.over_quota), (10, 20, true));
    assert_eq!(received.entries[0].contiguous, 10, "what is beyond is not acknowledged");
    assert!(receive(&cores[..10]).entries[0].ranges.is_empty());
    assert!(receive(&cores).over_quota);
    let told = bob.read(|conn| crate::store::feed::read_events(conn, 0, 1_000)).events;
    let told = told.iter().filter(|event| event.reason() == Some(OVER_QUOTA)).count();
    assert_eq!(told, 1, "once a day");
    for (day, shown) in [(1, 20), (2, 25), (3, 25)] {
        bob.write(|tx| Ok(tx.conn.execute("UPDATE usage SET day = day - 1", [])?)).unwrap();
        receive(&cores);
        assert_eq!(bob.shown(&alice).len(), shown, "day {day}");
    }
}

#[test]
fn new_streams_of_a_contact_are_bounded_for_a_day() {
    let (alice, bob) = friends();
    let bytes = alice.core(&bob, "text", 1, &text_payload("x"));
    let core =
        |n: u64| Core { epoch: Epoch(n.to_be_bytes()), id: MessageId::now(), ..Core::decode(&bytes).unwrap() }.encode();
    let cores: Vec<Vec<u8>> = (1..=300).map(core).collect();
    let received = bob.receive(&alice, &cores);
    assert_eq!((received.shown, received.refused), (256, 44));
    assert_eq!(bob.count("SELECT count(*) FROM streams_in"), 256);
}

#[test]
fn no_statement_is_planned_twice() {
    let alice = Person::new("alice");
    let replanned = |conn: &rusqlite::Connection| {
        let mut again = 0;
        for sql in
            ["SELECT id FROM peers WHERE account = ?1", "SELECT seq FROM outbox WHERE stream = ?1 AND message = ?2"]
        {
            let mut statement = conn.prepare(sql)?;
            for n in 0..5_i64 {
                let parameters = [n; 2];
                statement.query(rusqlite::params_from_iter(&parameters[..statement.parameter_count()]))?.next()?;
            }
            again += statement.get_status(rusqlite::StatementStatus::RePrepare);
        }
        Ok(again)
    };
    assert_eq!(alice.store.read_blocking(replanned).unwrap(), 0);
    assert_eq!(alice.write(move |tx| replanned(tx.test_conn())).unwrap(), 0);
}
