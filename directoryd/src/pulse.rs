//! Whether the directory answers: found out over its own port.
//!
//! Not the job: when to ask, and what is done about a directory that does not answer (`daemonkit::pulse`).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use daemonkit::pulse;
use directoryd::Handle;
use directoryd::tls::probe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A directory that is asked for its health is given so long for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer about its health that are read at most.
const MAX_ANSWER: u64 = 64 * 1024;

/// What is asked: something that costs nothing and stands in no log. Where the port speaks TLS nothing is, and that it is closed then
/// is the answer.
const QUESTION: &[u8] = b"HEAD /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Where to reach from here what listens on an address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// What it answers.
fn asked(mut stream: impl Read + Write) -> anyhow::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks the directory that listens on `address`, of another process, what it says of its health; `tls`: by TLS, as `origin`.
///
/// # Errors
/// When nobody answers, or all is not well.
pub fn healthy(address: SocketAddr, tls: bool, origin: &str) -> anyhow::Result<()> {
    let address = reachable(address);
    let url = format!("{}://{address}", if tls { "https" } else { "http" });
    let ask = || {
        let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if tls { asked(rustls::StreamOwned::new(probe::connection(origin)?, stream)) } else { asked(stream) }
    };
    let answer = ask().with_context(|| format!("no directory answers at {url}"))?;
    let first = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(
        first.contains(" 200 "),
        "the directory at {url} is not well: {}",
        answer.lines().last().unwrap_or(first)
    );
    Ok(())
}

/// Asks a directory whether it answers.
#[derive(Debug)]
pub struct Pulse {
    directory: Handle,
    address: SocketAddr,
    tls: bool,
}

impl Pulse {
    /// Of the directory that listens on `address`. `tls`: for TLS.
    pub fn new(directory: Handle, address: SocketAddr, tls: bool) -> Self {
        Self { directory, address: reachable(address), tls }
    }

    /// See [`pulse::watch`].
    pub async fn watch(&self, ready: impl FnOnce()) {
        pulse::watch(async || self.answers().await, ready).await;
    }

    async fn answers(&self) -> Result<(), String> {
        self.port_answers().await.map_err(|error| format!("{}: {error}", self.address))?;
        self.directory.store_answers().await;
        Ok(())
    }

    /// One request. Whatever comes back, and be it that there are too many connections, says that somebody is there.
    async fn port_answers(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.address).await?;
        if self.tls {
            stream.shutdown().await?;
        } else {
            stream.write_all(QUESTION).await?;
        }
        let mut answer = [0; 1_024];
        // To its end, so that nothing unread makes the directory's side of it an error.
        while stream.read(&mut answer).await.unwrap_or(0) > 0 {}
        Ok(())
    }
}
