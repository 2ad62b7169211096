//! A throwaway `directoryd`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::binaries::program;
use super::isolate::isolate;
use super::managed::{Managed, Program, configure};
use crate::place::{Place, private_folder};

/// The domain of a throwaway directory. A known one, so that a restart on another port stays the same directory.
pub const ORIGIN: &str = "example.org";

/// How to start a [`Directory`].
#[derive(Debug, Clone, Default)]
pub struct DirectoryOptions {
    /// Where its folder is made; a folder of its own if left out.
    pub place: Option<Arc<Place>>,
    /// `--listen`, any port of 127.0.0.1 if left out.
    pub listen: Option<String>,
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

/// `directoryd`, as its options say, and where it listens.
#[derive(Debug)]
pub struct Directoryd {
    options: DirectoryOptions,
    listen: String,
    url: String,
}

/// A running (or stopped, and startable again) `directoryd`.
pub type Directory = Managed<Directoryd>;

impl Program for Directoryd {
    const NAME: &'static str = "directoryd";
    const READY: &'static str = "directoryd ready: ";

    fn place(&self) -> Option<Arc<Place>> {
        self.options.place.clone()
    }

    fn command(&mut self, home: &Path, env: &[(String, String)]) -> Result<Command> {
        private_folder(home)?;
        let mut command = Command::new(program(Self::NAME)?);
        isolate(&mut command, home);
        command.arg("--data-dir").arg(home.join("data")).args(["--listen", &self.listen]);
        if !self.options.args.iter().any(|arg| arg == "--origin") {
            command.args(["--origin", ORIGIN]);
        }
        // Of several on one machine each has a port of its own.
        let config = self.options.config.as_deref().unwrap_or_default();
        let port = if config.contains("[relay]") { "" } else { "\n[relay]\ndiscovery_port = 0\n" };
        configure(&mut command, home, Self::NAME, Some(&format!("{config}{port}")))?;
        command.args(&self.options.args);
        command.envs(self.options.env.iter().chain(env).map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn ready(&mut self, line: &str) -> Result<()> {
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http"))
            .with_context(|| format!("no URL in the ready line {line:?}"))?;
        self.url = url.trim_end_matches('/').to_owned();
        // A restart comes back on the same port, as a real one does.
        if let Some((_, address)) = self.url.split_once("://") {
            self.listen = address.split(['/', '#']).next().unwrap_or(address).to_owned();
        }
        Ok(())
    }
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
        let listen = options.listen.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        Self::launch_new(Directoryd { options, listen, url: String::new() })
    }

    /// Its URL, with no slash at the end.
    pub fn url(&self) -> &str {
        &self.program.url
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.program.listen
    }

    /// Starts it again, once, with more arguments; stops it before, if it runs.
    ///
    /// # Panics
    /// When it does not stop cleanly or does not become ready.
    #[track_caller]
    pub fn restart_with(&mut self, args: &[&str]) {
        self.stop();
        let before = self.program.options.args.len();
        self.program.options.args.extend(args.iter().map(OsString::from));
        let result = self.launch(&[]);
        self.program.options.args.truncate(before);
        if let Err(error) = result {
            panic!("{error:?}");
        }
    }
}
