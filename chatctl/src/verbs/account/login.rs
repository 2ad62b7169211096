//! `chatctl login`.

use proto::rpc::methods::AccountLogin;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let result = session.call::<AccountLogin>(&params).await?;
    session.out.either(&result, |_, account| {
        note(&format!(
            "{} is {}",
            account.address,
            crate::show::words::account_state(account.logged_in, account.online, account.directory.is_some())
        ));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
