//! `chatctl status`.

use proto::rpc::methods::SystemStatus;
use proto::rpc::types::{AccountStatus, StatusResult};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::clock;
use crate::term::output::Out;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let status = session.call::<SystemStatus>(&params).await?;
    let socket = session.connected().map(|path| path.display().to_string()).unwrap_or_default();
    session.out.either(&With { status: &status, socket: &socket }, print)?;
    Ok(Exit::Ok)
}

/// What `--json` prints.
#[derive(Serialize)]
struct With<'a> {
    #[serde(flatten)]
    status: &'a StatusResult,
    socket: &'a str,
}

fn print(out: &mut Out, with: &With<'_>) -> Result<(), Failure> {
    let status = with.status;
    let mut facts = vec![
        ("daemon", format!("{}, API {}, up {}", status.server, status.api, clock::span(status.uptime))),
        ("client", format!("chatctl {}, API {}", env!("CARGO_PKG_VERSION"), proto::rpc::API_VERSION)),
        ("socket", with.socket.to_owned()),
        ("node", status.node.to_string()),
        ("listens on", if status.addresses.is_empty() { "-".to_owned() } else { status.addresses.join(", ") }),
        (
            "open",
            format!("{}, {}", crate::verbs::count(status.links, "link"), crate::verbs::count(status.clients, "client")),
        ),
    ];
    for client in &status.own_clients {
        let pid = client.pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
        let since = clock::clock(client.since);
        let program = if client.program.is_empty() { "a program" } else { &client.program };
        facts.push(("used by", format!("{program}{pid} since {since}: {}", client.does)));
    }
    for user in &status.user_clients {
        facts.push(("user", format!("{}: {}", user.uid, crate::verbs::count(user.clients, "client"))));
    }
    crate::verbs::facts(out, &facts)?;
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
        ("account", crate::verbs::address(&account.address, account.default)),
        ("state", crate::verbs::account_state(account.logged_in, account.online).to_owned()),
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
    crate::verbs::facts(out, &facts)
}
