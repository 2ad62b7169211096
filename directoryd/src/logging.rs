//! The log on stderr: one line an operation, as text or as JSON.
//!
//! A line for each of 20,000 lookups a second would cost as many system calls; lines are gathered and written together,
//! at the latest after `FLUSH_EVERY`, and at once for warnings and errors. What a kill loses is log, never data.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// How long a line waits at most.
const FLUSH_EVERY: Duration = Duration::from_millis(50);
/// Bytes that are gathered at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a filter.
    #[error("{filter:?} is not a log filter such as info or directoryd=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already, or no thread to spare.
    #[error("cannot start the log: {0}")]
    Start(String),
}

/// Changes the filter of a running log, and writes what is gathered when it goes.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    buffer: Gather,
}

impl Log {
    /// Starts the process's log.
    ///
    /// # Errors
    /// When the filter is none, or a log was started before.
    pub fn start(filter: &str, format: Format) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(parse(filter)?);
        let buffer = Gather::default();
        let lines = tracing_subscriber::fmt::layer().with_writer(buffer.clone()).with_ansi(false);
        let registry = tracing_subscriber::registry().with(filter);
        let started = match format {
            Format::Text => registry.with(lines).try_init(),
            Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        };
        started.map_err(|error| LogError::Start(error.to_string()))?;
        let flushed = buffer.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                loop {
                    std::thread::sleep(FLUSH_EVERY);
                    flushed.flush();
                }
            })
            .map_err(|error| LogError::Start(error.to_string()))?;
        Ok(Self { filter: handle, buffer })
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    /// When it is none; the old one stays.
    pub fn reload(&self, filter: &str) -> Result<(), LogError> {
        let filter = parse(filter)?;
        self.filter.reload(filter).map_err(|error| LogError::Start(error.to_string()))
    }

    /// Writes what is gathered.
    pub fn flush(&self) {
        self.buffer.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[derive(Debug, Clone, Default)]
struct Gather {
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Gather {
    fn flush(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if !lines.is_empty() {
            // There is nowhere to report that stderr is gone.
            let _ = io::stderr().write_all(&lines);
            lines.clear();
        }
    }
}

/// Takes the lines of one event.
struct Line<'a> {
    gather: &'a Gather,
    at_once: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.gather.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        let full = lines.len() >= BUFFER_BYTES;
        drop(lines);
        if full || self.at_once {
            self.gather.flush();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gather.flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Gather {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { gather: self, at_once: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { gather: self, at_once: *meta.level() <= Level::WARN }
    }
}
