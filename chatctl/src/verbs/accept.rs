//! `chatctl accept`.

use proto::rpc::methods::ContactAccept;

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;
use crate::show;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who asked: a name, name@domain or label
    who: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = session.who_params(&args.who);
    let result = session.call::<ContactAccept>(&params).await?;
    session.out.either(&result, |_, contact| {
        note(&format!(
            "{} is a contact now; write with: chatctl send {} hello",
            contact.address,
            show::argument(&contact.address)
        ));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
