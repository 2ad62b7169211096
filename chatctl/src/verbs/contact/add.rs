//! `chatctl add`: asks somebody to become a contact.

use proto::invite::SCHEME;
use proto::rpc::methods::ContactAdd;
use proto::rpc::types::{ContactAddParams, ContactState};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or an invite (chat:...)
    who: String,
    /// Shown with the request
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let params = ContactAddParams { account: session.account(), who: args.who, message: args.message };
    let invited = params.who.trim_start().starts_with(SCHEME);
    let contact = session.call::<ContactAdd>(&params).await?;
    if invited && contact.state == ContactState::Requested {
        return session.tell(&contact, |who| format!("told {who}; you are contacts as soon as they hear of it")).await;
    }
    session.tell(&contact, |who| outcome(contact.state, who)).await
}

fn outcome(state: ContactState, who: &str) -> String {
    match state {
        ContactState::Accepted => format!("you and {who} are contacts"),
        ContactState::Pending => format!("{who} asks you, too; chatctl accept {}", words::argument(who)),
        ContactState::Requested => format!("asked {who}; `chatctl contacts` shows when it is accepted"),
        ContactState::Rejected => format!("{who} refused"),
        ContactState::GivenUp => format!("the request to {who} was given up"),
        ContactState::Removed => format!("{who} is not a contact"),
    }
}
