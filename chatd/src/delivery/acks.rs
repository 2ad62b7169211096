//! Acknowledgements on their way to the store: those of a contact that come while an operation for it runs wait and become one
//! operation, and what cannot change anything becomes none.
//!
//! Not its job: to say what can change something (`store::log::ack_filter`), or to write it.
//!
//! Invariants: one operation at a time for each contact; what waits is bounded; the order is that of coming. What is left out is
//! acknowledged again after the next `resume`.

use std::collections::{BTreeMap, HashMap, HashSet};

use proto::ids::{DeviceId, Epoch, MessageId};
use proto::time::Timestamp;
use proto::wire::MAX_ACK_ENTRIES;
use proto::wire::envelope::AckEntry;
use proto::wire::frame::MAX_ACK_IDS;
use tokio::sync::oneshot;

use super::engine::Engine;
use super::finished::Finished;
use crate::model::ids::{PeerDevice, PeerId};
use crate::store::delivery::control;
use crate::store::log::{ack_filter, acks, own_streams};
use crate::store::{Store, StoreError};

/// So much is looked up where it comes; more goes to a thread for what blocks.
const FEW: usize = 8;

/// What one operation acknowledges.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The last word of each of the contact's devices on each stream.
    entries: BTreeMap<(DeviceId, Epoch), AckEntry>,
    ids: HashSet<MessageId>,
    /// Something of it was in flight: it need not be looked up whether it waits.
    sure: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ids.is_empty()
    }

    fn add(&mut self, device: DeviceId, entries: Vec<AckEntry>, ids: Vec<MessageId>, sure: bool) {
        for entry in entries {
            // An honest peer is far below: it has as many streams of ours as one frame holds.
            let key = (device, entry.epoch);
            if self.entries.len() < MAX_ACK_ENTRIES || self.entries.contains_key(&key) {
                self.entries.insert(key, entry);
            }
        }
        let room = (4 * MAX_ACK_IDS).saturating_sub(self.ids.len());
        self.ids.extend(ids.into_iter().take(room));
        self.sure |= sure;
    }

    /// Writes it down, if it changes anything; answers the ids, which wait no longer.
    async fn store(self, store: &Store, contact: PeerId, device: DeviceId) -> Result<Vec<MessageId>, StoreError> {
        let mut entries: Vec<(PeerDevice, Vec<AckEntry>)> = Vec::new();
        for ((device, _), entry) in self.entries {
            match entries.last_mut() {
                Some((from, of)) if from.device == device => of.push(entry),
                _ => entries.push((PeerDevice { peer: contact, device }, vec![entry])),
            }
        }
        let ids: Vec<MessageId> = self.ids.into_iter().collect();
        let done = ids.clone();
        let (entries, ids) = if self.sure {
            (entries, ids)
        } else {
            // A few indexed rows are not worth a thread of the pool, which may be busy with backups.
            let few = entries.len() + ids.len() <= FEW;
            let look = move |conn: &rusqlite::Connection| {
                let now = Timestamp::now();
                let mut changes = !ids.is_empty() && ack_filter::ends_signals(conn, contact, &ids)?;
                for (from, entries) in &entries {
                    changes = changes || ack_filter::would_change(conn, *from, device, entries, now)?;
                }
                Ok(changes.then_some((entries, ids)))
            };
            match if few { store.read_blocking(look) } else { store.read(look).await }? {
                Some(changes) => changes,
                None => return Ok(done),
            }
        };
        let write = move |tx: &mut crate::store::Tx<'_>| {
            for (from, entries) in &entries {
                acks::acknowledged(tx, *from, entries)?;
            }
            control::signals_done(tx, contact, &ids)
        };
        store.write_for(contact, write).await.map(|()| done)
    }
}

#[derive(Debug, Default)]
struct OfContact {
    waiting: Batch,
    /// Operations under way: one, and resumes.
    running: u32,
    /// Answers, or ends, when the newest of them is on disk.
    stored: Option<oneshot::Receiver<()>>,
}

/// Of all contacts; one that acknowledges nothing takes no room.
#[derive(Debug, Default)]
pub(super) struct Acks(HashMap<PeerId, OfContact>);

impl Acks {
    pub fn add(&mut self, from: PeerDevice, entries: Vec<AckEntry>, ids: Vec<MessageId>, sure: bool) {
        self.0.entry(from.peer).or_default().waiting.add(from.device, entries, ids, sure);
    }

    /// What is to be written down now, if nothing is being written, and what to tell when that is on disk.
    pub fn next(&mut self, contact: PeerId) -> Option<(Batch, oneshot::Sender<()>)> {
        let of = self.0.get_mut(&contact)?;
        if of.running > 0 {
            return None;
        }
        if of.waiting.is_empty() {
            self.0.remove(&contact);
            return None;
        }
        let (done, stored) = oneshot::channel();
        (of.running, of.stored) = (1, Some(stored));
        Some((std::mem::take(&mut of.waiting), done))
    }

    /// An operation has ended.
    pub fn done(&mut self, contact: PeerId) {
        if let Some(of) = self.0.get_mut(&contact) {
            of.running = of.running.saturating_sub(1);
        }
    }

    /// Operations of a contact that are under way.
    pub fn running(&self, contact: PeerId) -> u32 {
        self.0.get(&contact).map_or(0, |of| of.running)
    }

    /// A contact says anew what it has of our streams: what it said before does not count, once what is being written is. What
    /// to wait for, and what to tell when the new word is on disk; then [`Acks::done`].
    pub fn replace(&mut self, contact: PeerId) -> (Option<oneshot::Receiver<()>>, oneshot::Sender<()>) {
        let of = self.0.entry(contact).or_default();
        of.waiting.entries.clear();
        of.running += 1;
        let (done, stored) = oneshot::channel();
        (of.stored.replace(stored), done)
    }
}

impl Engine {
    /// Takes what a contact's device acknowledges: the route goes on at once, the store when it can.
    pub(super) fn acknowledge(&mut self, from: PeerDevice, entries: Vec<AckEntry>, ids: Vec<MessageId>) {
        let contact = from.peer;
        let own = self.context.device;
        let entries: Vec<AckEntry> = entries.into_iter().filter(|entry| entry.from_device == own).collect();
        if entries.is_empty() && ids.is_empty() {
            return;
        }
        let signalled = &self.route(contact).signalled;
        let sure = ids.iter().any(|id| signalled.contains(id));
        let sure = self.moves_on(contact, &entries) || sure;
        self.acks.add(from, entries, ids, sure);
        self.store_acks(contact);
    }

    /// The route goes on behind what is acknowledged; whether that is anything. What is in flight, or being sent, is all that can move it.
    pub(super) fn moves_on(&mut self, contact: PeerId, entries: &[AckEntry]) -> bool {
        let mut moved = false;
        let route = self.route(contact);
        if route.in_flight.is_empty() && !route.packing {
            return moved;
        }
        for entry in entries {
            let key = (contact, entry.epoch);
            let stream = match self.streams.get(&key) {
                Some(stream) => Some(*stream),
                None => {
                    let found = self.read(|conn| own_streams::stream_of(conn, contact, entry.epoch)).flatten();
                    self.streams.extend(found.map(|stream| (key, stream)));
                    found
                }
            };
            if let Some(stream) = stream {
                moved |= self.route(contact).acknowledged(stream, entry.contiguous);
            }
        }
        moved
    }

    /// Something of a contact's acknowledgements was written down: on with what came meanwhile.
    pub(super) fn acks_stored(&mut self, contact: PeerId, ids: &[MessageId]) {
        self.route(contact).signals_done(ids);
        self.acks.done(contact);
        self.store_acks(contact);
    }

    /// Begins to write down what waits, unless something is being written.
    pub(super) fn store_acks(&mut self, contact: PeerId) {
        let Some((batch, done)) = self.acks.next(contact) else { return };
        let (store, device, finished) = (self.context.store.clone(), self.context.device, self.finished.clone());
        tokio::spawn(async move {
            let ids = batch.store(&store, contact, device).await.unwrap_or_else(|error| {
                tracing::warn!(often = "acks", %contact, %error, "an acknowledgement was not stored");
                Vec::new()
            });
            let _ = done.send(());
            let _ = finished.send(Finished::Acknowledged { contact, ids }).await;
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::ConversationId;
    use proto::wire::envelope::Core;

    use super::*;
    use crate::store::tests::fixture::Person;
    use crate::store::tests::fixture::run;

    /// Alice, whose outbox for bob holds 300 messages, and bob.
    fn waiting() -> (Person, Person) {
        let (alice, bob) = (Person::new("alice"), Person::new("bob"));
        alice.befriend(&bob);
        alice.send(&bob, &["x"; 300]);
        (alice, bob)
    }

    fn of(peer: PeerId, bob: &Person) -> PeerDevice {
        PeerDevice { peer, device: bob.device_id() }
    }

    fn entry(alice: &Person, bob: &Person, epoch: Epoch, contiguous: u64) -> AckEntry {
        let conversation = ConversationId::direct(alice.account, bob.account);
        AckEntry { from_device: alice.device_id(), conversation, epoch, contiguous, ranges: Vec::new() }
    }

    fn epoch(alice: &Person, bob: &Person) -> Epoch {
        Core::decode(&alice.outbox(bob)[0]).unwrap().epoch
    }

    /// One frame, handled before the next comes; operations that it cost.
    fn frame(acks: &mut Acks, alice: &Person, bob: &Person, entries: Vec<AckEntry>, ids: Vec<MessageId>) -> u64 {
        let before = alice.store.operations();
        let contact = alice.id(bob);
        acks.add(of(contact, bob), entries, ids, false);
        let (batch, _done) = acks.next(contact).unwrap();
        run(batch.store(&alice.store, contact, alice.device_id())).unwrap();
        acks.done(contact);
        alice.store.operations() - before
    }

    #[test]
    fn what_changes_nothing_is_no_operation() {
        let (alice, bob) = waiting();
        let mut acks = Acks::default();
        let current = epoch(&alice, &bob);
        let mut cost = |entries: Vec<AckEntry>, ids| frame(&mut acks, &alice, &bob, entries, ids);
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
        let mut acks = Acks::default();
        let invented = |n: u64| vec![entry(&alice, &bob, Epoch(n.to_be_bytes()), 1)];
        let operations: Vec<u64> = (0..500).map(|n| frame(&mut acks, &alice, &bob, invented(n), Vec::new())).collect();
        println!("figure: 500 frames of invented epochs: {} operations", operations.iter().sum::<u64>());
        assert!(operations.iter().sum::<u64>() <= 18, "{operations:?}");
        assert_eq!(alice.outbox(&bob).len(), 300);
        // What is true counts for as little for the rest of the day, and does the day after.
        let current = vec![entry(&alice, &bob, epoch(&alice, &bob), 300)];
        assert_eq!(frame(&mut acks, &alice, &bob, current.clone(), Vec::new()), 0);
        alice.write(|tx| Ok(tx.test_conn().execute("UPDATE usage SET day = day - 1", [])?)).unwrap();
        assert_eq!(frame(&mut acks, &alice, &bob, current, Vec::new()), 1, "the epoch that is owed begins");
    }

    #[test]
    fn what_comes_meanwhile_becomes_one_operation() {
        let (alice, bob) = waiting();
        let (contact, current) = (alice.id(&bob), epoch(&alice, &bob));
        let mut acks = Acks::default();
        acks.add(of(contact, &bob), vec![entry(&alice, &bob, current, 1)], Vec::new(), true);
        let (first, done) = acks.next(contact).unwrap();
        let before = alice.store.operations();
        for n in 2..=300 {
            acks.add(of(contact, &bob), vec![entry(&alice, &bob, current, n)], vec![MessageId::now()], true);
            assert!(acks.next(contact).is_none(), "one at a time");
        }
        run(first.store(&alice.store, contact, alice.device_id())).unwrap();
        drop(done);
        acks.done(contact);
        let (rest, _done) = acks.next(contact).unwrap();
        run(rest.store(&alice.store, contact, alice.device_id())).unwrap();
        assert_eq!(alice.store.operations() - before, 2);
        assert!(alice.outbox(&bob).is_empty());
        acks.done(contact);
        assert!(acks.next(contact).is_none() && acks.0.is_empty(), "and nothing is left of it");
    }

    #[test]
    fn what_waits_is_bounded_and_a_resume_takes_its_place() {
        let (alice, bob) = waiting();
        let contact = alice.id(&bob);
        let mut acks = Acks::default();
        for n in 0..10_000u64 {
            let invented = entry(&alice, &bob, Epoch(n.to_be_bytes()), 1);
            acks.add(of(contact, &bob), vec![invented], vec![MessageId::now()], false);
        }
        let waiting = &acks.0[&contact].waiting;
        assert_eq!((waiting.entries.len(), waiting.ids.len()), (MAX_ACK_ENTRIES, 4 * MAX_ACK_IDS));
        let (_batch, done) = acks.next(contact).unwrap();
        acks.add(of(contact, &bob), vec![entry(&alice, &bob, Epoch([1; 8]), 1)], vec![MessageId::now()], false);
        let (before, stored) = acks.replace(contact);
        assert_eq!(acks.0[&contact].waiting.entries.len(), 0);
        let mut before = before.unwrap();
        assert!(before.try_recv().is_err() && !done.is_closed(), "what is being written comes first");
        done.send(()).unwrap();
        run(before).unwrap();
        let (second, _stored) = acks.replace(contact);
        let mut second = second.unwrap();
        assert!(second.try_recv().is_err(), "and each resume before the next");
        stored.send(()).unwrap();
        run(second).unwrap();
        for _ in 0..3 {
            assert!(acks.next(contact).is_none(), "their results are still to come");
            acks.done(contact);
        }
        assert!(acks.next(contact).is_some(), "what was said since");
    }
}
