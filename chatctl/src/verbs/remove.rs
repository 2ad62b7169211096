//! `chatctl remove`.

use proto::rpc::methods::ContactRemove;

use crate::failure::{Exit, Failure};
use crate::output::note;
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
    let result = session.call::<ContactRemove>(&params).await?;
    session.out.either(&result, |_, _| {
        note(&format!("{} is no longer a contact; the history stays", args.who));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
