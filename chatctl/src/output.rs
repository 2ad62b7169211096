//! Standard output and standard error: data on the one, everything else on the other.
//!
//! Invariants: a closed pipe is [`Failure::ClosedPipe`], never an error message; nothing acts on a terminal that was not
//! put there by this program, in JSON neither; writing to standard error cannot fail a run.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use crate::above::above;
use crate::failure::Failure;
use crate::terminal::{self, Place};

/// Standard output.
pub struct Out {
    writer: BufWriter<Stdout>,
    /// `--json`.
    pub json: bool,
    /// Styles may be used.
    pub colour: bool,
    /// People watch it, on a terminal that can move its cursor; without `--json`.
    pub screen: bool,
}

impl Out {
    /// Standard output; colour only for people: on a terminal that can, without `NO_COLOR` (no-color.org).
    pub fn new(json: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let terminal = !json && io::stdout().is_terminal();
        let screen = terminal && !dumb;
        let colour = screen && !set("NO_COLOR");
        Self { writer: BufWriter::with_capacity(64 * 1024, io::stdout()), json, colour, screen }
    }

    /// One line of text that is already harmless.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// One object on one line.
    pub fn object<T: Serialize>(&mut self, object: &T) -> Result<(), Failure> {
        let json = to_json(object)?;
        self.line(&json)
    }

    /// The object under `--json`, else what `human` prints.
    pub fn either<T: Serialize>(
        &mut self,
        object: &T,
        human: impl FnOnce(&mut Self, &T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.json { self.object(object) } else { human(self, object) }
    }

    /// Text that is already harmless, above what is being typed.
    pub fn above(&mut self, text: &str) -> Result<(), Failure> {
        match terminal_size::terminal_size() {
            Some((columns, rows)) if self.screen => self.raw(above(text, columns.0.into(), rows.0.into()).as_bytes()),
            _ => self.line(text),
        }
    }

    /// A remark on standard error that leaves what is being typed in view.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.flush()?;
        match terminal_size::terminal_size() {
            Some((columns, rows)) if self.screen && io::stderr().is_terminal() => {
                let text = terminal::neutralise(text.trim_end(), Place::Body);
                let _ = io::stderr().write_all(above(&text, columns.0.into(), rows.0.into()).as_bytes());
            }
            _ => note(text),
        }
        Ok(())
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(write_failure)
    }

    /// A remark on standard error, after what it is about.
    pub fn note(&mut self, text: &str) -> Result<(), Failure> {
        self.flush()?;
        note(text);
        Ok(())
    }

    /// Everything out.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(write_failure)
    }
}

/// Ends when standard output is a pipe and its reader is gone: a program that waits for something to print would learn
/// of it only then.
pub async fn reader_gone() {
    // What cannot be watched, such as a file, is never gone. Unchecked: nothing is written through this, so that it may
    // block, and it is no pipe, is no harm.
    if let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned()
        && let Ok(stdout) = pipe::Sender::from_owned_fd_unchecked(stdout)
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// An object as one line of JSON that is safe to show.
pub fn to_json<T: Serialize>(object: &T) -> Result<String, Failure> {
    let json = serde_json::to_string(object).map_err(|e| Failure::other(format!("cannot write JSON: {e}")))?;
    Ok(match terminal::escape_json(&json) {
        std::borrow::Cow::Borrowed(_) => json,
        std::borrow::Cow::Owned(escaped) => escaped,
    })
}

fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::ClosedPipe } else { Failure::Output(error) }
}

/// `chatctl: ` and the text, on standard error.
pub fn say(text: &str) {
    note(&format!("chatctl: {text}"));
}

/// The text alone, on standard error. Whatever it quotes is made harmless here.
pub fn note(text: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{}", terminal::neutralise(text.trim_end(), Place::Body));
}
