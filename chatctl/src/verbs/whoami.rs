//! `chatctl whoami`.

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let account = session.whoami().await?;
    session.out.either(&account, super::account_facts)?;
    Ok(Exit::Ok)
}
