//! Passphrases and keys that a person types or keeps in a file. This program only carries them.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Bytes of such a file at most; a few lines.
const MAX_BYTES: u64 = 64 * 1024;

/// The text of a small file.
pub fn file(path: &Path, what: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::other(format!("cannot read the {what} {}: {error}", path.display()));
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(Failure::other(format!("{} has {size} bytes: that is no {what}", path.display())));
    }
    fs::read_to_string(path).map_err(failed)
}

/// The first line of a file.
pub fn passphrase_file(path: &Path) -> Result<String, Failure> {
    let text = file(path, "passphrase file")?;
    let line = text.lines().next().unwrap_or_default().trim_end_matches('\r');
    if line.is_empty() {
        return Err(Failure::Usage(format!("the passphrase file {} begins with an empty line", path.display())));
    }
    Ok(line.to_owned())
}

/// Asks for a passphrase without showing it; for a new one, twice. `instead` names the flags for programs.
pub fn ask(new: bool, instead: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("standard input is no terminal to type a passphrase at: give {instead}")));
    }
    let first = hidden("passphrase: ")?;
    if first.is_empty() {
        return Err(Failure::Usage("the passphrase is empty; nothing was done".to_owned()));
    }
    if new && hidden("once more: ")? != first {
        return Err(Failure::other("the two differ; nothing was done"));
    }
    Ok(first)
}

/// Puts the terminal back as it was.
struct Echo(nix::sys::termios::Termios);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.0);
        eprintln!();
    }
}

fn hidden(prompt: &str) -> Result<String, Failure> {
    let terminal = |error: nix::errno::Errno| Failure::other(format!("cannot hide what is typed: {error}"));
    let before = tcgetattr(io::stdin().as_fd()).map_err(terminal)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    let _ = io::stderr().write_all(prompt.as_bytes());
    tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &silent).map_err(terminal)?;
    let _echo = Echo(before);
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(|e| Failure::other(format!("cannot read it: {e}")))?;
    Ok(typed.trim_end_matches(['\n', '\r']).to_owned())
}
