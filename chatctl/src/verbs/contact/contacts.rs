//! `chatctl contacts`.

use proto::rpc::methods::ContactList;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::contact;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let contacts = session.contacts::<ContactList>().await?;
    let home = if session.out.json { String::new() } else { session.home().await };
    session.out.either(&contacts, |out, contacts| {
        if contacts.contacts.is_empty() {
            note("no contacts; ask somebody with: chatctl add WHO");
        }
        out.begin_page();
        out.table(&mut contact::contacts(&contacts.contacts, &home))
    })?;
    Ok(Exit::Ok)
}
