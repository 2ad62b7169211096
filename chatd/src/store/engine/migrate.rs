//! Opening `messages.db`: is it whole enough, is it ours, and up to date? Upgrades are prepared and made here.
//!
//! An upgrade never loses anything, wherever it is killed: a backup first (`messages.db.v<N>.bak`, by VACUUM INTO, complete
//! before it has that name), then, for a database from before there were checksums, a copy with room for them that takes the
//! database's place by one rename, then all migrations in one transaction. Each step can be done again.
//!
//! Not the job: the schemas themselves (`schema`), and what to do about damage (`care`).

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::fault;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::store::disk::checksum::{self, Header, PAGE_BYTES, RESERVED};
use crate::store::disk::connection;
use crate::store::engine::schema;
use crate::store::error::StoreError;

/// The first schema whose databases always have checksums.
const CHECKED_SINCE: u32 = 2;

/// How long another program may have the database open at a start, and how often it is looked.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const WAIT_STEP: Duration = Duration::from_millis(100);

/// Opens the database for writing, upgraded if need be. Nothing is made that is not there.
///
/// # Errors
/// A newer schema is refused untouched; damage that shows here is [`StoreError::Corrupt`], another program that keeps it open
/// [`StoreError::InUse`].
pub(in crate::store) fn open(path: &Path) -> Result<Connection, StoreError> {
    checksum::install();
    let header = inspect(path)?;
    if i64::from(header.version) > schema::NEWEST {
        return Err(StoreError::NewerSchema { found: header.version.into(), newest: schema::NEWEST });
    }
    let mut conn = connect(path)?;
    conn.busy_handler(Some(wait_for_others))?;
    // Until it is known whose it is, nothing is written, not even a checkpoint.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found = conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let found = found.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => StoreError::InUse(path.to_owned()),
        _ => error.into(),
    })?;
    if found > schema::NEWEST {
        return Err(StoreError::NewerSchema { found, newest: schema::NEWEST });
    }
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    connection::prepare_writer(&conn)?;
    if found == schema::NEWEST {
        return Ok(conn);
    }
    upgrade(path, conn, found)
}

/// Makes an empty database of the newest schema.
///
/// # Errors
/// Those of the disk.
pub(in crate::store) fn create(path: &Path) -> Result<Connection, StoreError> {
    checksum::install();
    private_file(path)?;
    let mut conn = connect(path)?;
    checksum::reserve(&conn)?;
    connection::prepare_writer(&conn)?;
    schema::migrate(&mut conn, 0)?;
    Ok(conn)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// A program that has the database open, such as a backup of the machine's, is waited for: otherwise the account would be read-only
/// until the next start. It says so once.
fn wait_for_others(tries: i32) -> bool {
    if tries == 0 {
        tracing::warn!(
            seconds = (LONGEST_WAIT.as_secs()),
            "another program has an account's messages.db open: waiting for it to be closed"
        );
    }
    std::thread::sleep(WAIT_STEP);
    WAIT_STEP * tries.unsigned_abs() < LONGEST_WAIT
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.to_owned(), source }
}

fn private_file(path: &Path) -> Result<(), StoreError> {
    std::fs::File::options().append(true).create(true).mode(0o600).open(path).map(drop).map_err(io(path))
}

/// What the first page says, checked as far as a page alone can be.
fn inspect(path: &Path) -> Result<Header, StoreError> {
    let mut page = Vec::new();
    let file = std::fs::File::open(path).map_err(io(path))?;
    file.take(PAGE_BYTES as u64).read_to_end(&mut page).map_err(io(path))?;
    let damaged = |what: &str| StoreError::Corrupt(format!("{}, page 1: {what}", path.display()));
    let header = Header::parse(&page).ok_or_else(|| damaged("not the beginning of a database"))?;
    // A page that a crash tore while it was written is in the WAL, whole.
    let alone = std::fs::metadata(checksum::wal_of(path)).map_or(0, |meta| meta.len()) == 0;
    if alone && header.reserved == RESERVED && !checksum::is_whole(&page) {
        return Err(damaged("its checksum does not match"));
    }
    let known = CHECKED_SINCE..=u32::try_from(schema::NEWEST).unwrap_or(u32::MAX);
    if known.contains(&header.version) && (header.reserved, header.page as usize) != (RESERVED, PAGE_BYTES) {
        return Err(damaged("the header is not that of a message store"));
    }
    Ok(header)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn upgrade(path: &Path, conn: Connection, found: i64) -> Result<Connection, StoreError> {
    tracing::info!(database = %path.display(), from = found, to = schema::NEWEST, "upgrading the message store");
    let backup = beside(path, &format!(".v{found}.bak"));
    fault::point("store.upgrade.begin");
    copy(&conn, &beside(path, ".bak.tmp"), &backup, None)?;
    fault::point("store.upgrade.backup");
    let mut conn = conn;
    if inspect(path)?.reserved != RESERVED {
        let checked = beside(path, ".checked");
        copy(&conn, &beside(path, ".checked.tmp"), &checked, Some(RESERVED))?;
        fault::point("store.upgrade.copied");
        // What was in the WAL is in the copy. It must not be there any more when the copy stands in the database's place.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?;
        conn.close().map_err(|(_, error)| error)?;
        if std::fs::metadata(checksum::wal_of(path)).is_ok_and(|meta| meta.len() > 0) {
            return Err(StoreError::NotStored("the upgrade found its database in use by another program".into()));
        }
        fault::point("store.upgrade.closed");
        std::fs::rename(&checked, path).map_err(io(path))?;
        checksum::sync_folder_of(path).map_err(io(path))?;
        fault::point("store.upgrade.renamed");
        conn = connect(path)?;
        connection::prepare_writer(&conn)?;
    }
    schema::migrate(&mut conn, found)?;
    fault::point("store.upgrade.done");
    Ok(conn)
}

/// Copies the database to `to`, which never is half a copy: made as `unfinished`, synced, renamed.
fn copy(conn: &Connection, unfinished: &Path, to: &Path, reserve: Option<u8>) -> Result<(), StoreError> {
    match std::fs::remove_file(unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(unfinished)(error)),
        _ => {}
    }
    private_file(unfinished)?;
    conn.execute("VACUUM INTO ?1", [uri(unfinished, reserve)])?;
    fault::point("store.upgrade.vacuumed");
    std::fs::File::open(unfinished).and_then(|file| file.sync_all()).map_err(io(unfinished))?;
    std::fs::rename(unfinished, to).map_err(io(to))?;
    checksum::sync_folder_of(to).map_err(io(to))
}

/// A path as SQLite takes it with options.
pub(in crate::store) fn uri(path: &Path, reserve: Option<u8>) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
    if let Some(reserve) = reserve {
        let _ = write!(text, "?reserve={reserve}");
    }
    text
}
