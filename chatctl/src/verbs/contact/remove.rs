//! `chatctl remove`.

use proto::rpc::methods::ContactRemove;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactRemove>(&params).await?;
    session.tell(&contact, |who| format!("{who} is no longer a contact; the history stays")).await
}
