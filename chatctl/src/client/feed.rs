//! The event feed over however many connections it takes.
//!
//! The job: events in order, each once, across restarts of the daemon. When the connection ends, it is made anew with
//! growing pauses, and the feed goes on after the last event handed out (or, for a durable consumer, after the last one
//! acknowledged, less what was handed out already).

use std::time::Duration;

use proto::rpc::client::{Client, ClientError, Events};
use proto::rpc::event::Event;
use proto::rpc::types::{SubscribeParams, SubscribeResult};
use proto::rpc::{ErrorCode, RpcError};
use tokio::time::Instant;

use crate::client::session::Session;
use crate::failure::Failure;

/// First pause before a consumer that is in use is asked for again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long a consumer may be in use by a reader before it is said: one that was killed just now has not left yet.
const LEAVING: Duration = Duration::from_secs(2);

/// A subscription that outlives connections.
pub struct Feed {
    params: SubscribeParams,
    client: Client,
    events: Events,
    /// The last event handed out, or that lies before the subscription.
    last: u64,
}

impl Feed {
    /// Subscribes. A daemon that goes before it answers is waited for, as it is later; one that was never there is not.
    pub async fn open(session: &mut Session, params: SubscribeParams) -> Result<Self, Failure> {
        let first = match session.client().await {
            Ok(client) => subscribe(&client, &params).await.map(|(subscribed, events)| (client, subscribed, events)),
            Err(failure) => Err(failure),
        };
        let (client, subscribed, events) = match first {
            Err(failure) if failure.is_disconnect() && session.has_met_a_daemon() => again(session, &params).await?,
            first => first?,
        };
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
        match self.params.consumer {
            Some(_) => self.params.resume = Some(self.last),
            None => self.params.since = Some(self.last),
        }
        (self.client, _, self.events) = again(session, &self.params).await?;
        Ok(())
    }
}

/// Subscribes once there is a daemon again that answers.
async fn again(session: &mut Session, params: &SubscribeParams) -> Result<(Client, SubscribeResult, Events), Failure> {
    session.out.remark("chatctl: the daemon went away; waiting for it to come back")?;
    loop {
        let client = session.wait_for_daemon().await?;
        match subscribe(&client, params).await {
            Ok((subscribed, events)) => {
                session.out.remark("chatctl: the daemon is back")?;
                return Ok((client, subscribed, events));
            }
            Err(failure) if failure.is_disconnect() => {}
            Err(failure) => return Err(failure),
        }
    }
}

async fn subscribe(client: &Client, params: &SubscribeParams) -> Result<(SubscribeResult, Events), Failure> {
    let patience = Instant::now() + LEAVING;
    let mut pause = FIRST_PAUSE;
    loop {
        match client.subscribe(params).await {
            Err(ClientError::Rpc(RpcError { code: ErrorCode::InUse, .. })) if Instant::now() < patience => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return Ok(result?),
        }
    }
}
