//! `chatctl rename`.

use proto::rpc::methods::ContactRename;
use proto::rpc::types::RenameParams;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words::names::unlabelled;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// The new label; empty ('') takes the label away
    label: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = RenameParams { account: session.account(), who: args.who, label: args.label };
    let contact = session.call::<ContactRename>(&params).await?;
    let home = if session.out.json { String::new() } else { session.home().await };
    session.out.either(&contact, |_, contact| {
        let who = unlabelled(contact, &home);
        note(&match contact.label.as_deref().filter(|label| *label != who) {
            Some(label) if *label != contact.who => {
                format!("{who} is now called {label}; so is somebody else: write {}", contact.who)
            }
            Some(label) => format!("{who} is now called {label}"),
            None => format!("{who} has no label now"),
        });
        Ok(())
    })?;
    Ok(Exit::Ok)
}
