//! Floods: alice's honest messages go on while mallory does what the limits are for. `cargo xtask torture` does it with
//! ten thousand half-open connections and for a minute; the suite with fewer and for seconds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chatd::link::{LinkConfig, Node};
use iroh::{EndpointAddr, EndpointId, TransportAddr};
use proto::ids::{DeviceId, MessageId, NodeId, PrekeyId, sha256};
use proto::rpc::client::Client;
use proto::rpc::methods::{MessageSend, MessageWait};
use proto::rpc::types::{MessageState, SendParams, WaitParams};
use proto::wire::ALPN;
use proto::wire::envelope::Outer;
use proto::wire::frame::Frame;
use tests::Pair;
use tests::daemon::resident_kib;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::peer_abuse::{mallory, node_of};

/// Memory of a daemon under all limits at once.
pub const MOST_MEMORY_KIB: u64 = 256 * 1024;
/// What a user may wait for a message in a flood, on a busy machine; the figure printed is what it was.
const MOST_P99: Duration = Duration::from_secs(5);

pub fn amount(variable: &str, least: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(0).max(least)
}

/// Sends a message to bob, and waits until it is delivered.
pub async fn one_arrives(client: &Client) {
    let id = MessageId::now();
    let send = SendParams { to: "bob".into(), body: "honest".into(), id: Some(id), ..SendParams::default() };
    client.call::<MessageSend>(&send).await.unwrap();
    let wait = WaitParams { account: None, id, state: MessageState::Delivered, timeout_ms: 30_000 };
    let state = client.call::<MessageWait>(&wait).await.unwrap().state;
    assert_eq!(state, MessageState::Delivered, "an honest message is stuck");
}

/// Sends one message after the other until told to stop, at least `least`; how long each took until it was delivered.
pub async fn honest(client: &Client, least: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < least || !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        one_arrives(client).await;
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times
}

pub fn p99(times: &[Duration]) -> Duration {
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

/// What honest ones wait when nobody attacks: of all such times, for the longest of a hundred are chance.
#[derive(Debug, Default)]
pub struct Peace {
    times: Vec<Duration>,
    attacks: Vec<(String, Duration)>,
}

impl Peace {
    /// Takes times, sorted; the 99th percentile of these alone.
    pub fn add(&mut self, times: Vec<Duration>) -> Duration {
        let quiet = p99(&times);
        self.times.extend(times);
        quiet
    }

    /// What an attack made of it.
    pub fn compare(&mut self, attack: String, during: Duration) {
        self.attacks.push((attack, during));
    }

    /// The attacks under which somebody waits more than five times as long.
    pub fn longer_in_war(mut self) -> Vec<String> {
        self.times.sort_unstable();
        let quiet = p99(&self.times);
        println!("figure: in peace {:.1} ms p99 of {}", quiet.as_secs_f64() * 1e3, self.times.len());
        let longer = self.attacks.into_iter().filter(|(_, during)| *during > 5 * quiet);
        let failed: Vec<String> =
            longer.map(|(attack, during)| format!("{attack}: {during:?}, {quiet:?} in peace")).collect();
        failed.iter().for_each(|what| println!("NOT HELD: {what}"));
        failed
    }
}

/// The most memory that a process was seen to use while `stop` was false.
pub async fn watch_memory(pid: u32, stop: &AtomicBool) -> u64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        most = most.max(resident_kib(pid).unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most.max(resident_kib(pid).unwrap_or(0))
}

/// Passes datagrams on to bob and nothing back: a handshake through it begins and never ends.
async fn one_way(to: SocketAddr, passed: Arc<AtomicU64>) -> SocketAddr {
    let (inner, outer) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = inner.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, _)) = inner.recv_from(&mut buffer).await {
            let _ = outer.send_to(&buffer[..length], to).await;
            passed.fetch_add(1, Ordering::Relaxed);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_cost_little_and_hurt_nobody() {
    let count = amount("CHATD_TORTURE_CONNECTIONS", 200);
    let mut pair = Pair::start();
    let (node, addresses) = node_of(pair.bob_daemon());
    let pid = pair.bob_daemon().pid().unwrap();
    let alice = pair.alice_daemon.client().await;
    let quiet = honest(&alice, 50, &AtomicBool::new(true)).await;
    let before = resident_kib(pid).unwrap();

    let passed = Arc::new(AtomicU64::new(0));
    let hole = one_way(addresses[0], Arc::clone(&passed)).await;
    let target = EndpointAddr::from_parts(EndpointId::from_bytes(&node.0).unwrap(), [TransportAddr::Ip(hole)]);
    let stop = Arc::new(AtomicBool::new(false));
    let mut attempts = JoinSet::new();
    // One endpoint tries as many at a time as it can hold.
    let mut endpoints = Vec::new();
    for _ in 0..count.div_ceil(1_000) {
        endpoints.push(mallory().await);
    }
    for number in 0..count {
        let (endpoint, target) = (endpoints[number as usize % endpoints.len()].clone(), target.clone());
        // None of them is ever answered.
        attempts.spawn(async move { endpoint.connect(target, ALPN).await.is_ok() });
    }
    let watcher = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move { watch_memory(pid, &stop).await })
    };
    let flood = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut succeeded = 0_u64;
            while let Some(ended) = attempts.join_next().await {
                succeeded += u64::from(ended.unwrap());
            }
            stop.store(true, Ordering::Relaxed);
            succeeded
        })
    };
    let during = honest(&alice, 100, &stop).await;
    let (succeeded, most) = (flood.await.unwrap(), watcher.await.unwrap());
    println!(
        "figure: {count} half-open connections ({} datagrams): bob's memory {before} KiB before, {most} KiB at most; \
         an honest message takes {:.1} ms p99 ({} of them), {:.1} ms without the flood",
        passed.load(Ordering::Relaxed),
        p99(&during).as_secs_f64() * 1e3,
        during.len(),
        p99(&quiet).as_secs_f64() * 1e3,
    );
    assert_eq!(succeeded, 0, "the hole passes nothing back");
    assert!(passed.load(Ordering::Relaxed) >= count / 2, "the flood did not come through");
    assert!(most < MOST_MEMORY_KIB, "{most} KiB");
    assert!(p99(&during) < MOST_P99, "{:?}", p99(&during));
}

/// Keeps as many links open as it is given, and sends junk over each as fast as it is taken.
async fn junk_links(bob: NodeId, addresses: Vec<SocketAddr>, number: u8, stop: Arc<AtomicBool>) -> u64 {
    let mut config = LinkConfig::new(sha256(&[b"mallory", &[number]]));
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let (node, _incoming) = Node::bind(config).await.unwrap();
    let mut sent = 0;
    let ciphertext = vec![b'x'; 60_000];
    let (to_device, prekey_id) = (DeviceId([number; 16]), PrekeyId([number; 8]));
    let outer = Outer { suite: 2, to_device, prekey_id, ttl: 60, ciphertext: &ciphertext, work: None }.encode();
    while !stop.load(Ordering::Relaxed) {
        let Ok(Ok(link)) = tokio::time::timeout(Duration::from_secs(5), node.dial(bob, &addresses)).await else {
            // Turned away: that is what the limits are for.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let frame = Frame::Envelope { number: sent, outer: outer.clone() };
            match tokio::time::timeout(Duration::from_millis(500), link.sender.send(frame)).await {
                Ok(Ok(())) => sent += 1,
                Ok(Err(_)) => break,
                Err(_) => {}
            }
        }
    }
    node.close().await;
    sent
}

/// A local program that asks for everything, reads nothing, and claims messages of a megabyte that it never completes.
async fn greedy_client(socket: PathBuf, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = tokio::net::UnixStream::connect(&socket).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut bytes = Vec::new();
        if number.is_multiple_of(2) {
            // Requests whose answers are large, and nobody to read them.
            let params = serde_json::json!({"who": "alice", "limit": 1_000});
            for id in 0..200 {
                proto::rpc::codec::encode_request(&mut bytes, id, "message.history", &params).unwrap();
            }
        } else {
            // A message of nearly 1 MiB, all but its end.
            bytes.extend([0x94, 0, 1, 0xa1, b'x', 0x91, 0xc6, 0, 0x0f, 0xf0, 0]);
            bytes.resize(0x0f_f0_00, 0);
        }
        while !stop.load(Ordering::Relaxed) {
            match tokio::time::timeout(Duration::from_millis(500), stream.write_all(&bytes)).await {
                Ok(Ok(())) => written += bytes.len() as u64,
                Ok(Err(_)) => break,
                Err(_) => {}
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(10), stream.read(&mut [0; 16])).await;
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_by_everybody_at_once_leaves_memory_bounded_and_honest_messages_quick() {
    let seconds = amount("CHATD_TORTURE_SECONDS", 3);
    let mut pair = Pair::start();
    let (node, addresses) = node_of(pair.bob_daemon());
    let pid = pair.bob_daemon().pid().unwrap();
    let socket = pair.bob_daemon().socket().to_path_buf();
    let alice = pair.alice_daemon.client().await;
    let quiet = honest(&alice, 50, &AtomicBool::new(true)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let (mut links, mut clients) = (JoinSet::new(), JoinSet::new());
    for number in 0..16 {
        links.spawn(junk_links(node, addresses.clone(), number, Arc::clone(&stop)));
    }
    for number in 0..12 {
        clients.spawn(greedy_client(socket.clone(), number, Arc::clone(&stop)));
    }
    // A friend who sends as much as she can, beside the messages that are timed.
    let bulk = {
        let (client, stop) = (pair.alice_daemon.client().await, Arc::clone(&stop));
        tokio::spawn(async move {
            let mut sent = 0_u64;
            let body = "y".repeat(4_000);
            while !stop.load(Ordering::Relaxed) {
                let send = SendParams { to: "bob".into(), body: body.clone(), ..SendParams::default() };
                sent += u64::from(client.call::<MessageSend>(&send).await.is_ok());
            }
            sent
        })
    };
    let watcher = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move { watch_memory(pid, &stop).await })
    };
    let timer = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            stop.store(true, Ordering::Relaxed);
        })
    };
    let during = honest(&alice, 20, &stop).await;
    timer.await.unwrap();
    let most = watcher.await.unwrap();
    let junk: u64 = links.join_all().await.into_iter().sum();
    let written: u64 = clients.join_all().await.into_iter().sum();
    let bulk = bulk.await.unwrap();
    println!(
        "figure: {seconds} s of 16 strangers ({junk} junk envelopes of 60 KB taken), 12 greedy clients ({} MiB), and a \
         friend in a hurry ({bulk} messages): bob's memory {most} KiB at most; an honest message takes {:.1} ms p99 ({} \
         of them), {:.1} ms in peace",
        written >> 20,
        p99(&during).as_secs_f64() * 1e3,
        during.len(),
        p99(&quiet).as_secs_f64() * 1e3,
    );
    assert!(pair.bob_daemon().is_running());
    assert!(junk > 0 && bulk > 0 && written > 0, "there was no load: {junk} {bulk} {written}");
    assert!(most < MOST_MEMORY_KIB, "{most} KiB");
    assert!(p99(&during) < MOST_P99, "{:?}", p99(&during));
}
