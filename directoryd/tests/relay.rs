//! The relay: who is let in, what one node may cost the others, and that it ends with the directory.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use futures_util::{SinkExt, StreamExt};
use iroh_base::{EndpointId, SecretKey};
use iroh_dns::dns::DnsResolver;
use iroh_relay::client::{Client, ClientBuilder};
use iroh_relay::protos::relay::{ClientToRelayMsg, Datagrams, RelayToClientMsg};
use iroh_relay::tls::CaTlsConfig;
use proto::directory::api::*;
use proto::ids::NodeId;
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

const TOKEN: [u8; 32] = [42; 32];

fn id(person: &Person) -> EndpointId {
    EndpointId::from_bytes(&person.node.verifying_key().to_bytes()).unwrap()
}

/// Somebody who is registered, and whose device says where it is.
async fn member(directory: &Directory, name: &str) -> Person {
    let person = person(name);
    assert!(directory.publish(&person, 1).await.status().is_success());
    let put = directory.put("/v1/reach", &person.reach(1, "192.0.2.1:1")).await;
    assert_eq!(put.status(), StatusCode::OK);
    person
}

/// A connection of a person's node, or why there is none.
async fn at_relay(directory: &Directory, person: &Person) -> Result<Client, String> {
    let tls = CaTlsConfig::default().client_config(rustls::crypto::aws_lc_rs::default_provider().into()).unwrap();
    let key = SecretKey::from_bytes(&person.node.to_bytes());
    let client = ClientBuilder::new(directory.url.parse::<iroh_base::RelayUrl>().unwrap(), key, DnsResolver::new());
    let client = client.tls_client_config(tls);
    timeout(PATIENCE, client.connect()).await.unwrap().map_err(|error| format!("{error:#}"))
}

fn packet(to: &Person, bytes: &[u8]) -> ClientToRelayMsg {
    ClientToRelayMsg::Datagrams { dst_endpoint_id: id(to), datagrams: Datagrams::from(bytes) }
}

/// The next packet, and whose it is; `None` when the connection ends.
async fn received(client: &mut Client) -> Option<(EndpointId, usize)> {
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap() {
            Some(Ok(RelayToClientMsg::Datagrams { remote_endpoint_id, datagrams })) => {
                return Some((remote_endpoint_id, datagrams.contents.len()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                println!("the connection ended: {error:#}");
                return None;
            }
            None => return None,
        }
    }
}

#[tokio::test]
async fn only_nodes_of_members_are_let_in() {
    let directory = Directory::with(|config| config.timing.sweep = Duration::from_millis(100)).await;
    let refused = |refused: Result<Client, String>| refused.map(drop).unwrap_err();
    let stranger = person("mallory");
    let why = refused(at_relay(&directory, &stranger).await);
    assert!(why.contains("members"), "{why}");
    // A name alone names no node.
    directory.publish(&stranger, 1).await;
    assert!(refused(at_relay(&directory, &stranger).await).contains("members"));

    let (alice, bob) = (member(&directory, "alice").await, member(&directory, "bob").await);
    let (mut hers, mut his) = (at_relay(&directory, &alice).await.unwrap(), at_relay(&directory, &bob).await.unwrap());
    hers.send(packet(&bob, b"hello")).await.unwrap();
    assert_eq!(received(&mut his).await, Some((id(&alice), 5)));
    directory.until("directoryd_relay_nodes 2\n").await;
    directory.until("directoryd_relay_refused_total 2\n").await;

    // Who gives the name up is nobody here any more, and a connection does not outlive that for long.
    assert!(directory.unregister(&bob).await.status().is_success());
    assert_eq!(received(&mut his).await, None);
    assert!(refused(at_relay(&directory, &bob).await).contains("members"));
    directory.until("directoryd_relay_nodes 1\n").await;
    directory.stop().await;
}

#[tokio::test]
async fn a_guests_node_is_let_in_while_it_may_watch_somebody() {
    let directory = Directory::with(|config| config.timing.sweep = Duration::from_millis(100)).await;
    let (bob, guest) = (member(&directory, "bob").await, person("carol"));
    let mut his = directory.session(&bob).await;
    his.give_token(&TOKEN).await;
    let node = Some(NodeId(guest.node.verifying_key().to_bytes()));
    let mut session = directory.open().await;
    session.send(&GuestHello { guest: true, node }).await;
    let welcome = session.frame().await;
    assert!(
        matches!(welcome, ServerFrame::Welcome { relay: Some(RelayOffer { discovery_port: None }), .. }),
        "{welcome:?}"
    );
    assert!(at_relay(&directory, &guest).await.is_err(), "nothing was shown yet");
    session.watch(bob.account(), &TOKEN).await;
    assert_eq!(session.presence().await, (bob.account(), true));
    let mut hers = at_relay(&directory, &guest).await.unwrap();
    // The token is revoked: with it goes all that rests on it.
    his.send(&ClientFrame::Tokens { add: vec![], remove: vec![proto::ids::hex(&token_hash(&TOKEN))] }).await;
    assert_eq!(received(&mut hers).await, None);
    assert!(at_relay(&directory, &guest).await.is_err());
    directory.stop().await;
}

#[tokio::test]
async fn a_node_that_floods_waits_and_others_do_not() {
    const RATE: usize = 256 * 1024;
    let directory = Directory::with(|config| config.relay.bytes_per_second = RATE as u32).await;
    let (mallory, alice, bob) =
        (member(&directory, "mallory").await, member(&directory, "alice").await, member(&directory, "bob").await);
    let (flood, mut hers, mut his) = (
        at_relay(&directory, &mallory).await.unwrap(),
        at_relay(&directory, &alice).await.unwrap(),
        at_relay(&directory, &bob).await.unwrap(),
    );
    let to_bob = id(&bob);
    let (_flood_reads, mut flood) = flood.split();
    let flooding = tokio::spawn(async move {
        let datagrams = Datagrams::from([7u8; 16_384]);
        while flood
            .send(ClientToRelayMsg::Datagrams { dst_endpoint_id: to_bob, datagrams: datagrams.clone() })
            .await
            .is_ok()
        {}
    });
    let (begun, mut flooded, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    for _ in 0..30 {
        let asked = Instant::now();
        hers.send(packet(&bob, b"ping")).await.unwrap();
        loop {
            match received(&mut his).await.unwrap() {
                (from, _) if from == id(&alice) => break,
                (_, bytes) => flooded += bytes,
            }
        }
        his.send(packet(&alice, b"pong")).await.unwrap();
        assert_eq!(received(&mut hers).await, Some((id(&bob), 4)));
        slowest = slowest.max(asked.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    let allowed = RATE as f64 * (begun.elapsed().as_secs_f64() + 2.5);
    println!(
        "figure: beside a flood at the relay ({flooded} bytes of it passed) the slowest round trip took {slowest:?}"
    );
    assert!((flooded as f64) < allowed, "{flooded} bytes of the flood, {allowed} allowed");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let metrics = directory.get("/metrics").await.text().await.unwrap();
    assert!(!metrics.contains("directoryd_relay_limited_total 0\n"), "{metrics}");
    // It ends at once although packets flow.
    let begun = Instant::now();
    directory.stop().await;
    println!("figure: a directory with a flood at its relay stopped in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4));
    timeout(PATIENCE, flooding).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_new_connection_ends_the_oldest_of_its_node_and_places_are_bounded() {
    let directory = Directory::with(|config| config.relay.connections = 2).await;
    let (alice, bob, carol) =
        (member(&directory, "alice").await, member(&directory, "bob").await, member(&directory, "carol").await);
    let mut first = at_relay(&directory, &alice).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..directory.config.relay.connections_per_node {
        others.push(at_relay(&directory, &alice).await.unwrap());
    }
    assert_eq!(received(&mut first).await, None, "the oldest went");
    for other in &mut others {
        let more = timeout(Duration::from_millis(200), received(other)).await;
        assert!(more.is_err(), "one of the others went, too");
    }
    let mut his = at_relay(&directory, &bob).await.unwrap();
    let why = at_relay(&directory, &carol).await.map(drop).unwrap_err();
    assert!(why.contains("full"), "{why}");
    // The newest is the one that packets go to.
    his.send(packet(&alice, b"hello")).await.unwrap();
    assert_eq!(received(others.last_mut().unwrap()).await, Some((id(&bob), 5)));
    drop(his);
    directory.until("directoryd_relay_nodes 1\n").await;
    at_relay(&directory, &carol).await.unwrap();
    directory.stop().await;
}

#[tokio::test]
async fn who_proves_no_key_or_speaks_nonsense_is_dropped() {
    let directory = Directory::start().await;
    let plain = directory.get("/relay").await;
    assert_eq!(refused(plain).await, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    assert_eq!(directory.get("/ping").await.status(), StatusCode::OK);
    let url = format!("{}/relay", directory.url.replacen("http", "ws", 1));
    // No version of the protocol that is spoken here.
    assert!(tokio_tungstenite::connect_async(url.clone()).await.is_err());
    let mut request = tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "iroh-relay-v2".parse().unwrap());
    for nonsense in [vec![0xff; 100], vec![1; 60_000], vec![]] {
        let (mut socket, _) = tokio_tungstenite::connect_async(request.clone()).await.unwrap();
        let _ = socket.send(tokio_tungstenite::tungstenite::Message::Binary(nonsense.into())).await;
        // Its challenge, and then the end.
        while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.unwrap() {}
    }
    directory.until("directoryd_relay_nodes 0\n").await;
    directory.until("directoryd_relay_connections_total 0\n").await;
    directory.stop().await;
}

#[tokio::test]
async fn without_a_relay_none_is_offered() {
    let directory = Directory::with(|config| config.relay.enabled = false).await;
    let alice = member(&directory, "alice").await;
    assert_eq!(refused(directory.get("/relay").await).await, (StatusCode::NOT_FOUND, ErrorCode::NotFound));
    assert!(at_relay(&directory, &alice).await.is_err());
    let mut guest = directory.open().await;
    guest.send(&GuestHello { guest: true, node: None }).await;
    assert!(matches!(guest.frame().await, ServerFrame::Welcome { relay: None, .. }));
    directory.stop().await;
}
