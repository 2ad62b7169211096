//! `chatctl block`.

use proto::rpc::methods::ContactBlock;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain, label or handle of a request (%7)
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactBlock>(&params).await?;
    session.tell(&contact, |who| format!("{who} is blocked; undo with: chatctl unblock {}", words::argument(who))).await
}
