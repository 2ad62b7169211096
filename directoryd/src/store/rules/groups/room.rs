//! Shares: how much and how often. An eighth of a log is the most that one writer has, and an eighth is kept for what the log key wants.

use super::sweep::{MINUTE, expire};
use crate::store::command::{Applied, Commands, Group, ROW_BYTES, Share, Writer};
use crate::store::error::StoreError;
use crate::store::rules::batch::Batch;

/// The part of a log that one writer has at most, and the part that is kept for the log key.
const EIGHTH: u64 = 8;
/// As many appends in a minute as so many writers may make: of all, seven eighths without the log key.
const WRITERS_A_MINUTE: u64 = 512;

/// Something that wants room.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Entries.
    pub entries: u64,
    /// Bytes, without what their rows take.
    pub bytes: u64,
    /// Bytes that become free by it.
    pub freed: u64,
    /// Who wants it.
    pub writer: Writer,
    /// The log key wants it.
    pub proved: bool,
}

/// Makes sure that there is room; what has expired is in nobody's way.
pub fn find<C: Commands>(db: &mut C, group: &Group, wanted: Wanted, batch: &mut Batch) -> Applied<(), C::Error> {
    loop {
        // Anew each time: what expires is counted.
        let room = db.group(group.log)?.map(|group| group.room).unwrap_or(group.room);
        let share = db.share(group.log, wanted.writer)?;
        let all = db.sums()?.group_bytes;
        let Err(full) = fits(Group { room, ..group.clone() }, share, all, wanted, batch) else { return Ok(()) };
        if expire(db, batch)? == 0 {
            return Err(full.into());
        }
    }
}

fn fits(group: Group, share: Share, all: u64, wanted: Wanted, batch: &Batch) -> Result<(), StoreError> {
    let full = |why: String| Err(StoreError::GroupFull(why));
    let bounds = batch.bounds.groups;
    let size = wanted.bytes.saturating_add(ROW_BYTES);
    let after = |bytes: u64| bytes.saturating_add(size).saturating_sub(wanted.freed);
    let kept = |most: u64| if wanted.proved { most } else { most - most / EIGHTH };
    let entries = group.room.entries + wanted.entries;
    if entries > kept(bounds.entries) || after(group.room.bytes) > kept(bounds.bytes) {
        return full(format!(
            "the log is full ({} entries or {} bytes at most, of which an eighth is kept for whoever has the log key); try again \
             later, or ask an admin to drop something",
            bounds.entries, bounds.bytes
        ));
    }
    let of_one = (bounds.entries / EIGHTH, bounds.bytes / EIGHTH);
    if !wanted.proved && (share.entries + wanted.entries > of_one.0 || after(share.bytes) > of_one.1) {
        return full("you have an eighth of this log already, the most that one has; try again later".into());
    }
    let total = after(all);
    // Nobody may have more than is left for all others, as of mailboxes: those who have much are refused first.
    let left = bounds.total_bytes.saturating_sub(total.saturating_sub(size));
    if total > bounds.total_bytes || after(group.room.bytes) > left {
        return full(format!(
            "this directory has little room left of the {} bytes for all its logs, and this one has its share of it; try again later",
            bounds.total_bytes
        ));
    }
    Ok(())
}

/// Counts an append for its log and its writer, unless it is one too many.
pub fn count(
    group: &mut Group,
    share: &mut Share,
    (exempt, proved): (bool, bool),
    batch: &Batch,
) -> Result<(), StoreError> {
    let minute = batch.now / MINUTE;
    if group.minute != minute {
        (group.minute, group.appended) = (minute, 0);
    }
    if share.minute != minute {
        (share.minute, share.appended) = (minute, 0);
    }
    let of_one = batch.bounds.groups.appends_per_minute;
    let all = of_one.saturating_mul(WRITERS_A_MINUTE);
    let of_all = if proved { all } else { all - all / EIGHTH };
    let often = (!proved && share.appended >= of_one) || group.appended >= of_all;
    if often && !exempt {
        return Err(StoreError::TooOften(MINUTE - batch.now % MINUTE));
    }
    group.appended += 1;
    share.appended += u64::from(!proved);
    Ok(())
}
