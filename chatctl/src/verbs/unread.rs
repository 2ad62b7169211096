//! `chatctl unread`.

use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::session::Session;
use crate::table::Table;
use crate::terminal;

/// What it takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Does it.
pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let unread = session.unread().await?;
    session.out.either(&unread, |out, unread| {
        if unread.conversations.is_empty() {
            note("nothing unread");
        }
        let mut table = Table::new([0, 0]).titled(["WHO", "UNREAD"]);
        for conversation in &unread.conversations {
            table.row([terminal::line(&conversation.who).into_owned(), conversation.count.to_string()]);
        }
        table.print(out)
    })?;
    Ok(Exit::Ok)
}
