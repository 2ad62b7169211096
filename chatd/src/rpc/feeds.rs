//! The subscriptions of one connection.
//!
//! A feed is asked for more only when the connection has room for it, so what a client does not take stays where it is:
//! in the store.

use std::sync::Arc;
use std::task::{Context, Poll};

use proto::rpc::codec;
use proto::rpc::event::Event as Told;

use super::api::FeedSource;
use super::dispatch::BoxFuture;
use crate::model::Event;

/// Subscriptions of one connection at most.
pub(super) const MAX_SUBSCRIPTIONS: usize = 16;

type Batch = Arc<Vec<Event>>;

struct Subscription<F> {
    number: u64,
    /// Name of the notification.
    method: String,
    next: BoxFuture<(F, Option<Batch>)>,
    /// Events that are not yet encoded, and how many of them are.
    batch: Option<(Batch, usize)>,
}

/// See the module.
pub(super) struct Feeds<F> {
    all: Vec<Subscription<F>>,
    /// Who is asked first, so that a busy feed cannot starve the others.
    turn: usize,
}

/// What [`Feeds::poll_ready`] found.
pub(super) enum Ready {
    /// [`Feeds::encode`] has something to do.
    Events,
    /// A feed ended.
    Ended,
}

impl<F: FeedSource> Feeds<F> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), turn: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, number: u64, method: String, feed: F) {
        self.all.push(Subscription { number, method, next: pull(feed), batch: None });
    }

    /// Whether there was such a subscription.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|subscription| subscription.number != number);
        before != self.all.len()
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Waits until some feed has events.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        let count = self.all.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(subscription) = self.all.get_mut(index) else { continue };
            if subscription.batch.is_none() {
                let Poll::Ready((feed, batch)) = subscription.next.as_mut().poll(cx) else { continue };
                let Some(batch) = batch else {
                    self.all.remove(index);
                    return Poll::Ready(Ready::Ended);
                };
                subscription.next = pull(feed);
                subscription.batch = Some((batch, 0));
            }
            self.turn = index;
            return Poll::Ready(Ready::Events);
        }
        Poll::Pending
    }

    /// Appends notifications to `out` until it has `limit` bytes or the batch whose turn it is is through.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>, limit: usize) {
        let Some(subscription) = self.all.get_mut(self.turn) else { return };
        self.turn += 1;
        let Some((batch, mut done)) = subscription.batch.take() else { return };
        while let Some(event) = batch.get(done) {
            if out.len() >= limit {
                subscription.batch = Some((batch, done));
                return;
            }
            if let Err(error) = codec::encode_notification(out, &subscription.method, &Told::from(event.clone())) {
                tracing::error!(%error, seq = event.seq, "an event cannot be sent");
            }
            done += 1;
        }
    }
}

fn pull<F: FeedSource>(mut feed: F) -> BoxFuture<(F, Option<Batch>)> {
    Box::pin(async move {
        let batch = feed.next().await;
        (feed, batch)
    })
}
