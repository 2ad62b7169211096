//! What an account tells the directory of itself: its record, and where its device is.
//!
//! Invariants: a record is committed before it is published; of two copies of an account that meet in the directory, one stops
//! for good.

use futures_util::future::join_all;
use proto::advice::Step;
use proto::directory::{MAX_SEQ_STEP, Record, SignedRecord, supersedes};
use proto::name::{Address, Name};

use crate::crypto::prekey::PrekeySecret;
use crate::delivery::News;
use crate::directory::DirectoryError;
use crate::model::Standing;
use crate::service::account::Account;
use crate::service::account::keys::statements::{Facts, make_reach, make_record, resign};
use crate::service::account::state::Order;
use crate::service::context::Service;
use crate::service::error::{SUPERSEDED, ServiceError};
use crate::store::{Tx, account};

/// Publishes the newest own record. If the directory has one of ours that is further (this store is an older copy), a
/// record above it is made and published.
pub(in crate::service) async fn publish(service: &Service, account: &Account) -> Result<(), ServiceError> {
    match publish_once(account).await {
        Err(ServiceError::Directory(DirectoryError::Conflict { stored: Some(stored), message })) => {
            let theirs = SignedRecord::decode(&stored)?.verify()?;
            if theirs.account() != account.id {
                return Err(DirectoryError::Conflict { stored: Some(stored), message }.into());
            }
            let standing = account.row().standing;
            if theirs.devices.iter().all(|device| device.id != account.device) && standing != Standing::TakesOver {
                supersede(account).await?;
                return Err(ServiceError::Superseded);
            }
            if theirs.identity_key != account.keys.identity().public() {
                // Before a rotation of ours, or after one that is not ours.
                outrank(account, &theirs).await?;
                return publish_once(account).await;
            }
            let own = account.store.read(account::own_card).await?.record_seq;
            if theirs.seq.saturating_sub(own) > MAX_SEQ_STEP {
                let text = format!(
                    "the directory holds a record of this account with the number {}, far beyond our {own}: somebody else has the \
                     identity key, and used the numbers up",
                    theirs.seq
                );
                return Err(ServiceError::KeyNotTrusted(text).advise(Step::RecoverKey.alone()));
            }
            tracing::warn!(seq = theirs.seq, "the directory has a newer record of this account: going on from there");
            account.store.write(move |tx| account::set_own_record(tx, &stored, theirs.seq)).await?;
            renew_record(service, account).await?;
            publish_once(account).await
        }
        result => result,
    }
}

async fn publish_once(account: &Account) -> Result<(), ServiceError> {
    let Some(client) = &account.directory else { return Ok(()) };
    let card = account.store.read(account::own_card).await?;
    let name = Name::parse(&account.row().name)?;
    let identity = account.keys.identity();
    client.publish(&name, &card.record, &move |message: &[u8]| identity.sign(&[message])).await?;
    if account.row().standing == Standing::TakesOver {
        stands_alone(account).await?;
    }
    Ok(())
}

/// Another copy of the account took this one's place: two that both went on would take it from each other for ever. This one
/// stays offline, also over restarts, until its owner logs it in.
pub(in crate::service) async fn supersede(account: &Account) -> Result<(), ServiceError> {
    tracing::error!(name = %account.row().name, reason = SUPERSEDED, "the account goes on elsewhere, and stays offline here");
    let stored = |tx: &mut Tx<'_>| {
        account::set_standing(tx, Standing::Superseded)?;
        account::set_logged_in(tx, false)
    };
    account.store.write(stored).await?;
    account.state.change(|state| {
        state.row.standing = Standing::Superseded;
        state.row.logged_in = false;
    });
    // Without waiting: this may be one of the tasks that end by it.
    if !account.state.order_soon(Order::GoOffline) {
        return Err(ServiceError::LimitReached("too many orders wait for the account".into()));
    }
    Ok(())
}

/// There is no other copy, as far as this one knows.
pub(in crate::service) async fn stands_alone(account: &Account) -> Result<(), ServiceError> {
    account.store.write(|tx| account::set_standing(tx, Standing::Alone)).await?;
    account.state.change(|state| state.row.standing = Standing::Alone);
    Ok(())
}

/// Signs and publishes where this node is, for one account.
pub(in crate::service) async fn publish_reach(
    service: &Service,
    account: &Account,
    even_offline: bool,
) -> Result<(), ServiceError> {
    let mut whereabouts = service.inner.node.whereabouts().borrow().clone();
    // Of another directory's relay nobody here could make use.
    let own = account.directory.as_ref().and_then(|directory| directory.relay());
    whereabouts.relay = whereabouts.relay.filter(|url| own.is_some_and(|own| own.is_at(url)));
    let card = account.store.read(account::own_card).await?;
    let (reach, seq) =
        make_reach(account.id, &account.keys.device, &service.inner.node_key, &whereabouts, card.reach_seq)?;
    let bytes = reach.clone();
    account.store.write(move |tx| account::set_own_reach(tx, &bytes, seq)).await?;
    if let Some(client) = account.directory.as_ref().filter(|_| even_offline || account.session().up) {
        client.publish_reach(&reach).await?;
    }
    Ok(())
}

/// Publishes reach whenever it changes where the node is, and tries what waits.
pub(in crate::service) async fn watch_whereabouts(service: Service) {
    let mut whereabouts = service.inner.node.whereabouts();
    loop {
        whereabouts.borrow_and_update();
        let running: Vec<_> = service.accounts().into_iter().filter(|account| account.is_running()).collect();
        // One directory that does not answer holds up nobody else's.
        let publish = join_all(running.iter().map(async |account| {
            if let Err(error) = publish_reach(&service, account, false).await {
                tracing::debug!(%error, "reach was not published");
            }
        }));
        tokio::select! {
            _ = publish => {
                if whereabouts.changed().await.is_err() {
                    return;
                }
            }
            // The way to say so may be another one by now.
            changed = whereabouts.changed() => if changed.is_err() { return },
        }
        service.tell_all(|| News::RetryAll).await;
    }
}

/// Signs and keeps a new record with a new prekey, in this order: secret, record, then the directory.
pub(in crate::service) async fn renew_record(service: &Service, account: &Account) -> Result<(), ServiceError> {
    let prekey = PrekeySecret::generate(account.clock.trusted_or_local_now())?;
    account.prekeys.insert(&prekey, account.clock.snapshot().uptime)?;
    let card = account.store.read(account::own_card).await?;
    let previous = SignedRecord::decode(&card.record)?;
    let row = account.row();
    let address: Address = row.name.parse()?;
    let facts = Facts {
        name: &address.name,
        origin: &row.origin,
        directory: &row.directory,
        recovery_hash: card.recovery_hash,
        config: &service.config(),
    };
    let (record, seq) = make_record(&account.keys, &facts, Some(&previous), &prekey)?;
    account.inbox.add_prekey(prekey);
    account.store.write(move |tx| account::set_own_record(tx, &record, seq)).await?;
    tracing::debug!(account = %account.id, seq, "a new prekey is offered");
    Ok(())
}

/// The directory has a record of ours under another key. Ours goes above it if its rotations take the place of what is
/// there.
async fn outrank(account: &Account, theirs: &Record) -> Result<(), ServiceError> {
    let card = account.store.read(account::own_card).await?;
    let old = SignedRecord::decode(&card.record)?;
    let told = old.verify()?;
    // Beyond what records come to be nobody goes; the recovery key's word resets it.
    let burnt = theirs.seq.saturating_sub(told.seq) > MAX_SEQ_STEP;
    let seq = if burnt { told.seq } else { theirs.seq.max(told.seq) }.saturating_add(1);
    let identity = account.keys.identity();
    let (record, seq) = resign(&told, old.hash(), seq, &identity, |_| {})?;
    let offered = SignedRecord::decode(&record)?.peek()?;
    if supersedes(theirs, &offered).is_err() {
        tracing::error!(name = %account.row().name, "the directory holds a key of this account that is not ours");
        let message = "the directory holds another key of this account, which a rotation put there that was not made here; if that was \
                       not you";
        let error = ServiceError::from(DirectoryError::Conflict { stored: None, message: message.into() });
        return Err(error.advise(Step::RecoverKey.alone()));
    }
    account.store.write(move |tx| account::set_own_record(tx, &record, seq)).await?;
    Ok(())
}
