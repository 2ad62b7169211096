//! `chatctl unregister`: gives the name up, after a typed confirmation.

use std::io::{self, IsTerminal};

use proto::rpc::methods::AccountUnregister;
use proto::rpc::types::UnregisterParams;

use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::prompt;
use crate::show::words;
use crate::show::words::clock;
use crate::term::escape;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    if !args.yes && !io::stdin().is_terminal() {
        let text =
            "unregister asks for a typed confirmation, and standard input is no terminal; give --yes to go ahead";
        return Err(Failure::Usage(text.to_owned()));
    }
    let account = session.whoami().await?;
    if !args.yes {
        ask(&account.name, &account.address)?;
    }
    let params = UnregisterParams { account: Some(names::by_id(account.id)), confirm: account.name.clone() };
    let done = session.call::<AccountUnregister>(&params).await?;
    session.out.either(&done, |_, done| {
        note(&format!("{} is given up and deleted from this daemon", account.address));
        if let Some(until) = done.reserved_until {
            note(&format!(
                "The name rests for 30 days, until {}: until then only the account's recovery key gets it back \
                 (chatctl register {} --reclaim FILE), after that anybody may take it.",
                clock::precise(until),
                words::argument(&account.name)
            ));
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn ask(name: &str, address: &str) -> Result<(), Failure> {
    let (name, address) = (escape::line(name), escape::line(address));
    let typed = prompt::line(&format!(
        "This gives up {address} and deletes its keys, contacts and messages from this daemon. The name \
         then rests for 30 days: until then it is given back to the account's recovery key only.\nType {name} to go ahead: "
    ))?;
    if typed == name { Ok(()) } else { Err(Failure::other("not confirmed; nothing was changed")) }
}
