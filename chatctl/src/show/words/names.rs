//! What people are called: the form that the daemon says names exactly one, which is the user's own label where that is clear.
//!
//! Messages and events name people by what everybody calls them, and by account; the label of an account takes the place of
//! the name, for people only. JSON stays as the daemon says it.

use proto::rpc::event::Event;
use proto::rpc::types::{Contact, Message};

use crate::term::escape;

/// The name of a contact beside its label: alone if its domain is that of `home`, the address of the own account. Of one that
/// is not confirmed, its words, marked as such.
pub fn unlabelled(contact: &Contact, home: &str) -> String {
    let domain = |address: &str| address.split_once('@').map(|(_, domain)| domain.to_owned());
    let name = if domain(&contact.address) == domain(home) { &contact.name } else { &contact.address };
    if contact.confirmed { name.clone() } else { claimed(name) }
}

/// A name that somebody gives himself.
pub fn claimed(name: &str) -> String {
    format!("says to be \"{}\", not confirmed", escape::line(name))
}

/// Puts the label where the other side of the message is named. Own names have no label.
pub fn label_message(message: &mut Message) {
    if let Some(label) = &message.label {
        let place = if message.received_at.is_some() { &mut message.from } else { &mut message.to };
        place.clone_from(label);
    }
}

/// Puts the label wherever the event names somebody.
pub fn label_event(event: &mut Event) {
    if let (Some(who), Some(label)) = (&mut event.who, &event.label) {
        who.clone_from(label);
    }
    if let Some(message) = &mut event.message {
        label_message(message);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::show::samples;

    #[test]
    fn the_shortest_name_that_is_clear() {
        let mut carol = samples::contact();
        carol.confirmed = true;
        for (home, name) in [
            ("alice@example.org", "carol"),
            ("alice@other.example", "carol@example.org"),
            ("alice", "carol@example.org"),
            ("", "carol@example.org"),
        ] {
            assert_eq!(unlabelled(&carol, home), name, "{home}");
        }
        carol.confirmed = false;
        assert_eq!(unlabelled(&carol, "alice@example.org"), "says to be \"carol\", not confirmed");
    }

    #[test]
    fn a_label_takes_the_place_of_the_other_side() {
        let mut message = samples::message();
        message.label = Some("ally".into());
        label_message(&mut message);
        assert_eq!((message.from.as_str(), message.to.as_str()), ("ally", "alice"));
        // An account of one's own may have the name that somebody elsewhere has.
        (message.from, message.to, message.received_at) = ("bob".into(), "bob".into(), None);
        label_message(&mut message);
        assert_eq!((message.from.as_str(), message.to.as_str()), ("bob", "ally"));
    }
}
