//! What a backup holds: the store as one database file, with a table beside it for what the store itself does not hold.
//!
//! The file of a backup is somebody's input. Before anything of it is used it must be whole (`quick_check`) and have
//! exactly the schema that this program makes for its version: no trigger, view or index of anybody's own. What a backup
//! never holds: prekey secrets, the device key, the node key.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use proto::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use zeroize::Zeroizing;

use crate::model::AccountRow;
use crate::store::account::{self, OwnCard};
use crate::store::disk::{checksum, connection};
use crate::store::engine::{migrate, schema};
use crate::store::error::StoreError;
use crate::store::handle::Store;

/// The format of the table `backup`.
const FORMAT: i64 = 1;
const TABLE: &str =
    "CREATE TABLE backup (format INTEGER NOT NULL, made INTEGER NOT NULL, identity_key BLOB NOT NULL) STRICT";

/// Why a backup's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database is no such, or broken.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// Another kind of database.
    #[error("this is no backup of an account: {0}")]
    Foreign(String),
    /// Made by a later version.
    #[error("the backup has format {0}, and this version knows {FORMAT}: install the newer version first")]
    Newer(i64),
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for SnapshotError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Store(error.into()),
        }
    }
}

/// What a backup tells.
pub struct Contents {
    /// The account's row as it was.
    pub row: AccountRow,
    /// Its record and what goes with it.
    pub card: OwnCard,
    /// Secret of the identity key.
    pub identity: Zeroizing<[u8; 32]>,
    /// When the backup was made.
    pub made: Timestamp,
}

/// What is different about an account that comes from a backup.
#[derive(Debug, Clone)]
pub struct NewHome {
    /// Owner, device and names as they are to be.
    pub row: AccountRow,
    /// A record that names the new device.
    pub record: Vec<u8>,
    /// Its seq.
    pub record_seq: u64,
}

impl Store {
    /// Writes a consistent copy, with the identity key beside it, to a new file. Blocks; writers go on meanwhile.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub fn snapshot(&self, path: &Path, identity: &[u8; 32]) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        // SQLite fills an empty file, and would make a new one that others can read.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let from = Connection::open_with_flags(self.path(), flags)?;
        from.busy_timeout(std::time::Duration::from_secs(5))?;
        from.execute("VACUUM INTO ?1", [migrate::uri(path, None)])?;
        let copy = Connection::open_with_flags(path, flags)?;
        // Nobody but us reads it, and it is gone in a moment: no journal beside it that would have to be removed, too.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.execute_batch(TABLE)?;
        copy.execute(
            "INSERT INTO backup (format, made, identity_key) VALUES (?1, ?2, ?3)",
            params![FORMAT, Timestamp::now().0, &identity[..]],
        )?;
        copy.close().map_err(|(_, error)| error.into())
    }
}

/// Checks a backup's database and puts what is the store's into `messages.db` beside it, brought to the newest schema.
///
/// # Errors
/// [`SnapshotError`]; then nothing of it may be used.
pub fn open(file: &Path, folder: &Path) -> Result<Contents, SnapshotError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Before the first database is opened: a fresh daemon has none.
    checksum::install();
    let conn = Connection::open_with_flags(file, flags)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // The key must not stay behind in pages that are free.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "journal_mode", "MEMORY")?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > schema::NEWEST {
        return Err(StoreError::NewerSchema { found: version, newest: schema::NEWEST }.into());
    }
    let tables = objects(&conn)?;
    if !tables.iter().any(|(_, name, _)| name == "backup") {
        return Err(SnapshotError::Foreign("it has no table of that name".into()));
    }
    let format: Option<i64> =
        conn.query_row("SELECT format FROM backup LIMIT 1", [], |row| row.get(0)).optional().map_err(foreign)?;
    match format {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Err(SnapshotError::Newer(newer)),
        _ => return Err(SnapshotError::Foreign("it does not say which format it has".into())),
    }
    if tables != expected(version)? {
        return Err(SnapshotError::Foreign("its tables are not those of a message store".into()));
    }
    let check: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(SnapshotError::Damaged(check));
    }
    let (made, identity): (i64, Vec<u8>) =
        conn.query_row("SELECT made, identity_key FROM backup LIMIT 1", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let identity = Zeroizing::new(identity);
    let key = identity.as_slice().try_into().map_err(|_| SnapshotError::Damaged("the identity key".into()))?;
    conn.execute_batch("DROP TABLE backup")?;
    let store = folder.join("messages.db");
    let io = |source| StoreError::Io { path: store.clone(), source };
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&store).map_err(io)?;
    conn.execute("VACUUM INTO ?1", [migrate::uri(&store, Some(checksum::RESERVED))])?;
    drop(conn);
    let conn = migrate::open(&store)?;
    let contents = Contents {
        row: account::load(&conn)?,
        card: account::own_card(&conn)?,
        identity: Zeroizing::new(key),
        made: Timestamp(made),
    };
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    Ok(contents)
}

/// Handles that a restored account passes over: those that were given since the backup must not name anybody else.
const HANDLES_SKIPPED: i64 = 10_000;

/// Makes the store in a folder that of a new device: it is marked as restored, so that new epochs begin before anything
/// is sent.
pub fn move_in(folder: &Path, home: &NewHome) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(folder.join("messages.db"), flags)?;
    connection::prepare_writer(&conn)?;
    let row = &home.row;
    conn.execute(
        "UPDATE account SET device = ?1, uid = ?2, user = ?3, logged_in = ?4, record = ?5, record_seq = ?6,
           reach = x'', restored = 1, handles = handles + ?7, preferred = 0, standing = 1",
        params![
            row.device.as_bytes(),
            row.uid,
            row.user,
            row.logged_in,
            home.record,
            home.record_seq as i64,
            HANDLES_SKIPPED
        ],
    )?;
    // Whoever has one was given it on another machine, and by whom it was ended since is not known here.
    account::tokens::forget_all(&conn)?;
    conn.close().map_err(|(_, error)| error.into())
}

fn foreign(error: rusqlite::Error) -> SnapshotError {
    SnapshotError::Foreign(error.to_string())
}

/// Everything that the schema names, with its definition.
fn objects(conn: &Connection) -> Result<Vec<(String, String, String)>, SnapshotError> {
    let mut select = conn.prepare(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name <> 'sqlite_sequence' ORDER BY type, name",
    )?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The same of a fresh store of a version, with the table of a backup.
fn expected(version: i64) -> Result<Vec<(String, String, String)>, SnapshotError> {
    let fresh = Connection::open_in_memory()?;
    for sql in schema::MIGRATIONS.iter().take(usize::try_from(version).unwrap_or(0)) {
        fresh.execute_batch(sql)?;
    }
    fresh.execute_batch(TABLE)?;
    objects(&fresh)
}
