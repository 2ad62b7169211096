//! Other users of the same machine, for tests that run as root and can become them.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::binaries::program;
use super::ctl::Ctl;
use super::daemon::Daemon;
use crate::place::Place;

/// Why no other user can be had here, if so.
pub fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, to become another user");
    }
    let there = Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    (!there).then_some("setpriv of util-linux is missing")
}

/// What stands before a command that this user is to run.
fn become_user(user: u32) -> [String; 4] {
    ["setpriv".into(), format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]
}

/// A program run by another user, with nothing in its environment.
pub fn command(user: u32, program: &Path) -> Command {
    let [setpriv, flags @ ..] = become_user(user);
    let mut command = Command::new(setpriv);
    command.args(flags).arg(program).env_clear().current_dir("/");
    command
}

/// A copy of a program that every user may run: the build folder may be closed to them.
///
/// # Errors
/// When it cannot be copied.
pub fn shared_program(place: &Place, name: &str) -> Result<PathBuf> {
    let folder = place.folder("bin")?;
    let copy = folder.join(name);
    std::fs::copy(program(name)?, &copy).with_context(|| format!("cannot copy {name}"))?;
    set_mode(&folder, 0o755)?;
    set_mode(&copy, 0o755)?;
    Ok(copy)
}

/// Sets who may do what with a file.
///
/// # Errors
/// When it is not there, or another's.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set.with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// Opens the folders of a daemon and its socket, so that it alone decides who may come.
///
/// # Errors
/// As for [`set_mode`].
pub fn open_folders(daemon: &Daemon) -> Result<()> {
    set_mode(daemon.home(), 0o755)?;
    set_mode(&daemon.home().join("run"), 0o755)
}

/// Gives a file to a user.
///
/// # Errors
/// When it is not there.
pub fn give(path: &Path, user: u32) -> Result<()> {
    chown(path, Some(user), Some(user)).with_context(|| format!("cannot give {} away", path.display()))
}

/// `chatctl` run by another user, with a home of its own.
///
/// # Errors
/// When the home cannot be made.
pub fn ctl(user: u32, daemon: &Daemon, program: &Path) -> Result<Ctl> {
    let home = daemon.place().folder(&format!("home{user}"))?;
    give(&home, user)?;
    let words = become_user(user);
    Ok(Ctl::new(daemon.socket(), &home).through(&words.each_ref().map(String::as_str), program))
}
