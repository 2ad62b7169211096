//! Questions to somebody at the terminal, asked on standard error.

use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use proto::rpc::secret::Secret;

use super::interrupt::Interrupts;
use crate::failure::Failure;

/// Asks for one line.
///
/// # Errors
/// When standard input cannot be read.
pub fn line(question: &str) -> Result<String, Failure> {
    let mut prompt = io::stderr();
    let _ = prompt.write_all(question.as_bytes());
    let _ = prompt.flush();
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(|e| Failure::other(format!("cannot read the answer: {e}")))?;
    Ok(typed.trim().to_owned())
}

/// Puts the terminal back as it was.
struct Echo(nix::sys::termios::Termios);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.0);
        eprintln!();
    }
}

/// Asks for one line that is not shown while it is typed.
///
/// # Errors
/// When the terminal cannot hide it, and at a signal.
pub async fn hidden(prompt: &str) -> Result<Secret, Failure> {
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
