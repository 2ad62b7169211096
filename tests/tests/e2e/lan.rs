//! Two machines on a cable, with no directory and no internet.

use std::time::{Duration, Instant};

use tests::lab::Net;
use tests::people::contact_state;
use tests::wait::{times_are_judged, wait_for};
use tests::{Ctl, Daemon, DaemonOptions};

use crate::util::{bodies, send, state_of, wait_for_body};

/// A machine with one end of the cable.
struct Machine {
    net: Net,
    daemon: Daemon,
    ctl: Ctl,
}

impl Machine {
    fn start(net: Net, name: &str, lan: bool) -> anyhow::Result<Self> {
        let config = format!("lan = {lan}\nname_servers = [\"127.0.0.1:9\"]\n");
        let options = DaemonOptions { name: name.into(), listen: Some("0.0.0.0:0".into()), ..DaemonOptions::default() };
        let daemon = net.within(|| Daemon::try_start(options.config(&config)))??;
        let ctl = daemon.ctl(name);
        ctl.ok(["register", name, "--directory", ""]);
        Ok(Self { net, daemon, ctl })
    }

    /// Another address, as another network would give it.
    fn move_to(&self, address: &str) {
        self.net.ip("addr flush dev eth0").unwrap();
        self.net.ip(&format!("addr add {address}/24 dev eth0")).unwrap();
    }

    fn again(&mut self) {
        let Self { net, daemon, .. } = self;
        net.within(|| daemon.try_again(&[])).unwrap().unwrap();
    }
}

/// The cable, and what is at its ends.
fn cable(lan: bool) -> anyhow::Result<[Machine; 2]> {
    let (here, there) = (Net::new()?, Net::new()?);
    here.pair("eth0", &there, "eth0")?;
    for (net, last) in [(&here, 1), (&there, 2)] {
        net.ip("link set lo up")?;
        net.ip(&format!("addr add 10.9.0.{last}/24 dev eth0"))?;
        net.ip("link set eth0 up")?;
    }
    Ok([Machine::start(here, "alice", lan)?, Machine::start(there, "bob", lan)?])
}

macro_rules! cable {
    ($lan:expr) => {
        match cable($lan) {
            Ok(machines) => machines,
            Err(error) => tests::skip!("no lab of networks: {error:#}"),
        }
    };
}

fn befriend(alice: &Ctl, bob: &Ctl) {
    let invite = alice.json(["invite", "--label", "bob"]);
    bob.ok(["add", invite["uri"].as_str().unwrap()]);
    let accepted = |of: &Ctl, who: &str| contact_state(of, who).as_deref() == Some("accepted");
    wait_for("both are contacts", || accepted(alice, "bob") && accepted(bob, "alice"));
}

#[test]
fn d5_two_machines_on_a_cable_find_each_other() {
    let [mut alice, mut bob] = cable!(true);
    befriend(&alice.ctl, &bob.ctl);
    alice.ctl.ok(["send", "bob", "over the cable"]);
    wait_for_body(&bob.ctl, "alice", "over the cable");
    // Both are somewhere else when they begin anew: what they remember of each other is worth nothing.
    let id = {
        bob.daemon.stop();
        let id = send(&alice.ctl, "bob", "where are you?");
        alice.daemon.stop();
        id
    };
    alice.move_to("10.9.0.11");
    bob.move_to("10.9.0.12");
    bob.again();
    alice.again();
    let begun = Instant::now();
    wait_for("it is delivered", || state_of(&alice.ctl, &id) == "delivered");
    println!("figure: two machines on a cable found each other in {:?}", begun.elapsed());
    // One that moves while both run is found again, too.
    let id = send(&alice.ctl, "bob", "before");
    wait_for("it is delivered", || state_of(&alice.ctl, &id) == "delivered");
    bob.move_to("10.9.0.22");
    let begun = Instant::now();
    let id = send(&alice.ctl, "bob", "after");
    wait_for("it is delivered", || state_of(&alice.ctl, &id) == "delivered");
    println!("figure: after a move on the cable: delivered {:?} later", begun.elapsed());
    assert_eq!(bodies(&bob.ctl, "alice", 9), ["over the cable", "where are you?", "before", "after"]);
}

#[test]
fn nothing_is_said_on_a_network_that_nobody_wanted_it_on() {
    let [alice, bob] = cable!(false);
    befriend(&alice.ctl, &bob.ctl);
    alice.ctl.ok(["send", "bob", "hello", "--wait", "delivered"]);
    // Groups that a machine has joined are those that it hears; the one of mDNS is none of them.
    let groups = alice.net.within(|| std::fs::read_to_string("/proc/thread-self/net/igmp")).unwrap().unwrap();
    assert!(groups.contains("eth0") && !groups.to_uppercase().contains("FB0000E0"), "{groups}");
}

impl Machine {
    /// Nothing arrives any more, and nobody is told.
    fn cut(&self) {
        self.net
            .nft("table ip cut {\n  chain in {\n    type filter hook input priority 0\n    drop\n  }\n}\n")
            .unwrap();
    }

    fn heal(&self) {
        self.net.nft("delete table ip cut\n").unwrap();
    }
}

/// No directory tells that the other is back, nor do they say so themselves on the cable: each looks for the other all the time.
#[test]
fn whoever_was_cut_off_is_found_again_at_once() {
    let [alice, bob] = cable!(false);
    befriend(&alice.ctl, &bob.ctl);
    alice.ctl.ok(["send", "bob", "before", "--wait", "delivered"]);
    let seconds = std::env::var("CHATD_LAB_PARTITION").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut took = Vec::new();
    for (round, seconds) in [13, 16, seconds].into_iter().enumerate() {
        [&alice, &bob].into_iter().for_each(Machine::cut);
        let id = send(&alice.ctl, "bob", &format!("alone {round}"));
        // Not a wait for something to happen: so long nothing gets through.
        std::thread::sleep(Duration::from_secs(seconds));
        let begun = Instant::now();
        [&alice, &bob].into_iter().for_each(Machine::heal);
        wait_for("it is delivered", || state_of(&alice.ctl, &id) == "delivered");
        took.push(begun.elapsed());
        println!("figure: {seconds} s alone, and no directory: delivered {:?} after it healed", begun.elapsed());
    }
    assert!(!times_are_judged() || took.iter().all(|took| *took < Duration::from_secs(2)), "{took:?}");
    assert_eq!(bodies(&bob.ctl, "alice", 9), ["before", "alone 0", "alone 1", "alone 2"]);
}
