//! `chatctl accept`.

use proto::rpc::methods::ContactAccept;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who asked: the handle of the request (%7), a name, name@domain or label
    who: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let contact = session.call::<ContactAccept>(&params).await?;
    session
        .tell(&contact, |who| {
            format!("you and {who} are contacts; write with: chatctl send {} hello", words::argument(who))
        })
        .await
}
