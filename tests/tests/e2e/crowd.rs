//! One command starts a crowd.

use std::process::{Command, Stdio};

use tests::binaries::program;
use tests::{Pair, Swarm};

#[tokio::test(flavor = "multi_thread")]
async fn c6_four_peers_talk() {
    let swarm = Swarm::try_start(4, 4).unwrap();
    let mut steps = Vec::new();
    swarm.register_all(|done| steps.push(done)).await.unwrap();
    assert_eq!(steps, [1, 2, 3, 4]);
    swarm.ring(|_| {}).await.unwrap();
    for (index, name) in swarm.names().iter().enumerate() {
        let before = &swarm.names()[(index + 3) % 4];
        let ctl = swarm.daemon_of(index).ctl(name);
        let bodies = crate::util::bodies(&ctl, before, 10);
        assert_eq!(bodies, [format!("hello {name}, this is {before}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_forty_peers_on_three_daemons() {
    let swarm = Swarm::try_start(40, 3).unwrap();
    swarm.register_all(|_| {}).await.unwrap();
    let mut arrived = 0;
    swarm.ring(|done| arrived = done).await.unwrap();
    assert_eq!(arrived, 40);
}

/// A user's own shell, as it is: fifty at once, two hundred in all. None is turned away, and each message is there once.
#[test]
fn two_hundred_sends_from_a_shell_all_succeed() {
    let pair = Pair::start();
    let mut xargs = Command::new("sh");
    xargs.arg("-c").arg("seq 200 | xargs -P 50 -I{} \"$CHATCTL\" send bob {}").stdin(Stdio::null());
    xargs
        .env("CHATCTL", program("chatctl").unwrap())
        .env("CHATD_SOCKET", pair.alice.socket())
        .env("CHATD_ACCOUNT", "alice");
    let ended = xargs.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    tests::wait::wait_for("all are there", || crate::util::bodies(&pair.bob, "alice", 1_000).len() >= 200);
    let mut bodies: Vec<u32> =
        crate::util::bodies(&pair.bob, "alice", 1_000).iter().map(|body| body.parse().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (1..=200).collect::<Vec<_>>());
}
