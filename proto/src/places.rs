//! Where a daemon keeps its files and listens, and where clients look for it: one rule for both.
//!
//! | what | system service (root) | a user's own daemon |
//! | --- | --- | --- |
//! | config | `/etc/chatd/chatd.toml` | `$XDG_CONFIG_HOME/chatd/chatd.toml`, `~/.config/...` |
//! | state | `/var/lib/chatd` | `$XDG_STATE_HOME/chatd`, `~/.local/state/chatd` |
//! | socket | `/run/chatd/chatd.sock` | `$XDG_RUNTIME_DIR/chatd/chatd.sock`, `/run/user/UID/...`, the state folder |
//!
//! `CHATD_SOCKET`, and `socket` of the config file, go before the default. A variable that is empty counts as unset; a
//! relative one is an error, for it would mean another place in every folder.
//!
//! Not the job: making any of it, and what else stands in the config file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Environment variable that names the socket.
pub const SOCKET_VARIABLE: &str = "CHATD_SOCKET";

/// Where the system service's socket is.
#[cfg(not(windows))]
pub const SYSTEM_SOCKET: &str = "/run/chatd/chatd.sock";
/// Where the system service's pipe is.
#[cfg(windows)]
pub const SYSTEM_SOCKET: &str = r"\\.\pipe\chatd";
/// Where the system service's configuration is.
const SYSTEM_CONFIG: &str = "/etc/chatd/chatd.toml";
/// Where the system service's state is.
const SYSTEM_STATE: &str = "/var/lib/chatd";

/// Bytes of a config file that are read when looking for its `socket`; more is none.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Why nobody can tell where something is.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PlaceError {
    /// A relative path in the environment.
    #[error("the environment variable {name} is {value:?}, which is no absolute path: give it one, or unset it")]
    Relative {
        /// Which variable.
        name: String,
        /// What it says.
        value: String,
    },
    /// No home.
    #[error("HOME is not set, and the system knows no home of this user: set HOME, or name --data-dir and --socket")]
    NoHome,
}

/// Where everything of one daemon is, as long as nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// Accounts, keys, messages.
    pub data_dir: PathBuf,
    /// The RPC socket.
    pub socket: PathBuf,
}

/// What is asked of the world outside, so that tests can make up another.
struct World<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    is_root: bool,
    /// The user's home, if the environment does not say it.
    home: Option<PathBuf>,
    /// The folder that logind makes for the user, if it is there.
    runtime: Option<PathBuf>,
}

impl Places {
    /// Those of the system's service.
    pub fn system() -> Self {
        Self { config: SYSTEM_CONFIG.into(), data_dir: SYSTEM_STATE.into(), socket: SYSTEM_SOCKET.into() }
    }

    /// Those of a daemon that this user starts: the system's for root.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn own() -> Result<Self, PlaceError> {
        World::real(&|name| std::env::var_os(name)).places()
    }
}

/// Where a program of this user keeps its state: `/var/lib/PROGRAM` for root, else below `$XDG_STATE_HOME`.
///
/// # Errors
/// [`PlaceError`].
pub fn state_folder(program: &str) -> Result<PathBuf, PlaceError> {
    World::real(&|name| std::env::var_os(name)).state_folder(program)
}

/// The path in an environment variable; empty counts as unset.
///
/// # Errors
/// [`PlaceError::Relative`].
pub fn variable(name: &str) -> Result<Option<PathBuf>, PlaceError> {
    World::real(&|name| std::env::var_os(name)).path(name)
}

/// Where to look for a daemon, the best first: `explicit` alone if given, else `CHATD_SOCKET` alone if set, else the user's own
/// daemon, and the system's only if the user has none: nobody's words go to another daemon because their own is not running.
///
/// # Errors
/// [`PlaceError`].
pub fn sockets(explicit: Option<&Path>) -> Result<Vec<PathBuf>, PlaceError> {
    World::real(&|name| std::env::var_os(name)).sockets(explicit)
}

/// What of a config file says where things are.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    socket: Option<PathBuf>,
}

/// The socket that a config file names; `None` also if it cannot be read: that is for the daemon to say.
fn named_socket(config: &Path) -> Option<PathBuf> {
    if std::fs::metadata(config).ok()?.len() > MAX_CONFIG_BYTES {
        return None;
    }
    let text = std::fs::read_to_string(config).ok()?;
    toml::from_str::<Named>(&text).ok()?.socket.filter(|path| path.is_absolute())
}

impl<'a> World<'a> {
    fn real(variable: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        let (is_root, home, runtime) = user();
        Self { variable, is_root, home, runtime }
    }

    fn path(&self, name: &str) -> Result<Option<PathBuf>, PlaceError> {
        match (self.variable)(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) if Path::new(&value).is_absolute() => Ok(Some(value.into())),
            Some(value) => {
                Err(PlaceError::Relative { name: name.to_owned(), value: value.to_string_lossy().into_owned() })
            }
        }
    }

    /// The folder in a variable, or this one below the home.
    fn base(&self, name: &str, rest: &str) -> Result<PathBuf, PlaceError> {
        let home = self.path("HOME")?.or_else(|| self.home.clone());
        match self.path(name)? {
            Some(path) => Ok(path),
            None => home.map(|home| home.join(rest)).ok_or(PlaceError::NoHome),
        }
    }

    fn state_folder(&self, program: &str) -> Result<PathBuf, PlaceError> {
        if self.is_root {
            return Ok(Path::new("/var/lib").join(program));
        }
        Ok(self.base("XDG_STATE_HOME", ".local/state")?.join(program))
    }

    fn places(&self) -> Result<Places, PlaceError> {
        if self.is_root {
            return Ok(Places::system());
        }
        let data_dir = self.state_folder("chatd")?;
        let runtime = self.path("XDG_RUNTIME_DIR")?.or_else(|| self.runtime.clone());
        let socket = runtime.map_or_else(|| data_dir.clone(), |runtime| runtime.join("chatd")).join("chatd.sock");
        Ok(Places { config: self.base("XDG_CONFIG_HOME", ".config")?.join("chatd/chatd.toml"), socket, data_dir })
    }

    fn sockets(&self, explicit: Option<&Path>) -> Result<Vec<PathBuf>, PlaceError> {
        if let Some(path) = explicit {
            return Ok(vec![path.to_owned()]);
        }
        if let Some(path) = self.path(SOCKET_VARIABLE)? {
            return Ok(vec![path]);
        }
        let system = || named_socket(Path::new(SYSTEM_CONFIG)).unwrap_or_else(|| SYSTEM_SOCKET.into());
        if self.is_root {
            return Ok(vec![system()]);
        }
        let own = match self.places() {
            Ok(own) => own,
            // Somebody without a home has no daemon of their own.
            Err(PlaceError::NoHome) => return Ok(vec![system()]),
            Err(error) => return Err(error),
        };
        if let Some(socket) = named_socket(&own.config) {
            return Ok(vec![socket]);
        }
        // A daemon that was started without a runtime folder listens in the state folder.
        let mut found = vec![own.socket.clone()];
        let beside = own.data_dir.join("chatd.sock");
        if beside != own.socket && beside.symlink_metadata().is_ok() {
            found.push(beside);
        }
        let is_used = own.config.symlink_metadata().is_ok() || own.data_dir.join("lock").symlink_metadata().is_ok();
        if !is_used {
            found.push(system());
        }
        Ok(found)
    }
}

#[cfg(unix)]
fn user() -> (bool, Option<PathBuf>, Option<PathBuf>) {
    use std::os::unix::fs::MetadataExt;
    let uid = nix::unistd::Uid::effective();
    let home = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.dir);
    let home = home.filter(|home| home.is_absolute() && home != Path::new("/nonexistent"));
    // logind's folder, for shells that lost the variable (`su`, cron).
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let is_ours = std::fs::metadata(&runtime).is_ok_and(|folder| folder.is_dir() && folder.uid() == uid.as_raw());
    (uid.is_root(), home, is_ours.then_some(runtime))
}

#[cfg(not(unix))]
fn user() -> (bool, Option<PathBuf>, Option<PathBuf>) {
    (false, std::env::home_dir(), None)
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn within<T>(variables: &[(&str, &Path)], ask: impl FnOnce(&World<'_>) -> T) -> T {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        };
        ask(&World { variable: &variable, is_root: false, home: None, runtime: None })
    }

    fn sockets(variables: &[(&str, &Path)]) -> Result<Vec<PathBuf>, PlaceError> {
        within(variables, |world| world.sockets(None))
    }

    #[test]
    fn daemon_and_client_agree_whatever_the_environment_lacks() {
        let home = tempfile::tempdir().unwrap();
        let runtime = home.path().join("run");
        let (home_only, empty) = ([("HOME", home.path())], Path::new(""));
        let with_runtime = [("HOME", home.path()), ("XDG_RUNTIME_DIR", &runtime)];
        let names = ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "CHATD_SOCKET"];
        let empties: Vec<_> = names.map(|name| (name, empty)).into_iter().chain(home_only).collect();
        for variables in [&home_only[..], &with_runtime, &empties] {
            let places = within(variables, |world| world.places()).unwrap();
            assert_eq!(sockets(variables).unwrap().first(), Some(&places.socket), "{variables:?}");
            assert!(places.data_dir.starts_with(home.path()) && places.config.starts_with(home.path()));
        }
        assert_eq!(
            within(&empties, |world| world.places()),
            within(&home_only, |world| world.places()),
            "empty is unset"
        );
        // The daemon was started by cron, the client is run from a desktop.
        let beside = within(&home_only, |world| world.places()).unwrap().socket;
        std::fs::create_dir_all(beside.parent().unwrap()).unwrap();
        std::fs::write(&beside, "").unwrap();
        assert_eq!(sockets(&with_runtime).unwrap()[1], beside);
        let none = World { variable: &|_| None, is_root: false, home: None, runtime: None };
        assert_eq!(none.places(), Err(PlaceError::NoHome));
        assert_eq!(none.sockets(None).unwrap(), [PathBuf::from(SYSTEM_SOCKET)]);
        let passwd = World { home: Some(home.path().to_owned()), ..none };
        assert_eq!(passwd.places(), within(&home_only, |world| world.places()), "the system knows the home");
        // Also where HOME is there and says nothing: never the current folder.
        let nothing = |name: &str| (name == "HOME" || name.starts_with("XDG_")).then(OsString::new);
        let empty_home =
            World { variable: &nothing, is_root: false, home: Some(home.path().to_owned()), runtime: None };
        assert_eq!(empty_home.places(), passwd.places());
        assert_eq!(empty_home.sockets(None), passwd.sockets(None));
        assert_eq!(World { home: None, ..empty_home }.places(), Err(PlaceError::NoHome));
    }

    #[test]
    fn a_relative_variable_is_an_error_that_names_it() {
        let home = Path::new("/somewhere");
        for name in ["HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            let variables = [(name, Path::new("here")), ("HOME", home)];
            let error = within(&variables, |world| world.places()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("here"), "{error}");
            assert!(sockets(&variables).is_err());
        }
        assert!(sockets(&[("CHATD_SOCKET", Path::new("chatd.sock")), ("HOME", home)]).is_err());
    }

    #[test]
    fn who_has_a_daemon_never_talks_to_the_systems_by_mistake() {
        let home = tempfile::tempdir().unwrap();
        let variables = [("HOME", home.path())];
        let system = PathBuf::from(SYSTEM_SOCKET);
        assert_eq!(sockets(&variables).unwrap().last(), Some(&system), "a user who never had one");
        let Places { config, data_dir, socket } = within(&variables, |world| world.places()).unwrap();
        std::fs::create_dir_all(&data_dir).unwrap();
        std::fs::write(data_dir.join("lock"), "").unwrap();
        assert_eq!(sockets(&variables).unwrap(), std::slice::from_ref(&socket), "it ran before");
        std::fs::remove_file(data_dir.join("lock")).unwrap();
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        std::fs::write(&config, "log = 'info'\n").unwrap();
        assert_eq!(sockets(&variables).unwrap(), [socket], "it was configured");
        std::fs::write(&config, "socket = '/elsewhere/s'\nlisten = []\n").unwrap();
        assert_eq!(sockets(&variables).unwrap(), [PathBuf::from("/elsewhere/s")]);
        let named = [("CHATD_SOCKET", Path::new("/named")), variables[0]];
        assert_eq!(sockets(&named).unwrap(), [PathBuf::from("/named")]);
        let explicit = within(&named, |world| world.sockets(Some(Path::new("here.sock")))).unwrap();
        assert_eq!(explicit, [PathBuf::from("here.sock")]);
    }
}
