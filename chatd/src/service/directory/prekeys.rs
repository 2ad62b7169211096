//! An account's prekeys and clock over time: a new one daily, the old ones destroyed when nothing can come for them any more.
//!
//! Not its job: the decisions (`policy::prekeys`, `policy::clock`), and destroying as such (the store).
//!
//! Invariants: a secret is committed before a record names it; the one that the own record names is never destroyed; a secret
//! is destroyed by what has surely passed, never by what a clock shows.

use std::sync::Arc;
use std::time::Duration;

use proto::directory::SignedRecord;
use proto::fault;
use proto::ids::{PrekeyId, recipient_hash};
use tokio::time::MissedTickBehavior;

use super::publisher;
use crate::policy::prekeys::{Fate, Mailbox, fate, renewal_due};
use crate::service::account::Account;
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::store::PrekeyAge;
use crate::store::account::own_card;

/// How often clocks are looked at, and what is due by them.
const LOOK: Duration = Duration::from_secs(60);
/// The same while a test moves the clocks.
const LOOK_OFTEN: Duration = Duration::from_millis(200);
/// The directory is asked for the time if it was not heard for so many seconds.
const ASK_AFTER_SECONDS: i64 = 3_600;

/// Looks after the prekeys of an account, for as long as it is open.
pub(in crate::service) async fn watch(service: Service, account: Arc<Account>) {
    let mut looks = tokio::time::interval(if fault::clocks_move() { LOOK_OFTEN } else { LOOK });
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unpublished = false;
    loop {
        looks.tick().await;
        let tended = Arc::clone(&account);
        match tokio::task::spawn_blocking(move || tend(&tended)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, account = %account.id, "prekeys were not looked after"),
            Err(_) => return,
        }
        if !account.is_running() {
            continue;
        }
        // What time it is, is known better once the directory was heard or could not be reached.
        account.settled().await;
        match renew_if_due(&service, &account).await {
            Ok(renewed) => unpublished |= renewed,
            Err(error) => tracing::warn!(%error, account = %account.id, "the prekey was not renewed"),
        }
        if unpublished && account.session().up {
            match publisher::publish(&service, &account).await {
                Ok(()) => unpublished = false,
                Err(error) => tracing::warn!(%error, account = %account.id, "the new record was not published"),
            }
        }
        ask_the_time(&account).await;
    }
}

async fn ask_the_time(account: &Account) {
    let Some(client) = account.directory.as_ref().filter(|_| account.session().up) else { return };
    if account.clock.unheard().is_none_or(|seconds| seconds >= ASK_AFTER_SECONDS)
        && let Err(error) = client.nonce().await
    {
        tracing::debug!(%error, "the directory did not tell the time");
    }
}

/// A new prekey every day, and with it a new record; whether there is one.
async fn renew_if_due(service: &Service, account: &Arc<Account>) -> Result<bool, ServiceError> {
    let (now, judged) = (account.clock.snapshot(), account.clock.trusted_or_local_now());
    let asked = Arc::clone(account);
    let blocking = tokio::task::spawn_blocking(move || offered_prekey(&asked));
    let offered = blocking.await.map_err(|_| ServiceError::ShuttingDown)??;
    // None: the secret of what is offered is not here.
    if offered.is_some_and(|offered| !renewal_due(offered.created, offered.born, judged, now)) {
        return Ok(false);
    }
    // Not while the identity key is being replaced, which is what signs the record.
    let _alone = account.rotating.lock().await;
    publisher::renew_record(service, account).await?;
    Ok(true)
}

/// The prekey that the own record names, if its secret is here.
fn offered_prekey(account: &Account) -> Result<Option<PrekeyAge>, ServiceError> {
    let card = account.store.read_blocking(own_card)?;
    let record = SignedRecord::decode(&card.record)?.peek()?;
    let offered: Vec<PrekeyId> = record
        .prekeys
        .iter()
        .map(|prekey| PrekeyId::of_recipient_hash(&recipient_hash(prekey.suite, &prekey.recipient)))
        .collect();
    Ok(account.prekeys.ages()?.into_iter().find(|age| offered.contains(&age.id)))
}

/// Commits the clock, and destroys what is due. Blocks.
fn tend(account: &Account) -> Result<(), ServiceError> {
    account.save_clock(false)?;
    let offered = offered_prekey(account)?.map(|age| age.id);
    let mailbox = match account.directory {
        Some(_) => Mailbox::Drained(account.prekeys.drained()?),
        None => Mailbox::Absent,
    };
    let now = account.clock.snapshot();
    let mut doomed = Vec::new();
    for mut age in account.prekeys.ages()? {
        if age.born.counted.is_none()
            && let Some(born) = account.clock.latest_birth(age.born.uptime)
        {
            account.prekeys.set_born(age.id, born)?;
            age.born.counted = Some(born);
        }
        match fate(age.born, now, mailbox) {
            _ if Some(age.id) == offered => {}
            Fate::Keep => {}
            Fate::Destroy => doomed.push(age.id),
            Fate::DestroyUndrained => {
                tracing::warn!(
                    prekey = %age.id,
                    "a prekey is destroyed after 30 days though the mailbox was not emptied: what may still lie there \
                     for it cannot be read, and has to be sent again"
                );
                doomed.push(age.id);
            }
        }
    }
    let clean = account.prekeys.destroy(&doomed)?;
    account.inbox.remove_prekeys(&doomed);
    if !doomed.is_empty() {
        tracing::info!(account = %account.id, count = doomed.len(), clean, "old prekeys are destroyed");
    }
    if !clean {
        tracing::warn!(account = %account.id, "another program reads prekeys.db: its bytes are cleaned up when that ends");
    }
    Ok(())
}
