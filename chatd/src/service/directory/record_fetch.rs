//! Fetches the newer record that an envelope named, and lets what waited for it be judged.
//!
//! Not its job: to decide what waits (`receive::parked`), or whether a record is taken (`store::peers::trust`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::ids::PeerId;
use crate::service::account::Account;
use crate::store::log::told;
use crate::store::peers::{self, trust};

/// A directory that takes longer is given up; the known record then has to do.
const PATIENCE: Duration = Duration::from_secs(8);

/// Fetches in the background, once at a time for each contact.
pub(in crate::service) fn fetch(account: &Arc<Account>, contact: PeerId) {
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
    let bearer = account.session().bearer.filter(|_| account.directories.is_home(&row.origin));
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
