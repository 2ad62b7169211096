//! Bob's side: a durable consumer that reads the feed over connections that break, and acknowledges as it goes.
//!
//! What is promised to it, exactly: every message is shown; what it has acknowledged, and was told so, is never shown
//! again; what it has not acknowledged may be shown again, under the same number and with the same content.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use proto::ids::MessageId;
use proto::rpc::client::{Client, Events};
use proto::rpc::event::{Event, EventType};
use proto::rpc::methods::FeedAck;
use proto::rpc::types::{FeedAckParams, SubscribeParams};

use super::plan::Progress;
use super::rng::Rng;
use crate::wait::try_wait;

const CONSUMER: &str = "oracle";
/// A daemon that is started again takes calls within this.
const BACK_DEADLINE: Duration = Duration::from_secs(60);
/// How long the reader waits for an event before it looks whether all is over.
const LOOK: Duration = Duration::from_millis(100);

/// Bob's book.
#[derive(Debug, Default)]
pub struct Feed {
    /// What was shown for the first time, in that order.
    pub shown: Vec<(MessageId, String)>,
    /// Shown again although acknowledged.
    pub again_after_ack: u64,
    /// One message under two numbers.
    pub twice: u64,
    /// One number with two contents.
    pub changed: u64,
    /// Times that the durable place went back behind what was acknowledged.
    pub went_back: u64,
    /// Shown again, as is allowed, because it was not yet acknowledged.
    pub repeated: u64,
    /// Gaps and lags, which nothing here should cause.
    pub holes: u64,
    by_number: HashMap<u64, MessageId>,
    by_id: HashMap<MessageId, u64>,
    acknowledged: u64,
}

impl Feed {
    /// Takes one event down.
    pub fn take(&mut self, event: &Event) {
        if event.seq <= self.acknowledged {
            self.again_after_ack += 1;
        }
        let Some(message) = event.message.as_ref().filter(|_| event.kind == EventType::MessageReceived) else {
            self.holes += 1;
            return;
        };
        match self.by_number.insert(event.seq, message.id) {
            Some(before) if before != message.id => self.changed += 1,
            Some(_) => self.repeated += 1,
            None => {
                if self.by_id.insert(message.id, event.seq).is_some() {
                    self.twice += 1;
                } else {
                    self.shown.push((message.id, message.body.clone()));
                }
            }
        }
    }

    /// The daemon has answered that it knows: everything up to this number was dealt with.
    pub fn acknowledged(&mut self, seq: u64) {
        self.acknowledged = self.acknowledged.max(seq);
    }

    /// A new subscription begins after this number.
    pub fn resumes_at(&mut self, seq: u64) {
        if seq < self.acknowledged {
            self.went_back += 1;
        }
    }
}

/// A consumer that exists.
pub struct Bob {
    socket: PathBuf,
}

async fn subscribe(client: &Client, feed: &mut Feed) -> Result<Events, proto::rpc::client::ClientError> {
    let types = ["message.received", "message.gap", "feed.lagged"].map(String::from).into();
    let params = SubscribeParams { consumer: Some(CONSUMER.into()), types, ..SubscribeParams::default() };
    let (result, events) = client.subscribe(&params).await?;
    feed.resumes_at(result.seq);
    Ok(events)
}

/// Makes the consumer: a new one begins at the present.
///
/// # Errors
/// When the daemon refuses.
pub async fn begin(socket: PathBuf) -> Result<Bob> {
    let client = Client::connect(&socket).await?;
    let mut events = subscribe(&client, &mut Feed::default()).await.context("cannot subscribe")?;
    // Its place is written by an acknowledgement.
    if let Ok(Some(event)) = tokio::time::timeout(LOOK, events.next()).await {
        bail!("a new consumer was shown {event:?}");
    }
    Ok(Bob { socket })
}

/// Reads until all is over.
///
/// # Errors
/// When the daemon does not come back.
pub async fn read(bob: Bob, progress: Arc<Progress>) -> Result<Feed> {
    let (mut feed, mut rng) = (Feed::default(), Rng::new(7, 7));
    while !progress.over.load(Ordering::Relaxed) {
        let connect = || async { Client::connect(&bob.socket).await.ok() };
        let client = try_wait(BACK_DEADLINE, connect).await.context("bob's daemon does not come back")?;
        if let Ok(events) = subscribe(&client, &mut feed).await {
            one_connection(&client, events, &mut feed, &mut rng, &progress).await;
        }
    }
    Ok(feed)
}

async fn one_connection(client: &Client, mut events: Events, feed: &mut Feed, rng: &mut Rng, progress: &Progress) {
    let mut batch = Vec::new();
    let mut last = 0;
    while !progress.over.load(Ordering::Relaxed) {
        match tokio::time::timeout(LOOK, events.next_many(&mut batch)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(_) => continue,
        }
        for event in batch.drain(..) {
            feed.take(&event);
            last = event.seq;
        }
        progress.shown.store(feed.shown.len() as u64, Ordering::Relaxed);
        if rng.once_in(2) {
            let ack = FeedAckParams { account: None, consumer: CONSUMER.into(), seq: last };
            match client.call::<FeedAck>(&ack).await {
                Ok(_) => feed.acknowledged(last),
                Err(_) => return,
            }
        }
    }
}
