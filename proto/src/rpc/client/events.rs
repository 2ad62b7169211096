//! The receiving end of a subscription.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Client, ClientError};
use crate::rpc::codec;
use crate::rpc::event::Event;
use crate::rpc::methods::{FeedSubscribe, FeedUnsubscribe, Method};
use crate::rpc::types::{SubscribeParams, SubscribeResult, UnsubscribeParams};

/// Bytes of events that wait for their reader at most; what comes beyond is fetched again later.
pub const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// Where the connection's reader leaves notifications. They are decoded by whoever takes them, not by the reader.
#[derive(Debug, Default)]
pub(super) struct Sink {
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// `params` after `params`, each behind its length as a u32.
    bytes: Vec<u8>,
    /// Something did not fit: what is here is followed by a hole.
    overflowed: bool,
    ended: bool,
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, params: &[u8]) {
        let mut queue = self.lock();
        if queue.overflowed || queue.bytes.len() + params.len() > MAX_EVENT_BYTES {
            queue.overflowed = true;
        } else {
            queue.bytes.extend_from_slice(&(params.len() as u32).to_ne_bytes());
            queue.bytes.extend_from_slice(params);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_one();
    }
}

/// Events in their order, without holes.
///
/// Answers to calls never wait behind events that nobody takes: when more than [`MAX_EVENT_BYTES`] wait here, the rest
/// is let go, and once they were taken the subscription is made anew behind the last of them. The reader of the events
/// does not notice.
#[derive(Debug)]
pub struct Events {
    client: Client,
    sink: Arc<Sink>,
    params: SubscribeParams,
    subscription: u64,
    /// The last event taken.
    seq: u64,
    /// [`Self::resume`] was begun and not finished: whoever waited for it gave up.
    resuming: bool,
    /// Taken from the sink, read up to `read`.
    taken: Vec<u8>,
    read: usize,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.client.connection.close_sink(self.method());
        self.unsubscribe();
    }
}

impl Events {
    pub(super) fn new(client: Client, sink: Arc<Sink>, params: SubscribeParams) -> Self {
        Self { client, sink, params, subscription: 0, seq: 0, resuming: false, taken: Vec::new(), read: 0 }
    }

    pub(super) fn params(&self) -> &SubscribeParams {
        &self.params
    }

    pub(super) fn begin(&mut self, result: &SubscribeResult) {
        self.subscription = result.subscription;
        self.seq = self.seq.max(result.seq);
    }

    fn method(&self) -> &str {
        self.params.method.as_deref().unwrap_or_default()
    }

    fn unsubscribe(&mut self) {
        if self.subscription != 0 {
            let params = UnsubscribeParams { subscription: self.subscription };
            self.client.connection.submit_unheard(FeedUnsubscribe::NAME, &params);
            self.subscription = 0;
        }
    }

    /// The next event; `None` when the connection ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            self.refill().await?;
        }
    }

    /// Appends the next event and all that came after it already; how many. 0 when the connection ended. Cancel-safe.
    pub async fn next_many(&mut self, out: &mut Vec<Event>) -> usize {
        let before = out.len();
        out.extend(self.next().await);
        while let Some(event) = self.take() {
            out.push(event);
        }
        out.len() - before
    }

    /// An event that is here already. An event that this version cannot read is left out.
    fn take(&mut self) -> Option<Event> {
        while let Some((len, rest)) = self.taken.get(self.read..)?.split_first_chunk::<4>() {
            let len = u32::from_ne_bytes(*len) as usize;
            let event = codec::decode_params::<Event>(rest.get(..len)?);
            self.read += 4 + len;
            match event {
                Ok(event) => {
                    self.seq = self.seq.max(event.seq);
                    return Some(event);
                }
                Err(error) => tracing::debug!(%error, "an event that this version does not know; ignored"),
            }
        }
        None
    }

    async fn refill(&mut self) -> Option<()> {
        loop {
            let (overflowed, ended) = {
                let mut queue = self.sink.lock();
                self.taken.clear();
                self.read = 0;
                std::mem::swap(&mut queue.bytes, &mut self.taken);
                (queue.overflowed, queue.ended)
            };
            if !self.taken.is_empty() {
                return Some(());
            }
            if ended {
                return None;
            }
            if overflowed || self.resuming {
                self.resume().await.ok()?;
            } else {
                // A permit is stored if something came between the look and the wait.
                self.sink.arrived.notified().await;
            }
        }
    }

    /// Subscribes again behind the last event taken.
    async fn resume(&mut self) -> Result<(), ClientError> {
        self.resuming = true;
        self.unsubscribe();
        self.client.connection.close_sink(self.method());
        // Events of the old subscription may still be on their way: the new one has another name.
        let mut method = None;
        self.sink = self.client.connection.open_sink(&mut method)?;
        self.params.method = method;
        match self.params.consumer {
            Some(_) => self.params.resume = Some(self.seq),
            None => self.params.since = Some(self.seq),
        }
        let result = self.client.call::<FeedSubscribe>(&self.params).await?;
        self.begin(&result);
        self.resuming = false;
        Ok(())
    }
}
