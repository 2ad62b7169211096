//! Writes down what peers say to have of our streams.

use proto::ids::{DeviceId, MessageId};
use proto::time::Timestamp;
use proto::wire::envelope::AckEntry;
use rusqlite::Connection;

use super::core::effect::AckBatch;
use super::core::event::RouteKey;
use crate::store::delivery::control;
use crate::store::log::recovery::epochs;
use crate::store::log::{ack_filter, acks};
use crate::store::{Store, StoreError, Tx};

/// So much is looked up where it comes; more goes to a thread for what blocks.
const FEW: usize = 8;

/// Writes down what was said at the beginning of a link, in the contact's own lane; whether it is on disk.
pub(super) async fn store_resume(store: &Store, key: RouteKey, entries: Vec<AckEntry>) -> bool {
    let stored = store.write_for(key.peer, move |tx| resumed(tx, key, &entries)).await;
    if let Err(error) = &stored {
        tracing::warn!(often = "resume", contact = %key.peer, %error, "a resume was not heeded");
    }
    stored.is_ok()
}

/// It may be of numbers that this store never gave: that is looked at before it counts as an acknowledgement. And it counts at
/// once, so that nothing of it is sent again.
pub(super) fn resumed(tx: &mut Tx<'_>, key: RouteKey, entries: &[AckEntry]) -> Result<(), StoreError> {
    let Some(from) = key.of() else { return Ok(()) };
    epochs::peer_resumed(tx, from.peer, from.device, entries)?;
    acks::acknowledged(tx, from, entries)
}

/// Writes a batch down, if it changes anything; answers the ids, which wait no longer.
pub(super) async fn store_acks(store: &Store, key: RouteKey, own: DeviceId, batch: AckBatch) -> Vec<MessageId> {
    try_to_store(store, key, own, batch).await.unwrap_or_else(|error| {
        tracing::warn!(often = "acks", contact = %key.peer, %error, "an acknowledgement was not stored");
        Vec::new()
    })
}

async fn try_to_store(
    store: &Store,
    key: RouteKey,
    own: DeviceId,
    batch: AckBatch,
) -> Result<Vec<MessageId>, StoreError> {
    let done = batch.ids.clone();
    let changes = if batch.sure {
        Some(batch)
    } else {
        // A few indexed rows are not worth a thread of the pool, which may be busy with backups.
        let few = batch.entries.len() + batch.ids.len() <= FEW;
        let look =
            move |conn: &Connection| Ok(would_change(conn, key, own, &batch, Timestamp::now())?.then_some(batch));
        if few { store.read_blocking(look) } else { store.read(look).await }?
    };
    if let Some(batch) = changes {
        store.write_for(key.peer, move |tx| acknowledged(tx, key, &batch)).await?;
    }
    Ok(done)
}

/// Whether a batch changes anything at `now`.
pub(super) fn would_change(
    conn: &Connection,
    key: RouteKey,
    own: DeviceId,
    batch: &AckBatch,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(from) = key.of() else { return Ok(false) };
    if !batch.ids.is_empty() && ack_filter::ends_signals(conn, from.peer, &batch.ids)? {
        return Ok(true);
    }
    ack_filter::would_change(conn, from, own, &batch.entries, now)
}

/// What a batch does.
pub(super) fn acknowledged(tx: &mut Tx<'_>, key: RouteKey, batch: &AckBatch) -> Result<(), StoreError> {
    if let Some(from) = key.of() {
        if batch.doubted {
            epochs::heed_late(tx, from.peer, &batch.entries)?;
        }
        acks::acknowledged(tx, from, &batch.entries)?;
    }
    control::signals_done(tx, key.peer, &batch.ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::{ConversationId, Epoch};
    use proto::wire::envelope::Core;

    use super::*;
    use crate::delivery::core;
    use crate::delivery::core::effect::Effect;
    use crate::delivery::core::event::Event;
    use crate::model::Outcome;
    use crate::store::delivery::attempts::{self, AttemptNote};
    use crate::store::tests::fixture::Person;
    use crate::store::tests::fixture::run;

    /// Alice, whose outbox for bob holds 300 messages, and bob.
    fn waiting() -> (Person, Person) {
        let (alice, bob) = (Person::new("alice"), Person::new("bob"));
        alice.befriend(&bob);
        alice.send(&bob, &["x"; 300]);
        (alice, bob)
    }

    fn entry(alice: &Person, bob: &Person, epoch: Epoch, contiguous: u64) -> AckEntry {
        let conversation = ConversationId::direct(alice.account, bob.account);
        AckEntry { from_device: alice.device_id(), conversation, epoch, contiguous, ranges: Vec::new(), head: None }
    }

    fn epoch(alice: &Person, bob: &Person) -> Epoch {
        Core::decode(&alice.outbox(bob)[0]).unwrap().epoch
    }

    fn route(alice: &Person, bob: &Person) -> RouteKey {
        RouteKey::new(alice.id(bob), bob.device_id())
    }

    fn write(alice: &Person, bob: &Person, batch: AckBatch) {
        run(try_to_store(&alice.store, route(alice, bob), alice.device_id(), batch)).unwrap();
    }

    /// One batch; operations that it cost.
    fn batch(alice: &Person, bob: &Person, entries: Vec<AckEntry>, ids: Vec<MessageId>) -> u64 {
        let before = alice.store.operations();
        write(alice, bob, AckBatch { entries, ids, sure: false, doubted: false });
        alice.store.operations() - before
    }

    #[test]
    fn what_changes_nothing_is_no_operation() {
        let (alice, bob) = waiting();
        let current = epoch(&alice, &bob);
        let cost = |entries: Vec<AckEntry>, ids| batch(&alice, &bob, entries, ids);
        assert_eq!(cost(vec![entry(&alice, &bob, current, 100)], Vec::new()), 1, "a hundred arrived");
        assert_eq!(alice.outbox(&bob).len(), 200);
        let (mut operations, mut frames) = (0, 0);
        for n in 0..1_000u64 {
            // What was said before, less than that, nothing, ids of nobody, streams of others.
            operations += cost(vec![entry(&alice, &bob, current, n % 101)], Vec::new());
            operations += cost(vec![entry(&alice, &bob, Epoch(n.to_be_bytes()), 0)], vec![MessageId::now()]);
            let of_others = AckEntry { conversation: ConversationId([1; 16]), ..entry(&alice, &bob, current, 300) };
            operations += cost(vec![of_others], Vec::new());
            frames += 3;
        }
        println!("figure: {frames} frames that change nothing: {operations} operations of the store");
        assert_eq!(operations, 0);
        assert_eq!(cost(vec![entry(&alice, &bob, current, 300)], Vec::new()), 1);
        assert!(alice.outbox(&bob).is_empty());
    }

    #[test]
    fn invented_epochs_are_operations_a_few_times_a_day() {
        let (alice, bob) = waiting();
        let invented = |n: u64| vec![entry(&alice, &bob, Epoch(n.to_be_bytes()), 1)];
        let operations: Vec<u64> = (0..500).map(|n| batch(&alice, &bob, invented(n), Vec::new())).collect();
        println!("figure: 500 frames of invented epochs: {} operations", operations.iter().sum::<u64>());
        assert!(operations.iter().sum::<u64>() <= 18, "{operations:?}");
        assert_eq!(alice.outbox(&bob).len(), 300);
        // What is true counts for as little for the rest of the day, and does the day after.
        let current = vec![entry(&alice, &bob, epoch(&alice, &bob), 300)];
        assert_eq!(batch(&alice, &bob, current.clone(), Vec::new()), 0);
        alice.write(|tx| Ok(tx.test_conn().execute("UPDATE usage SET day = day - 1", [])?)).unwrap();
        assert_eq!(batch(&alice, &bob, current, Vec::new()), 1, "the epoch that is owed begins");
    }

    #[test]
    fn what_waits_and_was_never_tried_is_not_what_is_acknowledged_out_of_nowhere() {
        for doubted in [false, true] {
            let (alice, bob) = waiting();
            let (before, entries) = (epoch(&alice, &bob), vec![entry(&alice, &bob, epoch(&alice, &bob), 7)]);
            write(&alice, &bob, AckBatch { entries, ids: Vec::new(), sure: false, doubted });
            // All 300 wait in a new epoch, or seven have arrived.
            let (waits, same) = (alice.outbox(&bob).len(), epoch(&alice, &bob) == before);
            assert_eq!((waits, same), if doubted { (300, false) } else { (293, true) });
        }
    }

    #[test]
    fn what_comes_meanwhile_becomes_one_operation() {
        let (alice, bob) = waiting();
        let (key, current) = (route(&alice, &bob), epoch(&alice, &bob));
        let (mut core, now) = (core::Core::new(alice.device_id(), false), std::time::Instant::now());
        let mut batches = |event| {
            let mut effects = Vec::new();
            core.handle(event, now, &mut rand::rng(), &mut effects);
            let batch = |effect| if let Effect::StoreAcks { batch, .. } = effect { Some(batch) } else { None };
            effects.into_iter().find_map(batch)
        };
        let ack = |n| Event::Ack { key, entries: vec![entry(&alice, &bob, current, n)], ids: vec![MessageId::now()] };
        let stream = alice.read(|conn| Ok(conn.query_row("SELECT max(id) FROM streams_out", [], |row| row.get(0))?));
        let at = Timestamp::now();
        let sent = AttemptNote { stream, low: 1, high: 300, path: "direct", outcome: Outcome::Sent, at };
        alice.write(move |tx| attempts::attempt(tx, key.peer, &sent)).unwrap();
        let first = batches(ack(1)).unwrap();
        let before = alice.store.operations();
        for n in 2..=300 {
            assert!(batches(ack(n)).is_none(), "one at a time");
        }
        write(&alice, &bob, first);
        let rest = batches(Event::AcksStored { key, ids: Vec::new() }).unwrap();
        write(&alice, &bob, rest);
        assert_eq!(alice.store.operations() - before, 2);
        assert!(alice.outbox(&bob).is_empty());
        assert!(batches(Event::AcksStored { key, ids: Vec::new() }).is_none(), "and nothing is left of it");
    }
}
