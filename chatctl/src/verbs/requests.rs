//! `chatctl requests`.

use proto::rpc::methods::ContactRequests;

use crate::clock::clock;
use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;
use crate::show;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let requests = session.contacts::<ContactRequests>().await?;
    session.out.either(&requests, |out, requests| {
        if requests.contacts.is_empty() {
            note("no requests");
        }
        for contact in &requests.contacts {
            let since = contact.since.map(|at| clock(at) + " ").unwrap_or_default();
            let line = format!("{since}{}", show::request(contact, out.colour));
            out.line(&line)?;
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}
