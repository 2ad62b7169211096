//! Envelopes that lie here, as the transaction sees them: deposits, deletions, lifetimes, quotas.
//!
//! Invariants: nothing is evicted to make room; strangers and contacts never take each other's; a number is given once
//! (`AUTOINCREMENT`); the sums in `mailbox_usage` and `mailbox_total` are kept by triggers, so they cannot drift.

use proto::ids::{AccountId, DeviceId};
use proto::wire::work::MAX_WORK_BITS;
use rusqlite::{OptionalExtension, Transaction, params};

use super::super::{Deposit, Deposited, Lane, Quotas, RESERVED_SECONDS, StoreError, Stranger};
use super::{Applied, Context, registered};

/// Expired envelopes that one sweep takes at most: keeps its transaction to some milliseconds.
pub(in crate::store) const SWEEP: usize = 512;

/// Lanes of a mailbox, as the column `stranger` has them. Each has its own room.
const CONTACTS: i64 = 0;
const STRANGERS: i64 = 1;
const WORKED: i64 = 2;
/// With so many envelopes in the lane that work opens, it costs twice as much.
const WORKED_A_STEP: u64 = 8;

/// The same bytes in the same kind of lane. Of strangers there are two, named one by one so that the index is used: it may
/// hold thousands, and this is asked for each deposit.
const HELD: &str = "SELECT number, expires, size, stranger FROM mailbox
     WHERE account = ?1 AND stranger IN (?2, 2 * ?2) AND hash = ?3";

/// What a transaction did to mailboxes.
#[derive(Debug, Default)]
pub(in crate::store) struct Touched {
    pub deposited: bool,
    pub deleted: u64,
    pub expired: u64,
    /// Mail of devices or accounts that are no more.
    pub dropped: bool,
}

impl Touched {
    pub fn any(&self) -> bool {
        self.deposited || self.dropped || self.deleted > 0 || self.expired > 0
    }
}

pub(in crate::store) fn deposit(db: &Transaction<'_>, new: &Deposit, context: &mut Context) -> Applied<Deposited> {
    if context.disk_full {
        return Err(StoreError::Unavailable("the disk is full; try again later".into()).into());
    }
    registered(db, new.account)?;
    let mut lane = match &new.lane {
        Lane::Contact(hash) => {
            let honoured = db
                .prepare_cached("SELECT 1 FROM tokens WHERE account = ?1 AND hash = ?2")?
                .exists(params![new.account.0, hash])?;
            if !honoured {
                return Err(StoreError::TokenRevoked.into());
            }
            CONTACTS
        }
        Lane::Stranger(_) => STRANGERS,
    };
    let stranger = lane != CONTACTS;
    let held: Option<(i64, i64, i64, i64)> = db
        .prepare_cached(HELD)?
        .query_row(params![new.account.0, stranger, new.hash], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let now = signed(context.now);
    if let Some((number, expires, ..)) = held.filter(|(_, expires, ..)| *expires > now && !stranger) {
        let expires_in = (expires - now).unsigned_abs();
        return Ok(Deposited { created: false, number: number.unsigned_abs(), expires_in });
    }
    // Of a stranger's, the same bytes take the place of those that lie here, under a new number: the answer is the same
    // whether or not they do, so that a repetition does not tell a stranger whether somebody has fetched them.
    let replaced = held.map_or(0, |(_, _, size, _)| size.unsigned_abs());
    // It stays in its lane.
    lane = held.map_or(lane, |(_, _, _, lane)| lane);
    let mut full = no_room(db, new, &mut lane, held.is_some(), replaced, context)?;
    // What has expired is in nobody's way.
    while full.is_some() && expire(db, context)? > 0 {
        full = no_room(db, new, &mut lane, held.is_some(), replaced, context)?;
    }
    if let Some(full) = full {
        return Err(full.into());
    }
    let (site, host) = match &new.lane {
        Lane::Stranger(from) => (&from.site[..], &from.host[..]),
        Lane::Contact(_) => (&[][..], &[][..]),
    };
    if let Some((number, ..)) = held {
        db.prepare_cached("DELETE FROM mailbox WHERE number = ?1")?.execute(params![number])?;
    }
    // Rounded up: what is left of the second that has begun is the envelope's.
    let expires = now.saturating_add(i64::from(new.ttl)).saturating_add(1);
    let size = i64::try_from(new.envelope.len()).unwrap_or(i64::MAX);
    let number: i64 = db
        .prepare_cached(
            "INSERT INTO mailbox (account, device, stranger, expires, hash, size, envelope, site, host)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING number",
        )?
        .query_row(
            params![new.account.0, new.device.0, lane, expires, new.hash, size, &new.envelope[..], site, host],
            |row| row.get(0),
        )?;
    context.mail.deposited = true;
    Ok(Deposited { created: true, number: number.unsigned_abs(), expires_in: new.ttl.into() })
}

/// Why there is no room, if there is none. What `new` would replace makes room.
fn no_room(
    db: &Transaction<'_>,
    new: &Deposit,
    lane: &mut i64,
    replaces: bool,
    replaced: u64,
    context: &Context,
) -> Applied<Option<StoreError>> {
    let full = |why| Ok(Some(StoreError::MailboxFull(why)));
    let (envelopes, bytes) = used(db, new.account, CONTACTS)?;
    let size = new.envelope.len() as u64;
    let quotas = &context.quotas;
    match &new.lane {
        // It takes the place of the one that lies here.
        Lane::Stranger(_) if replaces => {}
        Lane::Stranger(from) => match strangers_lane(db, new, from, quotas)? {
            Ok(found) => *lane = found,
            Err(refused) => return Ok(Some(refused)),
        },
        Lane::Contact(_) => {
            let envelopes = envelopes + 1 - u64::from(replaces);
            if envelopes > quotas.envelopes || (bytes + size).saturating_sub(replaced) > quotas.bytes {
                return full(format!(
                    "the mailbox is full ({} envelopes or {} bytes at most) until its owner fetches what lies in it; try again later",
                    quotas.envelopes, quotas.bytes
                ));
            }
        }
    }
    let total = (lying(db)?.1 + size).saturating_sub(replaced);
    if total > quotas.total_bytes {
        let most = quotas.total_bytes;
        return full(format!("this directory's mailboxes are full ({most} bytes at most); try again later"));
    }
    // Nobody may have more than is left for all others: so however many fill theirs, there is room for one more, and
    // those who have much are refused first (dynamic thresholds; Choudhury and Hahne, 1998).
    let account = db
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM mailbox_usage WHERE account = ?1")?
        .query_row(params![new.account.0], |row| row.get::<_, i64>(0))?;
    let account = (account.unsigned_abs() + size).saturating_sub(replaced);
    let left = quotas.total_bytes.saturating_sub(total - size.min(total));
    if account > left {
        return full(format!(
            "this directory has little room left of the {} bytes for all its mailboxes, and this one has its share of it; \
             try again later",
            quotas.total_bytes
        ));
    }
    Ok(None)
}

/// Envelopes that lie in a lane of an account, and their bytes.
fn used(db: &Transaction<'_>, account: AccountId, lane: i64) -> Applied<(u64, u64)> {
    let used: Option<(i64, i64)> = db
        .prepare_cached("SELECT envelopes, bytes FROM mailbox_usage WHERE account = ?1 AND stranger = ?2")?
        .query_row(params![account.0, lane], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(used.map_or((0, 0), |(envelopes, bytes)| (envelopes.unsigned_abs(), bytes.unsigned_abs())))
}

/// In which lane a stranger's envelope finds room. The first is shared by places: no network may have more of it than is
/// left for all others, and none of its hosts more than half of that, so that the loud are refused first. Who finds no
/// room there is let into the second by proof of work, which costs more the fuller that is.
fn strangers_lane(
    db: &Transaction<'_>,
    new: &Deposit,
    from: &Stranger,
    quotas: &Quotas,
) -> Applied<Result<i64, StoreError>> {
    let (lying, _) = used(db, new.account, STRANGERS)?;
    let free = quotas.strangers.saturating_sub(lying);
    let (of_site, of_host): (i64, i64) = db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE site = ?3), count(*) FILTER (WHERE host = ?4) FROM mailbox
             WHERE account = ?1 AND stranger = ?2",
        )?
        .query_row(params![new.account.0, STRANGERS, &from.site, &from.host], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let fair = of_site.unsigned_abs() < free && of_host.unsigned_abs() * 2 < free;
    if free > 0 && (fair || from.exempt) {
        return Ok(Ok(STRANGERS));
    }
    let (worked, _) = used(db, new.account, WORKED)?;
    if worked >= quotas.strangers {
        let most = quotas.strangers;
        return Ok(Err(StoreError::MailboxFull(format!(
            "{most} requests of strangers wait for this account, and as many with work, which are the most; try again later"
        ))));
    }
    let steps = u8::try_from(worked / WORKED_A_STEP).unwrap_or(u8::MAX);
    let bits = quotas.work_bits.saturating_add(steps).min(MAX_WORK_BITS);
    Ok(if from.work >= bits { Ok(WORKED) } else { Err(StoreError::StrangersFull { bits }) })
}

/// Deletes envelopes of one device, and nothing else; how many there were.
pub(in crate::store) fn delete(
    db: &Transaction<'_>,
    account: AccountId,
    device: DeviceId,
    numbers: &[u64],
    context: &mut Context,
) -> Applied<u64> {
    let mut delete = db.prepare_cached("DELETE FROM mailbox WHERE number = ?1 AND account = ?2 AND device = ?3")?;
    let mut deleted = 0;
    for number in numbers {
        deleted += delete.execute(params![signed(*number), account.0, device.0])? as u64;
    }
    context.mail.deleted += deleted;
    Ok(deleted)
}

/// Deletes some of what has expired, and saves the clock while there is anything whose time it counts; whether there may
/// be more.
pub(in crate::store) fn sweep(db: &Transaction<'_>, context: &mut Context) -> Applied<bool> {
    let expired = expire(db, context)?;
    // Names that rest no longer.
    let free = db
        .prepare_cached(
            "DELETE FROM released WHERE name IN
                 (SELECT name FROM released WHERE released_at <= ?1 ORDER BY released_at LIMIT ?2)",
        )?
        .execute(params![signed(context.now) - RESERVED_SECONDS, SWEEP as i64])?;
    let counts = db
        .prepare_cached("SELECT envelopes + released > 0 FROM mailbox_total")?
        .query_row([], |row| row.get::<_, bool>(0))?;
    if counts {
        save_uptime(db, context.now)?;
    }
    Ok(expired == SWEEP || free == SWEEP)
}

fn expire(db: &Transaction<'_>, context: &mut Context) -> Applied<usize> {
    let expired = db
        .prepare_cached(
            "DELETE FROM mailbox WHERE number IN
                 (SELECT number FROM mailbox WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        )?
        .execute(params![signed(context.now), SWEEP as i64])?;
    context.mail.expired += expired as u64;
    Ok(expired)
}

/// Mail for a device that the account's record no longer names: nobody could fetch it.
pub(in crate::store) fn drop_device(
    db: &Transaction<'_>,
    account: AccountId,
    device: DeviceId,
    context: &mut Context,
) -> Result<(), rusqlite::Error> {
    let dropped = db
        .prepare_cached("DELETE FROM mailbox WHERE account = ?1 AND device = ?2")?
        .execute(params![account.0, device.0])?;
    context.mail.dropped |= dropped > 0;
    Ok(())
}

/// All mail of an account that is no more.
pub(in crate::store) fn drop_account(
    db: &Transaction<'_>,
    account: AccountId,
    context: &mut Context,
) -> Result<(), rusqlite::Error> {
    let dropped = db.prepare_cached("DELETE FROM mailbox WHERE account = ?1")?.execute(params![account.0])?;
    context.mail.dropped |= dropped > 0;
    Ok(())
}

/// Envelopes in all mailboxes, and their bytes.
pub(in crate::store) fn lying(db: &rusqlite::Connection) -> Result<(u64, u64), rusqlite::Error> {
    db.prepare_cached("SELECT envelopes, bytes FROM mailbox_total")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs())))
}

/// The clock, as it was saved last.
pub(in crate::store) fn saved_uptime(db: &rusqlite::Connection) -> Result<u64, rusqlite::Error> {
    db.query_row("SELECT uptime FROM mailbox_total", [], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

/// Saves the clock, which never goes back.
pub(in crate::store) fn save_uptime(db: &Transaction<'_>, now: u64) -> Result<(), rusqlite::Error> {
    db.prepare_cached("UPDATE mailbox_total SET uptime = max(uptime, ?1)")?.execute(params![signed(now)])?;
    Ok(())
}

/// SQLite's integers are signed; numbers and seconds that are beyond them do not come to be.
pub(in crate::store) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_envelope_is_found_without_reading_the_mailbox() {
        let folder = tempfile::tempdir().unwrap();
        let db = super::super::super::sqlite::schema::open(&folder.path().join("directory.db"), None).unwrap();
        let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {HELD}")).unwrap();
        let steps = query.query_map(params![[0u8; 16], true, [0u8; 32]], |row| row.get::<_, String>("detail")).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert_eq!(plan, ["SEARCH mailbox USING INDEX mailbox_by_hash (account=? AND stranger=? AND hash=?)"]);
    }
}
