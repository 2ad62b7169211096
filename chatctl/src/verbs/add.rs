//! `chatctl add`: asks somebody to become a contact.

use proto::rpc::methods::ContactAdd;
use proto::rpc::types::{Contact, ContactAddParams, ContactState};

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;
use crate::show;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or an invite (chat:...)
    who: String,
    /// Shown with the request
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = ContactAddParams { account: session.account(), who: args.who, message: args.message };
    let contact = session.call::<ContactAdd>(&params).await?;
    session.out.either(&contact, |_, contact| {
        note(&outcome(contact));
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn outcome(contact: &Contact) -> String {
    let who = &contact.address;
    match contact.state {
        ContactState::Accepted => format!("{who} is a contact"),
        ContactState::Pending => format!("{who} asks you, too; chatctl accept {}", show::argument(&contact.address)),
        ContactState::Requested => format!("asked {who}; `chatctl contacts` shows when it is accepted"),
        ContactState::Rejected => format!("{who} refused"),
        ContactState::Removed => format!("{who} is not a contact"),
    }
}
