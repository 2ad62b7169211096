//! Prunes each account's database now and then; what goes by which rule is the store's (`store::prune`).
//!
//! Not at the start, when there is other work, and rarely: a while after it, then once a day. An account in which nothing happened
//! meanwhile is not looked at.

use std::sync::Arc;
use std::time::Duration;

use super::Account;
use crate::service::context::Service;
use crate::store::StoreError;
use crate::store::prune::{self, Progress};

/// After the start.
const FIRST: Duration = Duration::from_secs(600);
/// From then on.
const EVERY: Duration = Duration::from_secs(86_400);
/// Between two slices: pruning takes a small part of the store's time, however much there is.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs until the store is closed, or takes no writes any more.
pub(super) async fn watch(service: Service, account: Arc<Account>) {
    let id = account.id.to_string();
    rounds(&id, tokio::time::sleep, || account.store.hub().head(), || round(&service, &account)).await;
}

/// When it is time and something has happened, one round, until the store is closed. `head`: the newest event's number.
async fn rounds<S, R>(account: &str, sleep: impl Fn(Duration) -> S, head: impl Fn() -> u64, round: impl Fn() -> R)
where
    S: Future<Output = ()>,
    R: Future<Output = Result<u64, StoreError>>,
{
    let mut seen = None;
    let mut wait = FIRST;
    loop {
        sleep(wait).await;
        wait = EVERY;
        let head = head();
        if seen.replace(head) == Some(head) {
            continue;
        }
        match round().await {
            Ok(slices) => tracing::debug!(account, slices, "pruned"),
            Err(StoreError::Closed | StoreError::ReadOnly(_)) => return,
            // A full disk, for one: tomorrow is soon enough.
            Err(error) => tracing::warn!(account, %error, "could not be pruned"),
        }
    }
}

/// One round; how many slices it took.
async fn round(service: &Service, account: &Account) -> Result<u64, StoreError> {
    let mut next = Some(Progress::default());
    let mut slices = 0;
    while let Some(at) = next {
        let (read, keep) = (account.readers.names(), service.config().space.retention());
        next = account.store.write(move |tx| prune::prune(tx, at, &keep, &read)).await?;
        slices += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(slices)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn it_is_pruned_after_the_start_then_daily_and_not_when_nothing_happened() {
        // The newest event at each waking, and what becomes of a round that is made then.
        let full = || Err(StoreError::Io { path: "messages.db".into(), source: std::io::Error::other("full") });
        let days = [
            (7, Some(Ok(3))),
            (7, None),
            (9, Some(full())),
            (9, None),
            (10, Some(Ok(1))),
            (11, Some(Err(StoreError::Closed))),
        ];
        let heads: Vec<u64> = days.iter().map(|(head, _)| *head).collect();
        let outcomes = RefCell::new(days.into_iter().map(|(_, outcome)| outcome).collect::<Vec<_>>());
        let (waits, day, made) = (RefCell::new(Vec::new()), Cell::new(0), RefCell::new(Vec::new()));
        let sleep = |wait| {
            waits.borrow_mut().push(wait);
            day.set(waits.borrow().len());
            std::future::ready(())
        };
        let round = || {
            made.borrow_mut().push(day.get());
            std::future::ready(outcomes.borrow_mut()[day.get() - 1].take().expect("nothing had happened"))
        };
        rounds("alice", sleep, || heads[day.get() - 1], round).await;
        assert_eq!(
            *made.borrow(),
            [1, 3, 5, 6],
            "what failed is tried again when it is time, and a closed store ends it"
        );
        assert_eq!(waits.borrow()[0], FIRST);
        assert!(waits.borrow()[1..].iter().all(|wait| *wait == EVERY) && waits.borrow().len() == 6);
    }
}
