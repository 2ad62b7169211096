//! A connection, in the clear on this machine or by TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// See the module.
#[derive(Debug)]
pub struct Stream(Either<TcpStream, Box<TlsStream<TcpStream>>>);

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self(Either::Left(stream))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self(Either::Right(Box::new(stream)))
    }
}

impl Stream {
    /// Whom it leads to.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Either::Left(stream) => stream.peer_addr(),
            Either::Right(stream) => stream.get_ref().0.peer_addr(),
        }
    }
}

impl Stream {
    /// When the certificate of whom it leads to ends, in Unix seconds.
    pub(super) fn certificate_ends(&self) -> Option<i64> {
        let Either::Right(stream) = &self.0 else { return None };
        proto::directory::certificate::ends(stream.get_ref().1.peer_certificates()?.first()?)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
