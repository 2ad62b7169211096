//! `chatctl reject`.

use proto::rpc::methods::ContactReject;

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who asked: a name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let result = session.call::<ContactReject>(&params).await?;
    session.out.either(&result, |_, _| {
        note(&format!("refused the request of {}", args.who));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
