//! What is there of a peer's stream: everything up to a mark, and ranges above it. No IO.

use std::collections::HashMap;

use proto::ids::{ConversationId, DeviceId, Epoch, sha256};
use proto::wire::MAX_ACK_RANGES;
use proto::wire::envelope::{AckEntry, Core, HEAD_BYTES};
use proto::wire::payload::{Kind, Skip};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::ConversationRow;
use crate::store::delivery::owed::{self, MAX_SEQ};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// A hole that was given up is closed after so long, if its place is needed: 7 days, which is how long a mailbox could have
/// held what is missing.
const CLOSE_HOLE_MS: i64 = 7 * 86_400_000;

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
///
/// `contiguous` and `ranges` say what was received, and are what is acknowledged: a hole never is. `shown` says up to where
/// everything has its place in history or was given up; it is never below `contiguous` between two operations.
#[derive(Debug, Clone)]
pub(in crate::store) struct InStream {
    pub id: i64,
    /// The conversation that it is in.
    pub conversation: ConversationRow,
    pub contiguous: u64,
    pub ranges: Vec<(u64, u64)>,
    pub shown: u64,
    /// Hash of the core at `shown`; `None` when it is not known (a skip or a hole stands there).
    pub prev: Option<[u8; 32]>,
    /// Hash of the core at `contiguous`, where that is below `shown`, if it is known: what fills the hole late has to link to it.
    pub below: Option<[u8; 32]>,
    /// When the last hole was given up (Unix ms).
    pub given_up: i64,
    /// A number came again with another message, or the one after it says so: the sender lost count, and is told by a mark that it cannot have given.
    pub reused: bool,
}

impl InStream {
    pub fn new(id: i64, conversation: ConversationRow) -> Self {
        Self {
            id,
            conversation,
            contiguous: 0,
            ranges: Vec::new(),
            shown: 0,
            prev: Some([0; 32]),
            below: None,
            given_up: 0,
            reused: false,
        }
    }

    pub fn has(&self, seq: u64) -> bool {
        seq <= self.contiguous || self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&seq))
    }

    /// Remembers `low..=high` as received. `false`, and no change, when there is no room: then nothing of it may be
    /// acknowledged. Room is made of a hole that was given up long ago.
    pub fn take(&mut self, low: u64, high: u64, now: i64) -> bool {
        self.add_range(low, high) || (self.close_hole(now) && self.add_range(low, high))
    }

    /// Adds `low..=high`, joined with what it touches. `false`, and no change, when that would need a range too many.
    fn add_range(&mut self, low: u64, high: u64) -> bool {
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
        while let Some((low, high)) = self.ranges.first().copied().filter(|(low, _)| *low <= self.contiguous + 1) {
            debug_assert!(low > self.contiguous);
            (self.contiguous, self.below) = (high, None);
            self.ranges.remove(0);
        }
        true
    }

    /// Counts the lowest hole as received if it was given up long ago: nobody can say any more that it will be filled, and
    /// while it stands it takes the place of a range.
    fn close_hole(&mut self, now: i64) -> bool {
        let old = (0..=now.saturating_sub(CLOSE_HOLE_MS)).contains(&self.given_up);
        if self.shown <= self.contiguous || self.ranges.is_empty() || !old {
            return false;
        }
        (self.contiguous, self.below) = (self.ranges.remove(0).1, None);
        true
    }

    /// The end of what was received directly above `shown`, if anything was.
    pub fn ready(&self) -> Option<u64> {
        let next = self.shown + 1;
        if self.contiguous >= next {
            return Some(self.contiguous);
        }
        self.ranges.iter().find(|(low, high)| (*low..=*high).contains(&next)).map(|(_, high)| *high)
    }

    /// How many of the numbers between `shown` and `seq` were not received.
    pub fn missing_below(&self, seq: u64) -> u64 {
        let between = (self.shown + 1, seq.saturating_sub(1));
        let inside = |(low, high): &(u64, u64)| (*high.min(&between.1) + 1).saturating_sub(*low.max(&between.0));
        (between.1 + 1).saturating_sub(between.0) - self.ranges.iter().map(inside).sum::<u64>()
    }

    /// Whether a core links to the one before it, as far as that is known. If not, that one's number was given twice, and what was
    /// said to have come up to there may be what had these numbers before: the sender is told.
    pub fn joins(&mut self, core: &Core<'_>) -> bool {
        let links = self.prev.is_none_or(|prev| prev == core.prev);
        self.reused |= !links;
        links
    }

    /// The same for a core above `contiguous` that comes late, when what follows it was shown without it.
    pub fn joins_late(&mut self, below: Option<[u8; 32]>, core: &Core<'_>, bytes: &[u8]) {
        self.reused |= below.is_some_and(|below| below != core.prev);
        self.below = Some(sha256(&[bytes])).filter(|_| self.contiguous == core.seq);
    }

    /// Up to here nothing is waited for any more.
    pub fn give_up_to(&mut self, shown: u64) {
        if self.contiguous == self.shown {
            self.below = self.prev;
        }
        (self.shown, self.prev) = (shown, None);
    }

    fn entry(&self, conn: &Connection, key: &StreamKey) -> Result<AckEntry, StoreError> {
        Ok(AckEntry {
            from_device: key.device,
            conversation: key.conversation,
            epoch: key.epoch,
            contiguous: self.contiguous,
            ranges: told_ranges(self.ranges.clone(), self.contiguous, self.reused),
            head: head(conn, self.id, owed::highest(self.contiguous, &self.ranges), self.shown, self.prev.as_ref())?,
        })
    }
}

/// What an acknowledgement names the highest core by that it covers: what was shown last has its hash kept beside, and what waits for
/// one before it lies here. Of what was given up since nothing is known.
pub(in crate::store) fn head(
    conn: &Connection,
    stream: i64,
    highest: u64,
    shown: u64,
    prev: Option<&[u8; 32]>,
) -> Result<Option<[u8; HEAD_BYTES]>, StoreError> {
    let hash = if highest == shown {
        prev.copied().filter(|_| highest > 0)
    } else {
        conn.prepare_cached("SELECT core FROM reorder_buffer WHERE stream = ?1 AND seq = ?2")?
            .query_row(params![stream, highest as i64], |row| Ok(sha256(&[row.get_ref(0)?.as_blob()?])))
            .optional()?
    };
    Ok(hash.and_then(|hash| hash.first_chunk().copied()))
}

/// The ranges of an acknowledgement. Where a sender used a number twice they end with one that nobody gives: whoever sees
/// it begins a new epoch, and takes nothing out of the outbox for the marks beside it.
pub(in crate::store) fn told_ranges(mut ranges: Vec<(u64, u64)>, contiguous: u64, reused: bool) -> Vec<(u64, u64)> {
    let highest = ranges.last().map_or(contiguous, |(_, high)| *high);
    if reused && highest < MAX_SEQ - 1 {
        ranges.truncate(MAX_ACK_RANGES - 1);
        ranges.push((MAX_SEQ, MAX_SEQ));
    }
    ranges
}

/// A skip fills the hole before it as soon as it arrives: what it names will never come. `false`: there is no room to
/// remember that, and so the skip itself must not be taken either.
pub(in crate::store) fn fill_skipped(stream: &mut InStream, core: &Core<'_>, now: i64) -> bool {
    if Kind::parse(core.kind) != Some(Kind::Skip) {
        return true;
    }
    Skip::decode(core.payload).map_or(true, |skip| stream.take(skip.low, skip.high.min(core.seq - 1), now))
}

/// Foreign streams kept in memory at most; beyond that it starts anew.
const MAX_CACHED: usize = 4_096;

/// Foreign streams as they were last read or written.
#[derive(Default)]
struct Cached(HashMap<StreamKey, InStream>);

/// Reads them from the database again.
#[cfg(test)]
pub(in crate::store) fn forget_cached(tx: &mut Tx<'_>) {
    tx.cache.of::<Cached>().0.clear();
}

pub(in crate::store) fn in_stream(tx: &mut Tx<'_>, key: &StreamKey) -> Result<Option<InStream>, StoreError> {
    if let Some(stream) = tx.cache.of::<Cached>().0.get(key) {
        return Ok(Some(stream.clone()));
    }
    let found = tx
        .conn
        .prepare_cached(
            "SELECT id, contiguous, shown, given_up, prev, ranges, reused, conversation, below FROM streams_in
             WHERE device = ?1 AND conversation = (SELECT id FROM conversations WHERE conversation = ?2) AND epoch = ?3",
        )?
        .query_row(params![key.device.as_bytes(), key.conversation.as_bytes(), key.epoch.as_bytes()], |row| {
            let (id, contiguous, shown): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (given_up, prev, ranges): (i64, Vec<u8>, Vec<u8>) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let (contiguous, shown, ranges) = (contiguous as u64, shown as u64, owed::decode(&ranges));
            let (reused, conversation, below): (_, _, Vec<u8>) = (row.get(6)?, row.get(7)?, row.get(8)?);
            let (none, known) = (None, (prev, below));
            Ok((InStream { id, conversation, contiguous, ranges, shown, prev: none, below: none, given_up, reused }, known))
        })
        .optional()?;
    let Some((stream, (prev, below))) = found else { return Ok(None) };
    let hash = |bytes: &[u8]| match bytes {
        [] => Ok(None),
        bytes => bytes.try_into().map(Some).map_err(|_| StoreError::Damaged("prev")),
    };
    Ok(Some(InStream { prev: hash(&prev)?, below: hash(&below)?, ..stream }))
}

/// What is told of a stream that was written.
pub(in crate::store) struct Closed {
    /// What its sender is told to have come.
    pub entry: AckEntry,
    /// More of it could be shown than one operation shows.
    pub unfinished: bool,
}

/// Writes a stream as it is after an operation.
pub(in crate::store) fn close_stream(tx: &mut Tx<'_>, key: StreamKey, stream: InStream) -> Result<Closed, StoreError> {
    let unfinished = stream.ready().is_some();
    let [prev, below] = [&stream.prev, &stream.below].map(|hash| hash.as_ref().map_or(&[][..], |hash| &hash[..]));
    tx.conn
        .prepare_cached(
            "UPDATE streams_in SET contiguous = ?2, prev = ?3, ranges = ?4, shown = ?5, given_up = ?6,
               reused = ?7, below = ?8 WHERE id = ?1",
        )?
        .execute(params![
            stream.id,
            stream.contiguous as i64,
            prev,
            owed::encode(&stream.ranges),
            stream.shown as i64,
            stream.given_up,
            stream.reused,
            below
        ])?;
    let entry = stream.entry(tx.conn, &key)?;
    let cached = &mut tx.cache.of::<Cached>().0;
    if cached.len() >= MAX_CACHED {
        cached.clear();
    }
    cached.insert(key, stream);
    Ok(Closed { entry, unfinished })
}

/// Remembers what took a number and has no place in history.
pub(in crate::store) fn unseen(tx: &mut Tx<'_>, stream: &InStream, core: &Core<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("INSERT OR IGNORE INTO unseen (stream, seq, msgid) VALUES (?1, ?2, ?3)")?
        .execute(params![stream.id, core.seq as i64, core.id.as_bytes()])?;
    tx.conn
        .prepare_cached("DELETE FROM unseen WHERE stream = ?1 AND seq <= ?2")?
        .execute(params![stream.id, core.seq as i64 - UNSEEN])?;
    Ok(())
}

/// Numbers of a stream that were taken by something unseen are remembered so long.
const UNSEEN: i64 = 4_096;

/// The key of a stream as bytes of the database.
pub(in crate::store) fn stream_key(device: &[u8], conversation: &[u8], epoch: &[u8]) -> Option<StreamKey> {
    Some(StreamKey {
        device: DeviceId::from_slice(device)?,
        conversation: ConversationId::from_slice(conversation)?,
        epoch: Epoch::from_slice(epoch)?,
    })
}
