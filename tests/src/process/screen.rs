//! A program on a pseudo-terminal: what a person would see, and keys that they press.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{Termios, tcgetattr};

use super::Process;
use crate::wait::wait_for;

/// A running program with a terminal. Dropping it kills it.
#[derive(Debug)]
pub struct Screen {
    process: Process,
    terminal: File,
    found: Termios,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Screen {
    /// Starts it on a terminal of so many columns and 24 rows.
    ///
    /// # Errors
    /// When there is no terminal to be had, or the program cannot be started.
    pub fn start(mut command: Command, columns: u16) -> Result<Self> {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).context("no pseudo-terminal")?;
        let end = |fd: &std::os::fd::OwnedFd| fd.try_clone().map(Stdio::from);
        command.stdin(end(&pair.slave)?).stdout(end(&pair.slave)?).stderr(end(&pair.slave)?);
        command.env("TERM", "xterm-256color");
        let found = tcgetattr(&pair.master)?;
        // The command goes with it: it holds the program's end open.
        let process = Process::spawn(command)?;
        let terminal = File::from(pair.master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut source, copy) = (terminal.try_clone()?, Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                copy.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..count]);
            }
        });
        Ok(Self { process, terminal, found, shown, reader })
    }

    /// Everything that was written to the terminal so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until a text was written.
    ///
    /// # Panics
    /// When it is not in time.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = || self.shown().contains(text);
        if !found() {
            let what = format!("{text:?} on the screen");
            wait_for(&what, found);
        }
    }

    /// Presses keys.
    ///
    /// # Panics
    /// When the terminal is gone.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        if let Err(error) = self.terminal.write_all(keys.as_bytes()) {
            panic!("cannot press keys: {error}; shown {:?}", self.shown());
        }
    }

    /// The mode in which the program found the terminal: it may have changed it by the time that anybody looks.
    pub fn mode_before(&self) -> &Termios {
        &self.found
    }

    /// The terminal's mode.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn mode(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.terminal)?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = self.process.signal(signal);
    }

    /// Waits for its end, and until all that it wrote is in [`Screen::shown`].
    ///
    /// # Panics
    /// When it does not come in time, or something that it started still has the terminal.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the program ends", || {
            status = self.process.ended();
            status.is_some()
        });
        // The last words may still be on their way when it is gone already.
        wait_for("the terminal is read to its end", || self.reader.is_finished());
        status.unwrap_or_default()
    }
}
