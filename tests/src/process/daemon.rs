//! A throwaway `chatd`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use proto::rpc::client::Client;

use super::binaries::program;
use super::ctl::Ctl;
pub use super::isolate::isolate;
use super::managed::{Managed, Program, configure};
pub use super::resident_kib;
use crate::place::{Place, private_folder};

/// The line of a config that names a DNS server that is not there: it stands in the config of every daemon that has none of its own.
pub const NO_NAMES: &str = "name_servers = [\"127.0.0.1:9\"]\n";

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

/// `chatd`, as its options say.
#[derive(Debug)]
pub struct Chatd {
    options: DaemonOptions,
    socket: PathBuf,
}

/// A running (or stopped, and startable again) `chatd`.
pub type Daemon = Managed<Chatd>;

fn socket(home: &Path) -> PathBuf {
    home.join("run").join("chatd.sock")
}

impl Program for Chatd {
    const NAME: &'static str = "chatd";
    const READY: &'static str = "chatd ready: ";

    fn folder(&self) -> &str {
        if self.options.name.is_empty() { Self::NAME } else { &self.options.name }
    }

    fn place(&self) -> Option<Arc<Place>> {
        self.options.place.clone()
    }

    fn command(&mut self, home: &Path, env: &[(String, String)]) -> Result<Command> {
        self.socket = socket(home);
        let mut command = Daemon::command(&self.options, home, &program(Self::NAME)?)?;
        command.envs(env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn ready(&mut self, _line: &str) -> Result<()> {
        Ok(())
    }
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
    pub fn try_start(options: DaemonOptions) -> Result<Self> {
        Self::launch_new(Chatd { options, socket: PathBuf::new() })
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
        command.arg("--socket").arg(socket(home));
        command.arg("--listen").arg(options.listen.as_deref().unwrap_or("127.0.0.1:0"));
        if let Some(directory) = &options.directory {
            command.arg("--directory").arg(directory);
        }
        // Nothing of a test leaves this machine: who is to find a name has servers of its own.
        let config = options.config.as_deref().unwrap_or_default();
        let nobody = if config.contains("name_servers") { "" } else { NO_NAMES };
        configure(&mut command, home, Chatd::NAME, Some(&format!("{nobody}{config}")))?;
        command.args(&options.args).envs(options.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The same with other options; the folders stay.
    ///
    /// # Panics
    /// As [`Daemon::restart`].
    #[track_caller]
    pub fn restart_with(&mut self, change: impl FnOnce(&mut DaemonOptions)) {
        change(&mut self.program.options);
        self.restart();
    }

    /// `chatctl` on its socket, for the account `name`.
    pub fn ctl(&self, name: &str) -> Ctl {
        Ctl::new(self.socket(), self.home()).account(name)
    }

    /// `chatctl` on its socket without an account.
    pub fn bare_ctl(&self) -> Ctl {
        Ctl::new(self.socket(), self.home())
    }

    /// A typed RPC client.
    ///
    /// # Panics
    /// When it cannot connect.
    pub async fn client(&self) -> Client {
        match Client::connect(self.socket()).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {}: {error}", self.socket().display()),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.program.socket
    }

    /// One `key=value` of the ready line.
    pub fn ready_value(&self, key: &str) -> Option<&str> {
        self.ready_line().split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}
