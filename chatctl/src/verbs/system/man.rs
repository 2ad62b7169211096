//! `chatctl man`: manual pages in roff, for `chatctl man | man -l -` and for packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Command;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::help::{ENVIRONMENT, EXIT_STATUS, FILES, examples_of};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The verb to print the page of, such as send or key-rotate; the program's own page if left out
    verb: Vec<String>,
    /// Write the pages of all verbs into this folder instead, as chatctl-VERB.1 (for packages)
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    all: Option<PathBuf>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut command = crate::plain_command();
    command.build();
    if let Some(folder) = &args.all {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::other(format!("cannot make {}: {error}", folder.display())))?;
        write_all(&command, "", folder)?;
        return Ok(Exit::Ok);
    }
    let path = args.verb.join("-");
    let path = path.strip_prefix("chatctl-").unwrap_or(&path);
    let Some(found) = find(&command, path) else {
        return Err(Failure::Usage(format!("there is no verb {path:?}; `chatctl --help` lists them")));
    };
    session.out.raw(&page(found, path)?)?;
    Ok(Exit::Ok)
}

/// One page.
fn page(command: &Command, path: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e| Failure::other(format!("cannot make the manual page: {e}"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    let mut more = String::new();
    let verb = path.split('-').next().unwrap_or_default();
    section(&mut more, "EXAMPLES", examples_of(verb));
    section(&mut more, "FILES", &FILES);
    section(&mut more, "ENVIRONMENT", &ENVIRONMENT);
    section(&mut more, "EXIT STATUS", &EXIT_STATUS);
    page.extend_from_slice(more.as_bytes());
    Ok(page)
}

/// The pages of a command and of all below it, as files.
fn write_all(command: &Command, path: &str, folder: &Path) -> Result<(), Failure> {
    let name = if path.is_empty() { "chatctl.1".to_owned() } else { format!("chatctl-{path}.1") };
    let file = folder.join(name);
    std::fs::write(&file, page(command, path)?)
        .map_err(|error| Failure::other(format!("cannot write {}: {error}", file.display())))?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        let path = if path.is_empty() { verb.get_name().to_owned() } else { format!("{path}-{}", verb.get_name()) };
        write_all(verb, &path, folder)?;
    }
    Ok(())
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
