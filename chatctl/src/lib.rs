//! The command line client of `chatd`.
//!
//! The job: parse one verb, call the daemon, print. What is not the job: anything that has to survive the process; there
//! is no state here, and no key.
//!
//! Invariants: data goes to standard output and everything else to standard error; what other people wrote passes
//! through [`term::escape::neutralise`] before it is shown; exit codes are those of [`failure::Exit`]; one verb is one file
//! in `verbs`.

pub mod failure;
pub mod term;

mod cli;
mod client;
mod help;
mod input;
mod new_file;
mod show;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use cli::{Cli, Globals};
use client::session::Session;
use failure::{Exit, Failure};
use input::complete;
use term::output::{self, Out, say};

/// The whole command line, with groups and examples in its help.
pub fn command() -> clap::Command {
    help::dress(Cli::command())
}

/// The command line as it is defined: manual pages have sections of their own for the rest.
fn plain_command() -> clap::Command {
    Cli::command()
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    if complete::answered(command) {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(run(std::env::args_os()) as u8)
}

/// Runs the program on these arguments, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&words);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            if let Some(word) = hidden_text(&words) {
                say(&format!("{word} is an option, and nothing was sent"));
                output::note(&format!(
                    "hint: `chatctl send WHO -- {word}` sends it as text; `chatctl help send` explains"
                ));
                return Exit::Usage;
            }
            // Help and version were asked for: they are data. A reader who closed the pipe has seen enough.
            let _ = error.print();
            return Exit::Ok;
        }
        Err(error) => {
            let text = error.render().to_string();
            // Several lines, of which the user's own words are the only part that is not this program's.
            output::page(&format!("chatctl: {}", text.strip_prefix("error: ").unwrap_or(&text)));
            if error.kind() == ErrorKind::UnknownArgument && words.iter().any(|word| word == "send") {
                output::note("hint: a text that begins with - is sent by `chatctl send WHO -- -TEXT`");
            }
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

/// The option that asked for help or the version, where a message was to be sent: a text that begins with `-` and came out
/// of a variable, most likely. Whoever was named should have got something.
fn hidden_text(words: &[OsString]) -> Option<String> {
    let words: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let send = words.iter().position(|word| word == "send")?;
    let command = command();
    let options: Vec<_> = command.find_subcommand("send")?.get_arguments().chain(command.get_arguments()).collect();
    let takes_value = |word: &str| {
        let name = word.strip_prefix("--").unwrap_or_default();
        options.iter().any(|option| option.get_long() == Some(name) && option.get_action().takes_values())
    };
    let mut who = false;
    let mut words = words.into_iter().skip(send + 1);
    while let Some(word) = words.next() {
        match word.as_ref() {
            "-h" | "--help" | "-V" | "--version" => return who.then(|| word.into_owned()),
            option if takes_value(option) => drop(words.next()),
            option if option.starts_with('-') => {}
            _ => who = true,
        }
    }
    None
}

fn execute(cli: Cli) -> Result<Exit, Failure> {
    let Some(verb) = cli.verb else {
        output::page(&command().render_help().to_string());
        return Ok(Exit::Usage);
    };
    // One thread: a client waits for one socket, and a second thread would only cost start-up time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Failure::other(format!("cannot start: {source}")))?;
    let Globals { json, color, account, socket, token } = cli.globals;
    let mut session = Session::new(Out::new(json, color), account, socket, token);
    let result = runtime.block_on(async {
        let result = verb.run(&mut session).await;
        session.out.end_page().map_err(Failure::from).and(result)
    });
    // A thread that still reads standard input must not keep the process alive.
    runtime.shutdown_background();
    let exit = result?;
    session.out.end()?;
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_in_place_of_a_text_is_noticed() {
        let hidden = |line: &str| hidden_text(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for (line, word) in [
            ("chatctl send bob --version", Some("--version")),
            ("chatctl --json send --tag x bob hello -h", Some("-h")),
            ("chatctl send --help", None),
            ("chatctl send --tag bob --help", None),
            ("chatctl history bob --help", None),
        ] {
            assert_eq!(hidden(line).as_deref(), word, "{line}");
        }
    }
}
