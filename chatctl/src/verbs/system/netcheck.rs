//! `chatctl netcheck`: what the network allows, seen from the account's directory.

use proto::rpc::methods::SystemNetcheck;
use proto::rpc::types::CheckLevel;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::status;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let found = session.call::<SystemNetcheck>(&params).await?;
    session.out.either(&found, |out, found| out.show(&status::network(&found.checks)))?;
    let failed = found.checks.iter().any(|check| check.level == CheckLevel::Error);
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}
