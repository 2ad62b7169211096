//! People behind routers of different kinds, each on a network of its own (parity row D5).

mod netcheck;
mod roaming;
mod ways;

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::lab::{House, INTERNET, Lab, Nat};
use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions};

use crate::util::{send, state_of, wait_for_body};

/// A directory on the internet, and alice and bob, each behind a router.
pub struct World {
    pub lab: Lab,
    pub houses: [House; 2],
    pub directory: Directory,
    pub alice_daemon: Daemon,
    pub bob_daemon: Daemon,
    pub alice: Ctl,
    pub bob: Ctl,
}

impl World {
    /// With both of them registered, and contacts.
    pub fn start(nats: [Nat; 2]) -> anyhow::Result<Self> {
        Self::with(nats, "")
    }

    /// The same, with lines of configuration for both daemons.
    pub fn with(nats: [Nat; 2], config: &str) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let houses = [lab.house(nats[0])?, lab.house(nats[1])?];
        let directory = lab.internet.within(|| {
            let listen = Some(format!("{INTERNET}:0"));
            Directory::try_start(DirectoryOptions { listen, ..DirectoryOptions::default() })
        })??;
        let start = |house: &House, name: &str| {
            let options = DaemonOptions::new(name, directory.url()).place(directory.place());
            let env =
                std::env::var("CHATD_LAB_LOG").map(|filter| ("CHATD_LOG".to_owned(), filter)).into_iter().collect();
            let options = DaemonOptions { listen: Some("0.0.0.0:0".into()), env, ..options }.config(config);
            house.host.within(|| Daemon::try_start(options))?
        };
        let (alice_daemon, bob_daemon) = (start(&houses[0], "alice")?, start(&houses[1], "bob")?);
        let (alice, bob) = (alice_daemon.ctl("alice"), bob_daemon.ctl("bob"));
        alice.ok(["register", "alice"]);
        bob.ok(["register", "bob"]);
        befriend(&alice, &bob);
        for ctl in [&alice, &bob] {
            wait_for("it waits at the relay", || status_of(ctl)["relay"].is_string());
        }
        Ok(Self { lab, houses, directory, alice_daemon, bob_daemon, alice, bob })
    }

    /// Both daemons end, and begin anew: no link, nothing remembered.
    pub fn cold(&mut self) {
        self.alice_daemon.stop();
        self.bob_daemon.stop();
        for (house, daemon) in self.houses.iter().zip([&mut self.alice_daemon, &mut self.bob_daemon]) {
            house.host.within(|| daemon.try_again(&[])).unwrap().unwrap();
        }
    }
}

/// What `status` says of the daemon itself.
pub fn status_of(ctl: &Ctl) -> Value {
    ctl.json(["status"])
}

/// Sends, and waits until it is there; how long that took.
pub fn delivered(from: &Ctl, to: &Ctl, body: &str) -> Duration {
    let begun = Instant::now();
    let id = send(from, to.name(), body);
    wait_for("it is delivered", || state_of(from, &id) == "delivered");
    let took = begun.elapsed();
    wait_for_body(to, from.name(), body);
    took
}

/// The answers of some pings.
pub fn pings(ctl: &Ctl, who: &str, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["ping", who, "--json"];
    args.extend(more);
    let output = ctl.run(args);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether the last of them came by this way.
pub fn route(pings: &[Value]) -> &str {
    pings.last().and_then(|pong| pong["route"].as_str()).unwrap_or("none")
}

macro_rules! world {
    ($nats:expr) => {
        match $crate::nat::World::start($nats) {
            Ok(world) => world,
            Err(error) => tests::skip!("no lab of networks: {error:#}"),
        }
    };
}
pub(crate) use world;
