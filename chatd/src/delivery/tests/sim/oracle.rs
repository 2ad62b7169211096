//! What must hold, watched from outside of both stores.

use std::collections::{HashMap, HashSet};

use proto::ids::{DeviceId, Epoch, MessageId, sha256};
use proto::wire::envelope::{AckEntry, Core};

use crate::store::tests::memory::Memory;

/// What a message's flags say.
const LATE: i64 = 16;
const MISSING_SHIFT: u32 = 8;

/// What an acknowledgement names beyond all numbers says something else.
const MAX_SEQ: u64 = 1 << 62;

#[derive(Default)]
pub struct Oracle {
    pub violations: Vec<String>,
    /// Messages that a user was told to be stored, with their place among the sender's.
    pub sent: HashMap<MessageId, u64>,
    /// Of them those that their sender's disk lost: nobody can promise them, and their order means nothing.
    orphans: HashSet<MessageId>,
    /// Messages that ended by their lifetime: a copy that was under way may come whenever it does.
    expired: HashSet<MessageId>,
    /// What was ever on its way under a number.
    numbers: HashMap<(DeviceId, Epoch, u64), [u8; 32]>,
    /// Under which number a core was on its way in an epoch.
    places: HashMap<(DeviceId, Epoch, MessageId), u64>,
    /// Devices whose disk went back to a moment of the running session: nothing tells them, until somebody who has the
    /// number already says so. What counts then is that nothing is lost.
    pub blind: HashSet<DeviceId>,
    pub reused: u64,
    readers: [Reader; 2],
    /// Whose disk went back: what came to it after its lifetime and is lost with that is not left again.
    went_back: [bool; 2],
    pub shown: u64,
    pub late: u64,
    pub gaps: u64,
}

/// What one side was shown.
#[derive(Default)]
struct Reader {
    row: i64,
    highest: u64,
    seen: HashSet<MessageId>,
    /// Places that a gap told to be missing.
    missing: HashSet<u64>,
}

impl Oracle {
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Whether a core left before.
    pub fn has_left(&self, core: &Core<'_>) -> bool {
        self.numbers.contains_key(&(core.from_device, core.epoch, core.seq))
    }

    /// A core leaves.
    pub fn leaves(&mut self, bytes: &[u8]) {
        let core = Core::decode(bytes).unwrap();
        let hash = sha256(&[bytes]);
        if core.seq == 0 {
            return;
        }
        let place = self.places.insert((core.from_device, core.epoch, core.id), core.seq);
        if let Some(place) = place.filter(|place| *place != core.seq && !self.blind.contains(&core.from_device)) {
            self.violation(format!("a message left as {place} of an epoch, and again as {}", core.seq));
        }
        let before = self.numbers.insert((core.from_device, core.epoch, core.seq), hash);
        if before.is_some_and(|before| before != hash) {
            self.reused += 1;
            if self.blind.contains(&core.from_device) {
                return;
            }
            self.violation(format!("number {} was used twice in one epoch", core.seq));
        }
    }

    /// A side hears what has come of its streams: that must lie on the other's disk.
    pub fn hears(&mut self, said: &[AckEntry], on_disk: &[AckEntry]) {
        for entry in said {
            let Some(there) = on_disk.iter().find(|there| there.epoch == entry.epoch) else {
                if entry.contiguous > 0 || !entry.ranges.is_empty() {
                    self.violation(format!("{:?} is acknowledged, and nothing of it on disk", entry.epoch));
                }
                continue;
            };
            let mut lost = entry.contiguous > there.contiguous;
            for (low, high) in entry.ranges.iter().filter(|(_, high)| *high < MAX_SEQ) {
                let has = |(from, to): &(u64, u64)| from <= low && high <= to;
                lost |= *high > there.contiguous && !there.ranges.iter().any(has) && there.contiguous + 1 < *low;
            }
            if lost {
                let (said, there) = ((entry.contiguous, &entry.ranges), (there.contiguous, &there.ranges));
                self.violation(format!("{said:?} is acknowledged, and {there:?} on disk"));
            }
        }
    }

    /// Messages ended by their lifetime.
    pub fn expired(&mut self, ids: Vec<MessageId>) {
        self.expired.extend(ids);
    }

    /// Looks at what a side shows now.
    pub fn look(&mut self, side: usize, node: &Memory) {
        for (row, id, flags) in node.shown_after(self.readers[side].row) {
            let reader = &mut self.readers[side];
            reader.row = row;
            self.shown += 1;
            let Some(place) = self.sent.get(&id).copied() else {
                self.violations.push("a message that nobody sent".to_owned());
                continue;
            };
            if !reader.seen.insert(id) {
                self.violations.push(format!("message {place} was shown twice"));
            }
            if flags >> MISSING_SHIFT > 0 {
                self.gaps += 1;
                let unseen = self.sent.iter().filter(|(id, at)| **at < place && !reader.seen.contains(*id));
                reader.missing.extend(unseen.map(|(_, at)| *at));
            }
            if self.orphans.contains(&id) || self.expired.contains(&id) {
                continue;
            }
            if flags & LATE != 0 {
                self.late += 1;
            } else if place < reader.highest && !reader.missing.contains(&place) {
                self.violations.push(format!("message {place} was shown after {}", reader.highest));
            }
            reader.highest = reader.highest.max(place);
        }
    }

    /// A side's disk went back: what it has not any more it was never shown, and nobody waits for what it had to send.
    pub fn went_back(&mut self, side: usize, node: &Memory, own: &HashSet<MessageId>, places: impl Fn(u64) -> usize) {
        self.went_back[side] = true;
        let lost = self.sent.iter().filter(|(id, at)| places(**at) == side && !own.contains(*id));
        let lost: Vec<MessageId> = lost.map(|(id, _)| *id).collect();
        self.orphans.extend(lost);
        let mut reader = Reader::default();
        for (row, id, _) in node.shown_after(0) {
            reader.row = row;
            reader.seen.insert(id);
            if !self.orphans.contains(&id) {
                reader.highest = reader.highest.max(self.sent[&id]);
            }
        }
        reader.missing = std::mem::take(&mut self.readers[side].missing);
        self.readers[side] = reader;
    }

    /// Nothing is on its way any more.
    pub fn end(&mut self, stores: [&Memory; 2]) {
        for side in [0, 1] {
            self.look(side, stores[side]);
            let there = &self.readers[1 - side].seen;
            let over = |id: &MessageId| self.went_back[1 - side] && self.expired.contains(id);
            let lost = stores[side].own_messages(false).into_iter().filter(|id| !there.contains(id) && !over(id));
            let mut lost: Vec<_> = lost.map(|id| self.sent.get(&id)).collect();
            if !lost.is_empty() {
                lost.sort_unstable();
                self.violations.push(format!("of side {side}, {lost:?} were accepted and lost"));
            }
            let waits = stores[side].number("SELECT count(*) FROM outbox");
            let held = stores[side].number("SELECT count(*) FROM reorder_buffer");
            if waits + held > 0 {
                self.violations.push(format!("side {side} never drained: {waits} wait, {held} are held"));
            }
        }
    }
}
