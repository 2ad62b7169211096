//! `chatctl completion`.

use clap_complete::Shell;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to print a script for
    shell: Shell,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "chatctl", &mut script);
    session.out.raw(&script)?;
    Ok(Exit::Ok)
}
