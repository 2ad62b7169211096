//! `chatctl requests`.

use proto::rpc::methods::ContactRequests;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::show::clock::clock;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

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
