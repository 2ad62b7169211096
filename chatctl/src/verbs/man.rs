//! `chatctl man`: manual pages in roff, for `chatctl man | man -l -` and for packages.

use std::fmt::Write as _;

use clap::Command;

use crate::failure::{Exit, Failure};
use crate::help::{FILES, examples_of};
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb to print the page of, such as send or key-rotate; the program's own page if left out
    verb: Vec<String>,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut command = crate::plain_command();
    command.build();
    let path = args.verb.join("-");
    let path = path.strip_prefix("chatctl-").unwrap_or(&path);
    let Some(found) = find(&command, path) else {
        return Err(Failure::Usage(format!("there is no verb {path:?}; `chatctl --help` lists them")));
    };
    let failed = |e| Failure::other(format!("cannot make the manual page: {e}"));
    let mut page = Vec::new();
    clap_mangen::Man::new(found.clone()).render(&mut page).map_err(failed)?;
    let mut more = String::new();
    let verb = path.split('-').next().unwrap_or_default();
    section(&mut more, "EXAMPLES", examples_of(verb));
    section(&mut more, "FILES", &FILES);
    page.extend_from_slice(more.as_bytes());
    session.out.raw(&page)?;
    Ok(Exit::Ok)
}

/// The command of a page's name: `key-rotate` is `key rotate`, and `dead-letters` one word.
fn find<'a>(command: &'a Command, path: &str) -> Option<&'a Command> {
    if path.is_empty() {
        return Some(command);
    }
    command.get_subcommands().find_map(|verb| {
        let rest =
            [verb.get_name()].into_iter().chain(verb.get_all_aliases()).find_map(|name| path.strip_prefix(name))?;
        match rest.strip_prefix('-') {
            Some(rest) => find(verb, rest),
            None => rest.is_empty().then_some(verb),
        }
    })
}

fn section(page: &mut String, title: &str, entries: &[(&str, &str)]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(page, ".SH {title}");
    for (what, text) in entries {
        let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", roff(what), roff(text));
    }
}

/// Text in which nothing is an order to roff.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
