//! `chatctl requests`.

use proto::rpc::methods::ContactRequests;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::contact;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let requests = session.contacts::<ContactRequests>().await?;
    session.out.either(&requests, |out, requests| {
        if requests.contacts.is_empty() {
            note("no requests");
        }
        let lines: Vec<_> = requests.contacts.iter().map(contact::waiting).collect();
        out.show(&lines)
    })?;
    Ok(Exit::Ok)
}
