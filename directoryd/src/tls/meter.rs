//! A bound on what somebody may send before it is known who it is: what does not fit into it is no handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that ends when more is read of it than is left.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    left: Option<usize>,
    /// Nothing was read yet.
    silent: bool,
}

impl<S> Metered<S> {
    /// With so many bytes to be read.
    pub(super) fn new(stream: S, bytes: usize) -> Self {
        Self { stream, left: Some(bytes), silent: true }
    }

    /// From now on as many as there are.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let bytes = buf.filled().len() - before;
        let ended_silent = self.silent && bytes == 0 && matches!(read, Poll::Ready(Ok(())));
        self.silent &= bytes == 0;
        match &mut self.left {
            Some(left) if *left < bytes => Poll::Ready(Err(io::Error::other("more than a handshake takes"))),
            Some(_) if ended_silent => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "nothing was sent")))
            }
            Some(left) => {
                *left -= bytes;
                read
            }
            None => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
