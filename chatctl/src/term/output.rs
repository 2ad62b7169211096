//! Standard output and standard error: data on the one, everything else on the other.
//!
//! Invariants: a closed pipe is [`OutputError::Closed`], never an error message; nothing acts on a terminal that was not
//! put there by this program, in JSON neither; writing to standard error cannot fail a run.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use tokio::io::Interest;
use tokio::net::unix::pipe;

use super::escape::{self, Place};
use super::pager::Page;
use super::render::{self, Surface};
use super::span::Line;
use super::table::Table;

/// Why standard output does not take something.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Its reader has seen enough.
    #[error("standard output is closed")]
    Closed,
    /// It cannot be written.
    #[error("cannot write to standard output: {0}")]
    Write(#[source] io::Error),
    /// What was to be written is no JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[source] serde_json::Error),
}

/// `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal that can, without NO_COLOR.
    #[default]
    Auto,
    Always,
    Never,
}

/// Shows text above a line that is being typed.
pub type Printer = Box<dyn FnMut(String) + Send>;

/// Standard output.
pub struct Out {
    writer: BufWriter<Stdout>,
    /// `--json`.
    pub json: bool,
    /// Styles may be used.
    colour: bool,
    /// People watch it, on a terminal; without `--json`.
    pub person: bool,
    /// That terminal can move its cursor.
    pub screen: bool,
    /// Shows lines above the one that is being typed, while one is.
    printer: Option<Printer>,
    /// What cannot be written is let go, and told at the end.
    outlives_reader: bool,
    /// Why nothing is written any more.
    broken: Option<OutputError>,
    /// What goes through a pager when it is whole.
    page: Option<Page>,
}

impl Out {
    /// Standard output; colour only for people: on a terminal that can, without `NO_COLOR` (no-color.org).
    pub fn new(json: bool, color: Color) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let terminal = !json && io::stdout().is_terminal();
        let screen = terminal && !dumb;
        let colour = match color {
            Color::Auto => screen && !set("NO_COLOR"),
            Color::Always => !json,
            Color::Never => false,
        };
        let writer = BufWriter::with_capacity(64 * 1024, io::stdout());
        Self {
            writer,
            json,
            colour,
            person: terminal,
            screen,
            printer: None,
            outlives_reader: false,
            broken: None,
            page: None,
        }
    }

    /// For verbs whose work matters more than their report: from now on, output that fails ends nothing. What is printed
    /// after that is let go, and [`Out::end`] tells.
    pub fn outlive_reader(&mut self) {
        self.outlives_reader = true;
    }

    /// From now on, what people see goes through a pager, as a whole. What others see is not held back.
    pub fn begin_page(&mut self) {
        if self.screen {
            self.page = Some(Page::default());
        }
    }

    /// Shows what was held back since [`Out::begin_page`], and waits until it was read. Within a runtime only.
    ///
    /// # Errors
    /// As for [`Out::flush`].
    pub fn end_page(&mut self) -> Result<(), OutputError> {
        let Some(page) = self.page.take() else { return Ok(()) };
        self.flush()?;
        if page.show() {
            return Ok(());
        }
        self.raw(page.text())
    }

    /// Everything out, and whether all of it was.
    ///
    /// # Errors
    /// [`OutputError::Write`]. A reader that has left has seen what it wanted.
    pub fn end(&mut self) -> Result<(), OutputError> {
        self.flush()?;
        match self.broken.take() {
            None | Some(OutputError::Closed) => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// Keeps the failure in mind if the verb goes on without its reader.
    fn written(&mut self, result: io::Result<()>) -> Result<(), OutputError> {
        match result.map_err(write_failure) {
            Err(failure) if self.outlives_reader => {
                self.broken.get_or_insert(failure);
                Ok(())
            }
            result => result,
        }
    }

    /// Lines, in the styles that may be used. People see them in rows that fit, further ones indented. Above a line that is
    /// being typed they appear at once.
    pub fn show(&mut self, lines: &[Line]) -> Result<(), OutputError> {
        if lines.is_empty() {
            return Ok(());
        }
        let columns = if self.person { terminal_columns() } else { None };
        let text = render::text(lines, Surface { columns, styles: self.colour });
        if let Some(printer) = &mut self.printer {
            printer(text);
            return Ok(());
        }
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// One line.
    pub fn line(&mut self, line: impl Into<Line>) -> Result<(), OutputError> {
        self.show(&[line.into()])
    }

    /// The rows of a table that were not shown yet.
    pub fn table<const N: usize>(&mut self, table: &mut Table<N>) -> Result<(), OutputError> {
        self.show(&table.take_lines(self.person))
    }

    /// From now on somebody types: lines and remarks go through this. `None`: no longer.
    pub fn type_below(&mut self, printer: Option<Printer>) {
        self.printer = printer;
    }

    /// One object on one line.
    pub fn object<T: Serialize>(&mut self, object: &T) -> Result<(), OutputError> {
        let json = to_json(object)?;
        self.raw(json.as_bytes())?;
        self.raw(b"\n")
    }

    /// The object under `--json`, else what `human` prints.
    pub fn either<T: Serialize>(
        &mut self,
        object: &T,
        human: impl FnOnce(&mut Self, &T) -> Result<(), OutputError>,
    ) -> Result<(), OutputError> {
        if self.json { self.object(object) } else { human(self, object) }
    }

    /// A remark on standard error that leaves what is being typed in view.
    pub fn remark(&mut self, text: &str) -> Result<(), OutputError> {
        if let Some(printer) = &mut self.printer {
            printer(escape::neutralise(text.trim_end(), Place::Body).into_owned());
            return Ok(());
        }
        self.note(text)
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        if self.broken.is_some() {
            return Ok(());
        }
        if let Some(page) = &mut self.page {
            page.add(bytes);
            return Ok(());
        }
        let result = self.writer.write_all(bytes);
        self.written(result)
    }

    /// A remark on standard error, after what it is about.
    pub fn note(&mut self, text: &str) -> Result<(), OutputError> {
        self.end_page()?;
        self.flush()?;
        note(text);
        Ok(())
    }

    /// Everything out.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        if self.broken.is_some() {
            return Ok(());
        }
        let result = self.writer.flush();
        self.written(result)
    }
}

fn terminal_columns() -> Option<usize> {
    terminal_size::terminal_size().map(|(columns, _)| columns.0.into())
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
pub fn to_json<T: Serialize>(object: &T) -> Result<String, OutputError> {
    let json = serde_json::to_string(object).map_err(OutputError::Json)?;
    Ok(match escape::escape_json(&json) {
        std::borrow::Cow::Borrowed(_) => json,
        std::borrow::Cow::Owned(escaped) => escaped,
    })
}

fn write_failure(error: io::Error) -> OutputError {
    if error.kind() == io::ErrorKind::BrokenPipe { OutputError::Closed } else { OutputError::Write(error) }
}

/// `chatctl: ` and the text, on standard error.
pub fn say(text: &str) {
    note(&format!("chatctl: {text}"));
}

/// The text alone, as one line on standard error. Whatever it quotes is made harmless here: nothing in it begins a line of
/// its own, which could pass for one of ours.
pub fn note(text: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{}", escape::line(text.trim_end()));
}

/// A text of this program's own that has several lines, on standard error. Nothing of others is in it.
pub fn page(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape::neutralise(text.trim_end(), Place::Body));
}
