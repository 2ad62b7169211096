//! The real program as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::{Directory, ORIGIN};

pub struct Process {
    pub child: Child,
    pub url: String,
    pub stderr: BufReader<std::process::ChildStderr>,
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
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // From here on it ends with the test.
        let mut process = Self { child, url: String::new(), stderr };
        while process.url.is_empty() {
            let mut line = String::new();
            assert!(process.stderr.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
            if let Some(rest) = line.strip_prefix("directoryd ready: ") {
                assert!(rest.contains("origin=example.org"), "{line}");
                rest.split_whitespace().next().unwrap().clone_into(&mut process.url);
            }
        }
        process
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

    /// Sends a signal, and gives the rest of the log.
    pub fn end(self, signal: Signal) -> (String, std::process::ExitStatus) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.ended()
    }

    /// Waits for its end, and gives the rest of the log.
    pub fn ended(mut self) -> (String, std::process::ExitStatus) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        (log, self.child.wait().unwrap())
    }
}

/// One that stays behind when a test fails keeps what it inherited open, and whoever reads the suite's output waits for ever.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command(data_dir: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_directoryd"));
    command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0", "--origin", ORIGIN]).args(extra);
    command
}
