//! The log of a daemon, on stderr or in a file: one line an event, as text or as JSON.
//!
//! Invariants: whoever logs never waits for whoever reads; nothing foreign makes a line longer than some values of
//! [`MAX_VALUE_BYTES`]; a kind of line that comes all the time is counted and told once a minute; what is dropped is counted and
//! told as soon as something can be written again. What systemd's journal takes has its priority before it.

pub mod event;
mod journal;
mod line;
mod throttle;
mod veil;
mod writer;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

pub use line::{Format, MAX_VALUE_BYTES};
use throttle::{Summary, Throttle};
pub use veil::Private;
use writer::{Told, Writer};

/// How long the end of a process waits for its last lines.
const FINISH: Duration = Duration::from_millis(500);
/// How often kinds that come all the time are looked at.
const TICK: Duration = Duration::from_secs(5);

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a filter.
    #[error("{filter:?} is not a log filter such as `info` or `warn,chatd=debug`: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already, or no thread to spare.
    #[error("cannot start the log: {0}")]
    Start(String),
    /// The file of the log.
    #[error("cannot write the log {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The running log; its filter and its file can be changed. Writes what is left when it goes, and waits for that half a second
/// at most.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    writer: Writer,
}

/// Checks a filter without putting it in force.
///
/// # Errors
/// [`LogError::Filter`].
pub fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

impl Log {
    /// Starts the process's log on stderr. Panics are told there, too. What is in the `private` fields is veiled in lines above
    /// DEBUG.
    ///
    /// # Errors
    /// When the filter is none, or a log was started before.
    pub fn start(filter: &str, format: Format, private: Private) -> Result<Self, LogError> {
        let start = |error: &dyn std::fmt::Display| LogError::Start(error.to_string());
        let (filter, handle) = reload::Layer::new(parse(filter)?);
        let throttle = Arc::new(Throttle::default());
        let told = Teller { throttle: Arc::clone(&throttle), format };
        let writer = Writer::start(std::io::stderr(), told).map_err(|error| start(&error))?;
        let lines = Lines { writer: writer.clone(), throttle, format, private };
        tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|error| start(&error))?;
        let panics = writer.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let trace = std::backtrace::Backtrace::capture();
            let told = format!("thread '{}' {panic}", thread.name().unwrap_or("?"));
            panics.put(journal::line(Level::ERROR, told).as_bytes());
            if trace.status() == std::backtrace::BacktraceStatus::Captured {
                trace.to_string().lines().for_each(|line| panics.put(line.as_bytes()));
            }
        }));
        // For those who have no handle at hand when they end the process.
        let _ = LAST.set(writer.clone());
        Ok(Self { filter: handle, writer })
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    /// When it is none; the old one stays.
    pub fn reload(&self, filter: &str) -> Result<(), LogError> {
        let filter = parse(filter)?;
        self.filter.reload(filter).map_err(|error| LogError::Start(error.to_string()))
    }

    /// Goes on in this file, which is made if it is missing: after it was moved away by a rotation.
    ///
    /// # Errors
    /// When it cannot be opened; the log goes on where it was.
    pub fn reopen(&self, path: &Path) -> Result<(), LogError> {
        let failed = |source| LogError::File { path: path.to_owned(), source };
        let file = open_file(path).map_err(failed)?;
        nix::unistd::dup2_stderr(&file).map_err(|error| failed(error.into()))
    }

    /// A line that is no event, such as the one that says that the daemon is ready.
    pub fn line(&self, text: &str) {
        self.writer.put(text.as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.writer.finish(FINISH);
    }
}

/// Opens a log file to append to; nobody else may read it, and no link is followed.
///
/// # Errors
/// The system's.
pub fn open_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    std::fs::File::options().create(true).append(true).mode(0o600).custom_flags(flags).open(path)
}

static LAST: OnceLock<Writer> = OnceLock::new();

/// Says why the process ends, after everything that was logged, and waits half a second at most for that to be written.
/// Works without a log, too.
pub fn last_words(text: &str) {
    match LAST.get() {
        Some(writer) => {
            writer.put(journal::line(Level::ERROR, text.to_owned()).as_bytes());
            writer.finish(FINISH);
        }
        None => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Turns events into lines.
struct Lines {
    writer: Writer,
    throttle: Arc<Throttle>,
    format: Format,
    private: Private,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.throttle.admits(event, Instant::now()) {
            let line = line::line(self.format, self.private, event);
            self.writer.put(journal::line(*event.metadata().level(), line).as_bytes());
        }
    }
}

/// What the log itself has to say, whatever the filter lets through.
struct Teller {
    throttle: Arc<Throttle>,
    format: Format,
}

impl Told for Teller {
    fn dropped(&mut self, lines: u64) -> String {
        journal::line(Level::WARN, line::own(self.format, Level::WARN, event::DROPPED, vec![("lines", lines.into())]))
    }

    fn tick(&mut self) -> Vec<String> {
        let over = self.throttle.over(Instant::now());
        let told = over.into_iter().map(|Summary { more, level, place }| {
            let others = vec![("more", more.into()), ("place", place.into())];
            journal::line(level, line::own(self.format, level, event::COUNTED, others))
        });
        told.collect()
    }

    fn every(&self) -> Duration {
        TICK
    }
}
