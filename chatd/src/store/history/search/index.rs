//! `search.db`: its schema, opening and replacing it, and one step of indexing.
//!
//! Owned by the indexer thread: nothing else writes the file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use crate::model::ids::ConversationRow;
use crate::store::disk::checksum;
use crate::store::history::search::{BATCH_ROWS, BATCH_TIME, fold, words};

/// `PRAGMA user_version` of a file that this code made. Any other value: made anew.
const SCHEMA_VERSION: i64 = 3;
/// FTS5 collects this many bytes before it writes a segment: a whole transaction, so that it writes one.
const HASH_BYTES: usize = 8 * 1024 * 1024;
/// Segments of a level that are merged into one: fewer merges than with FTS5's 4 (4.0 instead of 4.5 us a row), and still far
/// from 16, where all are merged at once inside a commit.
const AUTOMERGE: usize = 8;
/// Pages (of 4 KiB) in the WAL before it is copied back: each time costs a sync.
const WAL_PAGES: i64 = 4_000;
/// Nobody else writes the file; if someone does, the pass is tried again later rather than the thread held up.
const BUSY: Duration = Duration::from_millis(100);
/// Looking at the clock and at the stop flag for every row would cost as much as a short row.
const ROWS_BETWEEN_CHECKS: usize = 16;

/// What went wrong, and in which of the two databases: only a damaged index is thrown away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The account's message store.
    #[error("message store: {0}")]
    Main(#[source] rusqlite::Error),
    /// The index.
    #[error("search index: {0}")]
    Index(#[source] rusqlite::Error),
    /// The index cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove { path: PathBuf, source: std::io::Error },
}

impl Fault {
    /// The index is not what this code wrote. An SQL error counts: the statements are fixed, so the schema is foreign.
    pub fn is_damage(&self) -> bool {
        matches!(self, Fault::Index(e) if is_damage(e) || matches!(e.sqlite_error_code(), Some(ErrorCode::Unknown) | None))
    }
}

/// SQLite found bytes that are no valid database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    checksum::is_damage(error)
}

/// How far one step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub watermark: i64,
    pub deletions: i64,
    /// There is more to do.
    pub more: bool,
}

/// The open index of one account, and its view of the main store.
#[derive(Debug)]
pub(super) struct Index {
    index: Connection,
    main: Connection,
    text: String,
}

/// Opens `path` so that nothing can be written through the connection.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Removes `search.db` and what SQLite keeps beside it.
pub(super) fn remove(search_db: &Path) -> Result<(), Fault> {
    // The database goes last: a crash in between leaves one whose WAL is gone, which is damage that is found, not a WAL that a
    // new database would take for its own.
    for suffix in ["-wal", "-shm", ""] {
        let mut name = search_db.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(Fault::Remove { path, source }),
            _ => {}
        }
    }
    Ok(())
}

impl Index {
    /// Opens the index of the main store `main_db`, makes it if it is missing or empty.
    pub fn open(main_db: &Path, search_db: &Path) -> Result<Index, Fault> {
        let main = open_read_only(main_db).map_err(Fault::Main)?;
        let index = Self::open_index(search_db).map_err(Fault::Index)?;
        Ok(Index { index, main, text: String::new() })
    }

    fn open_index(search_db: &Path) -> rusqlite::Result<Connection> {
        checksum::install();
        // Made here, so that it, and with it the WAL, can be read by its owner alone: it holds everyone's words.
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // If this fails, SQLite says why.
        let _ = options.open(search_db);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut index = Connection::open_with_flags(search_db, flags)?;
        index.busy_timeout(BUSY)?;
        checksum::make_room(&index)?;
        index.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        index.pragma_update(None, "synchronous", "NORMAL")?;
        index.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        let tx = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != SCHEMA_VERSION {
            // Fails on a foreign file that has these names or is damaged; on any other it adds two tables.
            tx.execute_batch(&format!(
                "CREATE VIRTUAL TABLE words USING fts5({});
                 INSERT INTO words(words, rank) VALUES ('hashsize', {HASH_BYTES});
                 INSERT INTO words(words, rank) VALUES ('automerge', {AUTOMERGE});
                 CREATE TABLE state (
                     one INTEGER PRIMARY KEY CHECK (one = 1), watermark INTEGER NOT NULL, deletions INTEGER NOT NULL,
                     tokens TEXT NOT NULL
                 ) STRICT;
                 INSERT INTO state (one, watermark, deletions, tokens) VALUES (1, 0, 0, '{}');
                 PRAGMA user_version = {SCHEMA_VERSION};",
                words::FTS5_ARGUMENTS,
                fold::VERSION
            ))?;
        }
        // Cut by other rules or other tables, it would not hold what queries look for: no row, which counts as damage.
        tx.query_row("SELECT 1 FROM state WHERE tokens = ?1", [fold::VERSION], |_| Ok(()))?;
        tx.commit()?;
        Ok(index)
    }

    /// Closes the files. What is in the WAL goes to the database first: a reader that is still open, or opens next, cannot do it,
    /// and would have to read the WAL whole.
    pub fn close(self) {
        let truncate = self.index.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = truncate {
            tracing::debug!(%error, "search index closed with its WAL");
        }
    }

    /// Indexes what waits, up to one transaction's worth, and commits it together with the new watermark.
    pub fn step(&mut self, stop: &AtomicBool) -> Result<Step, Fault> {
        let Index { index, main, text } = self;
        let tx = index.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::Index)?;
        let before = tx
            .query_row("SELECT watermark, deletions FROM state", [], |row| {
                Ok(Step { watermark: row.get(0)?, deletions: row.get(1)?, more: false })
            })
            .map_err(Fault::Index)?;
        let mut after = before;
        add(&tx, main, text, &mut after, stop)?;
        delete(&tx, main, &mut after)?;
        if (after.watermark, after.deletions) != (before.watermark, before.deletions) {
            tx.prepare_cached("UPDATE state SET watermark = ?1, deletions = ?2")
                .and_then(|mut set| set.execute(params![after.watermark, after.deletions]))
                .map_err(Fault::Index)?;
            tx.commit().map_err(Fault::Index)?;
        }
        Ok(after)
    }
}

/// Adds the messages above the watermark.
fn add(
    index: &Connection,
    main: &Connection,
    text: &mut String,
    step: &mut Step,
    stop: &AtomicBool,
) -> Result<(), Fault> {
    let end = Instant::now() + BATCH_TIME;
    let mut insert = index.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)").map_err(Fault::Index)?;
    let mut select = main
        .prepare_cached("SELECT id, conversation, body FROM messages WHERE id > ?1 ORDER BY id")
        .map_err(Fault::Main)?;
    let mut rows = select.query([step.watermark]).map_err(Fault::Main)?;
    let mut done = 0;
    while let Some(row) = rows.next().map_err(Fault::Main)? {
        let full = done >= BATCH_ROWS;
        if full
            || (done > 0 && done % ROWS_BETWEEN_CHECKS == 0 && (Instant::now() >= end || stop.load(Ordering::Relaxed)))
        {
            step.more = true;
            break;
        }
        let (id, conversation, body) = message(row).map_err(Fault::Main)?;
        words::document(text, conversation, &body);
        insert.execute(params![id, text.as_str()]).map_err(Fault::Index)?;
        step.watermark = id;
        done += 1;
    }
    Ok(())
}

/// Id, conversation and text of a row. Text that is not UTF-8 is searched as far as it is.
pub(super) fn message<'a>(
    row: &'a rusqlite::Row<'_>,
) -> rusqlite::Result<(i64, ConversationRow, std::borrow::Cow<'a, str>)> {
    let body = match row.get_ref(2)? {
        rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) => bytes,
        _ => &[],
    };
    Ok((row.get(0)?, row.get(1)?, String::from_utf8_lossy(body)))
}

/// Takes out the messages whose deletion is queued. One that was never indexed is no row to delete, which is no error; one
/// above the watermark is gone from the main store already and will not be indexed.
fn delete(index: &Connection, main: &Connection, step: &mut Step) -> Result<(), Fault> {
    let mut delete = index.prepare_cached("DELETE FROM words WHERE rowid = ?1").map_err(Fault::Index)?;
    let mut select = main
        .prepare_cached("SELECT n, message FROM search_deletions WHERE n > ?1 ORDER BY n LIMIT ?2")
        .map_err(Fault::Main)?;
    let limit = i64::try_from(BATCH_ROWS).unwrap_or(i64::MAX);
    let mut rows = select.query([step.deletions, limit]).map_err(Fault::Main)?;
    let mut done = 0;
    while let Some(row) = rows.next().map_err(Fault::Main)? {
        let (n, id): (i64, i64) = (row.get(0).map_err(Fault::Main)?, row.get(1).map_err(Fault::Main)?);
        delete.execute([id]).map_err(Fault::Index)?;
        step.deletions = n;
        done += 1;
    }
    step.more |= done == BATCH_ROWS;
    Ok(())
}
