//! The database file: how it is opened, and its schema.

use std::path::Path;

use proto::fault::point;
use rusqlite::{Connection, OpenFlags};

use super::super::OpenError;
use super::files;
use crate::identity;

/// One entry for each schema version, run in order in one transaction.
const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    -- Whoever has the recovery key of the account that gave a name up takes it back before it is free for all.
    ALTER TABLE released ADD COLUMN recovery_hash BLOB;
    -- The public half of the directory's own key, as members know it.
    CREATE TABLE identity (
        id  INTEGER PRIMARY KEY CHECK (id = 1),
        key BLOB NOT NULL
    ) STRICT;
    -- By the count of `uptime` now, which begins with this schema.
    UPDATE released SET released_at = 0;
    CREATE INDEX released_by_age ON released (released_at);
    -- Counters belong to an account, and go with it.
    CREATE TABLE sessions (
        account BLOB NOT NULL,
        device  BLOB NOT NULL,
        started INTEGER NOT NULL,
        PRIMARY KEY (account, device)
    ) STRICT, WITHOUT ROWID;
    -- Nobody's yet: whoever proves the device takes it over.
    INSERT INTO sessions (account, device, started) SELECT X'', device, sessions FROM devices;
    DROP TABLE devices;
    CREATE TABLE mailbox (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        account  BLOB NOT NULL,
        device   BLOB NOT NULL,
        stranger INTEGER NOT NULL,              -- 0 contact, 1 stranger, 2 stranger with proof of work
        expires  INTEGER NOT NULL,
        hash     BLOB NOT NULL,
        size     INTEGER NOT NULL,
        -- Of strangers: keyed hashes of where they came from. Before the envelope, whose pages need not be read for them.
        site     BLOB NOT NULL,
        host     BLOB NOT NULL,
        envelope BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX mailbox_by_hash ON mailbox (account, stranger, hash);
    CREATE INDEX mailbox_by_device ON mailbox (account, device, number);
    CREATE INDEX mailbox_by_expiry ON mailbox (expires);
    CREATE TABLE mailbox_usage (
        account   BLOB NOT NULL,
        stranger  INTEGER NOT NULL,
        envelopes INTEGER NOT NULL,
        bytes     INTEGER NOT NULL,
        PRIMARY KEY (account, stranger)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mailbox_total (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        envelopes INTEGER NOT NULL,
        bytes     INTEGER NOT NULL,
        uptime    INTEGER NOT NULL,
        released  INTEGER NOT NULL
    ) STRICT;
    INSERT INTO mailbox_total (id, envelopes, bytes, uptime, released)
        VALUES (1, 0, 0, 0, (SELECT count(*) FROM released));
    CREATE TRIGGER released_added AFTER INSERT ON released BEGIN
        UPDATE mailbox_total SET released = released + 1;
    END;
    CREATE TRIGGER released_gone AFTER DELETE ON released BEGIN
        UPDATE mailbox_total SET released = released - 1;
    END;
    CREATE TRIGGER mailbox_added AFTER INSERT ON mailbox BEGIN
        INSERT INTO mailbox_usage (account, stranger, envelopes, bytes)
            VALUES (NEW.account, NEW.stranger, 1, NEW.size)
            ON CONFLICT (account, stranger) DO UPDATE SET envelopes = envelopes + 1, bytes = bytes + excluded.bytes;
        UPDATE mailbox_total SET envelopes = envelopes + 1, bytes = bytes + NEW.size;
    END;
    CREATE TRIGGER mailbox_gone AFTER DELETE ON mailbox BEGIN
        UPDATE mailbox_usage SET envelopes = envelopes - 1, bytes = bytes - OLD.size
            WHERE account = OLD.account AND stranger = OLD.stranger;
        DELETE FROM mailbox_usage WHERE account = OLD.account AND stranger = OLD.stranger AND envelopes = 0;
        UPDATE mailbox_total SET envelopes = envelopes - 1, bytes = bytes - OLD.size;
    END;
",
];

/// Opens it for writing, brought to the newest schema; an older one is copied first, and changed in one transaction.
pub(in crate::store) fn open(path: &Path, max_pages: Option<u32>) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(OpenError::TooNew { path: path.to_owned(), found, known });
    }
    configure(&connection).map_err(failed)?;
    if found > 0 && found < known {
        tracing::info!(found, known, file = %path.display(), "bringing the database to the newest schema; a copy is kept");
        files::back_up(&connection, path, found)?;
    }
    let transaction = connection.transaction().map_err(failed)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    point("directory.upgrade.before_commit");
    transaction.commit().map_err(failed)?;
    point("directory.upgrade.after_commit");
    if let Some(pages) = max_pages {
        connection.pragma_update(None, "max_page_count", pages).map_err(failed)?;
    }
    Ok(connection)
}

/// Whether [`open`] would take the database that is there; the identity key that it remembers. Nothing is changed: after an
/// end that was not clean, SQLite may make the index of the log (`-shm`) anew, which says nothing that the log does not.
pub(in crate::store) fn check(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let connection = look(path).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(OpenError::TooNew { path: path.to_owned(), found, known });
    }
    // Before schema 2 directories had no key.
    if found < 2 { Ok(None) } else { identity::known(&connection).map_err(failed) }
}

/// Opens it for a look. Without a log the file alone is all there is, and said to be immutable: a reader of any other kind
/// makes an empty log and its index, and leaves them behind. Nobody writes meanwhile, or the lock would be taken.
fn look(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if files::has_log(path) {
        return Connection::open_with_flags(path, flags);
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let name = whole
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") });
    let uri = format!("file:{}?immutable=1", name.collect::<String>());
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
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
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

pub(in crate::store) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    // Not SQLITE_OPEN_READ_ONLY: the shared-memory index of the log must be writable.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
