//! `chatctl unmute`.

use proto::rpc::methods::ContactUnmute;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactUnmute>(&params).await?;
    session.tell(&contact, |who| format!("{who} is no longer muted")).await
}
