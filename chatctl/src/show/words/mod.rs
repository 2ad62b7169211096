//! Words that several views share: counts, commands to type, states, times, reasons, names.
//!
//! What is a `String` here may become a part of a sentence of this program: what others chose in it is made harmless here
//! already. Spans need not be; [`crate::term::render`] does that.

pub mod advice;
pub mod clock;
pub mod names;
pub mod reasons;

use proto::ids::MessageId;
use proto::rpc::types::{Contact, ContactState, Encryption, Trust};

use crate::term::escape;

/// Digits of an id that are shown.
pub const ID_DIGITS: usize = 8;

/// The end of an id, as it is shown: ids of a minute begin alike (UUIDv7).
pub fn short_id(id: MessageId) -> String {
    let whole = id.to_string();
    whole[whole.len() - ID_DIGITS..].to_owned()
}

/// `1 message`, `2 messages`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A name as an argument that a shell can be given: quoted when it holds more than letters, digits, `@`, `.`, `_`, `-`.
pub fn argument(name: &str) -> String {
    let shown = escape::line(name);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '#' | '%' | ':');
    if !shown.is_empty() && shown.chars().all(plain) && !shown.starts_with('-') {
        shown.into_owned()
    } else {
        format!("'{}'", shown.replace('\'', "'\\''"))
    }
}

/// Where a contact stands, in a word or two.
pub fn contact_state(contact: &Contact) -> &'static str {
    match contact.state {
        _ if contact.blocked => "blocked",
        ContactState::Requested => "asked",
        ContactState::Pending => "asks you",
        ContactState::Accepted => "contact",
        ContactState::Rejected => "refused",
        ContactState::Removed => "removed",
        ContactState::GivenUp => "given up",
    }
}

/// How far a key is trusted, in a word or two.
pub fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Unverified => "unverified",
        Trust::Verified => "verified",
        Trust::Rotated => "verify again",
        Trust::Changed => "KEY CHANGED",
    }
}

/// How messages are sealed and signed, and what a quantum computer could do about it.
pub fn encryption(how: &Encryption) -> String {
    let Encryption { suite, sealed, signed, post_quantum_confidentiality, post_quantum_authentication } = how;
    let read = if *post_quantum_confidentiality { "cannot read it" } else { "could read it" };
    let forged = if *post_quantum_authentication { "it cannot forge" } else { "it could forge" };
    format!("{sealed} (suite {suite}): a later quantum computer {read}; signed with {signed}, which {forged}")
}

/// `online`, `offline`, or `-` where nobody tells.
pub fn presence(online: Option<bool>) -> &'static str {
    match online {
        Some(true) => "online",
        Some(false) => "offline",
        None => "-",
    }
}

/// The address of an account, and whether that is the default.
pub fn address(address: &str, default: bool) -> String {
    if default { format!("{address} (the default)") } else { address.to_owned() }
}

/// Whether an account is online, in a word or two. `directory`: whether it has one.
pub fn account_state(logged_in: bool, online: bool, directory: bool) -> &'static str {
    match (logged_in, online) {
        (false, _) => "logged out",
        (true, true) => "logged in, online",
        (true, false) if directory => "logged in, directory not connected",
        (true, false) => "logged in; it has no directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_counted_as_one() {
        let shown = [0, 1, 2, 11, 21].map(|n| count(n, "message"));
        assert_eq!(shown, ["0 messages", "1 message", "2 messages", "11 messages", "21 messages"]);
    }

    #[test]
    fn the_end_of_an_id_is_shown() {
        let bytes = std::array::from_fn(|n| n as u8);
        assert_eq!(short_id(MessageId(bytes)), "0c0d0e0f");
    }

    #[test]
    fn a_name_is_no_shell_command() {
        assert_eq!(argument("bob"), "bob");
        assert_eq!(argument("x; rm -rf ~"), "'x; rm -rf ~'");
        assert_eq!(argument("it's"), "'it'\\''s'");
        assert_eq!(argument("-rf"), "'-rf'");
        assert_eq!(argument(""), "''");
    }
}
