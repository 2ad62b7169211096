//! People behind routers of different kinds, each on a network of its own (parity row D5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tests::lab::{House, INTERNET, Lab, Nat};
use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions};

use crate::util::{send, state_of, wait_for_body};

/// A directory on the internet, and alice and bob, each behind a router.
struct World {
    directory: Directory,
    houses: [House; 2],
    daemons: [Daemon; 2],
    lab: Lab,
}

impl World {
    fn start(nats: [Nat; 2]) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let houses = [lab.house(nats[0])?, lab.house(nats[1])?];
        let directory = lab.internet.within(|| {
            let listen = Some(format!("{INTERNET}:0"));
            Directory::try_start(DirectoryOptions { listen, ..DirectoryOptions::default() })
        })??;
        let start = |house: &House, name: &str| {
            let options = DaemonOptions::new(name, directory.url()).place(&Arc::clone(directory.place()));
            let options = DaemonOptions { listen: Some("0.0.0.0:0".into()), ..options };
            house.host.within(|| Daemon::try_start(options))?
        };
        let daemons = [start(&houses[0], "alice")?, start(&houses[1], "bob")?];
        Ok(Self { directory, houses, daemons, lab })
    }

    fn people(&self) -> (Ctl, Ctl) {
        let (alice, bob) = (self.daemons[0].ctl("alice"), self.daemons[1].ctl("bob"));
        alice.ok(["register", "alice"]);
        bob.ok(["register", "bob"]);
        befriend(&alice, &bob);
        (alice, bob)
    }
}

#[test]
fn d5_easy_nat_to_easy_nat_is_soon_direct() {
    let world = match World::start([Nat::Easy, Nat::Easy]) {
        Ok(world) => world,
        Err(error) => tests::skip!("no lab: {error:#}"),
    };
    let (alice, bob) = world.people();
    let begun = Instant::now();
    let id = send(&alice, "bob", "hello");
    wait_for_body(&bob, "alice", "hello");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    println!("figure: easy to easy: delivered in {:?}", begun.elapsed());
    println!("{}", alice.ok(["trace", &id]).stdout);
    println!("{}", alice.ok(["status"]).stdout);
    let _ = (&world.houses, &world.lab, Duration::ZERO);
    panic!("look");
}
