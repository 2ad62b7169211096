//! The two halves of a link, the same for both carriers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::endpoint::RecvStream;
use proto::wire::MAX_FRAME_BYTES;
use proto::wire::frame::Frame;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::error::{CloseCode, CloseOrigin, CloseReason, LinkError};
use super::reader::{Broken, FrameReader};
use super::shared::{Path, Shared};

/// How long the end of the stream waits for the close that says why. The close is on its way when the stream ends.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The sending half; clones share one queue. When the last clone is dropped the link closes after what is queued.
#[derive(Debug, Clone)]
pub struct LinkSender {
    queue: mpsc::Sender<Bytes>,
    life: Arc<SenderLife>,
    /// For in-process links, where no writer watches the pace: how long a full queue may stay full.
    stall: Option<Duration>,
}

/// Ends the link with the last sender.
#[derive(Debug)]
struct SenderLife(Arc<Shared>);

impl Drop for SenderLife {
    fn drop(&mut self) {
        self.0.end(CloseReason::local(CloseCode::Normal, ""));
    }
}

impl LinkSender {
    pub(super) fn new(queue: mpsc::Sender<Bytes>, shared: Arc<Shared>, stall: Option<Duration>) -> Self {
        Self { queue, life: Arc::new(SenderLife(shared)), stall }
    }

    /// Queues a frame, waiting while [`SEND_QUEUE_FRAMES`](super::SEND_QUEUE_FRAMES) are ahead of it. A frame that is
    /// queued is not yet received: only an `ack` or a reply says so. Dropped before it returns, it queued nothing.
    ///
    /// # Errors
    /// [`LinkError::FrameTooLarge`], [`LinkError::Closed`].
    pub async fn send(&self, frame: Frame) -> Result<(), LinkError> {
        let bytes = match self.offer(encode(&frame)?) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(bytes)) => bytes,
            Err(TrySendError::Closed(_)) => return Err(self.closed_error().await),
        };
        let wait = async {
            tokio::select! {
                biased;
                reason = self.closed() => Err(LinkError::Closed(reason)),
                permit = self.queue.reserve() => match permit {
                    Ok(permit) => {
                        permit.send(bytes);
                        Ok(())
                    }
                    Err(_) => Err(self.closed_error().await),
                },
            }
        };
        match self.stall {
            None => wait.await,
            Some(limit) => timeout(limit, wait).await.unwrap_or_else(|_| {
                self.close(CloseCode::TooSlow, "the peer does not take what is sent");
                Err(LinkError::TooSlow("the peer does not take what is sent"))
            }),
        }
    }

    /// Queues a frame if there is room.
    ///
    /// # Errors
    /// [`LinkError::Full`], [`LinkError::FrameTooLarge`], [`LinkError::Closed`].
    pub fn try_send(&self, frame: Frame) -> Result<(), LinkError> {
        self.offer(encode(&frame)?).map_err(|error| match error {
            TrySendError::Full(_) => LinkError::Full,
            TrySendError::Closed(_) => LinkError::Closed(self.reason_now()),
        })
    }

    /// Ends the link. What is queued still goes out, for a second at most; then the peer is told the code and the text.
    /// Codes that refuse (busy, malformed, ...) go ahead as a `refuse` frame too. Later calls do nothing.
    pub fn close(&self, code: CloseCode, text: &str) {
        self.shared().end(CloseReason::local(code, text));
    }

    /// Ends the link of somebody who does not answer: what is queued is lost.
    pub fn abandon(&self, text: &str) {
        self.shared().abandon(text);
    }

    /// Waits for the end of the link.
    pub async fn closed(&self) -> CloseReason {
        self.shared().wait_ended().await
    }

    /// Why it ended, if it did.
    pub fn ended(&self) -> Option<CloseReason> {
        self.shared().reason()
    }

    /// Whether the link is over.
    pub fn is_closed(&self) -> bool {
        self.shared().is_ended()
    }

    /// Says that an account of the peer is trusted: the link no longer counts against the cap on unknown peers, is no
    /// longer closed for staying unknown, and may have more bytes in flight towards us. For dialled links too.
    pub fn mark_authenticated(&self) {
        self.shared().authenticate();
    }

    /// The way that frames take now.
    pub fn path(&self) -> Path {
        self.shared().path()
    }

    /// Whether it has a way through a relay, beside whatever other.
    pub fn has_relay(&self) -> bool {
        self.shared().has_relay()
    }

    /// Asks the other end whether it is there; how long the answer took. Who reads the link hands answers to
    /// [`LinkSender::answered`].
    ///
    /// # Errors
    /// [`LinkError::TooSlow`], [`LinkError::Full`] when many ask already, and what [`LinkSender::send`] says.
    pub async fn ping(&self, patience: Duration) -> Result<Duration, LinkError> {
        // In the upper half: what else is pinged for counts from below.
        let nonce = rand::random::<u64>() | 1 << 63;
        let answered = self.shared().await_pong(nonce).ok_or(LinkError::Full)?;
        let asked = Instant::now();
        let slow = || LinkError::TooSlow("it does not answer");
        let wait = async {
            self.send(Frame::Ping { nonce, reply: false }).await?;
            tokio::select! {
                answered = answered => answered.map_err(|_| slow()),
                reason = self.closed() => Err(LinkError::Closed(reason)),
            }
        };
        timeout(patience, wait).await.unwrap_or_else(|_| Err(slow()))?;
        Ok(asked.elapsed())
    }

    /// The answer to a ping came; whether it was one of [`LinkSender::ping`].
    pub fn answered(&self, nonce: u64) -> bool {
        self.shared().pong(nonce)
    }

    /// The link's number.
    pub fn link_id(&self) -> u64 {
        self.shared().id
    }

    /// Waits until a frame would fit.
    #[cfg(test)]
    pub(super) async fn room(&self) {
        drop(self.queue.reserve().await);
    }

    fn offer(&self, bytes: Bytes) -> Result<(), TrySendError<Bytes>> {
        if self.is_closed() { Err(TrySendError::Closed(bytes)) } else { self.queue.try_send(bytes) }
    }

    fn shared(&self) -> &Shared {
        &self.life.0
    }

    /// The writer drops its queue a moment before or after it publishes the reason: never wait for long.
    async fn closed_error(&self) -> LinkError {
        LinkError::Closed(timeout(LAST_WORD, self.closed()).await.unwrap_or_else(|_| self.reason_now()))
    }

    fn reason_now(&self) -> CloseReason {
        self.shared().reason().unwrap_or_else(|| CloseReason::local(CloseCode::Normal, ""))
    }
}

fn encode(frame: &Frame) -> Result<Bytes, LinkError> {
    let bytes = frame.encode();
    let size = bytes.len().saturating_sub(4);
    if size > MAX_FRAME_BYTES { Err(LinkError::FrameTooLarge { size }) } else { Ok(bytes.into()) }
}

#[derive(Debug)]
pub(super) enum Source {
    Quic(Box<FrameReader<RecvStream>>),
    Local(mpsc::Receiver<Bytes>),
}

/// The receiving half. Dropping it closes the link.
#[derive(Debug)]
pub struct LinkReceiver {
    source: Source,
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<CloseReason>>,
    /// The refusal that an in-process peer closed with was handed out.
    refused: bool,
}

impl LinkReceiver {
    pub(super) fn new(source: Source, shared: Arc<Shared>) -> Self {
        let ended = shared.subscribe();
        Self { source, shared, ended, refused: false }
    }

    /// The next frame; `None` after an orderly end ([`CloseCode::is_orderly`]) of either side. May be dropped and called
    /// again without losing anything. After an end by the peer, what it had sent still comes first; after an end by this
    /// side, nothing comes.
    ///
    /// # Errors
    /// [`LinkError::FrameTooLarge`], [`LinkError::Malformed`], [`LinkError::Protocol`] and [`LinkError::TooSlow`] once,
    /// for what the peer did (it was told, and the link is closed); [`LinkError::Closed`] from then on and for any
    /// other end that is not orderly.
    pub async fn recv(&mut self) -> Result<Option<Frame>, LinkError> {
        let next = async {
            match &mut self.source {
                Source::Quic(reader) => reader.next().await,
                Source::Local(queue) => {
                    let bytes = tokio::select! {
                        biased;
                        bytes = queue.recv() => bytes,
                        // The peer's senders may outlive its link: what they had queued by then is all there is.
                        _ = self.shared.wait_ended() => queue.try_recv().ok(),
                    };
                    bytes.map(|bytes| decode(&bytes)).transpose().map_err(Broken::Peer)
                }
            }
        };
        let local = async {
            let is_local = |end: &Option<CloseReason>| end.as_ref().is_some_and(|e| e.origin == CloseOrigin::Local);
            // The guard goes at once: it is a lock.
            self.ended.wait_for(is_local).await.ok().and_then(|end| end.clone())
        };
        let result = tokio::select! {
            biased;
            Some(end) = local => return finish(end),
            result = next => result,
        };
        match result {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) | Err(Broken::Stream) => {
                let end = timeout(LAST_WORD, self.shared.wait_ended()).await;
                let end = end.unwrap_or_else(|_| CloseReason::peer(CloseCode::Normal, "the stream ended"));
                self.shared.end(end.clone());
                if let (Source::Local(_), Some(code), false) = (&self.source, end.code.refusal(), self.refused) {
                    self.refused = true;
                    return Ok(Some(Frame::Refuse { code, envelope: None, device: None }));
                }
                finish(end)
            }
            Err(Broken::Peer(error)) => {
                self.shared.end(CloseReason::local(error.close_code(), error.to_string()));
                Err(error)
            }
        }
    }
}

impl Drop for LinkReceiver {
    fn drop(&mut self) {
        self.shared.end(CloseReason::local(CloseCode::Normal, ""));
    }
}

fn finish(end: CloseReason) -> Result<Option<Frame>, LinkError> {
    if end.code.is_orderly() { Ok(None) } else { Err(LinkError::Closed(end)) }
}

fn decode(bytes: &[u8]) -> Result<Frame, LinkError> {
    Frame::decode(bytes.get(4..).unwrap_or_default()).map_err(LinkError::Malformed)
}
