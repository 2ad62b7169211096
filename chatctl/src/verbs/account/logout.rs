//! `chatctl logout`.

use proto::rpc::methods::AccountLogout;
use proto::rpc::{ErrorCode, RpcError};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.account_params();
    let result = match session.call::<AccountLogout>(&params).await {
        // The advice to log in is not for somebody who wants to be logged out.
        Err(Failure::Rpc(RpcError { code: ErrorCode::LoggedOut, text, .. })) => return Err(Failure::other(text)),
        result => result?,
    };
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
