//! Mallory speaks QUIC, but not our protocol.

use std::sync::Arc;

use iroh::endpoint::{Connection, ConnectionError, RecvStream, SendStream, VarInt, presets};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, TransportAddr};
use proto::wire::ALPN;
use proto::wire::frame::RefuseCode;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::*;

async fn mallory() -> Endpoint {
    speaking(aws_lc_rs::default_provider()).await
}

async fn speaking(provider: CryptoProvider) -> Endpoint {
    Endpoint::builder(presets::Minimal)
        .crypto_provider(Arc::new(provider))
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .unwrap()
        .bind()
        .await
        .unwrap()
}

fn address_of(node: &Node) -> EndpointAddr {
    let id = EndpointId::from_bytes(&node.node_id().0).unwrap();
    EndpointAddr::from_parts(id, node.local_addresses().into_iter().map(TransportAddr::Ip))
}

async fn raw(mallory: &Endpoint, bob: &Node) -> (Connection, SendStream, RecvStream) {
    let connection = within(mallory.connect(address_of(bob), ALPN)).await.unwrap();
    let (send, recv) = connection.open_bi().await.unwrap();
    (connection, send, recv)
}

fn hello() -> Vec<u8> {
    Frame::Hello { versions: vec![1], unix_time: 1_000 }.encode()
}

/// Every frame that bob sent until the end, and how he closed.
async fn last_words(connection: &Connection, mut recv: RecvStream) -> (Vec<Frame>, VarInt, String) {
    let bytes = within(recv.read_to_end(1 << 20)).await.unwrap();
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((prefix, tail)) = rest.split_first_chunk::<4>() {
        let (frame, tail) = tail.split_at(u32::from_be_bytes(*prefix) as usize);
        frames.push(Frame::decode(frame).unwrap());
        rest = tail;
    }
    match within(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            (frames, close.error_code, String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => panic!("closed otherwise: {other}"),
    }
}

fn refusal(code: RefuseCode) -> Frame {
    Frame::Refuse { code, envelope: None, device: None }
}

fn short() -> LinkCaps {
    LinkCaps {
        first_frame: Duration::from_millis(300),
        mid_frame_grace: Duration::from_millis(100),
        ..LinkCaps::default()
    }
}

#[tokio::test]
async fn bad_first_frames_are_refused_with_a_reason_and_never_become_links() {
    let (bob, mut bobs) = node(short()).await;
    let mallory = mallory().await;
    let claim_of_4_gib = vec![0xff; 4];
    let garbage = [&[0, 0, 0, 8][..], b"GET / HT"].concat();
    let not_a_hello = Frame::Ping { nonce: 1, reply: false }.encode();
    let future = Frame::Hello { versions: vec![9, 8], unix_time: 0 }.encode();
    let half = hello()[..7].to_vec();
    let cases = [
        ("length", claim_of_4_gib, Some(RefuseCode::Malformed), 19, "4294967295"),
        ("garbage", garbage, Some(RefuseCode::Malformed), 19, "no valid frame"),
        ("order", not_a_hello, Some(RefuseCode::Malformed), 19, "first frame"),
        ("version", future, Some(RefuseCode::Version), 18, "[9, 8]"),
        ("half", half, None, 20, "too slow"),
    ];
    for (case, bytes, refused, code, words) in cases {
        let (connection, mut send, recv) = raw(&mallory, &bob).await;
        send.write_all(&bytes).await.unwrap();
        let (frames, closed, text) = last_words(&connection, recv).await;
        assert!(matches!(frames[0], Frame::Hello { .. }), "{case}: both sides send hello first");
        assert_eq!(frames.get(1).cloned(), refused.map(refusal), "{case}");
        assert_eq!(closed, VarInt::from_u32(code), "{case}");
        assert!(text.contains(words), "{case}: {text}");
    }
    assert!(bobs.try_recv().is_err());
    assert_eq!(bob.inbound(), (0, 0));

    // And bob is well.
    let (alice, _) = node(LinkCaps::default()).await;
    connect(&alice, &bob, &mut bobs).await;
}

#[tokio::test]
async fn bad_frames_later_close_the_link_with_a_reason() {
    let (bob, mut bobs) = node(short()).await;
    let mallory = mallory().await;
    let half = envelope(1, 50_000).encode()[..60].to_vec();
    type Expected = fn(&LinkError) -> bool;
    let cases: [(&str, Vec<u8>, Expected, u32); 4] = [
        ("length", vec![0, 2, 0, 0], |e| matches!(e, LinkError::FrameTooLarge { size: 131_072 }), 19),
        ("garbage", vec![0, 0, 0, 1, 0xc1], |e| matches!(e, LinkError::Malformed(_)), 19),
        ("empty", vec![0; 4], |e| matches!(e, LinkError::Malformed(_)), 19),
        ("half", half, |e| matches!(e, LinkError::TooSlow(_)), 20),
    ];
    for (case, bytes, expected, code) in cases {
        let (connection, mut send, recv) = raw(&mallory, &bob).await;
        send.write_all(&hello()).await.unwrap();
        let mut link = within(bobs.recv()).await.unwrap();
        assert!(link.peer_time_offset < -1_000_000_000, "{case}: {}", link.peer_time_offset);
        let ping = Frame::Ping { nonce: 7, reply: false };
        send.write_all(&ping.encode()).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(within(link.receiver.recv()).await.unwrap(), Some(ping), "{case}");
        let error = within(link.receiver.recv()).await.unwrap_err();
        assert!(expected(&error), "{case}: {error}");
        assert!(link.sender.is_closed());
        let (frames, closed, text) = last_words(&connection, recv).await;
        assert_eq!(closed, VarInt::from_u32(code), "{case}");
        assert_eq!(text, error.to_string(), "{case}");
        let refused = (code == 19).then(|| refusal(RefuseCode::Malformed));
        assert_eq!(frames.get(1).cloned(), refused, "{case}");
        assert!(matches!(within(link.receiver.recv()).await, Err(LinkError::Closed(_))), "{case}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let (bob, _bobs) = node(short()).await;
    let mallory = mallory().await;
    let connection = within(mallory.connect(address_of(&bob), ALPN)).await.unwrap();
    let ConnectionError::ApplicationClosed(close) = within(connection.closed()).await else { panic!("otherwise") };
    assert_eq!(close.error_code, VarInt::from_u32(20));
    assert_eq!(&close.reason[..], b"no hello in time");
}

#[tokio::test]
async fn key_exchange_is_hybrid_or_x25519_and_nothing_else() {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let (bob, _bobs) = node(LinkCaps::default()).await;
    for (group, spoken) in [(X25519MLKEM768, true), (X25519, true), (SECP256R1, false)] {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![group];
        let mallory = speaking(provider).await;
        let limit = if spoken { PATIENCE } else { Duration::from_millis(300) };
        let connected = tokio::time::timeout(limit, mallory.connect(address_of(&bob), ALPN)).await;
        assert_eq!(matches!(connected, Ok(Ok(_))), spoken, "{group:?}: {connected:?}");
    }
}

#[tokio::test]
async fn another_protocol_never_becomes_a_link() {
    let mut config = LinkConfig::new(rand::random());
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.dial_timeout = Duration::from_millis(300);
    let (bob, mut bobs) = Node::bind(config).await.unwrap();
    let mallory = mallory().await;
    // The transport was seen to lose the TLS alert: a dialler of the wrong protocol waits for its own limit.
    let wrong = mallory.connect(address_of(&bob), b"chatd/link/99");
    let wrong = tokio::time::timeout(Duration::from_millis(300), wrong).await;
    assert!(!matches!(wrong, Ok(Ok(_))), "accepted");
    assert!(bobs.try_recv().is_err());
    assert_eq!(bob.inbound(), (0, 0));

    mallory.set_alpns(vec![b"chatd/link/99".to_vec()]);
    let (id, addresses) = (NodeId(*mallory.id().as_bytes()), mallory.bound_sockets());
    let accept = async {
        let incoming = mallory.accept().await.unwrap();
        assert!(incoming.await.is_err());
    };
    let (dialed, ()) = within(async { tokio::join!(bob.dial(id, &addresses), accept) }).await;
    assert!(matches!(dialed, Err(LinkError::DialTimeout(_) | LinkError::Dial { .. })), "{dialed:?}");
}

#[tokio::test]
async fn a_dialled_peer_may_refuse_after_the_handshake() {
    let (alice, _) = node(LinkCaps::default()).await;
    let mallory = Arc::new(mallory().await);
    let addresses = mallory.bound_sockets();
    let id = NodeId(*mallory.id().as_bytes());
    type Expected = fn(&LinkError) -> bool;
    let cases: [(Vec<u8>, Expected); 3] = [
        (refusal(RefuseCode::Busy).encode(), |e| matches!(e, LinkError::Refused(RefuseCode::Busy))),
        (Frame::Hello { versions: vec![], unix_time: 0 }.encode(), |e| matches!(e, LinkError::Version { .. })),
        (vec![], |e| matches!(e, LinkError::Refused(RefuseCode::RateLimited))),
    ];
    for (answer, expected) in cases {
        let serve = {
            let mallory = mallory.clone();
            async move {
                let connection = mallory.accept().await.unwrap().await.unwrap();
                let (mut send, _recv) = connection.accept_bi().await.unwrap();
                if answer.is_empty() {
                    connection.close(VarInt::from_u32(17), b"\x1b[2Jslow down");
                } else {
                    send.write_all(&answer).await.unwrap();
                }
                connection.closed().await;
            }
        };
        let (dialed, ()) = within(async { tokio::join!(alice.dial(id, &addresses), serve) }).await;
        let error = dialed.unwrap_err();
        assert!(expected(&error), "{error:?}");
    }
}

#[tokio::test]
async fn dials_that_cannot_work_fail_at_once_and_dials_to_nobody_in_time() {
    let mut config = LinkConfig::new([7; 32]);
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.dial_timeout = Duration::from_millis(200);
    let (alice, _) = Node::bind(config).await.unwrap();
    let own = within(alice.dial(alice.node_id(), &alice.local_addresses())).await;
    assert!(matches!(own, Err(LinkError::OwnNode)));
    let (bob, _) = node(LinkCaps::default()).await;
    assert!(matches!(within(alice.dial(bob.node_id(), &[])).await, Err(LinkError::NoAddress(_))));
    let no_key = (0..=255).map(|n| NodeId([n; 32])).find(|id| EndpointId::from_bytes(&id.0).is_err()).unwrap();
    let addresses = bob.local_addresses();
    assert!(matches!(within(alice.dial(no_key, &addresses)).await, Err(LinkError::NoSuchNode(_))));
    bob.close().await;
    let nobody = within(alice.dial(bob.node_id(), &addresses)).await;
    assert!(matches!(nobody, Err(LinkError::DialTimeout(_))), "{nobody:?}");
    // Somebody else at that address.
    let (carol, _carols) = node(LinkCaps::default()).await;
    let impostor = within(alice.dial(bob.node_id(), &carol.local_addresses())).await;
    assert!(impostor.is_err());
}

#[tokio::test]
async fn what_cannot_be_bound_says_why() {
    let (bob, _) = node(LinkCaps::default()).await;
    let mut config = LinkConfig::new([7; 32]);
    config.listen = bob.local_addresses();
    let error = Node::bind(config.clone()).await.unwrap_err();
    assert!(matches!(error, LinkError::Bind { .. }), "{error:?}");
    assert!(error.to_string().contains(&bob.local_addresses()[0].to_string()), "{error}");
    config.listen = vec![];
    assert!(matches!(Node::bind(config).await, Err(LinkError::Config(_))));
}
