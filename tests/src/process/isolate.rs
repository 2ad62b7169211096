//! A world of its own for a command.

use std::path::Path;
use std::process::Command;

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
