//! Fetches the newer record that an envelope named, and lets what waited for it be judged.
//!
//! Not its job: to decide what waits (`receive::parked`), or whether a record is taken (`store::peers::trust`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::account::Account;
use crate::model::ids::PeerId;
use crate::store::log::told;
use crate::store::peers::{self, trust};

/// A directory that takes longer is given up; the known record then has to do.
const PATIENCE: Duration = Duration::from_secs(8);
/// One contact's record is fetched so often at most: anybody who knows our prekey can name a record that does not exist.
const PAUSE: Duration = Duration::from_secs(20);
/// Contacts remembered at most; beyond, all of them may be fetched again.
const REMEMBERED: usize = 1_024;

/// When each contact's record was last fetched, or will be.
#[derive(Debug, Default)]
pub(super) struct Fetched(Mutex<HashMap<PeerId, Instant>>);

impl Fetched {
    /// When to fetch for what waits since `now`: at once, or at the end of the pause. `None`: that is planned already.
    fn plan(&self, contact: PeerId, now: Instant) -> Option<Instant> {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = match at.get(&contact) {
            Some(planned) if *planned > now => return None,
            Some(last) => now.max(*last + PAUSE),
            None => now,
        };
        if at.len() >= REMEMBERED {
            at.clear();
        }
        at.insert(contact, due);
        Some(due)
    }
}

/// Fetches in the background, once at a time for each contact.
pub(super) fn fetch(account: &Arc<Account>, contact: PeerId) {
    let Some(due) = account.fetched.plan(contact, Instant::now()) else { return };
    let account = Arc::clone(account);
    tokio::spawn(async move {
        let gone = account.gone.clone();
        // A record that came a moment after the last one is no less needed: what waits for it would wait for ever.
        if gone.run_until_cancelled(tokio::time::sleep_until(due.into())).await.is_none() {
            return;
        }
        let fetched = tokio::time::timeout(PATIENCE, newest(&account, contact));
        // Whether it came or not: what waits is judged by what is known now.
        if gone.run_until_cancelled(fetched).await.is_none() {
            return;
        }
        for taken in account.inbox.retry_parked(contact).await {
            match taken.outcome.outcome().await {
                Ok(receipt) if !receipt.silent && !receipt.entries.is_empty() => {
                    // The link that brought it may be gone: the mark goes out the way all do.
                    let due = account.store.write(move |tx| told::set_ack_due(tx, contact, true)).await;
                    if let Err(error) = due {
                        tracing::warn!(%error, "an acknowledgement waits for the sender to ask again");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "an envelope was not stored"),
            }
        }
    });
}

async fn newest(account: &Account, contact: PeerId) {
    let Ok(row) = account.store.read(move |conn| peers::load(conn, contact)).await else { return };
    let Some(directory) = account.directories.of(&row.origin) else { return };
    let bearer = account.bearer().filter(|_| account.directories.is_home(&row.origin));
    match directory.lookup_account(row.account, bearer.as_deref()).await {
        Ok(found) => {
            let taken = account.store.write(move |tx| trust::take_record(tx, contact, &found.record)).await;
            if let Err(error) = taken {
                tracing::warn!(%error, "a contact's record was not stored");
            }
        }
        Err(error) => tracing::debug!(%error, contact = %row.account, "no record from the directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_the_pause_is_fetched_for_at_its_end() {
        let (fetched, begin) = (Fetched::default(), Instant::now());
        assert_eq!(fetched.plan(PeerId(1), begin), Some(begin));
        let soon = begin + PAUSE / 4;
        assert_eq!(fetched.plan(PeerId(1), soon), Some(begin + PAUSE));
        assert_eq!(fetched.plan(PeerId(1), soon + PAUSE / 4), None, "it is planned");
        assert_eq!(fetched.plan(PeerId(2), soon), Some(soon), "each contact has its own");
        assert_eq!(fetched.plan(PeerId(1), begin + PAUSE), Some(begin + PAUSE * 2));
        assert_eq!(fetched.plan(PeerId(1), begin + PAUSE * 9), Some(begin + PAUSE * 9));
    }
}
