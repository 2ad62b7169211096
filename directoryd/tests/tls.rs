//! A directory over TLS: whose certificate it shows, what happens when that is replaced, and what handshakes may cost.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::process::Process;
use common::{Directory, ORIGIN, PATIENCE};
use directoryd::config::TlsMode;
use directoryd::tls::{HANDSHAKE_BYTES, HANDSHAKE_TIMEOUT};
use proto::directory::SpkiPin;
use proto::directory::api::DirectoryAnswer;
use proto::ids::unhex;
use tests::http::Http;
use tests::tls::{Authority, Certificate, Holds, Trust, client, connect, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn address(url: &str) -> &str {
    url.split("://").nth(1).unwrap().split('#').next().unwrap()
}

fn pin(url: &str) -> SpkiPin {
    url.split_once('#').unwrap().1.parse().unwrap()
}

/// The pin of what is shown now.
async fn shown(address: &str) -> SpkiPin {
    let stream = connect(address, ORIGIN, &client(Trust::Anybody).unwrap()).await.unwrap();
    let (_, session) = stream.get_ref();
    let leaf = &session.peer_certificates().unwrap()[0];
    SpkiPin::of(&rustls::server::ParsedCertificate::try_from(leaf).unwrap().subject_public_key_info())
}

async fn until_shown(address: &str, pin: SpkiPin) {
    let begun = Instant::now();
    while shown(address).await != pin {
        assert!(begun.elapsed() < PATIENCE, "another certificate is shown");
    }
}

fn a_certificate() -> Certificate {
    self_signed(&[ORIGIN]).unwrap()
}

#[tokio::test]
async fn the_own_key_is_shown_and_is_the_one_that_members_pin() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("d.toml");
    std::fs::write(&file, "tls = 'own'").unwrap();
    let process = Process::start(&data.path().join("data"), &["--config", file.to_str().unwrap()]);
    assert!(process.url.starts_with("https://127.0.0.1:") && process.url.contains("#sha256-"), "{}", process.url);
    let pinned = client(Trust::Pin(pin(&process.url))).unwrap();
    let mut http = Http::connect_tls(address(&process.url), ORIGIN, &pinned).await.unwrap();
    let answer: DirectoryAnswer = http.get("/v1/directory").await.unwrap().json().unwrap();
    assert_eq!(SpkiPin::of_ed25519(&unhex(&answer.key).unwrap()), pin(&process.url));
    // Whoever watches it asks by TLS, too.
    let healthy = |listen: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_directoryd"));
        command.args(["--healthy", "--listen", listen, "--config"]).arg(&file).output().unwrap()
    };
    let well = healthy(address(&process.url));
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stderr));
    // TLS 1.3 and a key exchange that is ready for quantum computers.
    let stream = connect(address(&process.url), ORIGIN, &pinned).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
    // Plain HTTP is answered by nobody.
    let mut plain = Http::connect(address(&process.url)).await.unwrap();
    assert!(plain.get("/v1/nonce").await.is_err());
    // The key outlives a restart, and so does the pin.
    let before = pin(&process.url);
    process.stop();
    let process = Process::start(&data.path().join("data"), &["--config", file.to_str().unwrap()]);
    assert_eq!(pin(&process.url), before);
    let at = address(&process.url).to_owned();
    process.stop();
    assert!(!healthy(&at).status.success(), "nobody is there");
}

#[tokio::test]
async fn init_prints_the_url_that_is_served_then() {
    let data = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_directoryd"));
        command.args(["--listen", "0.0.0.0:7470", "--origin", ORIGIN, "--data-dir"]).arg(data.path().join("data"));
        let output = command.args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["--init"]);
    let url = text.lines().find_map(|line| line.strip_prefix("url")).unwrap().trim().to_owned();
    assert!(url.starts_with("https://example.org:7470#sha256-"), "{text}");
    assert!(text.contains(&format!("chatctl register NAME --directory '{url}'")), "{text}");
    assert_eq!(run(&["--init"]), text, "a second time makes no other key");
    // And it ended as a directory ends: the first start has nothing to mend.
    let left = std::fs::read_dir(data.path().join("data")).unwrap().map(|entry| entry.unwrap());
    let logs: Vec<_> = left.filter(|entry| entry.file_name().to_string_lossy().ends_with("-wal")).collect();
    assert!(logs.iter().all(|log| log.metadata().unwrap().len() == 0), "{logs:?}");
    let records = run(&["dns-records"]);
    assert!(records.contains("_chatd-directory._tcp.example.org. 3600 IN SRV 10 10 7470 example.org.\n"), "{records}");
    let file = data.path().join("d.toml");
    std::fs::write(&file, "tls = 'own'").unwrap();
    let process = Process::start(&data.path().join("data"), &["--config", file.to_str().unwrap()]);
    assert_eq!(pin(&process.url), pin(&url));
    process.stop();
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_and_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (a_certificate(), a_certificate());
    let (chain, key) = old.write(folder.path()).unwrap();
    let directory = Directory::with(|config| {
        (config.tls_cert, config.tls_key) = (Some(chain.clone()), Some(key.clone()));
        config.timing.certificate = Duration::from_millis(20);
    })
    .await;
    let at = address(&directory.url);
    let mut open = Http::connect_tls(at, ORIGIN, &client(Trust::Pin(old.pin)).unwrap()).await.unwrap();
    assert_eq!(open.get("/v1/nonce").await.unwrap().status, 200);
    // Whoever watches is told when it ends.
    let figures = open.get("/metrics").await.unwrap().text();
    assert!(figures.contains("\ndirectoryd_certificate_ends_timestamp_seconds 4102444800\n"), "{figures}");
    // Half of it is there, or something else altogether: the old one stays.
    std::fs::write(&chain, &new.chain).unwrap();
    assert_eq!(shown(at).await, old.pin);
    std::fs::write(&chain, "no certificate").unwrap();
    assert_eq!(shown(at).await, old.pin);
    std::fs::remove_file(&chain).unwrap();
    assert_eq!(shown(at).await, old.pin);
    new.write(folder.path()).unwrap();
    until_shown(at, new.pin).await;
    assert_eq!(open.get("/v1/nonce").await.unwrap().status, 200, "the connection from before goes on");
    assert!(connect(at, ORIGIN, &client(Trust::Pin(old.pin)).unwrap()).await.is_err());
    directory.stop().await;
}

#[test]
fn files_that_are_no_certificate_and_key_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = a_certificate().write(folder.path()).unwrap();
    let start = |chain: &std::path::Path, key: &std::path::Path, more: &[&str]| {
        let mut command = common::process::command(&folder.path().join("data"), more);
        command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let (another, another_key) =
        Authority::new().unwrap().certify(&["b.test"], Holds::Now).unwrap().write(&other).unwrap();
    for (chain, key, words) in [
        (&folder.path().join("none.pem"), &key, "cannot read"),
        (&key, &key, "holds no certificates"),
        (&chain, &chain, "holds no private key"),
        (&chain, &another_key, "no certificate and its key"),
    ] {
        for more in [&["--check"][..], &[]] {
            let (success, text) = start(chain, key, more);
            assert!(!success && text.contains(words), "{words}: {text}");
        }
    }
    let (success, text) = start(&another, &another_key, &["--check"]);
    assert!(success && text.contains("does not name the origin"), "{text}");
    let (success, text) = start(&chain, &key, &["--check"]);
    assert!(success && !text.contains("does not name") && text.contains(", until 2100-01-01T00:00:00"), "{text}");
}

/// The beginning of a handshake that never goes on: a message of 60 KB is announced, and nearly a record of it comes.
fn half_a_hello(bytes: usize) -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xf0, 0];
    hello.resize(bytes, 0);
    hello
}

#[tokio::test]
async fn handshakes_that_never_end_cost_little_and_hurt_nobody() {
    const MANY: usize = 1_500;
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("d.toml");
    std::fs::write(&file, "tls = 'own'").unwrap();
    let process = Process::start(&data.path().join("data"), &["--config", file.to_str().unwrap()]);
    let config = client(Trust::Pin(pin(&process.url))).unwrap();
    let at = address(&process.url);
    let before = process.held();
    let mut half = Vec::new();
    for _ in 0..MANY {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&half_a_hello(HANDSHAKE_BYTES - 1_024)).await.unwrap();
        half.push(stream);
    }
    let begun = Instant::now();
    let mut http = Http::connect_tls(at, ORIGIN, &config).await.unwrap();
    assert_eq!(http.get("/v1/nonce").await.unwrap().status, 200);
    let honest = begun.elapsed();
    let each = process.held().saturating_sub(before) * 1024 / MANY as u64;
    println!("{MANY} half handshakes: {each} bytes each, an honest one among them took {honest:?}");
    assert!(honest < HANDSHAKE_TIMEOUT, "{honest:?}");
    assert!(each < 40 * 1024, "{each} bytes each");
    // They are let go, each by itself.
    for stream in &mut half {
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(HANDSHAKE_TIMEOUT + PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    }
    let text = http.get("/metrics").await.unwrap().text();
    assert!(text.contains(&format!("directoryd_handshakes_failed_total {MANY}\n")), "{text}");
    process.stop();
}

#[tokio::test]
async fn who_sends_too_much_for_a_handshake_is_let_go_at_once() {
    let directory = Directory::with(|config| config.tls = TlsMode::Own).await;
    let mut stream = TcpStream::connect(address(&directory.url)).await.unwrap();
    let begun = Instant::now();
    let flood = async {
        // A dozen records of a message that has no end.
        for _ in 0..12 {
            let mut record = vec![0x16, 3, 1, 0x3f, 0xff];
            record.extend([&[1, 0, 0xff, 0xff][..], &[0; 0x3ffb]].concat());
            stream.write_all(&record).await?;
        }
        stream.read_to_end(&mut Vec::new()).await
    };
    let _ = flood.await;
    assert!(begun.elapsed() < HANDSHAKE_TIMEOUT / 2, "{:?}", begun.elapsed());
    directory.stop().await;
}

#[tokio::test]
async fn handshakes_of_one_address_are_limited_like_requests() {
    let directory = Directory::with(|config| {
        config.tls = TlsMode::Own;
        config.limit_loopback = true;
        config.limits.request_burst = 20;
        config.limits.request_per_minute = 1;
    })
    .await;
    let config = client(Trust::Anybody).unwrap();
    let (mut done, mut why) = (0, None);
    for _ in 0..40 {
        match connect(address(&directory.url), ORIGIN, &config).await {
            Ok(_) => done += 1,
            Err(error) => why = Some(error),
        }
    }
    // First: a directory that did not run says why itself.
    directory.stop().await;
    assert!((15..=21).contains(&done), "{done}, then {why:?}");
}
