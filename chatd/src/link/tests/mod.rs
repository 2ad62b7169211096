//! Alice and bob, over both carriers; and mallory, over raw QUIC.
#![allow(clippy::unwrap_used)]

mod caps;
mod hostile;
mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use proto::wire::frame::Frame;
use tokio::sync::mpsc;

use super::*;

/// Long enough for a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// A node on loopback whose limits in time are short enough for a test.
async fn node(caps: LinkCaps) -> (Node, mpsc::Receiver<Link>) {
    let mut config = LinkConfig::new(rand::random());
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.caps = caps;
    Node::bind(config).await.unwrap()
}

fn envelope(number: u64, bytes: usize) -> Frame {
    Frame::Envelope { number, outer: vec![number as u8; bytes] }
}

/// Two ends of a link, and what must live as long.
struct Ends {
    alice: Link,
    bob: Link,
    _nodes: Option<(Node, Node)>,
}

async fn connect(alice: &Node, bob: &Node, bobs: &mut mpsc::Receiver<Link>) -> (Link, Link) {
    within(async {
        let dialed = alice.dial(bob.node_id(), &bob.local_addresses()).await.unwrap();
        (dialed, bobs.recv().await.unwrap())
    })
    .await
}

/// The same ends over each carrier.
async fn both_carriers() -> Vec<(&'static str, Ends)> {
    let (alice, _) = node(LinkCaps::default()).await;
    let (bob, mut bobs) = node(LinkCaps::default()).await;
    let (dialed, accepted) = connect(&alice, &bob, &mut bobs).await;
    let (first, second) = in_process_pair(alice.node_id());
    vec![
        ("quic", Ends { alice: dialed, bob: accepted, _nodes: Some((alice, bob)) }),
        ("in process", Ends { alice: first, bob: second, _nodes: None }),
    ]
}
