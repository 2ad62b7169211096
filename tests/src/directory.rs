//! A throwaway `directoryd`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::binaries::program;
use crate::daemon::{isolate, resident_kib};
use crate::place::{Place, private_folder};
use crate::process::{Process, STOP_DEADLINE};

/// What the ready line begins with.
pub const READY: &str = "directoryd ready: ";
/// The domain of a throwaway directory. A known one, so that a restart on another port stays the same directory.
pub const ORIGIN: &str = "example.org";

/// How to start a [`Directory`].
#[derive(Debug, Clone, Default)]
pub struct DirectoryOptions {
    /// Where its folder is made; a folder of its own if left out.
    pub place: Option<Arc<Place>>,
    /// Text of a config file, given by `--config`.
    pub config: Option<String>,
    /// More arguments.
    pub args: Vec<OsString>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

impl DirectoryOptions {
    /// The same with more arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(OsString::from));
        self
    }

    /// The same in a place that others share.
    #[must_use]
    pub fn place(mut self, place: &Arc<Place>) -> Self {
        self.place = Some(Arc::clone(place));
        self
    }
}

/// A running (or stopped, and startable again) `directoryd`.
#[derive(Debug)]
pub struct Directory {
    process: Option<Process>,
    options: DirectoryOptions,
    home: PathBuf,
    listen: String,
    url: String,
    place: Arc<Place>,
}

impl Directory {
    /// Starts one with default options.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(DirectoryOptions::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// When [`Directory::try_start`] fails.
    #[track_caller]
    pub fn start_with(options: DirectoryOptions) -> Self {
        match Self::try_start(options) {
            Ok(directory) => directory,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the error shows the end of its log.
    pub fn try_start(options: DirectoryOptions) -> Result<Self> {
        let place = match &options.place {
            Some(place) => Arc::clone(place),
            None => Arc::new(Place::new()?),
        };
        let home = place.folder("directoryd")?;
        let mut directory =
            Self { process: None, options, home, listen: "127.0.0.1:0".into(), url: String::new(), place };
        directory.launch()?;
        Ok(directory)
    }

    fn launch(&mut self) -> Result<()> {
        private_folder(&self.home)?;
        let mut command = Command::new(program("directoryd")?);
        isolate(&mut command, &self.home);
        command.arg("--data-dir").arg(self.home.join("data")).args(["--listen", &self.listen]);
        if !self.options.args.iter().any(|arg| arg == "--origin") {
            command.args(["--origin", ORIGIN]);
        }
        if let Some(text) = &self.options.config {
            let file = self.home.join("directoryd.toml");
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            command.arg("--config").arg(file);
        }
        command.args(&self.options.args).envs(self.options.env.iter().map(|(name, value)| (name, value)));
        let log = self.home.join("directoryd.log");
        let (process, ready) = Process::start("directoryd", command, &log, READY)?;
        let url = ready
            .split_whitespace()
            .find(|word| word.starts_with("http"))
            .with_context(|| format!("no URL in the ready line {ready:?}"))?;
        self.url = url.trim_end_matches('/').to_owned();
        // A restart comes back on the same port, as a real one does.
        if let Some((_, address)) = self.url.split_once("://") {
            self.listen = address.split(['/', '#']).next().unwrap_or(address).to_owned();
        }
        self.process = Some(process);
        Ok(())
    }

    /// Its URL, with no slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.listen
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

    /// Its log over all starts.
    pub fn log_text(&self) -> String {
        let path = self.home.join("directoryd.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Memory in use: VmRSS of /proc, in KiB.
    pub fn resident_kib(&self) -> Option<u64> {
        resident_kib(self.pid()?)
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
            ensure!(status.success(), "directoryd ended with {status} after SIGTERM; log:\n{}", process.log_tail());
        }
        Ok(())
    }

    /// Starts it again on the same data and port after it ended, with this in its environment beside what its options
    /// say.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn try_again(&mut self, env: &[(String, String)]) -> Result<()> {
        self.process = None;
        let before = self.options.env.len();
        self.options.env.extend_from_slice(env);
        let result = self.launch();
        self.options.env.truncate(before);
        result
    }

    /// Starts it again, once, with more arguments; stops it before, if it runs.
    ///
    /// # Panics
    /// When it does not stop cleanly or does not become ready.
    #[track_caller]
    pub fn restart_with(&mut self, args: &[&str]) {
        self.stop();
        let before = self.options.args.len();
        self.options.args.extend(args.iter().map(OsString::from));
        let result = self.launch();
        self.options.args.truncate(before);
        if let Err(error) = result {
            panic!("{error:?}");
        }
    }

    /// Starts it again on the same data and port; stops it before, if it runs.
    ///
    /// # Panics
    /// When it does not stop cleanly or does not become ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        if let Err(error) = self.launch() {
            panic!("{error:?}");
        }
    }
}
