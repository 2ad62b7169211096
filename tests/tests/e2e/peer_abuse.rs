//! Hostile and broken peers: their link ends with a reason, the daemon and its friends live.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chatd::crypto::keys::SigningKey;
use chatd::link::{CloseCode, LinkConfig, Node};
use chatd::policy::limits::Limits;
use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, TransportAddr};
use proto::ids::{DeviceId, NodeId, PrekeyId, sha256, unhex};
use proto::wire::ALPN;
use proto::wire::envelope::Outer;
use proto::wire::frame::{Frame, RefuseCode};
use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Daemon, Pair};

use crate::hostile_peer::Mallory;
use crate::util::{bodies, status};

/// A refusal comes within this: the longest is the wait for a first frame, 10 s.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn node_of(daemon: &Daemon) -> (NodeId, Vec<SocketAddr>) {
    let node = daemon.ready_value("node").and_then(unhex).map(NodeId).unwrap();
    let addresses = daemon.ready_value("addresses").unwrap().split(',').map(|word| word.parse().unwrap()).collect();
    (node, addresses)
}

pub async fn mallory() -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal)
        .crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports();
    builder.bind_addr("127.0.0.1:0").unwrap().bind().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_of_a_peer_end_its_link() {
    let mut pair = Pair::start();
    let (node, addresses) = node_of(pair.bob_daemon());
    let target = EndpointAddr::from_parts(
        EndpointId::from_bytes(&node.0).unwrap(),
        addresses.into_iter().map(TransportAddr::Ip),
    );
    let mallory = mallory().await;
    let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let hello = frame(&Frame::Hello { versions: vec![1], unix_time: 1_000 }.encode());
    let hostile: [(&str, Vec<u8>); 8] = [
        ("4 GiB", vec![0xff; 4]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an empty frame", frame(&[])),
        ("no array", frame(b"\xa5hello")),
        ("depth", frame(&[0x91].repeat(60_000))),
        ("2^32 elements", frame(&[0xdd, 0xff, 0xff, 0xff, 0xff])),
        ("garbage after the hello", [&hello[..], &frame(&[0xc1; 100])].concat()),
        ("an unknown version", frame(&Frame::Hello { versions: vec![99], unix_time: 1_000 }.encode())),
    ];
    for (what, bytes) in hostile {
        let connection = mallory.connect(target.clone(), ALPN).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let closed = tokio::time::timeout(PATIENCE, connection.closed()).await;
        assert!(closed.is_ok(), "{what}: the link stays open");
    }
    assert!(pair.bob_daemon().is_running());
    pair.alice.ok(["send", "bob", "still there?", "--wait", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_forged_envelopes_of_a_stranger_leave_no_trace() {
    let mut pair = Pair::start();
    let (bob, addresses) = node_of(pair.bob_daemon());
    let mut config = LinkConfig::new(sha256(&[b"mallory"]));
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let (node, _incoming) = Node::bind(config).await.unwrap();
    for round in 0..20_u8 {
        let Ok(mut link) = node.dial(bob, &addresses).await else { break };
        for (number, size) in (1..).zip([0_usize, 1, 100, 5_000, 60_000]) {
            let outer: Vec<u8> = (0..size).map(|index| (index as u8).wrapping_mul(31) ^ round).collect();
            if link.sender.send(Frame::Envelope { number, outer }).await.is_err() {
                break;
            }
        }
        // Whatever it answers, it answers without acknowledging anything.
        let answer = tokio::time::timeout(Duration::from_millis(200), link.receiver.recv()).await;
        assert!(!matches!(answer, Ok(Ok(Some(Frame::Ack { .. })))), "a stranger gets no acknowledgement: {answer:?}");
    }
    assert!(pair.bob_daemon().is_running());
    pair.alice.ok(["send", "bob", "unharmed", "--wait", "delivered"]);
    assert_eq!(bodies(&pair.bob, "alice", 10), ["unharmed"]);
    assert_eq!(status(&pair.bob)["requests"], 0);
}

/// Everything that a node answers to a few questions, in their order; pings mark where each answer ends.
async fn answers(node: &Node, bob: NodeId, addresses: &[SocketAddr], questions: Vec<Frame>) -> Vec<Vec<Frame>> {
    let mut link = node.dial(bob, addresses).await.unwrap();
    let mut all = Vec::new();
    for (nonce, question) in (1..).zip(questions) {
        link.sender.send(question).await.unwrap();
        link.sender.send(Frame::Ping { nonce, reply: false }).await.unwrap();
        let mut heard = Vec::new();
        loop {
            let frame = tokio::time::timeout(PATIENCE, link.receiver.recv()).await.unwrap().unwrap().unwrap();
            if frame == (Frame::Ping { nonce, reply: true }) {
                break;
            }
            heard.push(frame);
        }
        all.push(heard);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_probes_a_node_gets_one_answer_to_everything() {
    let mut pair = Pair::start();
    let (bob, addresses) = node_of(pair.bob_daemon());
    let accounts = pair.bob_daemon().data_dir().join("accounts");
    let account = std::fs::read_dir(accounts).unwrap().next().unwrap().unwrap().path();
    let secret = chatd::crypto::keyfile::load(&account.join("device.key")).unwrap();
    let bobs = DeviceId::of_key(&SigningKey::from_bytes(&secret).public());
    let mut config = LinkConfig::new(sha256(&[b"mallory"]));
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let (node, _incoming) = Node::bind(config).await.unwrap();
    // For a device that is online here, and for one that never was.
    let questions = |to: DeviceId| {
        let from_device = DeviceId([7; 16]);
        let outer =
            Outer { suite: 2, to_device: to, prekey_id: PrekeyId([9; 8]), ttl: 60, ciphertext: &[1; 900], work: None };
        vec![
            Frame::Claim { from_device, to_device: to, signature: [3; 64] },
            Frame::Envelope { number: 1, outer: outer.encode() },
            Frame::Record { from_device, to_device: to, record: vec![1; 300] },
            Frame::Reach { from_device, to_device: to, reach: vec![1; 300] },
            Frame::Ack { from_device, to_device: to, entries: vec![], ids: vec![] },
            Frame::Resume { from_device, to_device: to, entries: vec![] },
        ]
    };
    // A refusal names the device that was asked for.
    let of = |answers: Vec<Vec<Frame>>, device: DeviceId| {
        let shown = format!("{answers:?}");
        shown.replace(&format!("{device:?}"), "DEVICE")
    };
    let nobody = DeviceId([8; 16]);
    let unknown = of(answers(&node, bob, &addresses, questions(nobody)).await, nobody);
    let online = of(answers(&node, bob, &addresses, questions(bobs)).await, bobs);
    pair.bob.ok(["logout"]);
    let offline = of(answers(&node, bob, &addresses, questions(bobs)).await, bobs);
    assert_eq!(online, unknown, "who is here can be told from who is not");
    assert_eq!(online, offline, "who is online can be told from who is not");
    assert!(unknown.contains("Offline") && !unknown.contains("Ack") && !unknown.contains("Resume"), "{unknown}");
    println!("figure: 6 probes of a stranger, the same answers whoever they ask for: {unknown}");
}

/// Closed is not all: for a while its node is nobody to talk to, and others are.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_closed_is_turned_away_for_a_while() {
    const NODE: u64 = 1_000_000;
    let ban = "[limits]\nfailure_ban_seconds = 8\n";
    let mut pair = Pair::strangers_with(ban, tests::DirectoryOptions::default());
    befriend(&pair.alice, &pair.bob);
    pair.alice_daemon.stop();
    let data = pair.alice_daemon.data_dir();
    let mallory = Mallory::with_keys_of(&data, pair.bob_daemon());
    let mut link = mallory.link_as(NODE).await.unwrap();
    let mut n = 0;
    while link.send(Frame::Envelope { number: n, outer: vec![n as u8; 200] }).await {
        n += 1;
        assert!(n < 100_000, "it goes on");
    }
    link.settled().await;
    assert!(link.is_over());
    let closed = link.ended_at().unwrap();
    link.close().await;
    let refused = pair.bob_daemon().log_text().matches("a banned peer is refused").count();
    assert!(mallory.link_as(NODE).await.is_none(), "turned away");
    assert!(mallory.link().await.is_some(), "another node is not concerned");
    assert!(pair.bob_daemon().log_text().matches("a banned peer is refused").count() > refused);
    while mallory.link_as(NODE).await.is_none() {
        assert!(closed.elapsed() < Duration::from_secs(60), "for a while, not for ever");
    }
}

/// A stranger's envelopes beyond its limit are not answered for ever: its link is closed, and its node turned away.
#[tokio::test(flavor = "multi_thread")]
async fn a16_a_stranger_over_its_limit_is_closed_and_turned_away() {
    let mut pair = Pair::start();
    let (bob, addresses) = node_of(pair.bob_daemon());
    let node = |salt: &'static str| async move {
        let mut config = LinkConfig::new(sha256(&[salt.as_bytes()]));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        Node::bind(config).await.unwrap().0
    };
    let (pushy, other) = (node("pushy").await, node("other").await);
    let mut link = pushy.dial(bob, &addresses).await.unwrap();
    let outer = Outer {
        suite: 2,
        to_device: DeviceId([7; 16]),
        prekey_id: PrekeyId([9; 8]),
        ttl: 60,
        ciphertext: &[1; 900],
        work: None,
    };
    let outer = outer.encode();
    let sender = link.sender.clone();
    let flood = tokio::spawn(async move {
        let mut number = 0;
        while sender.send(Frame::Envelope { number, outer: outer.clone() }).await.is_ok() {
            number += 1;
            assert!(number < 1_000_000, "it goes on");
        }
    });
    let mut refused = 0;
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(PATIENCE, link.receiver.recv()).await {
        refused += u32::from(matches!(frame, Frame::Refuse { .. }));
    }
    flood.await.unwrap();
    wait_for("it is told", || {
        pair.bob_daemon().log_text().contains("too many failures: the peer is dropped for a while")
    });
    let limits = Limits::default();
    // And one for each second that it takes.
    let most = limits.stranger_envelopes_per_minute.get() + limits.failures_per_minute.get() + 30;
    println!("figure: a stranger's envelopes: {refused} are answered, then its link is closed");
    assert!((1..=most).contains(&refused), "{refused} of {most}");
    // It may come again, and is told at once that it need not.
    let mut again = pushy.dial(bob, &addresses).await.unwrap();
    let mut heard = Vec::new();
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(PATIENCE, again.receiver.recv()).await {
        heard.push(frame);
    }
    let refusal = Frame::Refuse { code: RefuseCode::RateLimited, envelope: None, device: None };
    assert!(heard.iter().all(|frame| *frame == refusal), "turned away: {heard:?}");
    assert_eq!(again.sender.ended().unwrap().code, CloseCode::RateLimited);
    let mut link = other.dial(bob, &addresses).await.unwrap();
    link.sender.send(Frame::Ping { nonce: 7, reply: false }).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, link.receiver.recv()).await.unwrap();
    assert!(matches!(answer, Ok(Some(Frame::Ping { nonce: 7, reply: true }))), "others are not concerned: {answer:?}");
    pair.alice.ok(["send", "bob", "unharmed", "--wait", "delivered"]);
}
