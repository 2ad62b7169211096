//! The command line client of `chatd`.
//!
//! The job: parse one verb, call the daemon, print. What is not the job: anything that has to survive the process; there
//! is no state here, and no key.
//!
//! Invariants: data goes to standard output and everything else to standard error; what other people wrote passes
//! through [`terminal::neutralise`] before it is shown; exit codes are those of [`failure::Exit`]; one verb is one file
//! in `verbs`.

pub mod failure;
pub mod terminal;

mod above;
mod bulk;
mod cli;
mod clock;
mod delivery;
mod feed;
mod interrupt;
mod lines;
mod markdown;
mod names;
mod newfile;
mod output;
mod secret;
mod session;
mod show;
mod socket;
mod style;
mod table;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::Cli;
use failure::{Exit, Failure};
use output::say;
use session::Session;

/// The whole command line, for help, completion and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()) as u8)
}

/// Runs the program on these arguments, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help and version were asked for: they are data. A reader who closed the pipe has seen enough.
            let _ = error.print();
            return Exit::Ok;
        }
        Err(error) => {
            let text = error.render().to_string();
            say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return Exit::Usage;
        }
    };
    match execute(cli) {
        Ok(exit) => exit,
        Err(Failure::ClosedPipe) => Exit::Ok,
        Err(failure) => {
            say(&failure.to_string());
            if let Some(hint) = failure.hint() {
                output::note(&format!("hint: {hint}"));
            }
            failure.exit()
        }
    }
}

fn execute(cli: Cli) -> Result<Exit, Failure> {
    let Some(verb) = cli.verb else {
        output::note(&command().render_help().to_string());
        return Ok(Exit::Usage);
    };
    // One thread: a client waits for one socket, and a second thread would only cost start-up time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Failure::other(format!("cannot start: {source}")))?;
    let mut session = Session::new(cli.globals);
    let result = runtime.block_on(verb.run(&mut session));
    // A thread that still reads standard input must not keep the process alive.
    runtime.shutdown_background();
    let exit = result?;
    session.out.flush()?;
    Ok(exit)
}
