//! The database file: how it is opened, and its schema.

use std::path::Path;

use proto::fault::point;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::files;
use crate::store::error::OpenError;

/// In which of 16 rows of `sums` an account is counted: its id's first hex digit. Ids are hashes, so none is crowded.
macro_rules! shard {
    ($account:literal) => {
        concat!("instr('123456789ABCDEF', substr(hex(", $account, "), 1, 1))")
    };
}

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
    concat!("
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
        place    INTEGER PRIMARY KEY,
        account  BLOB NOT NULL,
        device   BLOB NOT NULL,
        number   INTEGER NOT NULL,              -- counted for the account
        lane     INTEGER NOT NULL,              -- 0 contact, 1 stranger, 2 stranger with proof of work
        token    BLOB NOT NULL,                 -- the hash of the contact's token; empty of strangers
        counted  INTEGER NOT NULL,              -- for the token: what the depositor was told
        expires  INTEGER NOT NULL,
        hash     BLOB NOT NULL,
        size     INTEGER NOT NULL,
        -- Of strangers: keyed hashes of where they came from. Before the envelope, whose pages need not be read for them.
        site     BLOB NOT NULL,
        host     BLOB NOT NULL,
        envelope BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX mailbox_by_hash ON mailbox (account, lane, hash, token);
    CREATE UNIQUE INDEX mailbox_by_device ON mailbox (account, device, number);
    CREATE INDEX mailbox_by_expiry ON mailbox (expires);
    -- What lies in an account's mailbox, and the highest number that was ever given there.
    CREATE TABLE mailboxes (
        account       BLOB NOT NULL PRIMARY KEY,
        number        INTEGER NOT NULL,
        contacts      INTEGER NOT NULL DEFAULT 0,
        contact_bytes INTEGER NOT NULL DEFAULT 0,
        strangers     INTEGER NOT NULL DEFAULT 0,
        worked        INTEGER NOT NULL DEFAULT 0,
        bytes         INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    -- An account that comes back goes on with the numbers of its mailbox.
    ALTER TABLE released ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
    -- Deposits that were counted for a token: what its owner is told.
    ALTER TABLE tokens ADD COLUMN deposits INTEGER NOT NULL DEFAULT 0;
    -- The mailbox's clock.
    CREATE TABLE clock (
        id     INTEGER PRIMARY KEY CHECK (id = 1),
        uptime INTEGER NOT NULL
    ) STRICT;
    INSERT INTO clock (id, uptime) VALUES (1, 0);
    -- The whole directory, in shards: an account's is the first digit of its id.
    CREATE TABLE sums (
        shard     INTEGER PRIMARY KEY,
        accounts  INTEGER NOT NULL,
        resting   INTEGER NOT NULL,
        envelopes INTEGER NOT NULL,
        bytes     INTEGER NOT NULL
    ) STRICT;
    WITH RECURSIVE shards(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM shards WHERE n < 15)
        INSERT INTO sums SELECT n,
            (SELECT count(*) FROM accounts WHERE ", shard!("account"), " = n),
            (SELECT count(*) FROM released WHERE ", shard!("account"), " = n), 0, 0 FROM shards;
    CREATE TRIGGER account_added AFTER INSERT ON accounts BEGIN
        UPDATE sums SET accounts = accounts + 1 WHERE shard = ", shard!("NEW.account"), ";
    END;
    CREATE TRIGGER account_gone AFTER DELETE ON accounts BEGIN
        UPDATE sums SET accounts = accounts - 1 WHERE shard = ", shard!("OLD.account"), ";
    END;
    CREATE TRIGGER released_added AFTER INSERT ON released BEGIN
        UPDATE sums SET resting = resting + 1 WHERE shard = ", shard!("NEW.account"), ";
    END;
    CREATE TRIGGER released_gone AFTER DELETE ON released BEGIN
        UPDATE sums SET resting = resting - 1 WHERE shard = ", shard!("OLD.account"), ";
    END;
    CREATE TRIGGER mailbox_added AFTER INSERT ON mailbox BEGIN
        INSERT INTO mailboxes (account, number, contacts, contact_bytes, strangers, worked, bytes)
            VALUES (NEW.account, NEW.number, NEW.lane = 0, iif(NEW.lane = 0, NEW.size, 0), NEW.lane = 1, NEW.lane = 2,
                NEW.size)
            ON CONFLICT (account) DO UPDATE SET
                number = max(number, excluded.number),
                contacts = contacts + excluded.contacts,
                contact_bytes = contact_bytes + excluded.contact_bytes,
                strangers = strangers + excluded.strangers,
                worked = worked + excluded.worked,
                bytes = bytes + excluded.bytes;
        UPDATE sums SET envelopes = envelopes + 1, bytes = bytes + NEW.size WHERE shard = ", shard!("NEW.account"), ";
    END;
    CREATE TRIGGER mailbox_gone AFTER DELETE ON mailbox BEGIN
        UPDATE mailboxes SET
                contacts = contacts - (OLD.lane = 0),
                contact_bytes = contact_bytes - iif(OLD.lane = 0, OLD.size, 0),
                strangers = strangers - (OLD.lane = 1),
                worked = worked - (OLD.lane = 2),
                bytes = bytes - OLD.size
            WHERE account = OLD.account;
        UPDATE sums SET envelopes = envelopes - 1, bytes = bytes - OLD.size WHERE shard = ", shard!("OLD.account"), ";
    END;
"),
    "
    -- The node of a reach: it may use the relay. Of one that was stored before, it is told by the next.
    ALTER TABLE reach ADD COLUMN node BLOB NOT NULL DEFAULT X'';
    CREATE INDEX reach_by_node ON reach (node);
",
    "
    -- Logs of groups. What lies in one is counted by whoever puts it there (sqlite/groups.rs).
    CREATE TABLE group_logs (
        log           BLOB NOT NULL PRIMARY KEY,
        account       BLOB NOT NULL,
        root          BLOB NOT NULL,
        root_number   INTEGER NOT NULL,
        root_key      BLOB NOT NULL,
        log_key       BLOB NOT NULL,
        header        BLOB NOT NULL,
        header_root   INTEGER NOT NULL,
        header_number INTEGER NOT NULL,
        read          BLOB NOT NULL,
        write         BLOB NOT NULL,
        changes       INTEGER NOT NULL,
        number        INTEGER NOT NULL,
        running       BLOB NOT NULL,
        event         INTEGER NOT NULL,
        floor         INTEGER NOT NULL,
        minute        INTEGER NOT NULL,
        appended      INTEGER NOT NULL,
        turn          BLOB,
        turn_until    INTEGER,
        next_turn     INTEGER NOT NULL,
        orphaned      INTEGER,
        entries       INTEGER NOT NULL DEFAULT 0,
        dropped       INTEGER NOT NULL DEFAULT 0,
        slots         INTEGER NOT NULL DEFAULT 0,
        bytes         INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX group_logs_by_account ON group_logs (account);
    CREATE INDEX group_logs_orphaned ON group_logs (orphaned) WHERE orphaned IS NOT NULL;
    CREATE TABLE group_entries (
        place   INTEGER PRIMARY KEY,
        log     BLOB NOT NULL,
        number  INTEGER NOT NULL,
        kind    INTEGER NOT NULL,              -- 1 event, 2 keys, 3 message
        writer  BLOB NOT NULL,                 -- 1 and an account, or 2 and a keyed hash of a network
        hash    BLOB NOT NULL,
        running BLOB NOT NULL,
        expires INTEGER,
        entry   BLOB                           -- null when it was dropped
    ) STRICT;
    CREATE UNIQUE INDEX group_entries_by_number ON group_entries (log, number);
    CREATE UNIQUE INDEX group_entries_by_hash ON group_entries (log, hash);
    CREATE INDEX group_entries_by_expiry ON group_entries (expires) WHERE expires IS NOT NULL;
    -- For laggards, who read no messages.
    CREATE INDEX group_events ON group_entries (log, number) WHERE kind < 3;
    CREATE INDEX group_keys ON group_entries (log) WHERE kind = 2 AND expires IS NULL AND entry IS NOT NULL;
    CREATE INDEX group_dropped ON group_entries (log, number) WHERE entry IS NULL;
    CREATE TABLE group_shares (
        log       BLOB NOT NULL,
        writer    BLOB NOT NULL,
        entries   INTEGER NOT NULL DEFAULT 0,
        slots     INTEGER NOT NULL DEFAULT 0,
        bytes     INTEGER NOT NULL DEFAULT 0,
        minute    INTEGER NOT NULL DEFAULT 0,
        appended  INTEGER NOT NULL DEFAULT 0,
        lost      INTEGER NOT NULL DEFAULT 0,
        next_turn INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (log, writer)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX group_shares_empty ON group_shares (minute) WHERE entries = 0 AND bytes = 0;
    -- Tokens that were in force.
    CREATE TABLE group_tokens (
        log    BLOB NOT NULL,
        hash   BLOB NOT NULL,
        writes INTEGER NOT NULL,
        change INTEGER NOT NULL,
        PRIMARY KEY (log, hash)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE group_slots (
        place   INTEGER PRIMARY KEY,
        log     BLOB NOT NULL,
        key     BLOB NOT NULL,
        writer  BLOB NOT NULL,
        counter INTEGER NOT NULL,
        slot    BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX group_slots_by_key ON group_slots (log, key);
    CREATE TABLE group_staged (
        place   INTEGER PRIMARY KEY,
        log     BLOB NOT NULL,
        hash    BLOB NOT NULL,
        writer  BLOB NOT NULL,
        expires INTEGER NOT NULL,
        entry   BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX group_staged_by_hash ON group_staged (log, hash);
    CREATE INDEX group_staged_by_expiry ON group_staged (expires);
    ALTER TABLE sums ADD COLUMN logs INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sums ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sums ADD COLUMN group_bytes INTEGER NOT NULL DEFAULT 0;
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
    if found < 2 { Ok(None) } else { known_key(&connection).map_err(failed) }
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
    connection.set_prepared_statement_cache_capacity(128);
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

/// The public half of the directory's own key, as members know it.
pub(in crate::store) fn known_key(database: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    database.query_row("SELECT key FROM identity", [], |row| row.get(0)).optional()
}

/// Remembers it.
pub(in crate::store) fn remember_key(database: &Connection, key: &[u8; 32]) -> rusqlite::Result<()> {
    database.execute(
        "INSERT INTO identity (id, key) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET key = excluded.key",
        params![key],
    )?;
    Ok(())
}
