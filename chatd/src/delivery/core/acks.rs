//! Acknowledgements on their way to the store: those of a device that come while an operation for it runs wait and become one
//! operation.
//!
//! Not its job: to say what can change something (`store::log::ack_filter`), or to write it.
//!
//! Invariants: one operation at a time for each device; what waits is bounded; the order is that of coming. What is left out is
//! acknowledged again after the next `resume`.

use std::collections::{HashMap, HashSet, VecDeque};

use proto::ids::{Epoch, MessageId};
use proto::wire::MAX_ACK_ENTRIES;
use proto::wire::envelope::AckEntry;
use proto::wire::frame::MAX_ACK_IDS;

use super::effect::AckBatch;
use super::event::RouteKey;

/// What the next operation acknowledges.
#[derive(Debug, Default)]
struct Waiting {
    /// The last word of each stream.
    entries: HashMap<Epoch, AckEntry>,
    ids: HashSet<MessageId>,
    sure: bool,
    doubted: bool,
}

/// Whether what comes was in flight: see [`AckBatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flight {
    pub sure: bool,
    pub doubted: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ids.is_empty()
    }

    fn add(&mut self, entries: Vec<AckEntry>, ids: Vec<MessageId>, flight: Flight) {
        for entry in entries {
            // An honest peer is far below: it has as many streams of ours as one frame holds.
            if self.entries.len() < MAX_ACK_ENTRIES || self.entries.contains_key(&entry.epoch) {
                self.entries.insert(entry.epoch, entry);
            }
        }
        let room = (4 * MAX_ACK_IDS).saturating_sub(self.ids.len());
        self.ids.extend(ids.into_iter().take(room));
        self.sure |= flight.sure;
        self.doubted |= flight.doubted;
    }

    fn take(&mut self) -> AckBatch {
        let Self { entries, ids, sure, doubted } = std::mem::take(self);
        AckBatch { entries: entries.into_values().collect(), ids: ids.into_iter().collect(), sure, doubted }
    }
}

/// What is written down next.
#[derive(Debug)]
pub enum Next {
    /// What was said at the beginning of a link.
    Resume(u64, Vec<AckEntry>),
    /// Acknowledgements.
    Acks(AckBatch),
}

#[derive(Debug, Default)]
struct OfDevice {
    waiting: Waiting,
    /// What may be of a job that has not told yet what it has sent.
    held: Waiting,
    /// By which link each came.
    resumes: VecDeque<(u64, Vec<AckEntry>)>,
    /// An operation is under way.
    running: bool,
}

/// Of all devices; one that acknowledges nothing takes no room.
#[derive(Debug, Default)]
pub struct Acks(HashMap<RouteKey, OfDevice>);

impl Acks {
    pub fn add(&mut self, key: RouteKey, entries: Vec<AckEntry>, ids: Vec<MessageId>, flight: Flight) {
        self.0.entry(key).or_default().waiting.add(entries, ids, flight);
    }

    /// Keeps entries until [`Acks::release`].
    pub fn hold(&mut self, key: RouteKey, entries: Vec<AckEntry>) {
        self.0.entry(key).or_default().held.add(entries, Vec::new(), Flight::default());
    }

    /// What is held of a device.
    pub fn release(&mut self, key: RouteKey) -> Vec<AckEntry> {
        self.0.get_mut(&key).map(|of| of.held.take().entries).unwrap_or_default()
    }

    /// A device says anew what it has of our streams: what it said before and is not being written does not count.
    pub fn resume(&mut self, key: RouteKey, link: u64, entries: Vec<AckEntry>) {
        let of = self.0.entry(key).or_default();
        of.waiting.entries.clear();
        of.held = Waiting::default();
        of.resumes.push_back((link, entries));
    }

    /// What is to be written down now, if nothing is being written; then [`Acks::done`].
    pub fn next(&mut self, key: RouteKey) -> Option<Next> {
        let of = self.0.get_mut(&key)?;
        if of.running {
            return None;
        }
        let next = match of.resumes.pop_front() {
            Some((link, entries)) => Next::Resume(link, entries),
            None if of.waiting.is_empty() => {
                if of.held.is_empty() {
                    self.0.remove(&key);
                }
                return None;
            }
            None => Next::Acks(of.waiting.take()),
        };
        of.running = true;
        Some(next)
    }

    /// An operation has ended.
    pub fn done(&mut self, key: RouteKey) {
        if let Some(of) = self.0.get_mut(&key) {
            of.running = false;
        }
    }

    /// Operations of a device that are under way, and resumes that wait for their turn.
    pub fn running(&self, key: RouteKey) -> usize {
        self.0.get(&key).map_or(0, |of| usize::from(of.running) + of.resumes.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::{ConversationId, DeviceId};

    use super::*;
    use crate::model::ids::PeerId;

    #[test]
    fn what_waits_is_bounded_and_a_resume_takes_its_place() {
        let key = RouteKey::new(PeerId(1), DeviceId([1; 16]));
        let entry = |n: u64| AckEntry {
            from_device: DeviceId([2; 16]),
            conversation: ConversationId([3; 16]),
            epoch: Epoch(n.to_be_bytes()),
            contiguous: n,
            ranges: Vec::new(),
            head: None,
        };
        let mut acks = Acks::default();
        for n in 0..10_000u64 {
            acks.add(key, vec![entry(n)], vec![MessageId::now()], Flight::default());
        }
        let waiting = &acks.0[&key].waiting;
        assert_eq!((waiting.entries.len(), waiting.ids.len()), (MAX_ACK_ENTRIES, 4 * MAX_ACK_IDS));
        assert!(matches!(acks.next(key), Some(Next::Acks(_))));
        acks.add(key, vec![entry(1)], vec![MessageId::now()], Flight::default());
        acks.resume(key, 7, vec![entry(2)]);
        assert_eq!(acks.0[&key].waiting.entries.len(), 0);
        assert!(acks.next(key).is_none(), "what is being written comes first");
        acks.resume(key, 8, vec![entry(3)]);
        assert_eq!(acks.running(key), 3);
        for link in [7, 8] {
            acks.done(key);
            assert!(
                matches!(acks.next(key), Some(Next::Resume(of, _)) if of == link),
                "and each resume before the next"
            );
            assert!(acks.next(key).is_none(), "one at a time");
        }
        acks.done(key);
        assert!(matches!(acks.next(key), Some(Next::Acks(batch)) if batch.entries.is_empty() && batch.ids.len() == 1));
        acks.done(key);
        assert!(acks.next(key).is_none() && acks.0.is_empty(), "and nothing is left of it");
    }
}
