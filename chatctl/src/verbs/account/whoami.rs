//! `chatctl whoami`.

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let account = session.whoami().await?;
    session.out.either(&account, |out, info| out.show(&show::account::account(info)))?;
    Ok(Exit::Ok)
}
