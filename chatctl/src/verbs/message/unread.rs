//! `chatctl unread`.

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::escape;
use crate::term::output::note;
use crate::term::table::Table;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let unread = session.unread().await?;
    session.out.either(&unread, |out, unread| {
        if unread.conversations.is_empty() {
            note("nothing unread");
        }
        let mut table = Table::new([0, 0]).titled(["WHO", "UNREAD"]);
        for conversation in &unread.conversations {
            table.row([escape::line(&conversation.who).into_owned(), conversation.count.to_string()]);
        }
        table.print(out)
    })?;
    Ok(Exit::Ok)
}
