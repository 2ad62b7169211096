//! What is there of a peer's stream: everything up to a mark, and ranges above it. No IO.

use proto::ids::{ConversationId, DeviceId, Epoch};
use proto::wire::MAX_ACK_RANGES;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Skip};

/// The highest seq that is taken: far beyond what anybody sends, and every sum with it fits an i64 of the database.
pub(super) const MAX_SEQ: u64 = 1 << 62;

/// Names one stream of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The sending device.
    pub device: DeviceId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The epoch.
    pub epoch: Epoch,
}

/// What is known of a peer's stream.
#[derive(Debug, Clone)]
pub(super) struct InStream {
    pub id: i64,
    pub contiguous: u64,
    /// Hash of the core at `contiguous`; `None` when a skip stands there.
    pub prev: Option<[u8; 32]>,
    pub ranges: Vec<(u64, u64)>,
}

impl InStream {
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.contiguous || self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&seq))
    }

    /// Adds `low..=high`, joined with what it touches. `false`, and no change, when that would need a range too many.
    pub fn add_range(&mut self, low: u64, high: u64) -> bool {
        let low = low.max(self.contiguous + 1);
        if high < low {
            return true;
        }
        let from = self.ranges.partition_point(|(_, end)| *end + 1 < low);
        let to = self.ranges.partition_point(|(start, _)| *start <= high + 1);
        // What joins the contiguous part does not stay a range.
        if from == to && self.ranges.len() >= MAX_ACK_RANGES && low > self.contiguous + 1 {
            return false;
        }
        let joined = self.ranges[from..to].iter().fold((low, high), |(l, h), (a, b)| (l.min(*a), h.max(*b)));
        self.ranges.splice(from..to, [joined]);
        true
    }

    /// Whether a core links to the one before it, as far as that is known.
    pub fn links(&self, core: &Core<'_>) -> bool {
        self.prev.is_none_or(|prev| prev == core.prev)
    }

    pub fn entry(&self, key: &StreamKey) -> AckEntry {
        AckEntry {
            from_device: key.device,
            conversation: key.conversation,
            epoch: key.epoch,
            contiguous: self.contiguous,
            ranges: self.ranges.clone(),
        }
    }
}

pub(super) fn encode_ranges(ranges: &[(u64, u64)]) -> Vec<u8> {
    ranges.iter().flat_map(|(low, high)| [low.to_be_bytes(), high.to_be_bytes()].concat()).collect()
}

pub(super) fn decode_ranges(bytes: &[u8]) -> Vec<(u64, u64)> {
    let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or(0);
    bytes.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect()
}

/// A skip fills the hole before it as soon as it arrives: what it names will never come. `false`: there is no room to
/// remember that, and so the skip itself must not be taken either.
pub(super) fn fill_skipped(stream: &mut InStream, core: &Core<'_>) -> bool {
    if Kind::parse(core.kind) != Some(Kind::Skip) {
        return true;
    }
    Skip::decode(core.payload).map_or(true, |skip| stream.add_range(skip.low, skip.high.min(core.seq - 1)))
}
