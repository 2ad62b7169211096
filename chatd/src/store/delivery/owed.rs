//! To which devices an own stream goes, and how far each of them has acknowledged it.
//!
//! A stream is begun for the devices that the members of its conversation have then, the account's own others among them;
//! when that changes, a new epoch begins (`crate::store::log::recovery::devices`). Where it is one device alone, no row is
//! kept: its acknowledgement takes a core out of the outbox, and whoever takes its place gets what is left. Otherwise a core
//! stays in the outbox until each of them has it; it is *delivered* when the first device of its recipient has it.
//!
//! What is covered is kept as acknowledgements tell it: all up to a mark, and ranges above.

use proto::ids::DeviceId;
use proto::wire::envelope::AckEntry;
use rusqlite::{Connection, params};

use crate::model::ids::{ConversationRow, OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::runs::subtract;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Ranges that are kept for a device at most, the lowest: what is left out is sent to it again, and it knows that.
const MAX_RANGES: usize = 64;
/// The highest seq that counts: far beyond what anybody sends, and every sum with it fits an i64 of the database.
pub(in crate::store) const MAX_SEQ: u64 = 1 << 62;

/// A device that a stream goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Owed {
    pub to: PeerDevice,
    /// What it has: sorted, apart.
    pub has: Vec<(u64, u64)>,
}

/// The ranges of an acknowledgement.
pub(in crate::store) fn covered(entry: &AckEntry) -> Vec<(u64, u64)> {
    let all = std::iter::once((1, entry.contiguous)).chain(entry.ranges.iter().copied());
    all.map(|(low, high)| (low, high.min(MAX_SEQ))).filter(|(low, high)| low <= high).collect()
}

/// The highest number of a mark and ranges above it.
pub(in crate::store) fn highest(contiguous: u64, ranges: &[(u64, u64)]) -> u64 {
    ranges.last().map_or(contiguous, |(_, high)| *high).min(MAX_SEQ)
}

/// Both together, sorted and apart.
pub(in crate::store) fn union(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(all.len());
    for (low, high) in all {
        match out.last_mut() {
            Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
            _ => out.push((low, high)),
        }
    }
    out
}

/// What of the one is not in the other.
pub(in crate::store) fn without(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    one.iter().flat_map(|range| subtract(*range, other)).collect()
}

/// What all have.
pub(in crate::store) fn common(owed: &[Owed]) -> Vec<(u64, u64)> {
    let Some((first, rest)) = owed.split_first() else { return Vec::new() };
    rest.iter().fold(first.has.clone(), |all, one| without(&all, &without(&all, &one.has)))
}

/// The devices that a stream goes to; none where it is one alone.
pub(in crate::store) fn of_stream(conn: &Connection, stream: OutStreamRow) -> Result<Vec<Owed>, StoreError> {
    let mut select = conn.prepare_cached("SELECT peer, device, has FROM owed WHERE stream = ?1 ORDER BY device")?;
    let mut rows = select.query([stream])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let device = DeviceId::from_slice(&row.get::<_, Vec<u8>>(1)?).ok_or(StoreError::Damaged("device id"))?;
        out.push(Owed { to: PeerDevice { peer: row.get(0)?, device }, has: decode(&row.get::<_, Vec<u8>>(2)?) });
    }
    Ok(out)
}

/// What a device has of a stream; `None`: the stream does not go to it.
pub(in crate::store) fn has(
    conn: &Connection,
    stream: OutStreamRow,
    to: PeerDevice,
) -> Result<Option<Vec<(u64, u64)>>, StoreError> {
    let owed = of_stream(conn, stream)?;
    if owed.is_empty() {
        return Ok(Some(Vec::new()));
    }
    Ok(owed.into_iter().find(|one| one.to == to).map(|one| one.has))
}

/// All devices that the members of a conversation have, but for this one.
pub(in crate::store) fn devices_of(
    conn: &Connection,
    conversation: ConversationRow,
) -> Result<Vec<PeerDevice>, StoreError> {
    let mut select = conn.prepare_cached(
        // Whoever names a device of ours as its own gets nothing by it.
        "SELECT min(d.peer), d.device FROM members m JOIN peer_devices d ON d.peer = m.peer
         WHERE m.conversation = ?1 AND d.device <> (SELECT device FROM account) GROUP BY d.device",
    )?;
    let mut rows = select.query([conversation])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let device = DeviceId::from_slice(&row.get::<_, Vec<u8>>(1)?).ok_or(StoreError::Damaged("device id"))?;
        out.push(PeerDevice { peer: row.get(0)?, device });
    }
    Ok(out)
}

/// A stream begins: it goes to all of the conversation's devices.
pub(in crate::store) fn begin(
    tx: &mut Tx<'_>,
    stream: OutStreamRow,
    conversation: ConversationRow,
) -> Result<(), StoreError> {
    let devices = devices_of(tx.conn, conversation)?;
    if devices.len() > 1 {
        for to in devices {
            keep(tx, stream, &Owed { to, has: Vec::new() })?;
        }
    }
    Ok(())
}

/// Writes down what a device has.
pub(in crate::store) fn keep(tx: &mut Tx<'_>, stream: OutStreamRow, owed: &Owed) -> Result<(), StoreError> {
    let kept = &owed.has[..owed.has.len().min(MAX_RANGES)];
    tx.conn
        .prepare_cached("INSERT OR REPLACE INTO owed (stream, device, peer, has) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![stream, owed.to.device.as_bytes(), owed.to.peer, encode(kept)])?;
    Ok(())
}

/// A stream goes to nobody any more: what waited in it ended, or waits elsewhere.
pub(in crate::store) fn end(tx: &mut Tx<'_>, stream: OutStreamRow) -> Result<(), StoreError> {
    tx.conn.prepare_cached("DELETE FROM owed WHERE stream = ?1")?.execute([stream])?;
    Ok(())
}

/// Whether a conversation's stream goes to other devices than its members have.
pub(in crate::store) fn is_outdated(
    conn: &Connection,
    stream: OutStreamRow,
    conversation: ConversationRow,
) -> Result<bool, StoreError> {
    let mut before: Vec<PeerDevice> = of_stream(conn, stream)?.into_iter().map(|one| one.to).collect();
    let mut now = devices_of(conn, conversation)?;
    // One in the place of one takes over what is left.
    if before.is_empty() && now.len() < 2 {
        return Ok(false);
    }
    before.sort_unstable();
    now.sort_unstable();
    Ok(before != now)
}

/// Own streams of which something is left that a device does not have, the oldest first.
pub(in crate::store) fn streams_to(conn: &Connection, to: PeerDevice) -> Result<Vec<OutStreamRow>, StoreError> {
    let streams: Vec<OutStreamRow> = conn
        .prepare_cached(
            "SELECT w.stream FROM owed w WHERE w.device = ?1 AND w.peer = ?2
             AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = w.stream) ORDER BY w.stream",
        )?
        .query_map(params![to.device.as_bytes(), to.peer], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(streams)
}

/// The account's own other devices that something is left for.
pub fn own_devices_waiting(conn: &Connection) -> Result<Vec<DeviceId>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT DISTINCT w.device FROM owed w WHERE w.peer = ?1
         AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = w.stream) ORDER BY w.device",
    )?;
    let mut rows = select.query([PeerId::SELF])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let device = DeviceId::from_slice(&row.get::<_, Vec<u8>>(0)?).ok_or(StoreError::Damaged("device id"))?;
        out.push(device);
    }
    Ok(out)
}

/// Ranges as a column holds them: pairs of u64be.
pub(in crate::store) fn encode(ranges: &[(u64, u64)]) -> Vec<u8> {
    ranges.iter().flat_map(|(low, high)| [low.to_be_bytes(), high.to_be_bytes()].concat()).collect()
}

/// The reverse of [`encode`].
pub(in crate::store) fn decode(bytes: &[u8]) -> Vec<(u64, u64)> {
    let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).unwrap_or(0);
    bytes.chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect()
}
