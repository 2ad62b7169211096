//! Directories that are found by their domain: what the DNS says, how long that holds, and people of two domains.

use std::time::{Duration, Instant};

use tests::internet::forward::Forward;
use tests::internet::signed::{self, SignedZone};
use tests::internet::{Internet, port};
use tests::people::{contact, contact_state};
use tests::wait::wait_for;
use tests::{Ctl, Daemon};

use crate::util::{bodies, send, state_of, status, wait_for_body};

fn online(ctl: &Ctl) -> bool {
    status(ctl)["online"] == true
}

/// Makes people of two domains contacts.
fn befriend(alice: &Ctl, bob: &Ctl) {
    alice.ok(["add", "bob@b.test"]);
    wait_for("bob sees who asks", || !bob.list(["requests"], "contacts").is_empty());
    bob.ok(["accept", "alice@a.test"]);
    wait_for("alice is accepted", || contact_state(alice, "bob").as_deref() == Some("accepted"));
}

/// Each registers in the directory of the domain in their name; the DNS says where that is.
#[test]
fn people_of_two_domains_find_and_reach_each_other() {
    let internet = Internet::new().unwrap();
    let (here, there) = (internet.directory("a.test").unwrap(), internet.directory("b.test").unwrap());
    let alices = internet.daemon("alice").unwrap();
    let mut bobs = Daemon::start(internet.options("bob", "first_contact = \"open\"\n"));
    let (alice, bob) = (alices.ctl("alice"), bobs.ctl("bob"));
    alice.ok(["register", "alice@a.test"]);
    bob.ok(["register", "bob", "--directory", "b.test"]);
    assert_eq!(alice.json(["whoami"])["directory"], "a.test");
    assert_eq!(bob.json(["whoami"])["address"], "bob@b.test");
    let checks = alice.json(["netcheck"])["checks"].clone();
    let srv = checks.as_array().unwrap().iter().find(|check| check["what"] == "srv").unwrap();
    assert!(srv["value"] == "yes" && srv["text"].as_str().unwrap().contains(".a.test:"), "{srv}");
    befriend(&alice, &bob);
    let id = send(&alice, "bob@b.test", "directly");
    wait_for_body(&bob, "alice@a.test", "directly");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    bob.ok(["send", "alice@a.test", "and back"]);
    wait_for_body(&alice, "bob@b.test", "and back");
    let there_is = |online: bool| contact(&alice, "bob").is_some_and(|bob| bob["online"] == online);
    wait_for("alice sees that bob is there", || there_is(true));
    wait_for("bob sees that alice is there", || contact(&bob, "alice").is_some_and(|alice| alice["online"] == true));
    bobs.stop();
    wait_for("alice sees that he is gone", || there_is(false));
    let id = send(&alice, "bob@b.test", "into the mailbox");
    wait_for("it lies in b.test", || state_of(&alice, &id) == "mailboxed");
    bobs.restart();
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    assert_eq!(bodies(&bob, "alice@a.test", 10), ["directly", "and back", "into the mailbox"]);
    for directory in [&here, &there] {
        assert!(!directory.log_text().contains("panicked"));
    }
    // The names were found in the DNS, and not asked for time and again.
    let asked = internet.dns.asked_for("a.test") + internet.dns.asked_for("b.test");
    println!("figure: {asked} questions for two directories");
    assert!(asked <= 8, "{asked}");
}

#[test]
fn one_of_several_machines_dies_and_nobody_notices() {
    let internet = Internet::new().unwrap();
    let directory = internet.directory("a.test").unwrap();
    let machines = [(); 3].map(|()| Forward::start(directory.address()).unwrap());
    let [first, second, third] = machines;
    internet.name("a.test", &[first.port(), second.port(), third.port()]);
    let daemons = ["alice", "bob"].map(|name| internet.daemon(name).unwrap());
    let [alice, bob] = ["alice", "bob"].map(|name| name.to_owned());
    let (alice, bob) = (daemons[0].ctl(&alice), daemons[1].ctl(&bob));
    alice.ok(["register", "alice@a.test"]);
    bob.ok(["register", "bob@a.test"]);
    tests::people::befriend(&alice, &bob);
    // A machine that is too busy to answer within a second has the next one asked beside it.
    assert!(first.taken() > 0 && third.taken() == 0, "the first is asked while it is there");
    // It is killed: what stood ends at once.
    first.kill();
    let begun = Instant::now();
    alice.ok(["users"]);
    println!("figure: a look after a machine died: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    wait_for("both are back", || online(&alice) && online(&bob));
    assert!(second.taken() > 0);
    let id = send(&alice, "bob", "after the first");
    wait_for("it is delivered", || state_of(&alice, &id) == "delivered");
    // Another one loses its cable: nothing ends, nothing comes.
    second.stall();
    let begun = Instant::now();
    wait_for("the third is asked", || {
        alice.run(["users"]);
        third.taken() > 0
    });
    alice.ok(["users"]);
    println!("figure: until a machine that says nothing is left: {:?}", begun.elapsed());
    wait_for("both are back", || online(&alice) && online(&bob));
    let id = send(&bob, "alice", "after the second");
    wait_for("it is delivered", || state_of(&bob, &id) == "delivered");
}

#[test]
fn domains_without_a_directory_say_so() {
    let internet = Internet::new().unwrap();
    let directory = internet.directory("a.test").unwrap();
    let daemon = internet.daemon("alice").unwrap();
    let alice = daemon.ctl("alice");
    internet.dns.srv("none.test", &[(0, 0, 0, ".")]);
    internet.dns.srv("lost.test", &[(0, 0, 7470, "gone.lost.test")]);
    for (domain, words) in [
        ("none.test", "none.test has no directory, as its DNS says"),
        ("silence.test", "no record _chatd-directory._tcp.silence.test"),
        ("lost.test", "knows no address of gone.lost.test"),
    ] {
        let output = alice.run(["register", &format!("alice@{domain}")]);
        assert_ne!(output.code, Some(0), "{domain}");
        output.says(&[words]);
    }
    // What is no directory of that domain is none at all.
    internet.dns.srv("other.test", &[(0, 0, port(directory.address()).unwrap(), "dir.a.test")]);
    alice.run(["register", "alice@other.test"]).expect_code(4).says(&["for a.test, and not for other.test"]);
    internet.dns.be_silent(true);
    let begun = Instant::now();
    let output = alice.run(["register", "alice@quiet.test"]);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    output.expect_code(1).says(&["quiet.test"]);
    internet.dns.be_silent(false);
    alice.ok(["register", "alice@a.test"]);
    // A stranger's name of such a domain is nobody's.
    alice.run(["add", "bob@none.test"]).says(&["no directory"]);
}

/// Whoever writes the DNS of a domain could point at what only this machine can reach.
#[test]
fn a_record_that_leads_to_this_machine_is_not_followed() {
    let internet = Internet::new().unwrap();
    let directory = internet.directory("a.test").unwrap();
    let trap = Forward::start(directory.address()).unwrap();
    internet.name("a.test", &[trap.port()]);
    let mut options = internet.options("alice", "");
    options.config = Some(format!("name_servers = [\"{}\"]\n", internet.dns.address()));
    let mut daemon = Daemon::start(options);
    let alice = daemon.ctl("alice");
    let hosts = [[127, 0, 0, 1], [127, 8, 8, 8], [0, 0, 0, 0]];
    for host in hosts {
        internet.dns.a("dir.a.test", &[host.into()]);
        internet.dns.ttl(0);
        internet.dns.a("dir.a.test", &[host.into()]);
        let output = alice.run(["register", "alice@a.test"]);
        assert_ne!(output.code, Some(0));
        output.says(&["private address", "allow_private_addresses"]);
    }
    assert_eq!(trap.taken(), 0, "nobody was there");
    // The operator allows it.
    internet.dns.a("dir.a.test", &[[127, 0, 0, 1].into()]);
    daemon.stop();
    daemon.restart_with(|options| options.config = Some(internet.config()));
    alice.ok(["register", "alice@a.test"]);
    assert!(trap.taken() > 0);
}

#[test]
fn what_the_dns_says_is_kept_for_as_long_as_it_says() {
    let internet = Internet::new().unwrap();
    let directory = internet.directory("a.test").unwrap();
    let daemon = internet.daemon("alice").unwrap();
    let alice = daemon.ctl("alice");
    // There is none, and that holds for two seconds.
    internet.dns.ttl(2);
    let look = || alice.run(["register", "alice@b.test"]);
    look().says(&["no record"]);
    look().says(&["no record"]);
    assert_eq!(internet.dns.asked_for("b.test"), 1, "it was told so a moment ago");
    internet.name("b.test", &[port(directory.address()).unwrap()]);
    wait_for("it is asked again", || {
        look();
        internet.dns.asked_for("b.test") > 1
    });
    look().says(&["and not for b.test"]);
    // The DNS goes away for good. Who is known stays known.
    internet.dns.ttl(1);
    internet.name("a.test", &[port(directory.address()).unwrap()]);
    alice.ok(["register", "alice@a.test"]);
    internet.dns.be_silent(true);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        alice.ok(["users"]);
    }
    assert!(online(&alice));
}

/// A domain may give its directory into other hands: the name of the service leads to theirs. The certificate is still the domain's.
#[test]
fn the_name_of_the_service_may_be_an_alias() {
    for lazy in [false, true] {
        let internet = Internet::new().unwrap();
        let directory = internet.directory("a.test").unwrap();
        if lazy {
            internet.dns.be_lazy();
        }
        internet.dns.a("m1.hoster.test", &[[127, 0, 0, 1].into()]);
        internet.dns.alias("_chatd-directory._tcp.c.test", "a-test.hoster.test");
        internet.dns.service("a-test.hoster.test", &[(1, 1, port(directory.address()).unwrap(), "m1.hoster.test")]);
        let daemon = internet.daemon("alice").unwrap();
        let alice = daemon.ctl("alice");
        // It is found, and shows that it is another domain's.
        alice.run(["register", "alice@c.test"]).expect_code(4).says(&["for a.test, and not for c.test"]);
        internet.dns.srv("a.test", &[]);
        internet.dns.alias("_chatd-directory._tcp.a.test", "a-test.hoster.test");
        alice.ok(["register", "alice@a.test"]);
        // A ring of them ends.
        internet.dns.alias("_chatd-directory._tcp.d.test", "e.test");
        internet.dns.alias("e.test", "_chatd-directory._tcp.d.test");
        let output = alice.run(["add", "bob@d.test"]);
        assert_ne!(output.code, Some(0), "lazy: {lazy}");
    }
}

/// A real server with a signed zone. What is proved is taken, and so is what is proved to be of a zone without signatures; what is
/// forged on the way is not.
#[test]
fn forged_answers_are_refused_with_dnssec() {
    if !signed::is_there() {
        tests::skip::record("knot and knot-dnsutils are not installed: no signed zone");
        return;
    }
    let internet = Internet::new().unwrap();
    let directory = internet.directory("a.test").unwrap();
    let srv = |host: &str| format!("_chatd-directory._tcp SRV 1 1 {} {host}", port(directory.address()).unwrap());
    let lines = format!("{}\ndir A 127.0.0.1\n", srv("dir"));
    let zone = SignedZone::start(&internet.place, "a.test", &lines, "b.test", &lines).unwrap();
    let config = |server: std::net::SocketAddr| {
        let anchor = zone.anchor().display();
        format!(
            "name_servers = [\"{server}\"]\ndnssec = true\ndnssec_anchor = \"{anchor}\"\nallow_private_addresses = true\n"
        )
    };
    let mut options = internet.options("alice", "");
    options.config = Some(config(zone.address()));
    let mut daemon = Daemon::start(options);
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice@a.test"]);
    // There is none, and that is proved.
    alice.run(["add", "bob@none.a.test"]).says(&["no record _chatd-directory._tcp.none.a.test"]);
    // A server that says the same without signatures.
    daemon.stop();
    daemon.restart_with(|options| options.config = Some(config(internet.dns.address())));
    wait_for("she is told", || {
        let status = alice.run(["status"]);
        format!("{}{}", status.stdout, status.stderr).contains("DNSSEC does not prove it")
    });
    alice.run(["users"]).says(&["DNSSEC does not prove it"]);
}
