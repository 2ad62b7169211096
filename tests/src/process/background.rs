//! A process that left its parent.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that went into the background by itself, and is known by its id alone. Dropping it kills it, if it is there.
#[derive(Debug)]
pub struct Background {
    pid: Pid,
    program: PathBuf,
}

impl Background {
    /// The one with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(pid: i32) -> Result<Self> {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).with_context(|| format!("there is no {pid}"))?;
        Ok(Self { pid: Pid::from_raw(pid), program })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The id may be another's by now.
        let program = std::fs::read_link(format!("/proc/{}/exe", self.pid));
        if program.is_ok_and(|program| program == self.program) {
            return kill(self.pid, signal).with_context(|| format!("cannot send {signal} to {}", self.pid));
        }
        bail!("{} is gone", self.pid)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGKILL);
    }
}
