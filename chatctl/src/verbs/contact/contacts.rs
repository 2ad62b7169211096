//! `chatctl contacts`.

use proto::rpc::methods::ContactList;
use proto::rpc::types::{Contact, ContactState};
use proto::time::Timestamp;

use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show;
use crate::show::clock::clock;
use crate::show::reasons;
use crate::term::escape;
use crate::term::output::note;
use crate::term::table::Table;

/// From this time on (the year 9000) muting has no end that is worth showing.
const MUTED_FOR_EVER: Timestamp = Timestamp(221_845_392_000_000);

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
        let mut table = Table::new([0; 6]).titled(["WHO", "STATE", "PRESENCE", "TRUST", "UNREAD", "NOTES"]);
        contacts.contacts.iter().for_each(|contact| table.row(row(contact, &home)));
        table.print(out)
    })?;
    Ok(Exit::Ok)
}

fn row(contact: &Contact, home: &str) -> [String; 6] {
    let name = names::unlabelled(contact, home);
    // First the form that can be written in a command, whatever else is told.
    let name = match contact.label.as_deref() {
        Some(label) if *label != contact.who => format!("{} ({label})", contact.who),
        _ if contact.who == name => name,
        _ => format!("{} ({name})", contact.who),
    };
    let trust = if contact.state == ContactState::Accepted { show::trust(contact.trust) } else { "" };
    let unread = if contact.unread > 0 { format!("* {} unread", contact.unread) } else { String::new() };
    let mut notes: Vec<String> =
        contact.reason.as_deref().map(|reason| reasons::words(reason).into_owned()).into_iter().collect();
    match contact.muted_until {
        Some(until) if until >= MUTED_FOR_EVER => notes.push("muted".to_owned()),
        Some(until) => notes.push(format!("muted until {}", clock(until))),
        None => {}
    }
    if let Some(profile) = contact.profile.as_ref().filter(|p| !p.status.is_empty()) {
        notes.push(format!("\"{}\"", profile.status));
    }
    let presence = if contact.state == ContactState::Accepted { show::presence(contact.online) } else { "" };
    [
        escape::line(&name).into_owned(),
        show::contact_state(contact).to_owned(),
        presence.to_owned(),
        trust.to_owned(),
        unread,
        escape::line(&notes.join(", ")).into_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_matters() {
        let mut contact = show::samples::contact();
        contact.state = ContactState::Accepted;
        contact.confirmed = true;
        (contact.label, contact.who) = (Some("caz\x1b".into()), "caz\x1b".into());
        contact.unread = 3;
        contact.muted_until = Some(Timestamp(253_402_300_799_000));
        let cells = ["caz\\u{1b} (carol)", "contact", "online", "unverified", "* 3 unread", "muted"];
        assert_eq!(row(&contact, "alice@example.org"), cells.map(str::to_owned));
        // A label that somebody else is called by is not what names her.
        contact.who = "carol".into();
        assert_eq!(row(&contact, "alice@example.org")[0], "carol (caz\\u{1b})");
        (contact.label, contact.who, contact.confirmed) = (None, "%7".into(), false);
        assert_eq!(row(&contact, "alice@example.org")[0], "%7 (says to be \"carol\", not confirmed)");
    }
}
