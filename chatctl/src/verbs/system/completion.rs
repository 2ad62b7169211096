//! `chatctl completion`: a script that asks this program, so that names of contacts and accounts are completed, too.

use clap::ValueEnum;
use clap_complete::env::Shells;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::complete::VARIABLE;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to print a script for
    shell: Shell,
}

/// What has a script.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let name = args.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&name) else {
        return Err(Failure::other(format!("there is no script for {name}")));
    };
    shell
        .write_registration(VARIABLE, "chatctl", "chatctl", "chatctl", &mut script)
        .map_err(|e| Failure::other(format!("cannot make the script: {e}")))?;
    session.out.raw(&script)?;
    Ok(Exit::Ok)
}
