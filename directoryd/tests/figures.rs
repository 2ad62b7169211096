//! How fast it is. Ignored by default, because it asserts nothing about time:
//! `cargo test --release -p directoryd --test figures -- --ignored --nocapture`
//!
//! Limits in force: none (loopback is exempt). The clients are as lean as possible, and share the cores.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::*;
use ed25519_dalek::Signer;
use proto::directory::SignedRecord;
use proto::directory::api::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// HTTP/1.1 over one connection, for answers with a content-length.
struct Lean {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Lean {
    async fn connect(directory: &Directory) -> Self {
        let stream = TcpStream::connect(directory.url.trim_start_matches("http://")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    async fn ask(&mut self, head: &str, body: &str) -> (u16, Vec<u8>) {
        let request = format!("{head} HTTP/1.1\r\nhost: d\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "closed");
            let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap().to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let length: usize = length.parse().unwrap();
            if self.buffer.len() >= end + 4 + length {
                return (head[9..12].parse().unwrap(), self.buffer[end + 4..].to_vec());
            }
        }
    }
}

async fn registrations(directory: Arc<Directory>, clients: usize, each: usize, round: &str) -> f64 {
    let people: Vec<Vec<(Person, Vec<u8>)>> = (0..clients)
        .map(|client| {
            let made = (0..each).map(|number| {
                let person = person(&format!("{round}-{client}-{number}"));
                let mut record = person.record(1);
                record.rotations.clear();
                let bytes = SignedRecord::sign(&record, &person.identity).unwrap().encode();
                (person, bytes)
            });
            made.collect()
        })
        .collect();
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mine in people {
        let directory = Arc::clone(&directory);
        tasks.spawn(async move {
            let mut http = Lean::connect(&directory).await;
            for (person, bytes) in mine {
                let (_, nonce) = http.ask("GET /v1/nonce", "").await;
                let nonce = serde_json::from_slice::<NonceAnswer>(&nonce).unwrap().nonce;
                let signature = person.identity.sign(&publish_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec();
                let request = PublishRequest { record: Base64(bytes), nonce, signature: Base64(signature) };
                let body = serde_json::to_string(&request).unwrap();
                let (status, answer) = http.ask(&format!("PUT /v1/records/{}", person.name), &body).await;
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    (clients * each) as f64 / begun.elapsed().as_secs_f64()
}

async fn lookups(directory: Arc<Directory>, clients: usize, each: usize) -> f64 {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let directory = Arc::clone(&directory);
        tasks.spawn(async move {
            let mut http = Lean::connect(&directory).await;
            for number in 0..each {
                let (status, _) = http.ask(&format!("GET /v1/records/many-0-{}", number % 50), "").await;
                assert_eq!(status, 200);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    (clients * each) as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn figures() {
    // Its log costs as much as in production.
    let sink = tracing_subscriber::fmt().with_writer(std::io::sink).with_ansi(false).finish();
    tracing::subscriber::set_global_default(sink).unwrap();
    let directory = Arc::new(Directory::start().await);
    println!("registrations/s,  1 client:  {:.0}", registrations(Arc::clone(&directory), 1, 2_000, "one").await);
    println!("registrations/s, 32 clients: {:.0}", registrations(Arc::clone(&directory), 32, 500, "many").await);
    println!("lookups/s,  1 client:  {:.0}", lookups(Arc::clone(&directory), 1, 10_000).await);
    println!("lookups/s, 32 clients: {:.0}", lookups(Arc::clone(&directory), 32, 3_000).await);
    // 1,000 sessions, each of its own account, 32 at a time.
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (directory, next) = (Arc::clone(&directory), Arc::clone(&next));
        tasks.spawn(async move {
            let mut open = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= 1_000 {
                    return open;
                }
                let person = person(&format!("many-{}-{}", number % 32, number / 32));
                open.push(directory.session(&person).await);
            }
        });
    }
    let mut open = Vec::new();
    while let Some(mine) = tasks.join_next().await {
        open.extend(mine.unwrap());
    }
    println!("{} sessions opened in {:.3} s", open.len(), begun.elapsed().as_secs_f64());
}
