//! Logs of groups, as SQLite has them. Whatever takes room is counted (`count`) in the transaction that puts it there, so that what a
//! log, its writers and the directory hold is read and never added up.

use proto::directory::groups::Running;
use proto::ids::{AccountId, LogId, sha256};
use rusqlite::{Row, params};

use super::group_queries::{GROUP, stored, unsigned, writer};
use super::queries::{Sql, signed};
use crate::store::command::{
    Applied, Group, GroupCommands, KeptSlot, Known, LOG_BYTES, NewEntry, ROW_BYTES, Share, Waiting, Writer,
};

type Done<T> = Applied<T, rusqlite::Error>;

/// What is put into a log, or taken out of it.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    entries: i64,
    dropped: i64,
    slots: i64,
    bytes: i64,
}

fn size_of(bytes: &[u8]) -> i64 {
    signed(bytes.len() as u64 + ROW_BYTES)
}

fn count(db: &Sql<'_>, log: LogId, writer: Option<&[u8]>, by: Counted) -> Done<()> {
    let sql =
        "UPDATE group_logs SET entries = entries + ?2, dropped = dropped + ?3, slots = slots + ?4, bytes = bytes + ?5
         WHERE log = ?1";
    db.execute(sql, params![log.0, by.entries, by.dropped, by.slots, by.bytes])?;
    if let Some(writer) = writer {
        let sql = "INSERT INTO group_shares (log, writer, entries, slots, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (log, writer) DO UPDATE SET entries = entries + ?3, slots = slots + ?4, bytes = bytes + ?5";
        db.execute(sql, params![log.0, writer, by.entries, by.slots, by.bytes])?;
    }
    total(db, log, 0, by.entries, by.bytes)
}

/// Of the directory, in the row of the log's first digit.
fn total(db: &Sql<'_>, log: LogId, logs: i64, entries: i64, bytes: i64) -> Done<()> {
    let sql =
        "UPDATE sums SET logs = logs + ?2, entries = entries + ?3, group_bytes = group_bytes + ?4 WHERE shard = ?1";
    db.execute(sql, params![i64::from(log.0[0] >> 4), logs, entries, bytes]).map(drop)
}

impl GroupCommands for Sql<'_> {
    fn groups_of(&self, account: AccountId) -> Done<(u64, u64)> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM group_logs WHERE account = ?1";
        let found = self.one(sql, params![account.0], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
        Ok(found.unwrap_or_default())
    }

    fn add_group(&mut self, new: &Group) -> Done<()> {
        self.execute(
            &format!(
                "INSERT INTO group_logs (log, {GROUP}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
                     ?16, ?17, ?18, ?19, ?20, ?21, ?22)"
            ),
            &columns(new).each_ref().map(|column| column as &dyn rusqlite::ToSql),
        )?;
        total(self, new.log, 1, 0, 0)?;
        count(self, new.log, None, Counted { bytes: signed(LOG_BYTES), ..Counted::default() })
    }

    fn set_group(&mut self, group: &Group) -> Done<()> {
        let sql = "UPDATE group_logs SET account = ?2, root = ?3, root_number = ?4, root_key = ?5, log_key = ?6, header = ?7,
                 header_root = ?8, header_number = ?9, read = ?10, write = ?11, changes = ?12, number = ?13, running = ?14,
                 event = ?15, floor = ?16, minute = ?17, appended = ?18, turn = ?19, turn_until = ?20, next_turn = ?21,
                 orphaned = ?22
             WHERE log = ?1";
        self.execute(sql, &columns(group).each_ref().map(|column| column as &dyn rusqlite::ToSql)).map(drop)
    }

    fn remove_group(&mut self, log: LogId) -> Done<()> {
        let sql = "DELETE FROM group_logs WHERE log = ?1 RETURNING entries, bytes";
        let gone = self.one(sql, params![log.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let Some((entries, bytes)) = gone else { return Ok(()) };
        for table in ["group_entries", "group_shares", "group_tokens", "group_slots", "group_staged"] {
            self.execute(&format!("DELETE FROM {table} WHERE log = ?1"), params![log.0])?;
        }
        total(self, log, -1, -entries, -bytes)
    }

    fn orphan_groups(&mut self, account: AccountId, since: Option<u64>) -> Done<()> {
        let sql = "UPDATE group_logs SET orphaned = ?2 WHERE account = ?1";
        self.execute(sql, params![account.0, since.map(signed)]).map(drop)
    }

    fn orphaned(&self, until: u64, limit: usize) -> Done<Vec<LogId>> {
        let sql = "SELECT log FROM group_logs WHERE orphaned <= ?1 ORDER BY orphaned, log LIMIT ?2";
        let mut query = self.0.prepare_cached(sql)?;
        let logs = query.query_map(params![signed(until), limit as i64], |row| Ok(LogId(row.get(0)?)))?;
        Ok(logs.collect::<Result<_, _>>()?)
    }

    fn share(&self, log: LogId, of: Writer) -> Done<Share> {
        let sql = "SELECT entries, slots, bytes, minute, appended, lost, next_turn FROM group_shares
             WHERE log = ?1 AND writer = ?2";
        let share = self.one(sql, params![log.0, stored(of)], |row| {
            Ok(Share {
                entries: unsigned(row, 0)?,
                slots: unsigned(row, 1)?,
                bytes: unsigned(row, 2)?,
                minute: unsigned(row, 3)?,
                appended: unsigned(row, 4)?,
                lost: unsigned(row, 5)?,
                next_turn: unsigned(row, 6)?,
            })
        })?;
        Ok(share.unwrap_or_default())
    }

    fn set_share(&mut self, log: LogId, of: Writer, share: &Share) -> Done<()> {
        let sql =
            "INSERT INTO group_shares (log, writer, minute, appended, lost, next_turn) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (log, writer) DO UPDATE SET minute = ?3, appended = ?4, lost = ?5, next_turn = ?6";
        let Share { minute, appended, lost, next_turn, .. } = *share;
        let with = params![log.0, stored(of), signed(minute), signed(appended), signed(lost), signed(next_turn)];
        self.execute(sql, with).map(drop)
    }

    fn forget_shares(&mut self, minute: u64, now: u64, limit: usize) -> Done<usize> {
        let sql = "DELETE FROM group_shares WHERE (log, writer) IN
             (SELECT log, writer FROM group_shares
              WHERE entries = 0 AND bytes = 0 AND minute < ?1 AND next_turn <= ?2 LIMIT ?3)";
        self.execute(sql, params![signed(minute), signed(now), limit as i64])
    }

    fn known(&self, log: LogId, hash: &[u8; 32]) -> Done<Option<Known>> {
        let sql = "SELECT number, running FROM group_entries WHERE log = ?1 AND hash = ?2";
        self.one(sql, params![log.0, hash], |row| {
            Ok(Known { place: Running { number: unsigned(row, 0)?, hash: row.get(1)? } })
        })
    }

    fn append(&mut self, new: &NewEntry<'_>) -> Done<()> {
        let (writer, bytes) = (stored(new.writer), size_of(new.entry));
        self.execute(
            "INSERT INTO group_entries (log, number, kind, writer, hash, running, expires, entry)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                new.log.0,
                signed(new.place.number),
                new.kind.code(),
                writer,
                new.hash,
                new.place.hash,
                new.expires.map(signed),
                new.entry
            ],
        )?;
        count(self, new.log, Some(&writer), Counted { entries: 1, bytes, ..Counted::default() })
    }

    fn drop_entry(&mut self, log: LogId, number: u64) -> Done<bool> {
        let sql = "SELECT place, log, writer, length(entry) FROM group_entries
             WHERE log = ?1 AND number = ?2 AND entry IS NOT NULL";
        Ok(drop_found(self, sql, params![log.0, signed(number)])? > 0)
    }

    fn supersede_keys(&mut self, log: LogId, expires: u64) -> Done<()> {
        let sql = "UPDATE group_entries SET expires = ?2 WHERE log = ?1 AND kind = 2 AND expires IS NULL AND entry IS NOT NULL";
        self.execute(sql, params![log.0, signed(expires)]).map(drop)
    }

    fn expire_entries(&mut self, now: u64, limit: usize) -> Done<usize> {
        let sql = "SELECT place, log, writer, length(entry) FROM group_entries
             WHERE expires <= ?1 ORDER BY expires, place LIMIT ?2";
        drop_found(self, sql, params![signed(now), limit as i64])
    }

    fn forget_entries(&mut self, log: LogId, limit: usize) -> Done<Option<u64>> {
        let sql = "DELETE FROM group_entries WHERE place IN
             (SELECT place FROM group_entries WHERE log = ?1 AND entry IS NULL ORDER BY number LIMIT ?2) RETURNING number";
        let mut query = self.0.prepare_cached(sql)?;
        let numbers = query.query_map(params![log.0, limit as i64], |row| unsigned(row, 0))?;
        let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
        let gone = signed(numbers.len() as u64);
        let bytes = -gone * signed(ROW_BYTES);
        count(self, log, None, Counted { dropped: -gone, bytes, ..Counted::default() })?;
        Ok(numbers.into_iter().max())
    }

    fn stage(&mut self, log: LogId, of: Writer, hash: &[u8; 32], expires: u64, entry: &[u8]) -> Done<()> {
        let writer = stored(of);
        let sql = "INSERT INTO group_staged (log, hash, writer, expires, entry) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![log.0, hash, writer, signed(expires), entry])?;
        count(self, log, Some(&writer), Counted { bytes: size_of(entry), ..Counted::default() })
    }

    fn staged(&self, log: LogId, hash: &[u8; 32]) -> Done<Option<Waiting>> {
        let sql = "SELECT writer, expires, entry FROM group_staged WHERE log = ?1 AND hash = ?2";
        self.one(sql, params![log.0, hash], |row| {
            Ok((writer(&row.get::<_, Vec<u8>>(0)?), unsigned(row, 1)?, row.get(2)?))
        })
    }

    fn unstage(&mut self, log: LogId, hash: &[u8; 32]) -> Done<()> {
        let sql = "DELETE FROM group_staged WHERE log = ?1 AND hash = ?2 RETURNING log, writer, length(entry)";
        unstage(self, sql, params![log.0, hash]).map(drop)
    }

    fn expire_staged(&mut self, now: u64, limit: usize) -> Done<usize> {
        let sql = "DELETE FROM group_staged WHERE place IN
             (SELECT place FROM group_staged WHERE expires <= ?1 ORDER BY expires, place LIMIT ?2)
             RETURNING log, writer, length(entry)";
        unstage(self, sql, params![signed(now), limit as i64])
    }

    fn slot(&self, log: LogId, key: &[u8; 32]) -> Done<Option<KeptSlot>> {
        let sql = "SELECT counter, writer, slot FROM group_slots WHERE log = ?1 AND key = ?2";
        self.one(sql, params![log.0, key], |row| {
            let slot = row.get_ref(2)?.as_blob()?;
            let size = size_of(slot).unsigned_abs();
            let of = writer(&row.get::<_, Vec<u8>>(1)?);
            Ok(KeptSlot { counter: unsigned(row, 0)?, size, writer: of, hash: sha256(&[slot]) })
        })
    }

    fn set_slot(&mut self, log: LogId, key: &[u8; 32], of: Writer, counter: u64, slot: &[u8]) -> Done<()> {
        self.remove_slot(log, key)?;
        let writer = stored(of);
        let sql = "INSERT INTO group_slots (log, key, writer, counter, slot) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![log.0, key, writer, signed(counter), slot])?;
        count(self, log, Some(&writer), Counted { slots: 1, bytes: size_of(slot), ..Counted::default() })
    }

    fn remove_slot(&mut self, log: LogId, key: &[u8; 32]) -> Done<bool> {
        let sql = "DELETE FROM group_slots WHERE log = ?1 AND key = ?2 RETURNING writer, length(slot)";
        let gone = self.one(sql, params![log.0, key], |row| Ok((row.get::<_, Vec<u8>>(0)?, unsigned(row, 1)?)))?;
        let Some((writer, length)) = gone else { return Ok(false) };
        let bytes = -signed(length + ROW_BYTES);
        count(self, log, Some(&writer), Counted { slots: -1, bytes, ..Counted::default() })?;
        Ok(true)
    }

    fn add_old_token(&mut self, log: LogId, hash: &[u8; 32], writes: bool, change: u64) -> Done<()> {
        let sql = "INSERT OR REPLACE INTO group_tokens (log, hash, writes, change) VALUES (?1, ?2, ?3, ?4)";
        self.execute(sql, params![log.0, hash, writes, signed(change)]).map(drop)
    }

    fn forget_tokens(&mut self, log: LogId, change: u64) -> Done<()> {
        self.execute("DELETE FROM group_tokens WHERE log = ?1 AND change <= ?2", params![log.0, signed(change)])
            .map(drop)
    }
}

/// A row of `group_logs`: the log, then [`GROUP`].
fn columns(group: &Group) -> [rusqlite::types::Value; 22] {
    use rusqlite::types::Value;
    let number = |number: u64| Value::Integer(signed(number));
    let bytes = |bytes: &[u8]| Value::Blob(bytes.to_vec());
    [
        bytes(&group.log.0),
        bytes(&group.account.0),
        bytes(&group.root),
        number(group.root_number),
        bytes(&group.root_key),
        bytes(&group.log_key),
        bytes(&group.header),
        number(group.header_root),
        number(group.header_number),
        bytes(&group.read),
        bytes(&group.write),
        number(group.changes),
        number(group.head.number),
        bytes(&group.head.hash),
        number(group.event),
        number(group.floor),
        number(group.minute),
        number(group.appended),
        group.turn.map_or(Value::Null, |turn| Value::Blob(stored(turn.of))),
        group.turn.map_or(Value::Null, |turn| number(turn.until)),
        number(group.next_turn),
        group.orphaned.map_or(Value::Null, number),
    ]
}

/// Drops the bytes of the entries that a query names: place, log, writer and bytes.
fn drop_found(db: &Sql<'_>, sql: &str, with: &[&dyn rusqlite::ToSql]) -> Done<usize> {
    let found = {
        let mut query = db.0.prepare_cached(sql)?;
        let row = |row: &Row<'_>| {
            Ok((row.get::<_, i64>(0)?, LogId(row.get(1)?), row.get::<_, Vec<u8>>(2)?, row.get::<_, i64>(3)?))
        };
        query.query_map(with, row)?.collect::<Result<Vec<_>, _>>()?
    };
    for (place, log, writer, length) in &found {
        let sql = "UPDATE group_entries SET entry = NULL, expires = NULL WHERE place = ?1";
        db.execute(sql, params![place])?;
        // What is left of it is nobody's share any more.
        let share = "UPDATE group_shares SET entries = entries - 1, bytes = bytes - ?3 WHERE log = ?1 AND writer = ?2";
        db.execute(share, params![log.0, writer, length + signed(ROW_BYTES)])?;
        count(db, *log, None, Counted { entries: -1, dropped: 1, slots: 0, bytes: -length })?;
    }
    Ok(found.len())
}

/// What a deletion gives: log, writer and bytes.
fn unstage(db: &Sql<'_>, sql: &str, with: &[&dyn rusqlite::ToSql]) -> Done<usize> {
    let gone = {
        let mut query = db.0.prepare_cached(sql)?;
        let row = |row: &Row<'_>| Ok((LogId(row.get(0)?), row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?));
        query.query_map(with, row)?.collect::<Result<Vec<_>, _>>()?
    };
    for (log, writer, length) in &gone {
        count(db, *log, Some(writer), Counted { bytes: -(length + signed(ROW_BYTES)), ..Counted::default() })?;
    }
    Ok(gone.len())
}
