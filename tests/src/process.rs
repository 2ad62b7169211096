//! A child process with its log: started, waited for by reading its ready line, signalled by its own pid, and searched
//! for panics at the end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A daemon gets this long from its start to its ready line; a debug build on a busy machine needs a second.
pub const READY_DEADLINE: Duration = Duration::from_secs(30);
/// A daemon promises to stop within this after SIGTERM.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// How often a child is asked whether it ended.
const ASK_INTERVAL: Duration = Duration::from_millis(5);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 30;

/// A running child. Dropping it kills it and fails the test when its log shows a panic.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Ended,
    log: PathBuf,
    reader: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` and waits for the first line on stderr that contains `ready`; returns that line, too.
    ///
    /// # Errors
    /// When it cannot be started, ends before it is ready, or takes longer than [`READY_DEADLINE`]. The error shows the
    /// end of the log.
    pub fn start(name: &str, mut command: Command, log: &Path, ready: &'static str) -> Result<(Self, String)> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(file.try_clone().context("cannot share the log")?))
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let mut child = Ended(child);
        let stderr = child.stderr.take().context("the child has no stderr")?;
        let (tell, told) = mpsc::channel();
        let reader = std::thread::Builder::new()
            .name(format!("log of {name}"))
            .spawn(move || {
                let mut tell = Some(tell);
                let mut lines = BufReader::new(stderr);
                let mut line = Vec::new();
                while matches!(lines.read_until(b'\n', &mut line), Ok(read) if read > 0) {
                    let _ = file.write_all(&line);
                    let text = String::from_utf8_lossy(&line);
                    if text.contains(ready)
                        && let Some(tell) = tell.take()
                    {
                        let _ = tell.send(text.trim_end().to_owned());
                    }
                    line.clear();
                }
            })
            .context("cannot start the log's reader")?;
        let mut process = Self { name: name.into(), child, log: log.into(), reader: Some(reader), ended: None };
        match told.recv_timeout(READY_DEADLINE) {
            Ok(line) => Ok((process, line)),
            Err(error) => {
                let cause = match error {
                    mpsc::RecvTimeoutError::Timeout => format!("not ready after {READY_DEADLINE:?}"),
                    mpsc::RecvTimeoutError::Disconnected => "ended before it was ready".into(),
                };
                let status = process.end(Signal::SIGKILL, STOP_DEADLINE);
                let status = status.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
                bail!("{shown}: {cause} ({status}); its log ends with\n{}", process.log_tail())
            }
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its stderr is written.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything that it wrote to stderr, over all starts on this log.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Whether it is still there.
    pub fn is_running(&mut self) -> bool {
        self.ended.is_none() && matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("the pid does not fit")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends a signal and waits for the end; returns how it ended. Does nothing when it ended before.
    ///
    /// # Errors
    /// When it still runs after `deadline`; it is killed then.
    pub fn end(&mut self, signal: Signal, deadline: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let since = Instant::now();
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(signal)?;
        }
        let mut late = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for the child")? {
                break status;
            }
            if !late && since.elapsed() > deadline {
                late = true;
                self.signal(Signal::SIGKILL)?;
            }
            std::thread::sleep(ASK_INTERVAL);
        };
        self.ended = Some(status);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if late {
            bail!("{} was still running {deadline:?} after {signal}; log:\n{}", self.name, self.log_tail());
        }
        Ok(status)
    }

    /// The first line of the log that tells of a panic.
    pub fn panic_line(&self) -> Option<String> {
        self.log_text().lines().find(|line| line.contains("panicked at")).map(str::to_owned)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end(Signal::SIGKILL, STOP_DEADLINE);
        if std::thread::panicking() {
            eprintln!("--- end of the log of {} ---\n{}", self.name, self.log_tail());
        } else if let Some(line) = self.panic_line() {
            panic!("{} panicked: {line}\n{}", self.name, self.log_tail());
        }
    }
}

/// A child that ends with the test, however that goes: one that stays behind keeps what it inherited open, and whoever
/// reads the suite's output to its end waits for ever.
#[derive(Debug)]
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Deref for Ended {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Ended {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}
