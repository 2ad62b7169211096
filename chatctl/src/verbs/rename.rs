//! `chatctl rename`.

use proto::rpc::methods::ContactRename;
use proto::rpc::types::RenameParams;

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// The new label; empty ('') takes the label away
    label: String,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = RenameParams { account: session.account(), who: args.who, label: args.label };
    let contact = session.call::<ContactRename>(&params).await?;
    session.out.either(&contact, |_, contact| {
        note(&match &contact.label {
            Some(label) => format!("{} is now called {label}", contact.address),
            None => format!("{} has no label now", contact.address),
        });
        Ok(())
    })?;
    Ok(Exit::Ok)
}
