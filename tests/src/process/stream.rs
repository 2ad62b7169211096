//! A `chatctl` that keeps running (`watch`, `chat`): its lines as they come, its stdin open.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Process;
use crate::wait::DEADLINE;

/// A running `chatctl`. Dropping it kills it.
#[derive(Debug)]
pub struct Stream {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    seen: Vec<String>,
}

fn read_lines(source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while matches!(source.read_until(b'\n', &mut line), Ok(read) if read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            if tell.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    told
}

impl Stream {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(command)?;
        let stdin = process.take_stdin();
        let lines = read_lines(process.take_stdout().context("no stdout")?);
        let errors = read_lines(process.take_stderr().context("no stderr")?);
        Ok(Self { process, stdin, lines, errors, seen: Vec::new() })
    }

    /// The next line; `None` when `within` passes or the output ends.
    pub fn next_line_within(&mut self, within: Duration) -> Option<String> {
        let line = self.lines.recv_timeout(within).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// The next line.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`].
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        match self.next_line_within(DEADLINE) {
            Some(line) => line,
            None => panic!("no line within {DEADLINE:?}; seen {:#?}; stderr {:#?}", self.seen, self.stderr_now()),
        }
    }

    /// The next line as JSON.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`] or it is no JSON.
    #[track_caller]
    pub fn next_json(&mut self) -> Value {
        let line = self.next_line();
        match serde_json::from_str(&line) {
            Ok(value) => value,
            Err(error) => panic!("{line:?} is no JSON: {error}"),
        }
    }

    /// Reads on until a line pleases.
    ///
    /// # Panics
    /// When none does within [`DEADLINE`].
    #[track_caller]
    pub fn until(&mut self, what: &str, mut pleases: impl FnMut(&str) -> bool) -> String {
        let since = Instant::now();
        while let Some(left) = DEADLINE.checked_sub(since.elapsed()) {
            match self.next_line_within(left) {
                Some(line) if pleases(&line) => return line,
                Some(_) => {}
                None => break,
            }
        }
        panic!("waited for a line with {what}; seen {:#?}; stderr {:#?}", self.seen, self.stderr_now())
    }

    /// Reads on until a JSON line pleases.
    ///
    /// # Panics
    /// When none does within [`DEADLINE`].
    #[track_caller]
    pub fn until_json(&mut self, what: &str, mut pleases: impl FnMut(&Value) -> bool) -> Value {
        let line = self.until(what, |line| serde_json::from_str(line).is_ok_and(|value| pleases(&value)));
        serde_json::from_str(&line).unwrap_or_default()
    }

    /// All lines seen so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// What came on stderr since the last question.
    pub fn stderr_now(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }

    /// The next line of stderr.
    ///
    /// # Panics
    /// When none comes within [`DEADLINE`].
    #[track_caller]
    pub fn next_error(&self) -> String {
        match self.errors.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(error) => panic!("no line on stderr: {error}; stdout so far {:#?}", self.seen),
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// When stdin is closed.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut();
        match stdin.map(|stdin| stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush())) {
            Some(Ok(())) => {}
            other => panic!("cannot type: {other:?}"),
        }
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends SIGTERM or another signal, if it is still there.
    pub fn signal(&self, signal: Signal) {
        let _ = self.process.signal(signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`DEADLINE`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        match self.process.wait(DEADLINE) {
            Ok(status) => status,
            Err(error) => panic!("{error:?}; seen {:#?}", self.seen),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.process.end(Signal::SIGKILL, DEADLINE);
        let errors = self.stderr_now();
        if !std::thread::panicking()
            && let Some(line) = errors.iter().find(|line| line.contains("panicked at"))
        {
            panic!("chatctl panicked: {line}");
        }
    }
}
