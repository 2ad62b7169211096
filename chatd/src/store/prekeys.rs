//! `prekeys.db`: the secrets that open envelopes, in a database of their own so that destroying one destroys it.
//! `secure_delete` overwrites the row, and the WAL is truncated afterwards: without both the bytes stay on disk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::{StoreError, checksum};
use crate::crypto::prekey::PrekeySecret;

/// The prekey secrets of one account. Few and small: all are kept in memory too, by whoever opens envelopes.
#[derive(Debug)]
pub struct PrekeyStore {
    conn: Mutex<Connection>,
}

impl PrekeyStore {
    /// Opens or makes the database in an account's folder.
    ///
    /// # Errors
    /// Those of the database.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        checksum::install();
        let conn = Connection::open(folder.join("prekeys.db"))?;
        checksum::make_room(&conn)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "secure_delete", true)?;
        conn.pragma_update(None, "cache_size", -64)?;
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS prekeys (
               id        BLOB    PRIMARY KEY,
               suite     INTEGER NOT NULL,
               secret    BLOB    NOT NULL,
               created   INTEGER NOT NULL,             -- Unix s
               not_after INTEGER NOT NULL
             ) STRICT",
        )?;
        Ok(Self { conn: Mutex::new(conn) })
    }

    /// Commits a secret. Only after this may a record name it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn insert(&self, prekey: &PrekeySecret) -> Result<(), StoreError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        conn.execute(
            "INSERT INTO prekeys (id, suite, secret, created, not_after) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                prekey.id().as_bytes(),
                prekey.suite(),
                &prekey.secret_bytes()[..],
                prekey.created(),
                prekey.not_after()
            ],
        )?;
        Ok(())
    }

    /// All secrets, oldest first.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::Damaged`] for a row that is no key.
    pub fn all(&self) -> Result<Vec<PrekeySecret>, StoreError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = conn.prepare("SELECT suite, secret, created, not_after FROM prekeys ORDER BY created")?;
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
}
