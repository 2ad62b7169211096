//! The least of an HTTP/1.1 client: one keep-alive connection, one request after the other. For load, where a full
//! client would cost more than the server, and for requests that a full client refuses to send.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::tls;

/// Bytes of an answer's head at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes of an answer's body at most.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// A connection from another address of this machine. It leaves nothing behind when it is dropped: thousands of ports that
/// wait for their time to pass would make this machine slow, and not who is tested.
///
/// # Errors
/// When nobody listens, or that is no address of this machine.
pub async fn connect_from(source: IpAddr, address: &str) -> std::io::Result<TcpStream> {
    let to: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(to).await
}

/// What goes over a connection, in the clear or by TLS.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Wire for T {}

/// One connection.
#[derive(Debug)]
pub struct Http {
    /// Lines that go with every request, each with its CR LF.
    pub headers: String,
    /// Hears of each request and its answer, if set.
    pub told: Option<fn(&str)>,
    stream: Box<dyn Wire>,
    host: String,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200, 404 ...
    pub status: u16,
    /// Everything before the empty line.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON of a type.
    ///
    /// # Errors
    /// When it is none.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).with_context(|| format!("status {}, body {}", self.status, self.text()))
    }
}

impl Http {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(address: &str) -> Result<Self> {
        Self::over(TcpStream::connect(address).await, address)
    }

    /// The same from another address of this machine.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect_from(source: IpAddr, address: &str) -> Result<Self> {
        Self::over(connect_from(source, address).await, address)
    }

    fn over(stream: std::io::Result<TcpStream>, address: &str) -> Result<Self> {
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::on(Box::new(stream), address))
    }

    /// The same by TLS, where the directory is called `name`.
    ///
    /// # Errors
    /// When nobody listens, or it is not whom the configuration trusts.
    pub async fn connect_tls(address: &str, name: &str, config: &Arc<ClientConfig>) -> Result<Self> {
        Ok(Self::on(Box::new(tls::connect(address, name, config).await?), name))
    }

    fn on(stream: Box<dyn Wire>, host: &str) -> Self {
        let (headers, buffer) = (String::new(), Vec::with_capacity(4_096));
        Self { headers, told: None, stream, host: host.to_owned(), buffer, request: Vec::new() }
    }

    /// What is below, for something else than requests.
    pub fn into_wire(self) -> Box<dyn Wire> {
        self.stream
    }

    /// `GET path`.
    ///
    /// # Errors
    /// See [`Http::request`].
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.request("GET", path, "", None).await
    }

    /// Any request; `headers` are whole lines, each with its CR LF.
    ///
    /// # Errors
    /// When the connection ends, or the answer has no Content-Length or is too large.
    pub async fn request(&mut self, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Result<Answer> {
        self.request.clear();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{}{headers}", self.host, self.headers);
        self.request.extend_from_slice(head.as_bytes());
        if let Some(body) = body {
            let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
            self.request.extend_from_slice(head.as_bytes());
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body.unwrap_or_default());
        self.stream.write_all(&self.request).await.context("cannot send the request")?;
        let answer = self.answer().await;
        if let Some(told) = self.told {
            let answer = answer
                .as_ref()
                .map_or_else(ToString::to_string, |answer| format!("{} {}", answer.status, answer.text()));
            told(&format!("{method} {path} > {answer}"));
        }
        answer
    }

    async fn answer(&mut self) -> Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(self.buffer.len() < MAX_HEAD_BYTES, "the answer's head is too long");
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status line")?;
        let mut length = None;
        for line in head.lines() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let length = match length {
            Some(length) if length <= MAX_BODY_BYTES => length,
            None if status == 204 || status == 304 => 0,
            other => bail!("cannot read a body of length {other:?}: {head}"),
        };
        while self.buffer.len() < end + length {
            self.fill().await?;
        }
        let body = self.buffer[end..end + length].to_vec();
        self.buffer.drain(..end + length);
        Ok(Answer { status, head, body })
    }

    async fn fill(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await.context("cannot read the answer")?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}
