//! `chatctl man`: manual pages in roff, for `chatctl man | man -l -` and for packages.

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb to print the page of; the program's own page if left out
    verb: Option<String>,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut command = crate::command();
    command.build();
    let command = match args.verb {
        None => command,
        Some(verb) => match command.find_subcommand(&verb) {
            Some(found) => found.clone(),
            None => return Err(Failure::Usage(format!("there is no verb {verb:?}; `chatctl --help` lists them"))),
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|e| Failure::other(format!("cannot make the manual page: {e}")))?;
    session.out.raw(&page)?;
    Ok(Exit::Ok)
}
