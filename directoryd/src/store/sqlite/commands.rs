//! What a transaction asks of SQLite. Sums and what a mailbox holds are kept by triggers (`schema`), so they cannot drift.

use proto::ids::{AccountId, DeviceId, NodeId};
use rusqlite::{OptionalExtension, Row, ToSql, params};

use super::queries::{Sql, signed};
use crate::store::command::{Account, Amount, Applied, Commands, Former, Held, Keep, Lane, Mailbox, Newcomer, Resting};

type Done<T> = Applied<T, rusqlite::Error>;

/// The same bytes of the same token in the same kind of lane. Of strangers there are two lanes, named one by one so that
/// the index is used: they may hold thousands, and this is asked for each deposit.
const HELD: &str = "SELECT device, number, counted, expires, size, lane FROM mailbox
     WHERE account = ?1 AND lane IN (?2, 2 * ?2) AND hash = ?3 AND token = ?4";

impl Lane {
    /// As the column has it.
    fn stored(self) -> i64 {
        match self {
            Self::Contacts => 0,
            Self::Strangers => 1,
            Self::Worked => 2,
        }
    }

    fn of(stored: i64) -> Self {
        match stored {
            0 => Self::Contacts,
            1 => Self::Strangers,
            _ => Self::Worked,
        }
    }
}

impl Sql<'_> {
    pub(super) fn execute(&self, sql: &str, with: &[&dyn ToSql]) -> Done<usize> {
        Ok(self.0.prepare_cached(sql)?.execute(with)?)
    }

    fn exists(&self, sql: &str, with: &[&dyn ToSql]) -> Done<bool> {
        Ok(self.0.prepare_cached(sql)?.exists(with)?)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        with: &[&dyn ToSql],
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Done<Option<T>> {
        Ok(self.0.prepare_cached(sql)?.query_row(with, read).optional()?)
    }

    /// Deletes mail by a statement that gives the sizes of what it deletes.
    fn delete_mail(&self, sql: &str, with: &[&dyn ToSql]) -> Done<Amount> {
        let mut delete = self.0.prepare_cached(sql)?;
        let mut gone = Amount::default();
        let mut rows = delete.query(with)?;
        while let Some(row) = rows.next()? {
            gone.envelopes += 1;
            gone.bytes += unsigned(row, 0)?;
        }
        Ok(gone)
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

impl Commands for Sql<'_> {
    fn is_registered(&self, account: AccountId) -> Done<bool> {
        self.exists("SELECT 1 FROM accounts WHERE account = ?1", params![account.0])
    }

    fn account(&self, account: AccountId) -> Done<Option<Account>> {
        let sql = "SELECT name, skeleton, seq, record FROM accounts WHERE account = ?1";
        self.one(sql, params![account.0], |row| {
            let (name, skeleton, seq, record) = (row.get(0)?, row.get(1)?, unsigned(row, 2)?, row.get(3)?);
            Ok(Account { account, name, skeleton, seq, record })
        })
    }

    fn taken(&self, name: &str, skeleton: &str) -> Done<Option<String>> {
        let sql = "SELECT name FROM accounts WHERE name = ?1 OR skeleton = ?2 ORDER BY name = ?1 DESC, name LIMIT 1";
        self.one(sql, params![name, skeleton], |row| row.get(0))
    }

    fn stands_against(&self, newcomer: &Newcomer<'_>) -> Done<Option<(String, u64)>> {
        let sql = "SELECT name, released_at FROM released
             WHERE (name = ?1 OR skeleton = ?2) AND account <> ?3 AND released_at > ?4
                 AND (?5 IS NULL OR recovery_hash IS NOT ?5)
             ORDER BY name = ?1 DESC, name LIMIT 1";
        let Newcomer { name, skeleton, account, recovery, rested } = *newcomer;
        let rested = rested.map_or(-1, signed);
        let recovery = recovery.as_ref().map(|hash| &hash[..]);
        self.one(sql, params![name, skeleton, account.0, rested, recovery], |row| Ok((row.get(0)?, unsigned(row, 1)?)))
    }

    fn rests(&self, name: &str) -> Done<bool> {
        self.exists("SELECT 1 FROM released WHERE name = ?1", params![name])
    }

    fn former(&self, account: AccountId, recovery: Option<&[u8; 32]>) -> Done<Former> {
        let sql = "SELECT max(seq), max(number), max(recovery_hash IS ?2) FROM released WHERE account = ?1";
        let hash = recovery.map(|hash| &hash[..]);
        let former = self.one(sql, params![account.0, hash], |row| {
            let number = row.get::<_, Option<i64>>(1)?.map_or(0, i64::unsigned_abs);
            let seq = row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs);
            let same = row.get::<_, Option<bool>>(2)?.unwrap_or(false);
            Ok(Former { seq, number, recovers: same && recovery.is_some() })
        })?;
        Ok(former.unwrap_or_default())
    }

    fn add_account(&mut self, new: &Account, number: u64) -> Done<()> {
        self.execute(
            "INSERT INTO accounts (account, name, skeleton, seq, record) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.account.0, new.name, new.skeleton, signed(new.seq), new.record],
        )?;
        if number > 0 {
            self.execute(
                "INSERT INTO mailboxes (account, number) VALUES (?1, ?2)",
                params![new.account.0, signed(number)],
            )?;
        }
        Ok(())
    }

    fn replace_record(&mut self, account: AccountId, seq: u64, record: &[u8]) -> Done<()> {
        let sql = "UPDATE accounts SET seq = ?2, record = ?3 WHERE account = ?1";
        self.execute(sql, params![account.0, signed(seq), record]).map(drop)
    }

    fn remove_account(&mut self, account: AccountId) -> Done<Amount> {
        let gone = self.delete_mail("DELETE FROM mailbox WHERE account = ?1 RETURNING size", params![account.0])?;
        for table in ["accounts", "reach", "sessions", "tokens", "mailboxes"] {
            self.execute(&format!("DELETE FROM {table} WHERE account = ?1"), params![account.0])?;
        }
        Ok(gone)
    }

    fn remove_device(&mut self, account: AccountId, device: DeviceId) -> Done<Amount> {
        for table in ["reach", "sessions"] {
            let sql = format!("DELETE FROM {table} WHERE account = ?1 AND device = ?2");
            self.execute(&sql, params![account.0, device.0])?;
        }
        let sql = "DELETE FROM mailbox WHERE account = ?1 AND device = ?2 RETURNING size";
        self.delete_mail(sql, params![account.0, device.0])
    }

    fn rest(&mut self, resting: &Resting) -> Done<()> {
        // Not REPLACE, which tells no trigger what it removes.
        self.wake(&resting.name)?;
        let Resting { name, skeleton, account, seq, number, since, recovery } = resting;
        self.execute(
            "INSERT INTO released (name, skeleton, account, seq, number, released_at, recovery_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                name,
                skeleton,
                account.0,
                signed(*seq),
                signed(*number),
                signed(*since),
                recovery.as_ref().map(|hash| &hash[..])
            ],
        )
        .map(drop)
    }

    fn wake(&mut self, name: &str) -> Done<()> {
        self.execute("DELETE FROM released WHERE name = ?1", params![name]).map(drop)
    }

    fn wake_all(&mut self, until: u64, limit: usize) -> Done<usize> {
        let sql = "DELETE FROM released WHERE name IN
             (SELECT name FROM released WHERE released_at <= ?1 ORDER BY released_at LIMIT ?2)";
        self.execute(sql, params![signed(until), limit as i64])
    }

    fn reach_seq(&self, account: AccountId, device: DeviceId) -> Done<Option<u64>> {
        let sql = "SELECT seq FROM reach WHERE account = ?1 AND device = ?2";
        self.one(sql, params![account.0, device.0], |row| unsigned(row, 0))
    }

    fn set_reach(
        &mut self,
        (account, device): (AccountId, DeviceId),
        node: NodeId,
        seq: u64,
        reach: &[u8],
    ) -> Done<()> {
        let sql = "INSERT OR REPLACE INTO reach (account, device, seq, reach, node) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![account.0, device.0, signed(seq), reach, node.0]).map(drop)
    }

    fn sessions(&mut self, account: AccountId, device: DeviceId) -> Done<u64> {
        // Counted before counters had owners.
        let adopt = "UPDATE OR IGNORE sessions SET account = ?1 WHERE account = X'' AND device = ?2";
        self.execute(adopt, params![account.0, device.0])?;
        let sql = "SELECT started FROM sessions WHERE account = ?1 AND device = ?2";
        Ok(self.one(sql, params![account.0, device.0], |row| unsigned(row, 0))?.unwrap_or(0))
    }

    fn set_sessions(&mut self, account: AccountId, device: DeviceId, begun: u64) -> Done<()> {
        let sql = "INSERT OR REPLACE INTO sessions (account, device, started) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![account.0, device.0, signed(begun)]).map(drop)
    }

    fn tokens(&self, account: AccountId) -> Done<usize> {
        let count =
            self.one("SELECT count(*) FROM tokens WHERE account = ?1", params![account.0], |row| row.get::<_, i64>(0))?;
        Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }

    fn add_token(&mut self, account: AccountId, token: &[u8; 32]) -> Done<bool> {
        let sql = "INSERT OR IGNORE INTO tokens (account, hash, deposits) VALUES (?1, ?2, 0)";
        Ok(self.execute(sql, params![account.0, token])? > 0)
    }

    fn remove_token(&mut self, account: AccountId, token: &[u8; 32]) -> Done<bool> {
        let sql = "DELETE FROM tokens WHERE account = ?1 AND hash = ?2";
        Ok(self.execute(sql, params![account.0, token])? > 0)
    }

    fn set_counted(&mut self, account: AccountId, token: &[u8; 32], counted: u64) -> Done<()> {
        let sql = "UPDATE tokens SET deposits = ?3 WHERE account = ?1 AND hash = ?2";
        self.execute(sql, params![account.0, token, signed(counted)]).map(drop)
    }

    fn mailbox(&self, account: AccountId) -> Done<Mailbox> {
        let sql = "SELECT number, contacts, contact_bytes, strangers, worked, bytes FROM mailboxes WHERE account = ?1";
        let mailbox = self.one(sql, params![account.0], |row| {
            Ok(Mailbox {
                number: unsigned(row, 0)?,
                contacts: unsigned(row, 1)?,
                contact_bytes: unsigned(row, 2)?,
                strangers: unsigned(row, 3)?,
                worked: unsigned(row, 4)?,
                bytes: unsigned(row, 5)?,
            })
        })?;
        Ok(mailbox.unwrap_or_default())
    }

    fn held(&self, account: AccountId, token: &[u8], hash: &[u8; 32]) -> Done<Option<Held>> {
        self.one(HELD, params![account.0, token.is_empty(), hash, token], |row| {
            Ok(Held {
                device: DeviceId(row.get(0)?),
                number: unsigned(row, 1)?,
                counted: unsigned(row, 2)?,
                expires: unsigned(row, 3)?,
                size: unsigned(row, 4)?,
                lane: Lane::of(row.get(5)?),
            })
        })
    }

    fn places(&self, account: AccountId, site: &[u8], host: &[u8]) -> Done<(u64, u64)> {
        let sql = "SELECT count(*) FILTER (WHERE site = ?3), count(*) FILTER (WHERE host = ?4) FROM mailbox
             WHERE account = ?1 AND lane = ?2";
        let with = params![account.0, Lane::Strangers.stored(), site, host];
        let places = self.one(sql, with, |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
        Ok(places.unwrap_or_default())
    }

    fn keep(&mut self, new: &Keep<'_>) -> Done<()> {
        let size = i64::try_from(new.envelope.len()).unwrap_or(i64::MAX);
        self.execute(
            "INSERT INTO mailbox
                 (account, device, number, lane, token, counted, expires, hash, size, site, host, envelope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                new.account.0,
                new.device.0,
                signed(new.number),
                new.lane.stored(),
                new.token,
                signed(new.counted),
                signed(new.expires),
                new.hash,
                size,
                new.site,
                new.host,
                new.envelope
            ],
        )
        .map(drop)
    }

    fn remove(&mut self, account: AccountId, device: DeviceId, number: u64) -> Done<Amount> {
        let sql = "DELETE FROM mailbox WHERE account = ?1 AND device = ?2 AND number = ?3 RETURNING size";
        self.delete_mail(sql, params![account.0, device.0, signed(number)])
    }

    fn expire(&mut self, now: u64, limit: usize) -> Done<Amount> {
        let sql = "DELETE FROM mailbox WHERE place IN
             (SELECT place FROM mailbox WHERE expires <= ?1 ORDER BY expires LIMIT ?2) RETURNING size";
        self.delete_mail(sql, params![signed(now), limit as i64])
    }

    fn save_uptime(&mut self, uptime: u64) -> Done<()> {
        // Within a second there is nothing new to write.
        self.execute("UPDATE clock SET uptime = ?1 WHERE uptime < ?1", params![signed(uptime)]).map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_envelope_is_found_without_reading_the_mailbox() {
        let folder = tempfile::tempdir().unwrap();
        let db = crate::store::sqlite::schema::open(&folder.path().join("directory.db"), None).unwrap();
        let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {HELD}")).unwrap();
        let steps = query
            .query_map(params![[0u8; 16], true, [0u8; 32], [0u8; 0]], |row| row.get::<_, String>("detail"))
            .unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert_eq!(plan, ["SEARCH mailbox USING INDEX mailbox_by_hash (account=? AND lane=? AND hash=? AND token=?)"]);
    }
}
