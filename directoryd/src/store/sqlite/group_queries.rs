//! What there is of logs of groups, as SQLite is asked for it.

use proto::directory::groups::{EntryKind, Running, entry_hash};
use proto::ids::{AccountId, LogId};
use rusqlite::{Row, params};

use super::queries::{Sql, signed};
use crate::store::command::{Applied, Entries, EntriesFetch, Entry, Group, GroupQueries, Room, Slots, Turn, Writer};

type Found<T> = Applied<T, rusqlite::Error>;

/// Columns of a log, but for what is counted.
pub const GROUP: &str =
    "account, root, root_number, root_key, log_key, header, header_root, header_number, read, write, changes,
     number, running, event, floor, minute, appended, turn, turn_until, next_turn, orphaned";

/// As a column has it.
pub fn stored(writer: Writer) -> Vec<u8> {
    match writer {
        Writer::Account(account) => [&[1], account.as_bytes()].concat(),
        Writer::Place(place) => [&[2], &place[..]].concat(),
    }
}

pub fn writer(stored: &[u8]) -> Writer {
    match stored.split_first() {
        Some((1, account)) => Writer::Account(AccountId::from_slice(account).unwrap_or(AccountId([0; 16]))),
        Some((_, place)) => Writer::Place(place.try_into().unwrap_or_default()),
        None => Writer::Place([0; 8]),
    }
}

pub fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

impl GroupQueries for Sql<'_> {
    fn group(&self, log: LogId) -> Found<Option<Group>> {
        let sql = format!("SELECT {GROUP}, entries, dropped, slots, bytes FROM group_logs WHERE log = ?1");
        self.one(&sql, params![log.0], |row| {
            let until = row.get::<_, Option<i64>>(18)?.map(i64::unsigned_abs);
            let of: Option<Vec<u8>> = row.get(17)?;
            Ok(Group {
                log,
                account: AccountId(row.get(0)?),
                root: row.get(1)?,
                root_number: unsigned(row, 2)?,
                root_key: row.get(3)?,
                log_key: row.get(4)?,
                header: row.get(5)?,
                header_root: unsigned(row, 6)?,
                header_number: unsigned(row, 7)?,
                read: row.get(8)?,
                write: row.get(9)?,
                changes: unsigned(row, 10)?,
                head: Running { number: unsigned(row, 11)?, hash: row.get(12)? },
                event: unsigned(row, 13)?,
                floor: unsigned(row, 14)?,
                minute: unsigned(row, 15)?,
                appended: unsigned(row, 16)?,
                turn: of.zip(until).map(|(of, until)| Turn { of: writer(&of), until }),
                next_turn: unsigned(row, 19)?,
                orphaned: row.get::<_, Option<i64>>(20)?.map(i64::unsigned_abs),
                room: Room {
                    entries: unsigned(row, 21)?,
                    dropped: unsigned(row, 22)?,
                    slots: unsigned(row, 23)?,
                    bytes: unsigned(row, 24)?,
                },
            })
        })
    }

    fn old_token(&self, log: LogId, hash: &[u8; 32]) -> Found<Option<bool>> {
        self.one("SELECT writes FROM group_tokens WHERE log = ?1 AND hash = ?2", params![log.0, hash], |row| row.get(0))
    }

    fn entries(&self, fetch: &EntriesFetch) -> Found<Entries> {
        // One by one, so that the index of those kinds is used.
        let sql = match fetch.messages {
            true => {
                "SELECT number, kind, hash, expires, entry FROM group_entries WHERE log = ?1 AND number > ?2 ORDER BY number"
            }
            false => {
                "SELECT number, kind, hash, expires, entry FROM group_entries
                 WHERE log = ?1 AND number > ?2 AND kind < 3 ORDER BY number"
            }
        };
        let mut query = self.0.prepare_cached(sql)?;
        let mut rows = query.query(params![fetch.log.0, signed(fetch.after)])?;
        let (mut found, mut taken) = (Entries::default(), 0usize);
        while let Some(row) = rows.next()? {
            let kind = EntryKind::of(row.get(1)?).unwrap_or(EntryKind::Message);
            if kind == EntryKind::Keys && !fetch.keys {
                continue;
            }
            let expires = row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs);
            let there = expires.is_none_or(|expires| expires > fetch.now);
            let entry = if there { row.get_ref(4)?.as_blob_or_null().map_err(rusqlite::Error::from)? } else { None };
            let size = entry.map_or(0, <[u8]>::len);
            let fits = found.entries.is_empty() || taken.saturating_add(size) <= fetch.bytes;
            if found.entries.len() == fetch.count || !fits {
                found.more = true;
                break;
            }
            let hash: [u8; 32] = row.get(2)?;
            let number = unsigned(row, 0)?;
            let whole = entry.filter(|entry| entry_hash(kind, entry) == hash);
            if entry.is_some() && whole.is_none() {
                // SQLite does not notice a flipped bit. Members still have it, and its hash is what it was.
                tracing::error!(number, "an entry of a group's log is damaged on the disk; its hash is handed out");
            }
            taken = taken.saturating_add(size);
            found.entries.push(Entry { number, kind, hash, entry: whole.map(<[u8]>::to_vec) });
        }
        Ok(found)
    }

    fn running(&self, log: LogId, number: u64) -> Found<Option<[u8; 32]>> {
        if number == 0 {
            return Ok(Some(Running::start(log).hash));
        }
        let sql = "SELECT running FROM group_entries WHERE log = ?1 AND number = ?2";
        self.one(sql, params![log.0, signed(number)], |row| row.get(0))
    }

    fn slots(&self, log: LogId, after: Option<&[u8; 32]>, most: usize, bytes: usize) -> Found<Slots> {
        let mut query =
            self.0.prepare_cached("SELECT key, slot FROM group_slots WHERE log = ?1 AND key > ?2 ORDER BY key")?;
        let mut rows = query.query(params![log.0, after.map_or(&[][..], |key| &key[..])])?;
        let (mut found, mut taken) = (Slots::default(), 0usize);
        while let Some(row) = rows.next()? {
            let slot: Vec<u8> = row.get(1)?;
            taken = taken.saturating_add(slot.len());
            if found.slots.len() == most || (taken > bytes && !found.slots.is_empty()) {
                found.more = true;
                break;
            }
            found.slots.push((row.get(0)?, slot));
        }
        Ok(found)
    }

    fn slot_bytes(&self, log: LogId, key: &[u8; 32]) -> Found<Option<Vec<u8>>> {
        self.one("SELECT slot FROM group_slots WHERE log = ?1 AND key = ?2", params![log.0, key], |row| row.get(0))
    }

    fn writers(&self, log: LogId, numbers: &[u64]) -> Found<Vec<(u64, Writer)>> {
        let mut found = Vec::with_capacity(numbers.len());
        for number in numbers {
            let sql = "SELECT writer FROM group_entries WHERE log = ?1 AND number = ?2";
            let row = self.one(sql, params![log.0, signed(*number)], |row| row.get::<_, Vec<u8>>(0))?;
            found.extend(row.map(|stored| (*number, writer(&stored))));
        }
        Ok(found)
    }
}
