//! Relays that want to do harm, and peers that name relays of others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatd::crypto::keys::SigningKey;
use chatd::directory::DirectoryClient;
use chatd::link::{LinkConfig, Node, Relay};
use futures_util::{SinkExt, StreamExt};
use proto::directory::{Reach, SignedReach};
use proto::ids::{AccountId, DeviceId, NodeId, sha256};
use proto::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use tests::registry::Registrant;
use tests::tls::self_signed;
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// Believes everybody, or nobody.
#[derive(Debug)]
struct Believes(bool);

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.0 { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::UnknownIssuer.into()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Vec::new()
    }
}

fn relay(address: SocketAddr, believed: bool) -> Relay {
    Relay {
        url: format!("https://{address}"),
        address: address.ip(),
        discovery_port: Some(address.port()),
        trust: Arc::new(Believes(believed)),
    }
}

async fn node(salt: &str) -> Node {
    let mut config = LinkConfig::new(sha256(&[b"relayed", salt.as_bytes()]));
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Node::bind(config).await.unwrap().0
}

/// What a node that waits at a relay still does: it dials at once, and ends in time.
async fn is_none_the_worse(alice: &Node, bob: &Node) {
    let begun = Instant::now();
    let link = alice.dial(bob.node_id(), &bob.local_addresses()).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "a direct dial took {:?}", begun.elapsed());
    assert!(matches!(link.sender.path().kind, chatd::link::PathKind::Direct(_)));
    let begun = Instant::now();
    alice.close().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the end took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_relay_that_hangs_or_is_not_believed_holds_up_nothing() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (alice, bob) = (node("alice").await, node("bob").await);
    alice.wait_at(&[relay(hanging.local_addr().unwrap(), true)]).await;
    // It takes the connection, and never says a word.
    let held = tokio::time::timeout(Duration::from_secs(20), hanging.accept()).await.unwrap().unwrap();
    is_none_the_worse(&alice, &bob).await;
    drop(held);

    let impostor = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let certificate = self_signed(&["127.0.0.1"]).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificate.server().unwrap());
    let address = impostor.local_addr().unwrap();
    let alice = node("alice again").await;
    alice.wait_at(&[relay(address, false)]).await;
    let (stream, _) = tokio::time::timeout(Duration::from_secs(20), impostor.accept()).await.unwrap().unwrap();
    let error = acceptor.accept(stream).await.map(drop).unwrap_err();
    println!("an impostor of a relay is told: {error}");
    assert_eq!(alice.whereabouts().borrow().relay, None, "nobody is told to find her there");
    is_none_the_worse(&alice, &bob).await;
    bob.close().await;
}

/// Speaks the protocol as far as to be believed, and then sends packets of everybody, as fast as they are taken.
async fn flood(listener: TcpListener, sent: Arc<AtomicU64>) {
    let certificate = self_signed(&["127.0.0.1"]).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(certificate.server().unwrap());
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, sent) = (acceptor.clone(), Arc::clone(&sent));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            #[allow(clippy::result_large_err)]
            let choose = |_: &Request, mut response: Response| {
                response.headers_mut().insert("sec-websocket-protocol", "iroh-relay-v2".parse().unwrap());
                Ok(response)
            };
            let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { return };
            // "You are let in", without having asked for any proof.
            if socket.send(Message::Binary(vec![2].into())).await.is_err() {
                return;
            }
            let (mut out, mut back) = socket.split();
            tokio::spawn(async move { while let Some(Ok(_)) = back.next().await {} });
            // A datagram of a node: type, node, no congestion, and what looks like QUIC.
            let mut packet = vec![6];
            packet.extend(SigningKey::from_bytes(&[9; 32]).public());
            packet.push(0);
            packet.extend(vec![0xc3; 1_200]);
            let packet: tokio_tungstenite::tungstenite::Bytes = packet.into();
            while out.send(Message::Binary(packet.clone())).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_floods_costs_bounded_memory_and_hurts_no_direct_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    tokio::spawn(flood(listener, Arc::clone(&sent)));
    let (alice, bob) = (node("flooded").await, node("bob of flooded").await);
    // Somebody is said to be there: that alone makes her go there.
    let (dialing, hostile) = (alice.clone(), relay(address, true));
    let nobody = NodeId(SigningKey::from_bytes(&[9; 32]).public());
    tokio::spawn(async move { dialing.dial_by(nobody, &[], Some(&hostile)).await.map(drop) });
    let begun = Instant::now();
    while sent.load(Ordering::Relaxed) < 1_000 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never floods");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = resident_kib();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        let link = alice.dial(bob.node_id(), &bob.local_addresses()).await.unwrap();
        slowest = slowest.max(asked.elapsed());
        drop(link);
    }
    let grown = resident_kib().saturating_sub(before);
    let packets = sent.load(Ordering::Relaxed);
    println!("figure: a relay that floods: {packets} packets, {grown} KiB, the slowest of 20 dials {slowest:?}");
    assert!(slowest < Duration::from_secs(2) && grown < 64 * 1024, "{slowest:?}, {grown} KiB");
    is_none_the_worse(&alice, &bob).await;
    bob.close().await;
}

#[test]
fn a_relay_that_a_peer_names_is_never_contacted() {
    let third = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    third.set_nonblocking(true).unwrap();
    let port = third.local_addr().unwrap().port();
    // At DEBUG the log says whom it is asked for.
    let config = Some("tls = \"own\"\nlog = \"directoryd=debug\"\n".to_owned());
    let directory = Directory::start_with(DirectoryOptions { config, ..DirectoryOptions::default() });
    let daemon = Daemon::start(DaemonOptions::new("alice", directory.url()));
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let urls = ["http", "https"].map(|scheme| format!("{scheme}://127.0.0.1:{port}"));
    for (number, url) in urls.into_iter().enumerate() {
        let name = format!("carol{number}");
        let account = runtime.block_on(register_at(&directory, &name, url));
        alice.ok(["add", &name, "--message", "hello"]);
        // She was dialled, by the only relay that there is for people of this directory: it is asked again where she is.
        let asked = format!("operation=reach name=\"{account} #");
        wait_for("a dial has failed", || directory.log_text().matches(&asked).count() >= 2);
    }
    assert!(directory.log_text().contains("operation=relay"), "{}", directory.log_text());
    let came = third.accept().map(|(_, address)| address);
    assert!(came.is_err(), "somebody came: {came:?}");
    println!("figure: connections to relays that peers name: 0");
}

/// Somebody whose reach names a relay of their choice.
async fn register_at(directory: &Directory, name: &str, relay: String) -> AccountId {
    let person = Registrant::new(name, "relay", "example.org").unwrap();
    let client = DirectoryClient::new(directory.url()).unwrap();
    let identity = SigningKey::from_bytes(&person.identity.to_bytes());
    let record = person.signed(1).unwrap();
    client.publish(&person.name, &record, &|message: &[u8]| identity.sign(&[message])).await.unwrap();
    let node = SigningKey::from_bytes(&sha256(&[b"node", name.as_bytes()]));
    let reach = Reach {
        account: person.account(),
        device: DeviceId::of_key(&person.device.verifying_key().to_bytes()),
        node: NodeId(node.public()),
        relay: Some(relay),
        addresses: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 9)],
        seq: 1,
        issued: Timestamp::now().unix_seconds(),
    };
    let signed = SignedReach::sign(&reach, &person.device, node.inner()).unwrap();
    client.publish_reach(&signed.encode()).await.unwrap();
    person.account()
}
