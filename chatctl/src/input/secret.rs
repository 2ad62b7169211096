//! Passphrases and keys that a person types or keeps in a file. This program only carries them.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use proto::rpc::secret::Secret;

use crate::failure::{Exit, Failure};
use crate::input::interrupt::Interrupts;

/// Bytes of such a file at most; a few lines.
const MAX_BYTES: u64 = 64 * 1024;

/// The text of a small file.
pub fn file(path: &Path, what: &str) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::other(format!("cannot read the {what} {}: {error}", path.display()));
    let meta = fs::metadata(path).map_err(failed)?;
    // A pipe has no mode that counts: whoever reads it first has it.
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(Failure::Other {
            exit: Exit::Failed,
            text: format!(
                "others may read or change the {what} {} (mode {:o}): nothing was done",
                path.display(),
                meta.mode() & 0o777
            ),
            hint: Some(format!("if the secret is still one: chmod 600 {}", path.display())),
        });
    }
    let size = meta.len();
    if size > MAX_BYTES {
        return Err(Failure::other(format!("{} has {size} bytes: that is no {what}", path.display())));
    }
    fs::read_to_string(path).map(Secret::from).map_err(failed)
}

/// The first line of a file.
pub fn passphrase_file(path: &Path) -> Result<Secret, Failure> {
    let text = file(path, "passphrase file")?;
    let line = text.lines().next().unwrap_or_default().trim_end_matches('\r');
    if line.is_empty() {
        return Err(Failure::Usage(format!("the passphrase file {} begins with an empty line", path.display())));
    }
    Ok(line.into())
}

/// Asks for a passphrase without showing it; for a new one, twice. `instead` names the flags for programs.
pub async fn ask(new: bool, instead: &str) -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("standard input is no terminal to type a passphrase at: give {instead}")));
    }
    let first = hidden("passphrase: ").await?;
    if first.is_empty() {
        return Err(Failure::Usage("the passphrase is empty; nothing was done".to_owned()));
    }
    if new && hidden("once more: ").await? != first {
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

async fn hidden(prompt: &str) -> Result<Secret, Failure> {
    let terminal = |error: nix::errno::Errno| Failure::other(format!("cannot hide what is typed: {error}"));
    // Before the echo goes: a Ctrl-C in between would leave a terminal without it.
    let interrupts = Interrupts::new()?;
    let before = tcgetattr(io::stdin().as_fd()).map_err(terminal)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &silent).map_err(terminal)?;
    let _echo = Echo(before);
    let _ = io::stderr().write_all(prompt.as_bytes());
    // On a thread of its own: Ctrl-C must find somebody who puts the terminal back.
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut typed = String::new();
        let _ = tell.send(io::stdin().lock().read_line(&mut typed).map(|_| Secret::from(typed)));
    });
    let read = interrupts.or(async { told.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())) }).await?;
    let typed = read.map_err(|e| Failure::other(format!("cannot read it: {e}")))?;
    Ok(typed.trim_end_matches(['\n', '\r']).into())
}
