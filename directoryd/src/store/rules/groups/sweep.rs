//! What goes with time: by the mailbox's clock, some at a time.

use crate::store::command::{Applied, Commands};
use crate::store::request::RESERVED_SECONDS;
use crate::store::rules::batch::Batch;

/// Seconds in which appends are counted.
pub const MINUTE: u64 = 60;
/// Rows that one transaction takes of a kind at most: keeps it to some milliseconds.
const SWEEP: usize = 512;
/// Logs at once: each may have very many rows.
const LOGS: usize = 1;

/// Drops some of what has expired, and logs whose account is gone for as long as its name rests; whether there may be more.
pub fn sweep<C: Commands>(db: &mut C, batch: &mut Batch) -> Applied<bool, C::Error> {
    let expired = expire(db, batch)?;
    let forgotten = db.forget_shares(batch.now / MINUTE, batch.now, SWEEP)?;
    let until = batch.now.checked_sub(RESERVED_SECONDS.unsigned_abs());
    let orphans = match until {
        Some(until) => db.orphaned(until, LOGS)?,
        None => Vec::new(),
    };
    for log in &orphans {
        db.remove_group(*log)?;
        batch.logged = true;
    }
    Ok(expired >= SWEEP || forgotten == SWEEP || orphans.len() == LOGS)
}

/// How many entries went, of those that were staged as well.
pub fn expire<C: Commands>(db: &mut C, batch: &mut Batch) -> Applied<usize, C::Error> {
    let gone = db.expire_entries(batch.now, SWEEP)? + db.expire_staged(batch.now, SWEEP)?;
    batch.cut += gone as u64;
    batch.logged |= gone > 0;
    Ok(gone)
}
