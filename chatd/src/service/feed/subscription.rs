//! Event subscriptions: from the hub while the reader keeps up, from the store when it does not.

use std::sync::Arc;

use proto::ids::AccountId;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::consumers;
use super::readers::Reading;
use crate::events::EventBatch;
use crate::model::{Caller, Event, EventKind, Grant, Wanted};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::service::resolve::known;
use crate::service::tokens::admit;
use crate::store::feed;

/// Events read from the store in one go.
const PAGE: usize = 1_000;

/// A subscription. It holds no events of its own: a slow reader costs nothing, and misses nothing.
pub struct Feed {
    account: Arc<Account>,
    news: broadcast::Receiver<EventBatch>,
    cursor: u64,
    /// The newest event's number when it began.
    head: u64,
    kinds: Vec<EventKind>,
    who: Option<AccountId>,
    /// What the token grants by which it was begun.
    grant: Option<Arc<Grant>>,
    stop: CancellationToken,
    /// Nobody else reads this consumer as long as the feed lives.
    _reading: Option<Reading>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// `feed.subscribe`.
///
/// # Errors
/// A bad consumer name, a consumer that somebody else reads, nobody of that name.
pub(crate) async fn subscribe(account: Arc<Account>, caller: &Caller, wanted: Wanted) -> Result<Feed, ServiceError> {
    let who = match &wanted.who {
        Some(who) => Some(known(&account, who).await?.account),
        None => None,
    };
    // Listening before the head is read: nothing falls between.
    let news = account.store.hub().listen();
    let head = account.store.hub().head();
    let mut cursor = wanted.since.unwrap_or(head).min(head);
    let mut reading = None;
    if let Some(name) = wanted.consumer {
        let (claim, seq) = consumers::start(&account, caller, name, cursor).await?;
        cursor = seq.max(wanted.resume.unwrap_or(0)).min(head);
        reading = Some(claim);
    }
    let (stop, grant) = (account.gone.clone(), caller.grant.clone());
    Ok(Feed { account, news, cursor, head, kinds: wanted.kinds, who, grant, stop, _reading: reading })
}

impl Feed {
    /// Events behind this one come.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The newest event's number when the subscription began.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The next events; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Vec<Event>>> {
        loop {
            if self.grant.as_ref().is_some_and(|grant| !admit::is_in_force(&self.account, grant)) {
                return None;
            }
            if self.cursor < self.account.store.hub().head() {
                let events = match self.hub_events() {
                    Some(events) => events,
                    None => self.stored_events().await?,
                };
                let events = self.filter(events);
                if !events.is_empty() {
                    return Some(events);
                }
                continue;
            }
            let batch = tokio::select! {
                () = self.stop.cancelled() => return None,
                batch = self.news.recv() => batch,
            };
            match batch {
                Ok(batch) => {
                    if self.grant.is_some() {
                        // Looked at again, first whether the token is still in force; the store has the events.
                        continue;
                    }
                    if let Some(events) = self.take(batch) {
                        let events = self.filter(events);
                        if !events.is_empty() {
                            return Some(events);
                        }
                    }
                }
                // What was missed is in the store.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// A batch that follows on what was delivered, if it carries its events.
    fn take(&mut self, batch: EventBatch) -> Option<Arc<Vec<Event>>> {
        if batch.first == self.cursor + 1
            && let Some(events) = batch.events
        {
            self.cursor = batch.last;
            return Some(events);
        }
        None
    }

    fn hub_events(&mut self) -> Option<Arc<Vec<Event>>> {
        while let Ok(batch) = self.news.try_recv() {
            if batch.last <= self.cursor {
                continue;
            }
            return self.take(batch);
        }
        None
    }

    async fn stored_events(&mut self) -> Option<Arc<Vec<Event>>> {
        let after = self.cursor;
        match self.account.store.read(move |conn| feed::read_events(conn, after, PAGE)).await {
            Ok(page) => {
                // Numbers without events (deleted messages) are passed over, but never the same place twice.
                self.cursor = page.next.max(after + u64::from(page.events.is_empty()));
                Some(Arc::new(page.events))
            }
            Err(error) => {
                tracing::warn!(%error, "the feed cannot read events");
                None
            }
        }
    }

    fn filter(&self, events: Arc<Vec<Event>>) -> Arc<Vec<Event>> {
        let confined = self.grant.as_ref().and_then(|grant| grant.confined());
        if self.kinds.is_empty() && self.who.is_none() && confined.is_none() {
            return events;
        }
        let wanted = |event: &&Event| {
            let (kind, peer) = (event.kind(), event.about.as_ref().map(|called| called.account));
            let granted = confined.is_none_or(|known| peer.is_some_and(|peer| known.contains(&peer)));
            kind == EventKind::FeedLagged
                || granted
                    && ((self.kinds.is_empty() || self.kinds.contains(&kind))
                        && (self.who.is_none() || peer == self.who))
        };
        Arc::new(events.iter().filter(wanted).cloned().collect())
    }
}
