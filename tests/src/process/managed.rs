//! A daemon under test: started, killed, stopped and started again on the same data.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::{Process, STOP_DEADLINE};
use crate::place::Place;

/// Which program it is, and how it is started.
pub trait Program {
    /// The program's name, and that of its log.
    const NAME: &'static str;
    /// What its ready line begins with.
    const READY: &'static str;

    /// The name of its folder in the place.
    fn folder(&self) -> &str {
        Self::NAME
    }

    /// The place that it shares with others, if it does.
    fn place(&self) -> Option<Arc<Place>>;

    /// The command that starts it below `home`, with this in its environment, too.
    ///
    /// # Errors
    /// When the program or the folders are missing.
    fn command(&mut self, home: &Path, env: &[(String, String)]) -> Result<Command>;

    /// It is ready, and said this.
    ///
    /// # Errors
    /// When the line lacks what it should say.
    fn ready(&mut self, line: &str) -> Result<()>;
}

/// A running (or stopped, and startable again) daemon.
#[derive(Debug)]
pub struct Managed<P: Program> {
    pub(super) program: P,
    process: Option<Process>,
    home: PathBuf,
    ready: String,
    place: Arc<Place>,
}

impl<P: Program> Managed<P> {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the error shows the end of its log.
    pub(super) fn launch_new(program: P) -> Result<Self> {
        let place = match program.place() {
            Some(place) => place,
            None => Arc::new(Place::new()?),
        };
        let home = place.folder(program.folder())?;
        let mut managed = Self { program, process: None, home, ready: String::new(), place };
        managed.launch(&[])?;
        Ok(managed)
    }

    pub(super) fn launch(&mut self, env: &[(String, String)]) -> Result<()> {
        let command = self.program.command(&self.home, env)?;
        let (process, ready) = Process::start(self.program.folder(), command, &self.log(), P::READY)?;
        self.program.ready(&ready)?;
        (self.process, self.ready) = (Some(process), ready);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.home.join(P::NAME).with_extension("log")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        match self.process.as_ref().map(|process| process.signal(signal)) {
            Some(Ok(())) => {}
            other => panic!("{signal} cannot be sent to {}: {other:?}", P::NAME),
        }
    }

    /// Kills it with SIGKILL, as a crash would.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[track_caller]
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take()
            && let Err(error) = process.end(Signal::SIGKILL, STOP_DEADLINE)
        {
            panic!("{error:?}");
        }
    }

    /// Stops it with SIGTERM.
    ///
    /// # Panics
    /// When it does not end with exit code 0 within [`STOP_DEADLINE`].
    #[track_caller]
    pub fn stop(&mut self) {
        if let Err(error) = self.try_stop() {
            panic!("{error:?}");
        }
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it does not end with exit code 0 within [`STOP_DEADLINE`].
    pub fn try_stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = process.end(Signal::SIGTERM, STOP_DEADLINE)?;
            ensure!(status.success(), "{} ended with {status} after SIGTERM; log:\n{}", P::NAME, process.log_tail());
        }
        Ok(())
    }

    /// Starts it again on the same data; stops it before, if it runs.
    ///
    /// # Panics
    /// When it does not stop cleanly or does not become ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        if let Err(error) = self.launch(&[]) {
            panic!("{error:?}");
        }
    }

    /// Starts it again on the same data after it ended, with this in its environment beside what its options say.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn try_again(&mut self, env: &[(String, String)]) -> Result<()> {
        self.process = None;
        self.launch(env)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The folder that holds data and log.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The place that it shares.
    pub fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The ready line.
    pub fn ready_line(&self) -> &str {
        &self.ready
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Its log over all starts.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// Memory in use: VmRSS of /proc, in KiB.
    pub fn resident_kib(&self) -> Option<u64> {
        self.process.as_ref()?.resident_kib()
    }
}

/// Writes a config file of a program, and tells the command of it.
pub(super) fn configure(command: &mut Command, home: &Path, name: &str, text: Option<&str>) -> Result<()> {
    if let Some(text) = text {
        let file = home.join(name).with_extension("toml");
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        command.arg("--config").arg(file);
    }
    Ok(())
}
