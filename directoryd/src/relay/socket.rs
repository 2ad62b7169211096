//! A WebSocket as the relay's protocol wants it: frames of bytes, taken at a bounded rate.
//!
//! Whoever sends faster waits: nothing more is read of it, and the network's own flow control tells it so.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use iroh_relay::ExportKeyingMaterial;
use iroh_relay::protos::streams::StreamError;
use iroh_relay::server::streams::Bucket;
use tokio::time::{Sleep, sleep_until};

use crate::http::connection::Connection;
use crate::metrics::RelayMetrics;

/// Bytes of one message at most: a frame of the relay's protocol has 64 KiB, and some bytes of its own around them.
pub const MAX_MESSAGE_BYTES: usize = 66 * 1024;
/// Between two refills of what may be taken.
const REFILL: Duration = Duration::from_millis(100);

/// See the module.
pub struct Socket {
    inner: Pin<Box<WebSocket>>,
    bucket: Bucket,
    /// Nothing is read before that.
    paused: Option<Pin<Box<Sleep>>>,
    metrics: Arc<RelayMetrics>,
    /// Counted until the node leaves.
    _connection: Connection,
}

impl Socket {
    /// Of which so many bytes a second are read, and twice as many at once.
    pub fn new(
        socket: WebSocket,
        bytes_per_second: u32,
        connection: Connection,
        metrics: Arc<RelayMetrics>,
    ) -> Option<Self> {
        let rate = i64::from(bytes_per_second);
        let bucket = Bucket::new(rate.saturating_mul(2), rate, REFILL).ok()?;
        Some(Self { inner: Box::pin(socket), bucket, paused: None, metrics, _connection: connection })
    }
}

impl Stream for Socket {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(paused) = &mut self.paused {
            ready!(paused.as_mut().poll(cx));
            self.paused = None;
        }
        loop {
            return Poll::Ready(match ready!(self.inner.as_mut().poll_next(cx)) {
                Some(Ok(Message::Binary(frame))) => {
                    if let Err(until) = self.bucket.consume(frame.len()) {
                        self.metrics.limited.fetch_add(1, Ordering::Relaxed);
                        self.paused = Some(Box::pin(sleep_until(until)));
                    }
                    Some(Ok(frame))
                }
                // A frame of the WebSocket itself costs as little as it is.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Close(_))) | None => None,
                Some(Err(error)) => Some(Err(StreamError::from_std(error))),
            });
        }
    }
}

impl Sink<Bytes> for Socket {
    type Error = StreamError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.inner.as_mut().poll_ready(cx).map_err(StreamError::from_std)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Bytes) -> Result<(), StreamError> {
        self.inner.as_mut().start_send(Message::Binary(frame)).map_err(StreamError::from_std)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.inner.as_mut().poll_flush(cx).map_err(StreamError::from_std)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.inner.as_mut().poll_close(cx).map_err(StreamError::from_std)
    }
}

/// TLS ends below HTTP: a node proves its key by signing a challenge, one round trip more.
impl ExportKeyingMaterial for Socket {
    fn export_keying_material<T: AsMut<[u8]>>(&self, _output: T, _label: &[u8], _context: Option<&[u8]>) -> Option<T> {
        None
    }
}
