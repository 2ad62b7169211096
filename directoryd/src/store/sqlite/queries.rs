//! What is there, as SQLite is asked for it.

use proto::ids::{AccountId, DeviceId, NodeId, sha256};
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::command::{Amount, Applied, Failure, Fetch, Mail, Queries, Sums};

impl From<rusqlite::Error> for Failure<rusqlite::Error> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// SQLite's integers are signed; numbers and seconds that are beyond them do not come to be.
pub fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

type Found<T> = Applied<T, rusqlite::Error>;

/// A connection, within a transaction or without.
#[derive(Debug)]
pub struct Sql<'c>(pub &'c Connection);

impl Queries for Sql<'_> {
    type Error = rusqlite::Error;

    fn record(&self, account: AccountId) -> Found<Option<Vec<u8>>> {
        let mut query = self.0.prepare_cached("SELECT record FROM accounts WHERE account = ?1")?;
        Ok(query.query_row(params![account.0], |row| row.get(0)).optional()?)
    }

    fn reach(&self, account: AccountId) -> Found<Vec<Vec<u8>>> {
        let mut query = self.0.prepare_cached("SELECT reach FROM reach WHERE account = ?1 ORDER BY device")?;
        Ok(query.query_map(params![account.0], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    fn hosts_somebody(&self, node: NodeId) -> Found<bool> {
        let mut query = self.0.prepare_cached("SELECT 1 FROM reach WHERE node = ?1 LIMIT 1")?;
        Ok(query.exists(params![node.0])?)
    }

    fn counted(&self, account: AccountId, token: &[u8; 32]) -> Found<Option<u64>> {
        let mut query = self.0.prepare_cached("SELECT deposits FROM tokens WHERE account = ?1 AND hash = ?2")?;
        let counted: Option<i64> = query.query_row(params![account.0, token], |row| row.get(0)).optional()?;
        Ok(counted.map(i64::unsigned_abs))
    }

    fn last_mail(&self, account: AccountId, device: DeviceId, now: u64) -> Found<Option<u64>> {
        let mut query = self.0.prepare_cached(
            "SELECT number FROM mailbox WHERE account = ?1 AND device = ?2 AND expires > ?3 ORDER BY number DESC LIMIT 1",
        )?;
        let last: Option<i64> =
            query.query_row(params![account.0, device.0, signed(now)], |row| row.get(0)).optional()?;
        Ok(last.map(i64::unsigned_abs))
    }

    fn mail(&self, fetch: &Fetch) -> Found<Mail> {
        let mut query = self.0.prepare_cached(
            "SELECT number, size, hash, envelope FROM mailbox
             WHERE account = ?1 AND device = ?2 AND number > ?3 AND expires > ?4 ORDER BY number",
        )?;
        let (after, now) = (signed(fetch.after), signed(fetch.now));
        let mut rows = query.query(params![fetch.account.0, fetch.device.0, after, now])?;
        let mut mail = Mail::default();
        let mut taken = 0usize;
        while let Some(row) = rows.next()? {
            let number = row.get::<_, i64>(0)?.unsigned_abs();
            if fetch.except.contains(&number) {
                continue;
            }
            let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX);
            let fits = mail.envelopes.is_empty() || taken.saturating_add(size) <= fetch.bytes;
            if mail.envelopes.len() == fetch.count || !fits {
                mail.more = true;
                break;
            }
            let envelope: Vec<u8> = row.get(3)?;
            if row.get::<_, [u8; 32]>(2)? != sha256(&[&envelope]) {
                // SQLite does not notice a flipped bit. What was not deposited is not handed out as if it was.
                tracing::error!(
                    number,
                    "an envelope is damaged on the disk; it is left out, and its sender sends it again"
                );
                continue;
            }
            taken = taken.saturating_add(size);
            mail.envelopes.push((number, envelope));
        }
        Ok(mail)
    }

    fn sums(&self) -> Found<Sums> {
        let mut query = self.0.prepare_cached(
            "SELECT sum(accounts), sum(resting), sum(envelopes), sum(bytes), sum(logs), sum(entries), sum(group_bytes) FROM sums",
        )?;
        let sums: Vec<u64> = query.query_row([], |row| {
            (0..7).map(|column| Ok(row.get::<_, i64>(column)?.unsigned_abs())).collect::<rusqlite::Result<_>>()
        })?;
        let sum = |column: usize| sums.get(column).copied().unwrap_or(0);
        let mail = Amount { envelopes: sum(2), bytes: sum(3) };
        let (groups, entries, group_bytes) = (sum(4), sum(5), sum(6));
        Ok(Sums { accounts: sum(0), resting: sum(1), mail, groups, entries, group_bytes })
    }

    fn saved_uptime(&self) -> Found<u64> {
        let uptime: i64 = self.0.prepare_cached("SELECT uptime FROM clock")?.query_row([], |row| row.get(0))?;
        Ok(uptime.unsigned_abs())
    }
}
