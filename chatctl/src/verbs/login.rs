//! `chatctl login`.

use proto::rpc::methods::AccountLogin;

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let result = session.call::<AccountLogin>(&params).await?;
    session.out.either(&result, |_, account| {
        note(&format!("{} is {}", account.address, super::account_state(account.logged_in, account.online)));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
