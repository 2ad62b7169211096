//! The event feed over however many connections it takes.
//!
//! The job: events in order, each once, across restarts of the daemon. When the connection ends, it is made anew with
//! growing pauses, and the feed goes on after the last event handed out (or, for a durable consumer, after the last one
//! acknowledged, less what was handed out already).

use std::time::Duration;

use proto::rpc::ErrorCode;
use proto::rpc::client::{Client, Events};
use proto::rpc::event::Event;
use proto::rpc::types::SubscribeParams;

use crate::failure::Failure;
use crate::session::Session;

/// First pause before connecting again: a restarting daemon is back soon.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A subscription that outlives connections.
pub struct Feed {
    params: SubscribeParams,
    client: Client,
    events: Events,
    /// The last event handed out, or that lies before the subscription.
    last: u64,
}

impl Feed {
    /// Subscribes.
    pub async fn open(session: &mut Session, params: SubscribeParams) -> Result<Self, Failure> {
        let client = session.client().await?;
        let (subscribed, events) = client.subscribe(&params).await?;
        Ok(Self { params, client, events, last: subscribed.seq })
    }

    /// The connection in use.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The last event handed out, or that lies before the subscription.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Appends what has come, waiting for at least one event. `false`: the connection ended, see [`Feed::reconnect`].
    /// Dropping the future loses nothing.
    pub async fn next_many(&mut self, batch: &mut Vec<Event>) -> bool {
        loop {
            let from = batch.len();
            if self.events.next_many(batch).await == 0 {
                return false;
            }
            // A durable consumer is told again what it has not acknowledged, after a reconnect.
            let last = self.last;
            let mut new = batch.split_off(from);
            new.retain(|event| event.seq > last);
            batch.append(&mut new);
            if let Some(event) = batch[from..].last() {
                self.last = event.seq;
                return true;
            }
        }
    }

    /// Connects again, for as long as it takes, and goes on where the feed was.
    ///
    /// # Errors
    /// When a daemon answers but refuses (the account is gone, say).
    pub async fn reconnect(&mut self, session: &mut Session) -> Result<(), Failure> {
        session.out.remark("chatctl: the daemon went away; waiting for it to come back")?;
        if self.params.consumer.is_none() {
            self.params.since = Some(self.last);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.resubscribe(session).await {
                Ok(()) => {
                    return session.out.remark("chatctl: the daemon is back");
                }
                Err(failure) if failure.is_disconnect() => {}
                Err(Failure::Rpc(error)) if error.0 == ErrorCode::LimitReached => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn resubscribe(&mut self, session: &mut Session) -> Result<(), Failure> {
        let client = session.reconnect().await?;
        let (_, events) = client.subscribe(&self.params).await?;
        (self.client, self.events) = (client, events);
        Ok(())
    }
}
