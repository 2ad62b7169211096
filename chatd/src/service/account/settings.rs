//! What an account's owner chose, and the task that ends messages whose lifetime is over.

use std::sync::Arc;
use std::time::Duration;

use super::Account;
use crate::service::error::ServiceError;
use crate::store::account::{self, Settings};
use crate::store::contacts::giveup;
use crate::store::log::expiry::{self, MAX_LIFETIME_SECONDS};

/// While something is to expire, the clock is looked at this often at least: it may have been set.
const LOOK: Duration = Duration::from_secs(30);
/// While no clock is agreed on.
const NO_CLOCK: Duration = Duration::from_secs(2);
/// New messages are looked at this often at most.
const PAUSE: Duration = Duration::from_millis(200);

/// A lifetime that a client named.
pub(in crate::service) fn check_lifetime(seconds: Option<u64>) -> Result<(), ServiceError> {
    if seconds.is_some_and(|seconds| seconds > MAX_LIFETIME_SECONDS) {
        let days = MAX_LIFETIME_SECONDS / 86_400;
        return Err(ServiceError::InvalidParams(format!("a lifetime has {days} days at most; 0 means for ever")));
    }
    Ok(())
}

/// `account.settings`: changes what is given; what holds then.
///
/// # Errors
/// A lifetime out of range.
pub(crate) async fn change(
    account: &Account,
    read_receipts: Option<bool>,
    lifetime: Option<u64>,
) -> Result<Settings, ServiceError> {
    check_lifetime(lifetime)?;
    if read_receipts.is_none() && lifetime.is_none() {
        return Ok(account.store.read(account::settings).await?);
    }
    Ok(account.store.write(move |tx| account::set_settings(tx, read_receipts, lifetime)).await?)
}

/// Ends messages when their time is over, for as long as the account is open; also while it is logged out.
pub(super) async fn watch_lifetimes(account: Arc<Account>) {
    let mut changes = account.store.outbox_watch();
    loop {
        changes.borrow_and_update();
        let wait = match expire(&account).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(%error, "messages whose lifetime is over were not ended");
                Some(LOOK)
            }
        };
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // Not a wait for something to happen: a bound on how often a burst makes us look.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Ends what is due; how long nothing more is.
async fn expire(account: &Account) -> Result<Option<Duration>, ServiceError> {
    loop {
        let (next, uncounted) = account.store.read(expiry::next).await?;
        let Some(now) = account.clock.trusted_now() else {
            return Ok((next.is_some() || uncounted).then_some(NO_CLOCK));
        };
        if !uncounted && next.is_none_or(|next| next > now) {
            let left = next.map(|next| Duration::from_secs(next.saturating_sub(now).max(0) as u64));
            return Ok(left.map(|left| left.clamp(PAUSE, LOOK)));
        }
        account.store.write(move |tx| giveup::expire_due(tx, now)).await?;
    }
}
