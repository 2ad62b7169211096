//! Whether the directory answers: found out over its own port, before systemd is told that it is ready, and again and again while
//! systemd waits for a sign of life.
//!
//! Not the job: what is done about a directory that does not answer. systemd ends it and starts another.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use daemonkit::notify::{self, State, notify};
use directoryd::Handle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// A directory that starts is given so long for one answer; then it is asked again.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Between two questions to a directory that starts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

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

/// Asks the directory that listens on `address`, of another process, what it says of its health.
///
/// # Errors
/// When nobody answers, or all is not well.
pub fn healthy(address: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(address);
    let ask = || {
        let mut stream = std::net::TcpStream::connect_timeout(&address, FIRST_ANSWER)?;
        stream.set_read_timeout(Some(FIRST_ANSWER))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = ask().with_context(|| format!("no directory answers at http://{address}"))?;
    let first = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(
        first.contains(" 200 "),
        "the directory at http://{address} is not well: {}",
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

    /// Calls `ready` once the directory has answered, then tells systemd that it is alive as long as it is, if systemd wants to
    /// know. Ends never.
    pub async fn watch(&self, ready: impl FnOnce()) {
        while let Err(reason) = self.within(FIRST_ANSWER).await {
            tracing::warn!(often = "pulse", reason, "the directory does not answer yet");
            sleep(ASK_AGAIN).await;
        }
        ready();
        let Some(span) = notify::look_every() else { return std::future::pending().await };
        let mut due = interval(span);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            match self.within(span * 2).await {
                Ok(()) => notify(State::Alive),
                Err(reason) => {
                    tracing::error!(
                        reason,
                        "the directory does not answer itself: systemd is not told that it is alive"
                    );
                }
            }
        }
    }

    async fn within(&self, limit: Duration) -> Result<(), String> {
        let answered = timeout(limit, async {
            self.port_answers().await.map_err(|error| format!("{}: {error}", self.address))?;
            self.directory.store_answers().await;
            Ok(())
        });
        answered.await.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs_f32())))
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
