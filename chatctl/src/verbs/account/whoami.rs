//! `chatctl whoami`.

use crate::client::session::Session;
use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let account = session.whoami().await?;
    session.out.either(&account, crate::verbs::account_facts)?;
    Ok(Exit::Ok)
}
