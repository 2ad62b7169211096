//! What clients make the program hold: its real memory, as the system counts it.
#![allow(clippy::unwrap_used)]

mod common;

use common::process::*;
use common::*;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A directory without members, and what asks it.
fn empty(args: &[&str]) -> (TempDir, Process, Directory) {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), args);
    let client = process.client();
    (data, process, client)
}

/// Row 'GETs that nobody reads': the largest answers there are, asked for again and again and never taken.
#[tokio::test]
async fn sixty_gets_that_nobody_reads_cost_little() {
    let (_data, process, client) = empty(&["--list", "public"]);
    for n in 0..400 {
        let person = person(&format!("user-with-a-long-name-{n:04}"));
        assert!(client.publish(&person, 1).await.status().is_success());
    }
    let largest = client.get("/v1/users?limit=1000").await.bytes().await.unwrap().len();
    let before = process.held();
    let mut clients = Vec::new();
    let mut most = before;
    for _ in 0..60 {
        let mut reader = TcpStream::connect(process.url.trim_start_matches("http://")).await.unwrap();
        let asks = "GET /v1/users?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        reader.write_all(asks.as_bytes()).await.unwrap();
        clients.push(reader);
        most = most.max(process.held());
    }
    // They all ask from one address, whose share they have used up: nothing that is asked tells when all were looked at.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        most = most.max(process.held());
        tokio::task::yield_now().await;
    }
    println!("figure: 60 unread GETs of {largest} bytes, 100 deep: {before} KiB before, {most} KiB at most");
    assert!(most - before < 48 * 1024, "{before} KiB, then {most} KiB");
    drop(clients);
    process.kill();
}

/// Row 'clients that never read', as sessions: they ask and ask, until the directory takes no more of it.
#[tokio::test]
async fn sessions_that_never_read_cost_little() {
    const SESSIONS: u64 = 20;
    let (_data, process, client) = empty(&[]);
    let before = process.held();
    let mut sessions = Vec::new();
    let mut most = before;
    for n in 0..SESSIONS {
        let person = person(&format!("user{n}"));
        assert!(client.publish(&person, 1).await.status().is_success());
        let session = client.session_that_never_reads(&person).await;
        most = most.max(process.held());
        sessions.push(session);
    }
    let each = (most - before) * 1024 / SESSIONS;
    println!("figure: {SESSIONS} sessions that never read: {before} -> {most} KiB ({each} bytes each)");
    assert!(each < 512 * 1024, "{each}");
    drop(sessions);
    process.kill();
}

/// Row 'a WebSocket costs before any hello'.
#[tokio::test]
async fn two_hundred_websockets_before_hello_cost_little_and_give_it_back() {
    const SOCKETS: u64 = 200;
    let (_data, process, client) = empty(&[]);
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let before = process.held();
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            sockets.push(client.open().await);
        }
        let during = process.held();
        drop(sockets);
        client.until("directoryd_connections 1\n").await;
        rounds.push((before, during, process.held()));
    }
    for (before, during, after) in &rounds {
        let each = (during.saturating_sub(*before)) * 1024 / SOCKETS;
        println!(
            "figure: {SOCKETS} WebSockets before hello: {before} -> {during} KiB ({each} bytes each), {after} KiB after"
        );
        assert!(each < 64 * 1024, "{rounds:?}");
    }
    // What was not given back to the system is used again.
    let (first, last) = (rounds[0].1, rounds[2].1);
    assert!(last < first + 2 * 1024, "{rounds:?}");
    process.stop();
}

/// Cores are switched off (`dumps::forbid`): its key would be in them.
#[tokio::test]
async fn its_memory_is_in_no_core() {
    let (_data, process, _) = empty(&[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{line}");
    // Not dumpable: what is below /proc belongs to root, and is of no use to others of the same user.
    if !nix::unistd::geteuid().is_root() {
        assert!(std::fs::read(format!("/proc/{}/environ", process.pid())).is_err());
    }
    process.stop();
}
