//! Nothing of anybody else is contacted: the daemons run in a network of their own whose only way out counts packets.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use tests::people::befriend;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions};

/// Packets that left through the way out.
fn left() -> u64 {
    // Of this thread's network, not of the process's.
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let line = table.lines().find_map(|line| line.trim().strip_prefix("out0:")).unwrap();
    line.split_whitespace().nth(9).unwrap().parse().unwrap()
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).status().is_ok_and(|status| status.success())
}

#[test]
fn not_a_packet_leaves_for_anybody_else() {
    // For this thread, and for whatever it starts.
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        tests::skip!("only root may make a network of its own");
    }
    let made = ip("link set lo up")
        && ip("link add out0 type veth peer name out1")
        && ip("link set out0 addrgenmode none")
        && ip("link set out1 addrgenmode none")
        && ip("addr add 192.0.2.1/24 dev out0")
        && ip("link set out1 up")
        && ip("link set out0 up")
        && ip("route add default via 192.0.2.2");
    if !made {
        tests::skip!("the program ip, or the kernel's pairs of virtual devices, are missing");
    }
    let before = left();
    let directory = Directory::start_with(DirectoryOptions::default());
    let start = |name: &str| {
        // On an address that the world could reach, too.
        let mut options = DaemonOptions::new(name, directory.url()).place(directory.place());
        options.listen = Some("192.0.2.1:0".into());
        Daemon::start(options)
    };
    let (mut alices, mut bobs) = (start("alice"), start("bob"));
    let (alice, bob) = (alices.ctl("alice"), bobs.ctl("bob"));
    alice.ok(["register", "alice"]);
    bob.ok(["register", "bob"]);
    befriend(&alice, &bob);
    alice.ok(["send", "bob", "hello", "--wait", "delivered"]);
    alice.run(["add", "nobody"]);
    alice.run(["add", "carol@example.net"]);
    alice.run(["send", "dave@example.com", "hello"]);
    alice.ok(["users"]);
    alices.restart();
    bob.ok(["send", "alice", "back?", "--wait", "delivered"]);
    bobs.stop();
    alice.ok(["send", "bob", "for the mailbox"]);
    alices.stop();
    let after = left();
    println!("figure: {} packets to anybody else in the life of two daemons and a directory", after - before);
    assert_eq!(after, before, "something left for somebody else");
    // Whether a packet would have been seen at all.
    let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
    socket.send_to(b"hello", "198.51.100.1:53").unwrap();
    assert!(left() > before, "the counter counts nothing");
}
