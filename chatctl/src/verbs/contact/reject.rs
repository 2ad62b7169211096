//! `chatctl reject`.

use proto::rpc::methods::ContactReject;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who asked: the handle of the request (%7), a name, name@domain or label
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactReject>(&params).await?;
    session.tell(&contact, |who| format!("refused the request of {who}")).await
}
