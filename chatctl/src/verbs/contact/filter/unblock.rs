//! `chatctl unblock`.

use proto::rpc::methods::ContactUnblock;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactUnblock>(&params).await?;
    session.tell(&contact, |who| format!("{who} is no longer blocked")).await
}
