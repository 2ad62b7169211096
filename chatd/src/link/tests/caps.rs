//! How many, and from whom.

use std::time::Instant;

use proto::wire::frame::RefuseCode;
use tokio::net::UdpSocket;

use super::*;

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_fifth_link_from_one_address_is_refused_while_four_live() {
    let (bob, mut bobs) = node(LinkCaps { exempt_loopback: false, ..LinkCaps::default() }).await;
    let (alice, _) = node(LinkCaps::default()).await;
    let mut links = Vec::new();
    for _ in 0..4 {
        links.push(connect(&alice, &bob, &mut bobs).await);
    }
    let fifth = within(alice.dial(bob.node_id(), &bob.local_addresses())).await;
    assert!(matches!(fifth, Err(LinkError::Refused(RefuseCode::Busy))), "{fifth:?}");
    for (n, (at_alice, at_bob)) in links.iter_mut().enumerate() {
        at_alice.sender.send(envelope(n as u64, 9)).await.unwrap();
        assert_eq!(within(at_bob.receiver.recv()).await.unwrap(), Some(envelope(n as u64, 9)));
    }
    links.pop();
    until("the place is free again", || bob.inbound().0 == 3).await;
    connect(&alice, &bob, &mut bobs).await;
}

#[tokio::test]
async fn authentication_makes_room_and_probation_ends() {
    let caps =
        LinkCaps { max_unauthenticated: 1, unauthenticated_for: Duration::from_millis(600), ..LinkCaps::default() };
    let (bob, mut bobs) = node(caps).await;
    let (alice, _) = node(LinkCaps::default()).await;
    let (friend, friend_at_bob) = connect(&alice, &bob, &mut bobs).await;
    let second = within(alice.dial(bob.node_id(), &bob.local_addresses())).await;
    assert!(matches!(second, Err(LinkError::Refused(RefuseCode::Busy))), "{second:?}");
    friend_at_bob.sender.mark_authenticated();
    assert_eq!(bob.inbound(), (1, 0));

    let (stranger, _stranger_at_bob) = connect(&alice, &bob, &mut bobs).await;
    let reason = within(stranger.sender.closed()).await;
    assert_eq!((reason.origin, reason.code), (CloseOrigin::Peer, CloseCode::Idle));
    assert!(!friend.sender.is_closed());
    until("the stranger's place is free", || bob.inbound() == (1, 0)).await;
}

#[tokio::test]
async fn two_hundred_links_open_at_once() {
    let caps = LinkCaps { max_unauthenticated: 256, ..LinkCaps::default() };
    let (bob, mut bobs) = node(caps).await;
    let (alice, _) = node(LinkCaps::default()).await;
    let (id, addresses) = (bob.node_id(), bob.local_addresses());
    // So many handshakes at a time that a slow machine does each in its time; the links stay open all together.
    let turns = std::sync::Arc::new(tokio::sync::Semaphore::new(25));
    let dials: Vec<_> = (0..200)
        .map(|_| {
            let (alice, addresses, turns) = (alice.clone(), addresses.clone(), turns.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                alice.dial(id, &addresses).await.unwrap()
            })
        })
        .collect();
    let mut accepted = Vec::new();
    while accepted.len() < 200 {
        accepted.push(within(bobs.recv()).await.unwrap());
    }
    let mut dialed = Vec::new();
    for dial in dials {
        dialed.push(within(dial).await.unwrap());
    }
    let exporters: std::collections::HashSet<_> = dialed.iter().map(|link| link.exporter).collect();
    assert_eq!(exporters.len(), 200);
    assert!(accepted.iter().all(|link| exporters.contains(&link.exporter)));
    for link in &accepted {
        link.sender.send(envelope(1, 100)).await.unwrap();
    }
    for link in &mut dialed {
        assert_eq!(within(link.receiver.recv()).await.unwrap(), Some(envelope(1, 100)));
    }
}

/// A forwarder that drops every answer: what it forwards stays half open.
async fn one_way_to(target: SocketAddr) -> SocketAddr {
    let inside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = [0; 2_048];
        while let Ok((size, _)) = inside.recv_from(&mut datagram).await {
            let _ = outside.send_to(&datagram[..size], target).await;
        }
    });
    address
}

#[tokio::test]
async fn half_open_connections_are_bounded_and_go_away() {
    let caps = LinkCaps { max_unauthenticated: 20, handshake: Duration::from_millis(700), ..LinkCaps::default() };
    let (bob, mut bobs) = node(caps).await;
    let (mallory, _) = node(LinkCaps::default()).await;
    let (id, hole) = (bob.node_id(), one_way_to(bob.local_addresses()[0]).await);
    let floods: Vec<_> = (0..100)
        .map(|_| {
            let mallory = mallory.clone();
            tokio::spawn(async move { mallory.dial(id, &[hole]).await.map(drop) })
        })
        .collect();
    until("the places are taken", || bob.inbound() == (20, 20)).await;
    for flood in floods {
        flood.abort();
    }
    drop(mallory);
    until("the places are free", || bob.inbound() == (0, 0)).await;
    assert!(bobs.try_recv().is_err());
    let (alice, _) = node(LinkCaps::default()).await;
    connect(&alice, &bob, &mut bobs).await;
}

#[tokio::test]
async fn when_places_run_short_an_address_must_prove_itself() {
    let caps = LinkCaps { max_unauthenticated: 4, exempt_loopback: false, ..LinkCaps::default() };
    let (bob, mut bobs) = node(caps).await;
    let (alice, _) = node(LinkCaps::default()).await;
    let _first = [connect(&alice, &bob, &mut bobs).await, connect(&alice, &bob, &mut bobs).await];
    // A peer that never hears the answer takes no place now ...
    let hole = one_way_to(bob.local_addresses()[0]).await;
    let (mallory, _) = node(LinkCaps::default()).await;
    let forged = tokio::time::timeout(Duration::from_millis(200), mallory.dial(bob.node_id(), &[hole])).await;
    assert!(forged.is_err(), "{forged:?}");
    assert_eq!(bob.inbound(), (2, 2));
    // ... and one that does gets in, by a round trip more.
    let (carol, _) = node(LinkCaps::default()).await;
    let _third = connect(&carol, &bob, &mut bobs).await;
    assert_eq!(bob.inbound(), (3, 3));
}
