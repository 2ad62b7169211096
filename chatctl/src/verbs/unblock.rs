//! `chatctl unblock`.

use proto::rpc::methods::ContactUnblock;

use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactUnblock>(&params).await?;
    session.tell(&contact, |who| format!("{who} is no longer blocked")).await
}
