//! `chatctl use`: the default among several accounts. The daemon keeps it, for all clients of the user.

use proto::rpc::methods::AccountUse;
use proto::rpc::types::AccountParams;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::note;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "--account comes before CHATD_ACCOUNT, and that before the default. A watch or chat that is open stays with the \
                        account it began with."
)]
pub struct Args {
    /// One of your accounts: its name, or name@domain
    name: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = AccountParams { account: Some(args.name) };
    let account = session.call::<AccountUse>(&params).await?;
    session.out.either(&account, |_, account| {
        note(&format!("{} is the default account now; --account and CHATD_ACCOUNT come before it", account.address));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
