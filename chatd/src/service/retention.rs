//! Prunes each account's database now and then; what goes by which rule is the store's (`store::prune`).
//!
//! Not at the start, when there is other work, and rarely: a while after it, then once a day. An account in which nothing happened
//! meanwhile is not looked at.

use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use crate::store::StoreError;
use crate::store::prune::Progress;

/// After the start.
const FIRST: Duration = Duration::from_secs(600);
/// From then on.
const EVERY: Duration = Duration::from_secs(86_400);
/// Between two slices: pruning takes a small part of the store's time, however much there is.
const PAUSE: Duration = Duration::from_millis(20);

/// Lives as long as the account.
pub(super) async fn watch(account: Arc<Account>) {
    let gone = account.gone.clone();
    let run = async {
        let mut seen = None;
        let mut wait = FIRST;
        loop {
            tokio::time::sleep(wait).await;
            wait = EVERY;
            let head = account.store.hub().head();
            if seen.replace(head) == Some(head) {
                continue;
            }
            match round(&account).await {
                Ok(slices) => tracing::debug!(account = %account.id, slices, "pruned"),
                Err(StoreError::Closed | StoreError::ReadOnly(_)) => return,
                // A full disk, for one: tomorrow is soon enough.
                Err(error) => tracing::warn!(account = %account.id, %error, "could not be pruned"),
            }
        }
    };
    gone.run_until_cancelled(run).await;
}

/// One round; how many slices it took.
async fn round(account: &Account) -> Result<u64, StoreError> {
    let mut next = Some(Progress::default());
    let mut slices = 0;
    while let Some(at) = next {
        let read = account.readers.names();
        next = account.store.write(move |tx| tx.prune(at, &read)).await?;
        slices += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(slices)
}
