//! `chatctl status`.

use proto::rpc::methods::SystemStatus;
use proto::rpc::types::StatusResult;
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::status;
use crate::term::output::{Out, OutputError};

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

fn print(out: &mut Out, With { status, socket }: &With<'_>) -> Result<(), OutputError> {
    out.show(&status::status(status, socket))?;
    if status.accounts.is_empty() {
        out.note("no account of yours; make one with: chatctl register NAME")?;
    }
    Ok(())
}
