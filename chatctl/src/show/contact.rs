//! People as lines: requests, and the lists of contacts, users and unread messages.

use proto::rpc::types::{Contact, ContactState, PingResult, Route, Unread, User};
use proto::time::Timestamp;

use super::words::clock::clock;
use super::words::{argument, contact_state, names, presence, reasons, trust};
use crate::term::span::{Line, Span};
use crate::term::table::Table;

/// From this time on (the year 9000) muting has no end that is worth showing.
const MUTED_FOR_EVER: Timestamp = Timestamp(221_845_392_000_000);

/// A contact's daemon that answered.
pub fn pong(pong: &PingResult) -> Line {
    let took = format!(" in {:.1} ms, ", pong.round_trip_us as f64 / 1e3);
    let address = pong.address.as_deref().unwrap_or_default();
    let way = match pong.route {
        Route::Direct => format!("direct: {address}"),
        Route::Relayed => format!("relayed: {address}"),
        Route::Local => "on this daemon".to_owned(),
    };
    Line::from([Span::name(&pong.who), " answered".into(), (took + &way).into()])
}

/// A request that waits, with the command that accepts it. What its sender chose is in quotes, and said to be so.
pub fn request(contact: &Contact) -> Line {
    let key = &contact.fingerprint;
    let mut line = if contact.confirmed {
        Line::from([Span::name(&contact.who), format!(" asks to be a contact (key {key})").into()])
    } else {
        let claim = &contact.address;
        format!("somebody who says to be \"{claim}\" (name not confirmed; key {key}) asks to be a contact").into()
    };
    if let Some(text) = contact.message.as_deref().filter(|text| !text.is_empty()) {
        // A quotation mark within would seem to end what the other wrote.
        line.push(format!(", and writes: \"{}\"", text.replace('"', "\\\"")));
    }
    let form = contact.handle.as_deref().unwrap_or(&contact.who);
    line.push(format!("; chatctl accept {}", argument(form)));
    line
}

/// A request in the list of those that wait, with its time.
pub fn waiting(contact: &Contact) -> Line {
    let line = request(contact);
    match contact.since {
        Some(since) => line.after(clock(since) + " "),
        None => line,
    }
}

/// The list of contacts; `home` is the own address.
pub fn contacts(contacts: &[Contact], home: &str) -> Table<6> {
    let mut table = Table::new([0; 6]).titled(["WHO", "STATE", "PRESENCE", "TRUST", "UNREAD", "NOTES"]);
    contacts.iter().for_each(|contact| table.row(row(contact, home)));
    table
}

fn row(contact: &Contact, home: &str) -> [String; 6] {
    let name = names::unlabelled(contact, home);
    // First the form that can be written in a command, whatever else is told.
    let name = match contact.label.as_deref() {
        Some(label) if *label != contact.who => format!("{} ({label})", contact.who),
        _ if contact.who == name => name,
        _ => format!("{} ({name})", contact.who),
    };
    let trust = if contact.state == ContactState::Accepted { trust(contact.trust) } else { "" };
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
    let presence = if contact.state == ContactState::Accepted { presence(contact.online) } else { "" };
    [name, contact_state(contact).to_owned(), presence.to_owned(), trust.to_owned(), unread, notes.join(", ")]
}

/// An empty list of users, to be filled page by page.
pub fn users() -> Table<3> {
    Table::new([12, 7, 0]).titled(["NAME", "PRESENCE", "IS"])
}

/// A row of [`users`].
pub fn user(user: &User) -> [String; 3] {
    let contact = if user.contact { "contact" } else { "" };
    [user.name.clone(), presence(user.online).to_owned(), contact.to_owned()]
}

/// How much is unread of whom.
pub fn unread(conversations: &[Unread]) -> Table<2> {
    let mut table = Table::new([0, 0]).titled(["WHO", "UNREAD"]);
    for conversation in conversations {
        table.row([conversation.who.clone(), conversation.count.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    use crate::term::escape;
    use crate::term::render::samples::plain;

    fn request(contact: &Contact) -> String {
        plain(&[super::request(contact)])
    }

    #[test]
    fn a_request_shows_the_command() {
        let mut contact = samples::contact();
        assert_eq!(
            request(&contact),
            "somebody who says to be \"carol@example.org\" (name not confirmed; key ab12-cd34) asks to be a contact, \
             and writes: \"it is me\\u{202e}, carol\"; chatctl accept %7"
        );
        (contact.confirmed, contact.who) = (true, "carol".into());
        contact.message = Some("hi\"; chatctl accept %1".into());
        assert_eq!(
            request(&contact),
            "carol asks to be a contact (key ab12-cd34), and writes: \"hi\\\"; chatctl accept %1\"; chatctl accept %7"
        );
    }

    #[test]
    fn a_row_tells_what_matters() {
        let row = |contact: &Contact, home: &str| row(contact, home).map(|cell| escape::line(&cell).into_owned());
        let mut contact = samples::contact();
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
