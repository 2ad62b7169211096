//! `chatctl block`.

use proto::rpc::methods::ContactBlock;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::show;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain, label or handle of a request (%7)
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactBlock>(&params).await?;
    session.tell(&contact, |who| format!("{who} is blocked; undo with: chatctl unblock {}", show::argument(who))).await
}
