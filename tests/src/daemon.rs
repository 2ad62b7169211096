//! A throwaway `chatd`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use proto::rpc::client::Client;

use crate::binaries::program;
use crate::ctl::Ctl;
use crate::place::{Place, private_folder};
use crate::process::{Process, STOP_DEADLINE};

/// What the ready line begins with.
pub const READY: &str = "chatd ready: ";

/// How to start a [`Daemon`].
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Where its folders are made; a folder of its own if left out.
    pub place: Option<Arc<Place>>,
    /// Name of its folder in the place, `chatd` if empty; tells daemons of one place apart.
    pub name: String,
    /// `--directory`.
    pub directory: Option<String>,
    /// Text of a config file, given by `--config`.
    pub config: Option<String>,
    /// `--listen`, any port of 127.0.0.1 if left out.
    pub listen: Option<String>,
    /// More arguments.
    pub args: Vec<OsString>,
    /// More environment.
    pub env: Vec<(String, String)>,
}

impl DaemonOptions {
    /// A daemon called `name` whose home directory is `directory`.
    pub fn new(name: &str, directory: &str) -> Self {
        Self { name: name.into(), directory: Some(directory.into()), ..Self::default() }
    }

    /// The same in a place that others share.
    #[must_use]
    pub fn place(mut self, place: &Arc<Place>) -> Self {
        self.place = Some(Arc::clone(place));
        self
    }

    /// The same with a config file.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.into());
        self
    }
}

/// A running (or stopped, and startable again) `chatd`.
#[derive(Debug)]
pub struct Daemon {
    process: Option<Process>,
    options: DaemonOptions,
    home: PathBuf,
    socket: PathBuf,
    ready: String,
    place: Arc<Place>,
}

impl Daemon {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// When [`Daemon::try_start`] fails.
    #[track_caller]
    pub fn start(options: DaemonOptions) -> Self {
        match Self::try_start(options) {
            Ok(daemon) => daemon,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the error shows the end of its log.
    pub fn try_start(mut options: DaemonOptions) -> Result<Self> {
        let place = match &options.place {
            Some(place) => Arc::clone(place),
            None => Arc::new(Place::new()?),
        };
        if options.name.is_empty() {
            options.name = "chatd".into();
        }
        let home = place.folder(&options.name)?;
        let socket = home.join("run").join("chatd.sock");
        let mut daemon = Self { process: None, options, home, socket, ready: String::new(), place };
        daemon.launch()?;
        Ok(daemon)
    }

    /// The command that starts it, for tests that start it in another way.
    ///
    /// # Errors
    /// When the program or the folders are missing.
    pub fn command(options: &DaemonOptions, home: &Path, program: &Path) -> Result<Command> {
        private_folder(&home.join("run"))?;
        let mut command = Command::new(program);
        isolate(&mut command, home);
        command.arg("--data-dir").arg(home.join("data"));
        command.arg("--socket").arg(home.join("run").join("chatd.sock"));
        command.arg("--listen").arg(options.listen.as_deref().unwrap_or("127.0.0.1:0"));
        if let Some(directory) = &options.directory {
            command.arg("--directory").arg(directory);
        }
        if let Some(text) = &options.config {
            let file = home.join("chatd.toml");
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            command.arg("--config").arg(file);
        }
        command.args(&options.args).envs(options.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn launch(&mut self) -> Result<()> {
        let command = Self::command(&self.options, &self.home, &program("chatd")?)?;
        let log = self.home.join("chatd.log");
        let (process, ready) = Process::start(&self.options.name, command, &log, READY)?;
        self.process = Some(process);
        self.ready = ready;
        Ok(())
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
            ensure!(status.success(), "chatd ended with {status} after SIGTERM; log:\n{}", process.log_tail());
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
        if let Err(error) = self.launch() {
            panic!("{error:?}");
        }
    }

    /// Starts it again on the same data after it ended, with this in its environment beside what its options say.
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

    /// The same with other options; the folders stay.
    ///
    /// # Panics
    /// As [`Daemon::restart`].
    #[track_caller]
    pub fn restart_with(&mut self, change: impl FnOnce(&mut DaemonOptions)) {
        change(&mut self.options);
        self.restart();
    }

    /// `chatctl` on its socket, for the account `name`.
    pub fn ctl(&self, name: &str) -> Ctl {
        Ctl::new(&self.socket, &self.home).account(name)
    }

    /// `chatctl` on its socket without an account.
    pub fn bare_ctl(&self) -> Ctl {
        Ctl::new(&self.socket, &self.home)
    }

    /// A typed RPC client.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> Client {
        match Client::connect(&self.socket).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {}: {error}", self.socket.display()),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The folder that holds data, socket and log.
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

    /// One `key=value` of the ready line.
    pub fn ready_value(&self, key: &str) -> Option<&str> {
        self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
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
        let path = self.home.join("chatd.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Memory in use: VmRSS of /proc, in KiB.
    pub fn resident_kib(&self) -> Option<u64> {
        resident_kib(self.pid()?)
    }
}

/// VmRSS of a process in KiB.
pub fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Gives a command a world of its own: nothing of the caller's environment but PATH and what switches logs.
pub fn isolate(command: &mut Command, home: &Path) {
    command.env_clear().current_dir(home).env("HOME", home).env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "1");
    for (name, folder) in [
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_STATE_HOME", "state"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_DATA_HOME", "share"),
        ("XDG_RUNTIME_DIR", "run"),
    ] {
        command.env(name, home.join(folder));
    }
    for name in ["PATH", "RUST_LOG", "TERM"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}
