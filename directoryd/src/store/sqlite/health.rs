//! Whether the database is whole: after an end that was not clean it is read through once, in the background.
//!
//! A clean end leaves no write-ahead log, because the last connection to close copies it back. One that is there at the
//! start tells of a kill, a crash or a lost disk, after which `PRAGMA quick_check` looks at every page. A database that
//! fails it is only read from then on: look-ups go on, and nothing more is promised on top of the damage.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, InterruptHandle};

use super::schema;
use crate::store::error::OpenError;

/// Problems that are named at most; one is enough to act on.
const PROBLEMS: usize = 5;

/// What is known of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Checked {
    /// It was closed cleanly: no reason to look.
    #[default]
    Clean,
    /// Being read through.
    Running,
    /// Read through, and whole.
    Whole,
    /// What is wrong.
    Damaged(String),
}

impl Checked {
    /// As `/healthz` says it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Running => "checking",
            Self::Whole => "checked",
            Self::Damaged(_) => "damaged",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Health {
    checked: Mutex<Checked>,
}

impl Health {
    /// What is known now.
    pub fn checked(&self) -> Checked {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, if something is.
    pub fn damage(&self) -> Option<String> {
        match &*self.checked.lock().unwrap_or_else(PoisonError::into_inner) {
            Checked::Damaged(what) => Some(what.clone()),
            _ => None,
        }
    }

    /// Something is wrong, whoever found it.
    pub(in crate::store) fn damaged(&self, what: &str) {
        tracing::error!(
            what,
            "the database is damaged and only read from now on; stop, put a backup in its place, and start again"
        );
        self.set(Checked::Damaged(what.to_owned()));
    }

    /// Unless a write has found something meanwhile.
    fn whole(&self) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if *checked == Checked::Running {
            *checked = Checked::Whole;
        }
    }

    fn set(&self, checked: Checked) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = checked;
    }
}

/// A check that is under way.
pub(in crate::store) struct Check {
    thread: JoinHandle<()>,
    interrupt: InterruptHandle,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

impl Check {
    /// Starts it.
    pub fn start(path: &Path, health: &Arc<Health>) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Database { path: path.to_owned(), source };
        let connection = schema::open_reader(path).map_err(failed)?;
        let interrupt = connection.get_interrupt_handle();
        let health = Arc::clone(health);
        health.set(Checked::Running);
        let thread = std::thread::Builder::new()
            .name("directory-check".into())
            .spawn(move || {
                let begun = std::time::Instant::now();
                match problems(&connection) {
                    Ok(None) => {
                        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                        tracing::info!(millis, "the last end was not clean; the database was checked and is whole");
                        health.whole();
                    }
                    Ok(Some(problems)) => health.damaged(&problems),
                    // Interrupted, because the directory stops.
                    Err(error) => tracing::warn!(%error, "the database was not checked to the end"),
                }
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { thread, interrupt })
    }

    /// Ends it, finished or not.
    pub fn stop(self) {
        self.interrupt.interrupt();
        let _ = self.thread.join();
    }
}

/// What `quick_check` finds; an error when it could not look.
fn problems(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};

    let found = connection
        .prepare(&format!("PRAGMA quick_check({PROBLEMS})"))
        .and_then(|mut query| query.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>());
    match found {
        Ok(rows) if rows.iter().all(|row| row == "ok") => Ok(None),
        // One row may hold several lines, and a heading.
        Ok(rows) => {
            let lines = rows.iter().flat_map(|row| row.lines()).filter(|line| !line.starts_with("***"));
            Ok(Some(lines.collect::<Vec<_>>().join("; ")))
        }
        Err(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
