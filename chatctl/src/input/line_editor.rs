//! The line that somebody types in `chat`: editing, history and completion, and what comes in is shown above it.
//!
//! The library reads keys on a thread of its own; finished lines come one at a time. The terminal gets its mode
//! back when [`Typing`] is dropped, wherever the thread is then.

use std::io::{self, Write};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::term::output::Printer;

/// What a line may say instead of being sent.
pub const COMMANDS: [&str; 2] = ["/help", "/quit"];
/// Lines of the history at most.
const MAX_HISTORY: usize = 1_000;
const PROMPT: &str = "> ";
/// Bracketed paste off (xterm), which the library switches on while it reads.
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Somebody types.
pub struct Typing {
    lines: mpsc::Receiver<String>,
    /// The next line may be read: the editor must not take the terminal again after it was given back.
    go_on: std::sync::mpsc::SyncSender<()>,
    /// A line was taken, and the editor waits.
    taken: bool,
    mode: Termios,
}

impl Typing {
    /// The next line, without control characters but line feeds and tabs; `None` at the end of the input (Ctrl-D).
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.taken, false) {
            // An editor that is gone says so by the end of its lines.
            let _ = self.go_on.try_send(());
        }
        let line = self.lines.recv().await;
        self.taken = line.is_some();
        line
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.mode);
        let _ = io::stdout().write_all(PASTE_OFF).and_then(|()| io::stdout().flush());
    }
}

/// Begins to read lines; what the second shows stands above the one that is being typed. `history` has the oldest first.
///
/// # Errors
/// When the terminal cannot be used so.
pub fn start(history: Vec<String>) -> Result<(Typing, Printer), Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::other(format!("cannot use the terminal: {error}"));
    let mode = tcgetattr(io::stdin()).map_err(|error| broken(&error))?;
    let config = Config::builder().auto_add_history(true).max_history_size(MAX_HISTORY);
    let config = config.map_err(|error| broken(&error))?.build();
    let mut editor: Editor<Commands, MemHistory> =
        Editor::with_history(config.clone(), MemHistory::with_config(&config)).map_err(|error| broken(&error))?;
    editor.set_helper(Some(Commands));
    for line in history {
        let _ = editor.add_history_entry(line);
    }
    let mut above = editor.create_external_printer().map_err(|error| broken(&error))?;
    let (sender, lines) = mpsc::channel(1);
    let (go_on, may_go_on) = std::sync::mpsc::sync_channel(1);
    // A thread, because reading keys blocks; it ends with the process or at the end of the input.
    std::thread::spawn(move || {
        loop {
            match editor.readline(PROMPT) {
                Ok(line) if sender.blocking_send(harmless(&line)).is_ok() && may_go_on.recv().is_ok() => {}
                // Ctrl-C takes the line back, as in a shell.
                Err(ReadlineError::Interrupted) => {}
                _ => return,
            }
        }
    });
    let printer = Box::new(move |text: String| {
        // Without a terminal there is nobody to show it to.
        let _ = above.print(text + "\n");
    });
    Ok((Typing { lines, go_on, taken: false, mode }, printer))
}

/// The line without the bytes of keys and pastes that no text has: an escape sequence is never sent.
pub fn harmless(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Completes the commands.
struct Commands;

impl Helper for Commands {}
impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}
impl Validator for Commands {}

impl Completer for Commands {
    type Candidate = String;

    fn complete(&self, line: &str, _: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let fits = |command: &&'static str| line.starts_with('/') && command.starts_with(line);
        Ok((0, COMMANDS.into_iter().filter(fits).map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_is_left() {
        assert_eq!(harmless("a\x1b[31mb\x07\u{9b}c\td\ne\x7f"), "a[31mbc\td\ne");
        assert_eq!(harmless("שלום \u{200f}é 👩‍👩‍👧"), "שלום \u{200f}é 👩‍👩‍👧");
    }
}
