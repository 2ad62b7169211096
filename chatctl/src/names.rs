//! What people are called: the user's own label, else `bob` in the account's directory and `bob@example.org` elsewhere.
//!
//! The daemon calls people by name in messages and events; here labels take the place of names, for people only. JSON
//! stays as the daemon says it.

use std::collections::HashMap;

use proto::rpc::event::Event;
use proto::rpc::types::{Contact, Message};

/// The contact without its label: the name alone if its domain is that of `home`, the address of the own account.
pub fn unlabelled<'a>(contact: &'a Contact, home: &str) -> &'a str {
    let domain = |address: &str| address.split_once('@').map(|(_, domain)| domain.to_owned());
    if domain(&contact.address) == domain(home) { &contact.name } else { &contact.address }
}

/// The contact as its owner calls it.
pub fn called<'a>(contact: &'a Contact, home: &str) -> &'a str {
    contact.label.as_deref().unwrap_or_else(|| unlabelled(contact, home))
}

/// Labels, by the names whose place they take.
#[derive(Debug, Default)]
pub struct Labels(HashMap<String, String>);

impl Labels {
    /// The labels of these contacts of the account with the address `home`.
    pub fn new(contacts: Vec<Contact>, home: &str) -> Self {
        let labelled = contacts.into_iter().filter_map(|contact| {
            let name = unlabelled(&contact, home).to_owned();
            contact.label.filter(|label| *label != name).map(|label| (name, label))
        });
        Self(labelled.collect())
    }

    fn put(&self, name: &mut String) {
        if let Some(label) = self.0.get(name.as_str()) {
            name.clone_from(label);
        }
    }

    /// The label of somebody, or the name itself.
    pub fn name(&self, mut name: String) -> String {
        self.put(&mut name);
        name
    }

    /// Puts the label where the other side of the message is named. Own names have no label.
    pub fn message(&self, message: &mut Message) {
        self.put(if message.received_at.is_some() { &mut message.from } else { &mut message.to });
    }

    /// Puts the label wherever the event names somebody.
    pub fn event(&self, event: &mut Event) {
        if let Some(who) = &mut event.who {
            self.put(who);
        }
        if let Some(message) = &mut event.message {
            self.message(message);
        }
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
        for (home, name) in [
            ("alice@example.org", "carol"),
            ("alice@other.example", "carol@example.org"),
            ("alice", "carol@example.org"),
            ("", "carol@example.org"),
        ] {
            assert_eq!(called(&carol, home), name, "{home}");
        }
        carol.label = Some("caz".into());
        assert_eq!((called(&carol, ""), unlabelled(&carol, "a@example.org")), ("caz", "carol"));
    }

    #[test]
    fn a_label_takes_the_place_of_the_other_side() {
        let mut bob = samples::contact();
        (bob.name, bob.address, bob.label) = ("bob".into(), "bob@example.org".into(), Some("ally".into()));
        let labels = Labels::new(vec![bob, samples::contact()], "alice@example.org");
        let mut message = samples::message();
        labels.message(&mut message);
        assert_eq!((message.from.as_str(), message.to.as_str()), ("ally", "alice"));
        // An account of one's own may have the name that somebody elsewhere has.
        (message.from, message.to, message.received_at) = ("bob".into(), "bob".into(), None);
        labels.message(&mut message);
        assert_eq!((message.from.as_str(), message.to.as_str()), ("bob", "ally"));
    }
}
