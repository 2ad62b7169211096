//! A query: the tail in memory first (it is the newest), then the index, every hit checked against the main store.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::model::ids::ConversationRow;
use crate::store::history::search::index::{is_damage, message, open_read_only};
use crate::store::history::search::{MAX_TAIL_BYTES, MAX_TAIL_ROWS, words};

/// What to look for.
#[derive(Debug)]
pub(super) struct Request {
    pub expression: String,
    pub conversation: Option<ConversationRow>,
    pub limit: usize,
    /// The newest id that may be a hit.
    pub newest: i64,
}

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The tail is too long: ask again when the index covers `reach`.
    Behind {
        reach: i64,
    },
    /// The index is missing, damaged or not ours.
    Damaged,
    Main(rusqlite::Error),
    Index(rusqlite::Error),
}

/// The connections of an account's queries.
#[derive(Debug)]
pub(super) struct Reader {
    index: Connection,
    main: Connection,
    tail: Tail,
    last_used: Instant,
}

impl Reader {
    pub fn open(main_db: &Path, search_db: &Path) -> Result<Reader, Failure> {
        let main = open_read_only(main_db).map_err(Failure::Main)?;
        let index = open_read_only(search_db).map_err(|e| match e.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) if !search_db.exists() => Failure::Damaged,
            _ => of_index(e),
        })?;
        Ok(Reader { index, main, tail: Tail::new().map_err(Failure::Index)?, last_used: Instant::now() })
    }

    pub fn last_used(&self) -> Instant {
        self.last_used
    }

    pub fn query(&mut self, request: &Request) -> Result<Vec<i64>, Failure> {
        self.last_used = Instant::now();
        // The index's snapshot is taken first: what it lacks is then surely in the main store's, and nothing falls in between.
        let index = self.index.unchecked_transaction().map_err(of_index)?;
        let watermark: i64 = index
            .prepare_cached("SELECT watermark FROM state")
            .and_then(|mut state| state.query_row([], |row| row.get(0)))
            .map_err(|e| match e.sqlite_error_code() {
                // This statement is right: an SQL error, or no row, means that the schema is not ours.
                Some(ErrorCode::Unknown) | None => Failure::Damaged,
                _ => of_index(e),
            })?;
        let main = self.main.unchecked_transaction().map_err(Failure::Main)?;
        let mut hits = Vec::new();
        if request.newest > watermark {
            self.tail.load(&main, watermark)?;
            collect(&self.tail.memory, &main, request, (watermark, request.newest), &mut hits)?;
        }
        collect(&index, &main, request, (0, watermark.min(request.newest)), &mut hits)?;
        Ok(hits)
    }
}

fn of_index(error: rusqlite::Error) -> Failure {
    if is_damage(&error) { Failure::Damaged } else { Failure::Index(error) }
}

/// Adds the hits with `range.0 < id <= range.1`, newest first, that the main store still shows, until there are enough.
fn collect(
    index: &Connection,
    main: &Connection,
    request: &Request,
    range: (i64, i64),
    hits: &mut Vec<i64>,
) -> Result<(), Failure> {
    if hits.len() >= request.limit {
        return Ok(());
    }
    let mut valid = main
        .prepare_cached("SELECT 1 FROM messages WHERE id = ?1 AND (?2 IS NULL OR conversation = ?2)")
        .map_err(Failure::Main)?;
    let mut select = index
        .prepare_cached(
            "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid > ?2 AND rowid <= ?3 ORDER BY rowid DESC",
        )
        .map_err(of_index)?;
    let mut rows = select.query(params![request.expression, range.0, range.1]).map_err(of_index)?;
    while hits.len() < request.limit {
        let Some(row) = rows.next().map_err(of_index)? else { break };
        let id: i64 = row.get(0).map_err(of_index)?;
        let found = valid.query_row(params![id, request.conversation], |_| Ok(())).optional().map_err(Failure::Main)?;
        if found.is_some() {
            hits.push(id);
        }
    }
    Ok(())
}

/// The messages above the watermark, tokenised in memory. Kept between queries: the next one adds only what is new.
#[derive(Debug)]
struct Tail {
    memory: Connection,
    /// Holds the messages with `low < id <= high`.
    low: i64,
    high: i64,
    rows: usize,
    bytes: usize,
}

impl Tail {
    fn new() -> rusqlite::Result<Tail> {
        let memory = Connection::open_in_memory()?;
        memory.execute_batch(&format!("CREATE VIRTUAL TABLE words USING fts5({})", words::FTS5_ARGUMENTS))?;
        Ok(Tail { memory, low: 0, high: 0, rows: 0, bytes: 0 })
    }

    /// Makes the tail hold everything above `watermark`.
    fn load(&mut self, main: &Connection, watermark: i64) -> Result<(), Failure> {
        let newest: i64 =
            main.query_row("SELECT coalesce(max(id), 0) FROM messages", [], |row| row.get(0)).map_err(Failure::Main)?;
        if newest <= watermark {
            return self.reset(watermark);
        }
        // Ids may have gaps, so the difference only says whether a count is worth it.
        let max_rows = i64::try_from(MAX_TAIL_ROWS).unwrap_or(i64::MAX);
        if newest.saturating_sub(watermark) > max_rows {
            let too_many = main
                .prepare_cached("SELECT 1 FROM messages WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2")
                .and_then(|mut count| count.query_row([watermark, max_rows], |_| Ok(())).optional())
                .map_err(Failure::Main)?;
            if too_many.is_some() {
                return Err(Failure::Behind { reach: newest.saturating_sub(max_rows) });
            }
        }
        // What the index has caught up with is dropped when nothing else is left, or when there is much in memory.
        let mostly_indexed =
            watermark > self.low && (self.rows >= MAX_TAIL_ROWS / 2 || self.bytes >= MAX_TAIL_BYTES / 2);
        if watermark < self.low || watermark >= self.high || mostly_indexed {
            self.reset(watermark)?;
        }
        let added = self.append(main);
        match added {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::Behind { reach: newest }),
            Err(failure) => {
                // Nothing was committed in memory; the next query starts over.
                self.reset(watermark)?;
                Err(failure)
            }
        }
    }

    fn reset(&mut self, watermark: i64) -> Result<(), Failure> {
        if self.rows > 0 {
            self.memory.execute_batch("INSERT INTO words(words) VALUES ('delete-all')").map_err(Failure::Index)?;
        }
        (self.low, self.high, self.rows, self.bytes) = (watermark, watermark, 0, 0);
        Ok(())
    }

    /// Adds what is above `high`; false, and nothing added, if that is too much.
    fn append(&mut self, main: &Connection) -> Result<bool, Failure> {
        let tx = self.memory.unchecked_transaction().map_err(Failure::Index)?;
        let (mut high, mut count, mut bytes) = (self.high, self.rows, self.bytes);
        let mut text = String::new();
        {
            let mut insert =
                tx.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)").map_err(Failure::Index)?;
            let mut select = main
                .prepare_cached("SELECT id, conversation, body FROM messages WHERE id > ?1 ORDER BY id")
                .map_err(Failure::Main)?;
            let mut rows = select.query([high]).map_err(Failure::Main)?;
            while let Some(row) = rows.next().map_err(Failure::Main)? {
                let (id, conversation, body) = message(row).map_err(Failure::Main)?;
                words::document(&mut text, conversation, &body);
                (high, count, bytes) = (id, count + 1, bytes + text.len());
                if bytes > MAX_TAIL_BYTES || count > 2 * MAX_TAIL_ROWS {
                    return Ok(false);
                }
                insert.execute(params![id, text]).map_err(Failure::Index)?;
            }
        }
        tx.commit().map_err(Failure::Index)?;
        (self.high, self.rows, self.bytes) = (high, count, bytes);
        Ok(true)
    }
}
