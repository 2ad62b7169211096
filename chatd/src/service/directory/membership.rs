//! The account's standing with its directory: the pinned key, the statement of membership that requests carry, and the
//! keys of the directories of other domains.

use std::sync::Arc;
use std::time::Duration;

use proto::directory::SignedMembership;
use proto::directory::membership::MEMBERSHIP_SECONDS;
use proto::ids::{hex, unhex};
use tokio::time::MissedTickBehavior;

use crate::directory::session::SessionCommand;
use crate::model::DirectoryKey;
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::store::account::domains;

/// How often it is looked whether the statement has to be renewed.
pub(super) const LOOK: Duration = Duration::from_secs(600);
/// Who waits for a session waits no longer for the statement.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether half of a statement's life is over, or there is none.
fn is_due(statement: &[u8], now: i64) -> bool {
    let said = SignedMembership::decode(statement).and_then(|signed| signed.peek());
    said.map_or(true, |said| said.expires.saturating_sub(now) < MEMBERSHIP_SECONDS / 2)
}

/// Pins the directory if it is not yet, and has a statement of membership renewed when half of its life is over.
pub(super) async fn tend(account: &Account, bearer: &str) {
    match tokio::time::timeout(PATIENCE, renew(account, bearer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "no statement of membership: others take requests for a stranger's"),
        Err(_) => tracing::warn!("the directory takes its time with a statement of membership"),
    }
}

async fn renew(account: &Account, bearer: &str) -> Result<(), ServiceError> {
    let Some(client) = &account.directory else { return Ok(()) };
    let origin = account.row().origin;
    let key = match client.pin().key() {
        Some(key) => key,
        // Of an account that was restored from what knew none.
        None => {
            let key = client.identify().await?.key;
            let domain = origin.clone();
            account.store.write(move |tx| domains::pin_directory(tx, &domain, &key)).await?;
            client.pin().set(key);
            key
        }
    };
    let now = account.clock.trusted_or_local_now();
    if !is_due(&account.store.read(domains::membership).await?, now) {
        return Ok(());
    }
    let statement = client.membership(bearer).await?;
    // One that others would not believe is not worth keeping.
    let held = SignedMembership::decode(&statement).and_then(|s| s.verify(&key, &origin, account.id, now));
    if let Err(error) = held {
        return Err(ServiceError::KeyNotTrusted(format!(
            "the directory's statement of membership does not hold: {error}"
        )));
    }
    Ok(account.store.write(move |tx| domains::set_membership(tx, &statement)).await?)
}

/// Gets to know the directories of other domains, now and every while.
pub(in crate::service) async fn watch_others(account: Arc<Account>) {
    let mut due = tokio::time::interval(LOOK);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        meet_others(&account).await;
    }
}

/// Pins the directories of other domains that are known, by the key that each shows first.
async fn meet_others(account: &Account) {
    for (origin, client) in account.directories.others() {
        let domain = origin.clone();
        let known = account.store.read(move |conn| domains::key_of(conn, &domain)).await;
        let Ok(known) = known else { return };
        let shown = match client.identify().await {
            Ok(shown) if shown.origin == origin => shown,
            Ok(shown) => {
                let serves = shown.origin;
                tracing::warn!(
                    often = "domain",
                    origin,
                    serves,
                    "a directory serves another domain than it is asked for"
                );
                continue;
            }
            Err(error) => {
                tracing::debug!(origin, %error, "the directory of another domain does not say who it is");
                continue;
            }
        };
        match known {
            Some(known) if known != shown.key => tracing::warn!(
                often = "domain key",
                origin,
                known = hex(&known),
                shown = hex(&shown.key),
                "the directory of another domain has another key: its members count as strangers until it is accepted"
            ),
            Some(_) => {}
            None => {
                let pinned = account.store.write(move |tx| domains::pin_directory(tx, &origin, &shown.key)).await;
                if let Err(error) = pinned {
                    tracing::warn!(%error, "a directory's key was not remembered");
                }
            }
        }
    }
}

/// `directory.key`.
///
/// # Errors
/// No directory; a key that is not the one that the directory shows.
pub(crate) async fn key(
    account: &Account,
    domain: Option<String>,
    accept: Option<&str>,
) -> Result<DirectoryKey, ServiceError> {
    let home = account.row().origin;
    let origin = domain.unwrap_or_else(|| home.clone()).to_lowercase();
    let Some(client) = account.directories.of(&origin) else {
        return Err(ServiceError::NotFound(if origin.is_empty() {
            format!("{} has no directory", account.row().name)
        } else {
            format!(
                "{origin} is no domain that the DNS knows: name the URL of its directory under [directories] in the configuration of chatd"
            )
        }));
    };
    let domain = origin.clone();
    let known = account.store.read(move |conn| domains::key_of(conn, &domain)).await?;
    let shown = client.identify().await;
    let Some(accept) = accept else {
        return Ok(DirectoryKey {
            origin,
            url: client.url().to_owned(),
            known,
            problem: shown.as_ref().err().map(ToString::to_string),
            shown: shown.ok().map(|shown| shown.key),
        });
    };
    let accepted: [u8; 32] = unhex(accept.trim())
        .ok_or_else(|| ServiceError::InvalidParams("a directory's key has 64 hex digits".into()))?;
    let shown = shown?;
    if shown.origin != origin || shown.key != accepted {
        return Err(ServiceError::KeyNotTrusted(format!(
            "the directory at {} is that of {} and shows the key {}, not {accept}: nothing was changed",
            client.url(),
            shown.origin,
            hex(&shown.key)
        )));
    }
    let domain = origin.clone();
    account.store.write(move |tx| domains::accept_directory(tx, &domain, &accepted)).await?;
    if origin == home {
        client.pin().set(accepted);
        account.command(SessionCommand::Retry).await;
    }
    let key = Some(accepted);
    Ok(DirectoryKey { origin, url: client.url().to_owned(), known: key, shown: key, problem: None })
}
