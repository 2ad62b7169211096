//! Hostile and broken RPC clients: their connection ends with a reason, the daemon and the others live.

use std::time::Duration;

use proto::rpc::methods::SystemHello;
use proto::rpc::types::HelloParams;
use tests::{Daemon, DaemonOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// An answer, or the end of the connection, comes within this.
const PATIENCE: Duration = Duration::from_secs(30);

fn daemon() -> Daemon {
    Daemon::start(DaemonOptions::default())
}

async fn assert_alive(daemon: &Daemon) {
    let client = daemon.client().await;
    let hello = client.call::<SystemHello>(&HelloParams::default()).await.unwrap();
    assert!(hello.server.contains("chatd"), "{hello:?}");
}

/// `[0, id, method, [map]]` of a short method and a ready-made map.
fn request(id: u8, method: &str, map: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x94, 0x00, id, 0xa0 | u8::try_from(method.len()).unwrap()];
    bytes.extend_from_slice(method.as_bytes());
    bytes.push(0x91);
    bytes.extend_from_slice(map);
    bytes
}

/// Sends bytes and reads until the daemon closes.
async fn send_and_read_to_end(daemon: &Daemon, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    // The daemon may close before it has taken everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {:02x?}", &bytes[..bytes.len().min(32)]);
    answer
}

/// Sends bytes and reads what comes first.
async fn send_and_read(daemon: &Daemon, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 65_536];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    answer.truncate(read);
    answer
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_oversized_and_deep_messages_end_the_connection() {
    let daemon = daemon();
    let deep = [0x91].repeat(100_000);
    let mut deep_params = request(1, "system.hello", &[]);
    deep_params.extend([0x91].repeat(100_000));
    let hostile: [(&str, Vec<u8>); 12] = [
        ("not an array", vec![0x01]),
        ("a reserved byte", vec![0xc1]),
        ("a string", b"\xa5hello".to_vec()),
        ("an empty array", vec![0x90]),
        ("an unknown kind", vec![0x94, 0x07, 0x01, 0xa1, b'x', 0x90]),
        ("a response nobody asked for", vec![0x95, 0x00, 0x01, 0xa1, b'x', 0x90, 0xc0]),
        ("an id that is no number", vec![0x94, 0x00, 0xa1, b'i', 0xa1, b'x', 0x90]),
        ("a deep array", deep),
        ("deep parameters", deep_params),
        ("2^32 elements", vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ("a string of 2^32 bytes", [&[0x94, 0x00, 0x01, 0xdb, 0xff, 0xff, 0xff, 0xff][..], &[b'x'; 64]].concat()),
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in hostile {
        let answer = send_and_read_to_end(&daemon, &bytes).await;
        assert!(answer.is_empty() || contains(&answer, "malformed"), "{what}: {answer:02x?}");
        assert_alive(&daemon).await;
    }
    // More than 1 MiB, in one message that is legal otherwise.
    let mut large = request(1, "system.hello", &[0x81, 0xa6]);
    large.extend_from_slice(b"client");
    large.extend_from_slice(&[0xdb, 0x00, 0x20, 0x00, 0x00]);
    large.extend(vec![b'x'; 0x20_0000]);
    let answer = send_and_read_to_end(&daemon, &large).await;
    assert!(answer.is_empty() || contains(&answer, "malformed"), "{answer:02x?}");
    assert_alive(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_parameters_are_answered() {
    let daemon = daemon();
    let answer = send_and_read(&daemon, &request(7, "system.nothing", &[0x80])).await;
    assert!(contains(&answer, "unknown_method") && contains(&answer, "system.nothing"), "{answer:02x?}");
    assert_eq!(answer[2], 7, "the answer carries the id");
    let answer = send_and_read(&daemon, &request(8, "system.hello", b"\x81\xa6colour\xa4blue")).await;
    assert!(contains(&answer, "invalid_params") && contains(&answer, "colour"), "{answer:02x?}");
    let answer = send_and_read(&daemon, &request(9, "system.hello", b"\x81\xa6client\x07")).await;
    assert!(contains(&answer, "invalid_params"), "{answer:02x?}");
    let answer = send_and_read(&daemon, &request(9, "message.wait", &[0x80])).await;
    assert!(contains(&answer, "invalid_params") && contains(&answer, "id"), "{answer:02x?}");
    // Two requests in one write, and one in two writes.
    let two = [request(1, "system.hello", &[0x80]), request(2, "system.hello", &[0x80])].concat();
    let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
    stream.write_all(&two[..5]).await.unwrap();
    assert_alive(&daemon).await;
    stream.write_all(&two[5..]).await.unwrap();
    let mut answer = Vec::new();
    while !(contains(&answer, "\u{1}\u{1}") && contains(&answer, "\u{1}\u{2}")) {
        let mut part = [0; 4_096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(read > 0, "closed after {answer:02x?}");
        answer.extend_from_slice(&part[..read]);
    }
    // The map may be left out where everything is optional; a notification has no answer.
    let mut bare = b"\x94\x00\x03\xacsystem.hello\x90".to_vec();
    bare.extend_from_slice(b"\x93\x02\xb2nvim_error_event_x\x90");
    let answer = send_and_read(&daemon, &bare).await;
    assert_eq!(answer.get(2), Some(&3), "{answer:02x?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_and_silence_hold_nobody_up() {
    let daemon = daemon();
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        stream.write_all(&request(1, "system.hello", &[0x80])[..6]).await.unwrap();
        open.push(stream);
    }
    open.push(UnixStream::connect(daemon.socket()).await.unwrap());
    // A client that left counts until the daemon has noticed it: three fit beside these five at any pace, and not four.
    for _ in 0..2 {
        assert_alive(&daemon).await;
    }
    let client = daemon.client().await;
    for _ in 0..20 {
        client.call::<SystemHello>(&HelloParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_capped_and_the_cap_says_so() {
    let daemon = Daemon::start(DaemonOptions::default().config("[limits]\nrpc_clients = 32\n"));
    let mut open = Vec::new();
    let mut refused = None;
    for number in 0..40_u8 {
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let _ = stream.write_all(&request(number, "system.hello", &[0x80])).await;
        let mut answer = vec![0; 4_096];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
        if read == 0 || contains(&answer[..read], "limit_reached") {
            refused = Some((number, answer[..read].to_vec()));
            break;
        }
        open.push(stream);
    }
    let (number, answer) = refused.expect("somewhere below 40 it ends");
    assert!(number >= 8, "eight of one user are fine, refused after {number}");
    assert!(contains(&answer, "limit_reached"), "{answer:02x?}");
    drop(open);
    let served = tests::wait::try_wait(PATIENCE, || async {
        let client = proto::rpc::client::Client::connect(daemon.socket()).await.ok()?;
        client.call::<SystemHello>(&HelloParams::default()).await.ok()
    });
    assert!(served.await.is_some(), "served again once others have gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_never_end_the_daemon() {
    let daemon = daemon();
    // A fixed generator: the same bytes on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200_u32 {
        let mut bytes = if round % 2 == 0 { request(1, "message.send", &[]) } else { Vec::new() };
        for _ in 0..next() % 64 {
            bytes.extend_from_slice(&next().to_be_bytes());
        }
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "round {round} stays open after the client's end");
    }
    assert_alive(&daemon).await;
}
