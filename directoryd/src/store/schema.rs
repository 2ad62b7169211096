//! The database file: how it is opened, and its schema.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// One entry for each schema version, run in order in one transaction.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE accounts (
        account   BLOB NOT NULL PRIMARY KEY,
        name      TEXT NOT NULL UNIQUE,
        skeleton  TEXT NOT NULL,
        seq       INTEGER NOT NULL,
        record    BLOB NOT NULL
    ) STRICT;
    CREATE INDEX accounts_by_skeleton ON accounts (skeleton);
    CREATE TABLE released (
        name        TEXT NOT NULL PRIMARY KEY,
        skeleton    TEXT NOT NULL,
        account     BLOB NOT NULL,
        seq         INTEGER NOT NULL,
        released_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX released_by_account ON released (account);
    CREATE INDEX released_by_skeleton ON released (skeleton);
    CREATE TABLE reach (
        account BLOB NOT NULL,
        device  BLOB NOT NULL,
        seq     INTEGER NOT NULL,
        reach   BLOB NOT NULL,
        PRIMARY KEY (account, device)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tokens (
        account BLOB NOT NULL,
        hash    BLOB NOT NULL,
        PRIMARY KEY (account, hash)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE devices (
        device   BLOB NOT NULL PRIMARY KEY,
        sessions INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    configure(&connection).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(OpenError::TooNew { path: path.to_owned(), found, known });
    }
    let transaction = connection.transaction().map_err(failed)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    // WAL: readers and the writer do not wait for each other. FULL: a commit is on the disk before it is answered.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Pages of the log before it is copied back: 16 MiB, so that a burst of registrations is not stopped by it.
    connection.pragma_update(None, "wal_autocheckpoint", 4_096)?;
    // Bytes that the log file keeps after it was copied back.
    connection.pragma_update(None, "journal_size_limit", 32 << 20)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    // Not SQLITE_OPEN_READ_ONLY: the shared-memory index of the log must be writable.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
