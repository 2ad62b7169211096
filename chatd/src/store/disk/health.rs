//! Damage to `messages.db`: noticing it, remembering it, and saying what is damaged, and where.
//!
//! The job: look at a WAL that a crash left, check the database in the background after a crash or an error that means
//! damage, and keep the account's verdict. A damaged store takes no writes any more: numbers that were lost would be given
//! out again. What is intact can be read (`salvage`).
//!
//! Not the job: checksums (`checksum`), repair, and what to do about it: whoever tells of it names the step.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::watch;

use crate::store::disk::{checksum, connection};
use crate::store::error::StoreError;

/// The state of one account's store.
pub(in crate::store) struct Care {
    path: PathBuf,
    damage: watch::Sender<Option<String>>,
    check: Mutex<Option<Check>>,
}

struct Check {
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
}

impl Care {
    pub fn new(path: PathBuf, damage: Option<String>) -> Self {
        Self { path, damage: watch::Sender::new(damage), check: Mutex::default() }
    }

    /// What is damaged, if anything is: a text for people.
    pub fn damage(&self) -> Option<String> {
        self.damage.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Option<String>> {
        self.damage.subscribe()
    }

    /// Looks at the outcome of an operation: one that met damage makes the store read-only.
    pub fn note<T>(self: &Arc<Self>, outcome: &Result<T, StoreError>) {
        if let Err(error) = outcome
            && error.is_damage()
            && self.damaged(&error.to_string())
        {
            // What else is damaged is good to know before a copy is made.
            self.check();
        }
    }

    /// A damaged page was met somewhere: here?
    pub fn look(&self) {
        if let Some(place) = checksum::place(&self.path) {
            self.damaged(&place);
        }
    }

    /// Remembers the first damage; whether it was the first.
    fn damaged(&self, what: &str) -> bool {
        let text = describe(&self.path, what);
        let first = self.damage.send_if_modified(|damage| {
            let first = damage.is_none();
            damage.get_or_insert_with(|| text.clone());
            first
        });
        if first {
            tracing::error!(text, "a database is damaged");
        }
        first
    }

    /// Checks the whole database in the background, on a connection of its own.
    pub fn check(self: &Arc<Self>) {
        let mut slot = self.check.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_some_and(|check| !check.thread.is_finished()) {
            return;
        }
        let care = Arc::clone(self);
        let started = connect_reader(&self.path).and_then(|conn| {
            let interrupt = conn.get_interrupt_handle();
            let thread = std::thread::Builder::new().name("store-check".into()).spawn(move || care.run_check(&conn));
            let thread = thread.map_err(|source| StoreError::Io { path: "store-check thread".into(), source })?;
            Ok(Check { interrupt, thread })
        });
        match started {
            Ok(check) => *slot = Some(check),
            Err(error) => tracing::warn!(%error, "the message store is not checked"),
        }
    }

    fn run_check(&self, conn: &Connection) {
        let since = std::time::Instant::now();
        let outcome = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match outcome.map_err(StoreError::from) {
            Ok(verdict) if verdict == "ok" => {
                tracing::info!(database = %self.path.display(), took = ?since.elapsed(), "the message store was checked");
            }
            Ok(verdict) => drop(self.damaged(verdict.trim())),
            Err(error) if error.is_damage() => drop(self.damaged(&error.to_string())),
            // Interrupted by the stop, or no memory: nothing was found.
            Err(error) => tracing::info!(%error, "the check of the message store did not finish"),
        }
    }

    /// Ends a check that runs.
    pub fn stop(&self) {
        let check = self.check.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(check) = check {
            check.interrupt.interrupt();
            // A panic of the thread was logged by the panic hook.
            let _ = check.thread.join();
        }
    }
}

/// What to tell the user.
pub(in crate::store) fn describe(path: &Path, what: &str) -> String {
    let place = checksum::place(path).filter(|place| !what.contains(place.as_str()));
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    format!(
        "{} is damaged: {what}{place}. The account is read-only: nothing is sent or received, and what is intact can be \
         read",
        path.display()
    )
}

pub(in crate::store) fn connect_reader(path: &Path) -> Result<Connection, StoreError> {
    use rusqlite::OpenFlags;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    // A reader leaves the files as they are; the writer checkpoints when it ends.
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection::prepare_reader(&conn)?;
    Ok(conn)
}

/// A WAL that a crash left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Log {
    /// None: the store was closed.
    None,
    /// One whose end, if anything is missing, is what no sync had finished.
    Usable,
    /// A frame does not fit, and commits that were synced later come after it: SQLite would drop them without a word.
    Damaged {
        /// Its number, from 1.
        frame: u64,
    },
}

/// Looks at the WAL before SQLite recovers it.
///
/// A commit's frames are synced before anything is written behind them. So what a power cut tears is the last transaction,
/// and nothing follows its commit frame. If something does, and its checksum goes on from there, the tear is damage.
pub(in crate::store) fn look_at_log(path: &Path) -> Result<Log, StoreError> {
    const HEADER: usize = 32;
    const FRAME: usize = 24;
    let wal = checksum::wal_of(path);
    let bytes = match std::fs::read(&wal) {
        Ok(bytes) if !bytes.is_empty() => bytes,
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::Io { path: wal, source: error });
        }
        _ => return Ok(Log::None),
    };
    let word = |at: usize| bytes.get(at..at + 4).map_or(0, |b| b.iter().fold(0, |n, b| n << 8 | u32::from(*b)));
    let big = word(0) & 1 == 1;
    let page = word(8) as usize;
    if bytes.len() < HEADER || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Ok(if bytes.len() > HEADER { Log::Damaged { frame: 0 } } else { Log::Usable });
    }
    let salts = &bytes[16..24];
    let mut sums = checksum::sum((0, 0), &bytes[..24], big);
    if sums != (word(24), word(28)) {
        // The header is synced before the first frame is written; one that is torn has no commit behind it.
        let any =
            bytes[HEADER..].chunks_exact(FRAME + page).any(|frame| &frame[8..16] == salts && frame[4..8] != [0; 4]);
        return Ok(if any { Log::Damaged { frame: 0 } } else { Log::Usable });
    }
    let frames: Vec<&[u8]> = bytes[HEADER..].chunks_exact(FRAME + page).collect();
    let own = |frame: &[u8]| &frame[8..16] == salts;
    let stored = |frame: &[u8]| {
        let number = |at: usize| frame[at..at + 4].iter().fold(0, |n, b| n << 8 | u32::from(*b));
        (number(16), number(20))
    };
    let follows =
        |sums: (u32, u32), frame: &[u8]| checksum::sum(checksum::sum(sums, &frame[..8], big), &frame[FRAME..], big);
    for (at, frame) in frames.iter().enumerate() {
        sums = follows(sums, frame);
        if own(frame) && sums == stored(frame) {
            continue;
        }
        let rest = &frames[at..];
        let synced = rest.windows(2).any(|pair| {
            let (commit, next) = (pair[0], pair[1]);
            commit[4..8] != [0; 4] && own(next) && follows(stored(commit), next) == stored(next)
        });
        return Ok(if synced { Log::Damaged { frame: at as u64 + 1 } } else { Log::Usable });
    }
    Ok(Log::Usable)
}
