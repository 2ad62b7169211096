//! `prekeys.db`: the secrets that open envelopes, in a database of their own so that destroying one destroys it; and the
//! account's clock, by which that is decided.
//!
//! `secure_delete` overwrites what is deleted, and then the WAL is truncated: without both the bytes stay on disk. A copy
//! made before a migration would keep them, too, so this database has none.
//!
//! Not its job: deciding when.
//!
//! Invariants: [`PrekeyStore::insert`] returns after COMMIT with `synchronous=FULL`; what [`PrekeyStore::destroy`] reported
//! as gone is in no file of the folder; what a kill interrupts there is finished by [`PrekeyStore::open`] or by the next call.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::fault;
use proto::ids::PrekeyId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::crypto::prekey::PrekeySecret;
use crate::policy::clock::{Birth, Checkpoint, Moment};
use crate::store::disk::checksum;
use crate::store::error::StoreError;

/// Migration `n` brings `user_version` from `n` to `n + 1`. Never edit one that was released; append.
const MIGRATIONS: &[&str] = &[V1, V2];

// The first databases had this table and no version.
const V1: &str = "
CREATE TABLE IF NOT EXISTS prekeys (
  id        BLOB    PRIMARY KEY,
  suite     INTEGER NOT NULL,
  secret    BLOB    NOT NULL,
  created   INTEGER NOT NULL,             -- Unix s, as the record says
  not_after INTEGER NOT NULL
) STRICT";

const V2: &str = "
-- The uptime when it was made, and its place in the count once that is known: policy::clock::Birth. What is older than the
-- clock begins to age now.
ALTER TABLE prekeys ADD COLUMN uptime INTEGER NOT NULL DEFAULT 0;
ALTER TABLE prekeys ADD COLUMN born INTEGER;
-- policy::clock::Checkpoint, and when the mailbox was last drained. One row.
CREATE TABLE clock (
  one            INTEGER PRIMARY KEY CHECK (one = 1),
  uptime         INTEGER NOT NULL,
  counted        INTEGER NOT NULL,
  wall           INTEGER NOT NULL,
  directory      INTEGER,
  agreed         INTEGER NOT NULL,
  claims         BLOB    NOT NULL,        -- of i64be
  drained_uptime INTEGER,
  drained        INTEGER
) STRICT";

/// Somebody else reads the file: a backup, say. The answer is to try again later.
const BUSY: Duration = Duration::from_millis(200);

/// A prekey without its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrekeyAge {
    /// Which.
    pub id: PrekeyId,
    /// As its record says, Unix seconds.
    pub created: i64,
    /// When, on the scales that cannot jump.
    pub born: Birth,
}

/// The prekey secrets of one account. Few and small: all are kept in memory too, by whoever opens envelopes.
#[derive(Debug)]
pub struct PrekeyStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    conn: Connection,
    /// Something was deleted, and may still be in a file.
    unclean: bool,
}

impl PrekeyStore {
    /// Opens or makes the database in an account's folder, and finishes what a kill left half destroyed.
    ///
    /// # Errors
    /// As all of the store; [`StoreError::NewerSchema`], and then nothing was touched.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        checksum::install();
        let mut conn = Connection::open(folder.join("prekeys.db"))?;
        let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let newest = MIGRATIONS.len() as i64;
        if found > newest {
            return Err(StoreError::NewerSchema { found, newest });
        }
        conn.busy_timeout(BUSY)?;
        conn.pragma_update(None, "secure_delete", true)?;
        // Whatever SQLite wants to put aside, it does not put on the disk.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        checksum::make_room(&conn)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cache_size", -64)?;
        if found < newest {
            let tx = conn.transaction()?;
            for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                tx.execute_batch(sql)?;
            }
            tx.pragma_update(None, "user_version", newest)?;
            fault::point("prekey.upgrade.commit");
            tx.commit()?;
        }
        let mut inner = Inner { conn, unclean: true };
        match inner.clean() {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(folder = %folder.display(), "somebody reads prekeys.db: it is cleaned up later")
            }
            // A full disk, for one. The account is of use all the same.
            Err(error) => tracing::warn!(%error, folder = %folder.display(), "prekeys.db is cleaned up later"),
        }
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// One without a file, for an account that can only be read.
    pub fn detached() -> Result<Self, StoreError> {
        let conn = Connection::open_in_memory()?;
        MIGRATIONS.iter().try_for_each(|sql| conn.execute_batch(sql))?;
        Ok(Self { inner: Mutex::new(Inner { conn, unclean: false }) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a secret that was made when the uptime was so much. Only after this may a record name it.
    pub fn insert(&self, prekey: &PrekeySecret, uptime: i64) -> Result<(), StoreError> {
        self.inner().conn.execute(
            "INSERT INTO prekeys (id, suite, secret, created, not_after, uptime) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                prekey.id().as_bytes(),
                prekey.suite(),
                &prekey.secret_bytes()[..],
                prekey.created(),
                prekey.not_after(),
                uptime
            ],
        )?;
        fault::point("prekey.committed");
        Ok(())
    }

    /// All secrets, oldest first.
    ///
    /// # Errors
    /// As all of the store; [`StoreError::Damaged`] for a row that is no key.
    pub fn all(&self) -> Result<Vec<PrekeySecret>, StoreError> {
        let inner = self.inner();
        let mut select = inner.conn.prepare("SELECT suite, secret, created, not_after FROM prekeys ORDER BY rowid")?;
        let mut rows = select.query([])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let secret: zeroize::Zeroizing<Vec<u8>> = row.get::<_, Vec<u8>>(1)?.into();
            out.push(
                PrekeySecret::from_stored(row.get(0)?, &secret, row.get(2)?, row.get(3)?)
                    .map_err(|_| StoreError::Damaged("prekey"))?,
            );
        }
        Ok(out)
    }

    /// All prekeys without their secrets, in the order in which they were made.
    pub fn ages(&self) -> Result<Vec<PrekeyAge>, StoreError> {
        let inner = self.inner();
        let mut select = inner.conn.prepare("SELECT id, created, uptime, born FROM prekeys ORDER BY rowid")?;
        let mut rows = select.query([])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let id: Vec<u8> = row.get(0)?;
            let born = Birth { uptime: row.get(2)?, counted: row.get(3)? };
            let id = PrekeyId::from_slice(&id).ok_or(StoreError::Damaged("prekey id"))?;
            out.push(PrekeyAge { id, created: row.get(1)?, born });
        }
        Ok(out)
    }

    /// Keeps the place of a prekey in the count.
    pub fn set_born(&self, id: PrekeyId, born: i64) -> Result<(), StoreError> {
        let inner = self.inner();
        inner.conn.execute("UPDATE prekeys SET born = ?2 WHERE id = ?1", params![id.as_bytes(), born])?;
        Ok(())
    }

    /// Destroys secrets. `false`: they are deleted, but somebody reads the file, which may hold their bytes until a later
    /// call (with nothing to destroy, too) has answered `true`.
    pub fn destroy(&self, ids: &[PrekeyId]) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        if !ids.is_empty() {
            inner.unclean = true;
            let tx = inner.conn.transaction()?;
            for id in ids {
                tx.execute("DELETE FROM prekeys WHERE id = ?1", [id.as_bytes()])?;
            }
            fault::point("prekey.deleted");
            tx.commit()?;
            fault::point("prekey.delete.committed");
        }
        let clean = inner.clean()?;
        if !ids.is_empty() {
            fault::point("prekey.truncated");
        }
        Ok(clean)
    }

    /// The clock as it was last committed.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        let inner = self.inner();
        let row = |row: &rusqlite::Row<'_>| {
            let claims: Vec<u8> = row.get(5)?;
            let word = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_be_bytes);
            Ok(Checkpoint {
                moment: Moment { uptime: row.get(0)?, counted: row.get(1)? },
                wall: row.get(2)?,
                directory: row.get(3)?,
                agreed: row.get(4)?,
                claims: claims.chunks_exact(8).map(word).collect(),
            })
        };
        let sql = "SELECT uptime, counted, wall, directory, agreed, claims FROM clock";
        Ok(inner.conn.query_row(sql, [], row).optional()?)
    }

    /// Commits the clock.
    pub fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let claims: Vec<u8> = checkpoint.claims.iter().flat_map(|claim| claim.to_be_bytes()).collect();
        self.inner().conn.execute(
            "INSERT INTO clock (one, uptime, counted, wall, directory, agreed, claims) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (one) DO UPDATE SET uptime = ?1, counted = ?2, wall = ?3, directory = ?4, agreed = ?5, claims = ?6",
            params![
                checkpoint.moment.uptime,
                checkpoint.moment.counted,
                checkpoint.wall,
                checkpoint.directory,
                checkpoint.agreed,
                claims
            ],
        )?;
        Ok(())
    }

    /// When the mailbox was last drained.
    pub fn drained(&self) -> Result<Option<Moment>, StoreError> {
        let sql = "SELECT drained_uptime, drained FROM clock WHERE drained IS NOT NULL";
        let row = |row: &rusqlite::Row<'_>| Ok(Moment { uptime: row.get(0)?, counted: row.get(1)? });
        Ok(self.inner().conn.query_row(sql, [], row).optional()?)
    }

    /// Commits that the mailbox was drained at that moment. Nothing happens before the clock's first checkpoint.
    pub fn set_drained(&self, at: Moment) -> Result<(), StoreError> {
        let sql = "UPDATE clock SET drained_uptime = ?1, drained = ?2";
        self.inner().conn.execute(sql, params![at.uptime, at.counted])?;
        Ok(())
    }
}

impl Inner {
    /// Leaves nothing in the folder of what is deleted. `false` when somebody reads the file.
    fn clean(&mut self) -> Result<bool, StoreError> {
        if !self.unclean {
            return Ok(true);
        }
        let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match busy {
            Ok(busy) => {
                self.unclean = busy != 0;
                Ok(busy == 0)
            }
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked))
}

#[cfg(test)]
#[path = "prekeys_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
