//! The one task of a QUIC link: writes what is queued, many frames at once, and sees the link to its end.
//!
//! Invariant: whatever ends the link, this task publishes the reason, tells the peer, and gives the place in the caps
//! back, within [`DRAIN`] and a moment.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, SendStream, VarInt};
use proto::wire::frame::Frame;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::{DRAIN, SEND_QUEUE_FRAMES};
use super::error::{CloseCode, CloseOrigin, CloseReason};
use super::shared::Shared;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    pub(super) stream: SendStream,
    pub(super) queue: mpsc::Receiver<Bytes>,
    pub(super) shutdown: CancellationToken,
    pub(super) write_stall: Duration,
    pub(super) unauthenticated_for: Duration,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let clean = self.write_until_end().await;
        let reason = self.shared.wait_ended().await;
        // Where nobody answers any more nobody takes a last word; and while the transport has this connection, it looks for no other way.
        if clean && reason.origin == CloseOrigin::Local && !self.shared.is_abandoned() {
            // A peer that does not take the last word loses it.
            let _ = timeout(DRAIN, self.last_words(reason.code)).await;
        }
        // After an end by the peer or the path this does nothing.
        self.connection.close(VarInt::from_u32(reason.code.to_wire()), reason.text.as_bytes());
        self.shared.release();
    }

    /// Returns when the link ended, with its reason published: whether the stream stands between two frames.
    async fn write_until_end(&mut self) -> bool {
        let Self { shared, connection, stream, queue, shutdown, write_stall, unauthenticated_for } = self;
        let mut ended = pin!(shared.wait_ended());
        let mut lost = pin!(connection.closed());
        let mut probation = pin!(sleep(*unauthenticated_for));
        let mut on_probation = shared.is_on_probation();
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return true,
                error = &mut lost => {
                    shared.end(error.into());
                    return true;
                }
                () = shutdown.cancelled() => shared.end(CloseReason::local(CloseCode::ShuttingDown, "")),
                () = &mut probation, if on_probation => {
                    on_probation = false;
                    if shared.is_on_probation() {
                        shared.end(CloseReason::local(CloseCode::Idle, "no account proved itself in time"));
                    }
                }
                count = queue.recv_many(&mut batch, SEND_QUEUE_FRAMES) => {
                    if count == 0 {
                        shared.end(CloseReason::local(CloseCode::Normal, ""));
                        return true;
                    }
                    let (written, stopping) = {
                        let mut write = pin!(write(stream, &mut batch, *write_stall));
                        let written = tokio::select! {
                            written = &mut write => Some(written),
                            _ = &mut ended => None,
                            () = shutdown.cancelled() => {
                                shared.end(CloseReason::local(CloseCode::ShuttingDown, ""));
                                None
                            }
                        };
                        match written {
                            Some(written) => (written, false),
                            // Half a frame may be out: finish what was begun, if the peer takes it.
                            None => match timeout(DRAIN, write).await {
                                Ok(written) => (written, true),
                                Err(_) => return false,
                            },
                        }
                    };
                    if let Err(reason) = written {
                        // A lost connection knows better than the stream why.
                        shared.end(connection.close_reason().map_or(reason, CloseReason::from));
                        return false;
                    }
                    if stopping {
                        return true;
                    }
                    batch.clear();
                    batch.shrink_to(SEND_QUEUE_FRAMES);
                }
            }
        }
    }

    /// What was queued before the end, the refusal if there is one, and the end of the stream, until the peer has it.
    async fn last_words(&mut self, code: CloseCode) -> Result<(), CloseReason> {
        let mut batch = Vec::new();
        self.queue.close();
        while let Ok(bytes) = self.queue.try_recv() {
            batch.push(bytes);
        }
        if let Some(code) = code.refusal() {
            batch.push(Frame::Refuse { code, envelope: None, device: None }.encode().into());
        }
        write(&mut self.stream, &mut batch, DRAIN).await?;
        if self.stream.finish().is_ok() {
            let _ = self.stream.stopped().await;
        }
        Ok(())
    }
}

/// Writes all of it, as long as the peer takes some of it every `stall`.
async fn write(stream: &mut SendStream, batch: &mut [Bytes], stall: Duration) -> Result<(), CloseReason> {
    let mut rest = batch;
    while !rest.is_empty() {
        match timeout(stall, stream.write_many_chunks(&mut rest)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(CloseReason::peer(CloseCode::Normal, "the peer stopped reading")),
            Err(_) => {
                return Err(CloseReason::local(CloseCode::TooSlow, "the peer does not take what is sent"));
            }
        }
    }
    Ok(())
}
