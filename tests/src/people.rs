//! The fixture of most tests: alice and bob, who can write to each other.

use std::sync::Arc;

use serde_json::Value;

use crate::ctl::Ctl;
use crate::daemon::{Daemon, DaemonOptions};
use crate::directory::{Directory, DirectoryOptions};
use crate::wait::wait_for;

/// A directory, and alice and bob as mutual contacts.
#[derive(Debug)]
pub struct Pair {
    /// Alice's `chatctl`.
    pub alice: Ctl,
    /// Bob's `chatctl`.
    pub bob: Ctl,
    /// Alice's daemon.
    pub alice_daemon: Daemon,
    /// Bob's daemon, where it is another one.
    bob_daemon: Option<Daemon>,
    /// The directory.
    pub directory: Directory,
}

impl Pair {
    /// Alice and bob on two daemons.
    ///
    /// # Panics
    /// When any step fails.
    #[track_caller]
    pub fn start() -> Self {
        let pair = Self::strangers();
        befriend(&pair.alice, &pair.bob);
        pair
    }

    /// Alice and bob on one daemon.
    ///
    /// # Panics
    /// When any step fails.
    #[track_caller]
    pub fn on_one_daemon() -> Self {
        let directory = Directory::start();
        let place = Arc::clone(directory.place());
        let daemon = Daemon::start(DaemonOptions::new("both", directory.url()).place(&place));
        let (alice, bob) = (daemon.ctl("alice"), daemon.ctl("bob"));
        alice.ok(["register", "alice"]);
        bob.ok(["register", "bob"]);
        befriend(&alice, &bob);
        Self { alice, bob, alice_daemon: daemon, bob_daemon: None, directory }
    }

    /// Both registered, on two daemons, and no contacts yet.
    ///
    /// # Panics
    /// When any step fails.
    #[track_caller]
    pub fn strangers() -> Self {
        Self::strangers_with("", DirectoryOptions::default())
    }

    /// The same with a config for the daemons and options for the directory.
    ///
    /// # Panics
    /// When any step fails.
    #[track_caller]
    pub fn strangers_with(config: &str, options: DirectoryOptions) -> Self {
        let pair = Self::nobody(config, options);
        pair.alice.ok(["register", "alice"]);
        pair.bob.ok(["register", "bob"]);
        pair
    }

    /// Two daemons, and nobody registered.
    ///
    /// # Panics
    /// When one of them does not start.
    #[track_caller]
    pub fn unregistered() -> Self {
        Self::nobody("", DirectoryOptions::default())
    }

    #[track_caller]
    fn nobody(config: &str, options: DirectoryOptions) -> Self {
        let directory = Directory::start_with(options);
        let place = Arc::clone(directory.place());
        let start = |name: &str| {
            let mut options = DaemonOptions::new(name, directory.url()).place(&place);
            if !config.is_empty() {
                options = options.config(config);
            }
            Daemon::start(options)
        };
        let (alice_daemon, bob_daemon) = (start("alice"), start("bob"));
        let (alice, bob) = (alice_daemon.ctl("alice"), bob_daemon.ctl("bob"));
        Self { alice, bob, alice_daemon, bob_daemon: Some(bob_daemon), directory }
    }

    /// The daemon that bob is on.
    pub fn bob_daemon(&mut self) -> &mut Daemon {
        self.bob_daemon.as_mut().unwrap_or(&mut self.alice_daemon)
    }

    /// Registers one more person on a daemon of its own.
    ///
    /// # Panics
    /// When any step fails.
    #[track_caller]
    pub fn join(&self, name: &str) -> (Daemon, Ctl) {
        let daemon = Daemon::start(DaemonOptions::new(name, self.directory.url()).place(self.directory.place()));
        let ctl = daemon.ctl(name);
        ctl.ok(["register", name]);
        (daemon, ctl)
    }
}

/// Makes two registered people mutual contacts: the first asks, the second accepts.
///
/// # Panics
/// When any step fails.
#[track_caller]
pub fn befriend(asker: &Ctl, answerer: &Ctl) {
    asker.ok(["add", answerer.name()]);
    let (from, to) = (asker.name().to_owned(), answerer.name().to_owned());
    wait_for(&format!("{to} sees {from}'s request"), || {
        named(&answerer.list(["requests"], "contacts"), &from).is_some()
    });
    answerer.ok(["accept", &from]);
    wait_for(&format!("{from} sees {to}'s acceptance"), || contact_state(asker, &to).as_deref() == Some("accepted"));
    wait_for(&format!("{to} has {from} as a contact"), || {
        contact_state(answerer, &from).as_deref() == Some("accepted")
    });
}

/// The state of one contact, as `chatctl contacts` shows it.
#[track_caller]
pub fn contact_state(ctl: &Ctl, who: &str) -> Option<String> {
    Some(contact(ctl, who)?.get("state")?.as_str()?.to_owned())
}

/// One contact, as `chatctl contacts` shows it.
#[track_caller]
pub fn contact(ctl: &Ctl, who: &str) -> Option<Value> {
    named(&ctl.list(["contacts"], "contacts"), who).cloned()
}

/// The object of that `name`.
pub fn named<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["name"] == name)
}
