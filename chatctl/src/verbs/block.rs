//! `chatctl block`.

use proto::rpc::methods::ContactBlock;

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;
use crate::show;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let result = session.call::<ContactBlock>(&params).await?;
    session.out.either(&result, |_, contact| {
        note(&format!(
            "{} is blocked; undo with: chatctl unblock {}",
            contact.address,
            show::argument(&contact.address)
        ));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
