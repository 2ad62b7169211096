//! The real program as a child process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::NamedTempFile;

use super::{Directory, ORIGIN};

/// No end takes longer than this.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Process {
    process: tests::process::Process,
    pub url: String,
    /// Where its log is kept.
    _log: NamedTempFile,
}

impl Process {
    pub fn start(data_dir: &Path, extra: &[&str]) -> Self {
        Self::spawn(command(data_dir, extra))
    }

    /// Its wall clock and its uptime are what these files say, in seconds.
    pub fn start_with_clocks(data_dir: &Path, wall: &Path, up: &Path) -> Self {
        let mut command = command(data_dir, &[]);
        command.env("CHATD_CLOCK_FILE", wall).env("CHATD_UPTIME_FILE", up);
        Self::spawn(command)
    }

    /// Starts what [`command`] gave, and waits until it answers.
    pub fn spawn(command: Command) -> Self {
        const READY: &str = "directoryd ready: ";
        let log = NamedTempFile::new().unwrap();
        let (process, line) = tests::process::Process::start("directoryd", command, log.path(), READY).unwrap();
        assert!(line.contains("origin=example.org"), "{line}");
        let url = line.split(READY).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        Self { process, url, _log: log }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.process.log_text()
    }

    /// Memory that is in use and of no file, in KiB.
    pub fn held(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// As `kill -9` does it.
    pub fn kill(self) -> String {
        let (log, status) = self.end(Signal::SIGKILL);
        assert!(!status.success());
        log
    }

    /// As an operator does it.
    pub fn stop(self) -> String {
        let (log, status) = self.end(Signal::SIGTERM);
        assert!(status.success(), "{log}");
        log
    }

    /// The same people and requests as with a directory in this process.
    pub fn client(&self) -> Directory {
        Directory::at(&self.url)
    }

    /// Sends a signal, and gives the log at its end.
    pub fn end(mut self, signal: Signal) -> (String, std::process::ExitStatus) {
        let status = self.process.end(signal, DEADLINE).unwrap();
        (self.log(), status)
    }

    /// Waits for its end, and gives the log.
    pub fn ended(mut self) -> (String, std::process::ExitStatus) {
        let status = self.process.wait(DEADLINE).unwrap();
        (self.log(), status)
    }
}

pub fn command(data_dir: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_directoryd"));
    command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0", "--origin", ORIGIN]).args(extra);
    command
}
