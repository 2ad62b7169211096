//! `chatctl status`.

use proto::rpc::methods::SystemStatus;
use proto::rpc::types::{AccountStatus, StatusResult};

use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::Out;
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let status = session.call::<SystemStatus>(&params).await?;
    session.out.either(&status, print)?;
    Ok(Exit::Ok)
}

fn print(out: &mut Out, status: &StatusResult) -> Result<(), Failure> {
    super::facts(
        out,
        &[
            ("daemon", format!("{}, API {}, up {}", status.server, status.api, clock::span(status.uptime))),
            ("client", format!("chatctl {}, API {}", env!("CARGO_PKG_VERSION"), proto::rpc::API_VERSION)),
            ("node", status.node.to_string()),
            ("listens on", if status.addresses.is_empty() { "-".to_owned() } else { status.addresses.join(", ") }),
            ("open", format!("{}, {}", super::count(status.links, "link"), super::count(status.clients, "client"))),
        ],
    )?;
    if status.accounts.is_empty() {
        out.note("no account of yours; make one with: chatctl register NAME")?;
    }
    for account in &status.accounts {
        out.line("")?;
        print_account(out, account)?;
    }
    Ok(())
}

fn print_account(out: &mut Out, account: &AccountStatus) -> Result<(), Failure> {
    let mut facts = vec![
        ("account", super::address(&account.address, account.default)),
        ("state", super::account_state(account.logged_in, account.online).to_owned()),
        ("directory", account.directory.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    if let Some(error) = &account.directory_error {
        facts.push(("problem", error.clone()));
    }
    if let Some(error) = &account.store_error {
        facts.push(("store", error.clone()));
    }
    if let Some(damaged) = &account.damaged {
        facts.push(("damaged", damaged.clone()));
    }
    if let Some(clock) = &account.clock {
        facts.push(("clock", clock.problem.clone()));
    }
    facts.push(("queued", account.queued.to_string()));
    facts.push(("unread", account.unread.to_string()));
    facts.push(("requests", account.requests.to_string()));
    facts.push(("contacts", account.contacts.to_string()));
    super::facts(out, &facts)
}
