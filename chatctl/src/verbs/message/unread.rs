//! `chatctl unread`.

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::contact;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let unread = session.unread().await?;
    session.out.either(&unread, |out, unread| {
        if unread.conversations.is_empty() {
            note("nothing unread");
        }
        out.table(&mut contact::unread(&unread.conversations))
    })?;
    Ok(Exit::Ok)
}
