//! Completion in the shell: verbs and flags from the definition, names of people and accounts from the daemon.
//!
//! Not its job: saying what goes wrong. Who presses Tab wants a name or nothing, and soon.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use proto::rpc::methods::{AccountList, ContactList, ContactRequests};
use proto::rpc::types::Empty;

use crate::client::session::Session;
use crate::term::escape;
use crate::term::output::{Color, Out};

/// The variable by which the script of a shell asks.
pub const VARIABLE: &str = "CHATCTL_COMPLETE";
/// Longest wait for the daemon: a shell that hangs is worse than one that completes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which names an argument takes.
#[derive(Clone, Copy)]
enum Names {
    Contacts,
    Requests,
    Accounts,
}

/// Answers a shell by the definition of the command line, if one asks; `false` if none does.
pub fn answered(definition: fn() -> Command) -> bool {
    let asked = CompleteEnv::with_factory(|| dress(definition())).var(VARIABLE).bin("chatctl");
    // What cannot be answered is answered with nothing.
    asked.try_complete(std::env::args_os(), None).unwrap_or(true)
}

/// The definition, in which arguments know their names. All in place: `mut_arg` and `mut_subcommand` change the order, and
/// with it which positional argument is which.
fn dress(command: Command) -> Command {
    let accounts = |arg: Arg| if arg.get_id() == "account" { arg.add(from(Names::Accounts)) } else { arg };
    command.mut_args(accounts).mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        person(verb, &name)
    })
}

fn person(command: Command, verb: &str) -> Command {
    let (id, names) = match verb {
        "use" => ("name", Names::Accounts),
        "accept" | "reject" => ("who", Names::Requests),
        _ => ("who", Names::Contacts),
    };
    let known = |arg: Arg| if arg.get_id() == id { arg.add(from(names)) } else { arg };
    command.mut_args(known).mut_subcommands(|inner| person(inner, verb))
}

fn from(names: Names) -> ArgValueCandidates {
    ArgValueCandidates::new(move || ask(names).into_iter().map(CompletionCandidate::new).collect())
}

/// The names, from the daemon that the line would talk to; none if it does not answer in time.
fn ask(names: Names) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() else {
        return Vec::new();
    };
    let words: Vec<OsString> = std::env::args_os().collect();
    let after = |flag: &str, variable: &str| {
        let at = words.iter().position(|word| word == flag);
        at.and_then(|at| words.get(at + 1).cloned()).or_else(|| std::env::var_os(variable))
    };
    let account = after("--account", "CHATD_ACCOUNT").and_then(|name| name.into_string().ok());
    let socket = after("--socket", "CHATD_SOCKET").map(Into::into);
    let token = after("--token", "CHATD_TOKEN").and_then(|token| token.into_string().ok());
    let mut session = Session::new(Out::new(false, Color::Never), account, socket, token);
    let asked = async {
        Some(match names {
            Names::Contacts => people(session.contacts::<ContactList>().await.ok()?),
            Names::Requests => people(session.contacts::<ContactRequests>().await.ok()?),
            Names::Accounts => {
                let all = session.call::<AccountList>(&Empty {}).await.ok()?;
                all.accounts.into_iter().map(|account| account.name).collect()
            }
        })
    };
    let found: Vec<String> =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await.ok()? }).unwrap_or_default();
    // A name that acts on a terminal, or on a shell's script, is typed by whoever wants it.
    found.into_iter().filter(|name| !name.chars().any(|c| escape::acts(c) || c.is_whitespace())).collect()
}

fn people(found: proto::rpc::types::ContactsResult) -> Vec<String> {
    found.contacts.into_iter().map(|contact| contact.who).collect()
}
