//! Another identity key for an account: `key.rotate`, signed by the old one, and `key.recover`, signed by the recovery key.
//!
//! A rotation is four steps, and a daemon that is killed between any two of them starts with exactly one key: the next key
//! is written beside the old one; the own record that names it is committed; its file takes the old one's place; the
//! directory is told. The start finishes what the committed record tells of, and undoes the rest
//! ([`Keys::load`]); the directory is told by the session, which compares seqs.
//!
//! Not its job: what contacts make of it (`store::peers::trust`).

use std::sync::Arc;

use proto::directory::{Record, Rotation, SignedRecord, Statement, recovery_hash};
use proto::wire::frame::Frame;

use super::statements::resign;
use super::{Keys, read_recovery_key, recovery_key};
use crate::crypto::keys::SigningKey;
use crate::model::NewKey;
use crate::service::account::Account;
use crate::service::account::info::info;
use crate::service::context::{Service, run_detached};
use crate::service::directory::publisher;
use crate::service::error::ServiceError;
use crate::store::account;

/// How often a rotation is begun anew because the record was renewed meanwhile.
const TRIES: usize = 4;

/// Who vouches for the new key.
enum Voucher {
    Identity,
    Recovery(Box<SigningKey>),
}

/// `key.rotate`.
///
/// # Errors
/// When the chain of keys is full, or the disk refuses; then the old key stays.
pub(crate) async fn rotate(service: &Service, account: Arc<Account>) -> Result<NewKey, ServiceError> {
    let service = service.clone();
    run_detached(async move { replace_key(&service, &account, Voucher::Identity).await }).await
}

/// `key.recover`.
///
/// # Errors
/// [`ServiceError::KeyNotTrusted`] when it is not the account's recovery key.
pub(crate) async fn recover(
    service: &Service,
    account: Arc<Account>,
    recovery_key: &str,
) -> Result<NewKey, ServiceError> {
    let key = read_recovery_key(recovery_key)?;
    let service = service.clone();
    run_detached(async move { replace_key(&service, &account, Voucher::Recovery(Box::new(key))).await }).await
}

async fn replace_key(service: &Service, account: &Account, voucher: Voucher) -> Result<NewKey, ServiceError> {
    let _alone = account.rotating.lock().await;
    let mut recovery = None;
    let folder = account.folder.clone();
    let next = SigningKey::generate()?;
    for attempt in 0.. {
        let card = account.store.read(account::own_card).await?;
        let old = SignedRecord::decode(&card.record)?;
        let told = old.verify()?;
        let new_hash = match &voucher {
            Voucher::Identity => told.recovery_hash,
            Voucher::Recovery(key) if recovery_hash(&key.public()) != told.recovery_hash => {
                return Err(ServiceError::KeyNotTrusted(format!(
                    "this is not the recovery key of {}: it must be the one that `register` printed, or the last \
                     `key recover` after it",
                    account.row().address()
                )));
            }
            Voucher::Recovery(_) => {
                let (text, hash) = recovery_key()?;
                recovery = Some(text);
                hash
            }
        };
        let rotation = rotation(&told, &next, new_hash, &voucher, &account.keys.identity())?;
        let (record, seq) = resign(&told, old.hash(), told.seq + 1, &next, |record| {
            record.rotations.push(rotation);
            record.recovery_hash = new_hash;
        })?;
        if attempt == 0 {
            Keys::prepare_next(&folder, &next)?;
            proto::fault::point("key.next");
        }
        let from = card.record;
        let stored =
            account.store.write(move |tx| account::set_rotated_record(tx, &from, (&record, seq), &new_hash)).await;
        match stored {
            Ok(true) => break,
            // The record was renewed meanwhile: once more, from what it is now.
            Ok(false) if attempt < TRIES => {}
            Ok(false) => {
                Keys::forget_next(&folder)?;
                return Err(ServiceError::DataDir("the record changed under the rotation: try again".into()));
            }
            // Whether it was committed is not known: the next start looks.
            Err(error) => return Err(error.into()),
        }
    }
    proto::fault::point("key.record");
    account.keys.take_next(&folder, next)?;
    proto::fault::point("key.renamed");
    let info = info(account);
    tracing::warn!(name = %info.address, fingerprint = %info.fingerprint, recovered = recovery.is_some(),
        "the account has a new identity key");
    let published = match publisher::publish(service, account).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the directory has not taken the new key yet");
            false
        }
    };
    proto::fault::point("key.published");
    show_record(service, account).await?;
    Ok(NewKey { account: info, recovery_key: recovery, published })
}

/// Gives the newest own record to contacts on open links; the others get it with the next claim, or ask the directory.
async fn show_record(service: &Service, account: &Account) -> Result<(), ServiceError> {
    let record = account.store.read(account::own_card).await?.record;
    for link in service.open_links() {
        let frame = |to_device| Frame::Record { from_device: account.device, to_device, record: record.clone() };
        link.answer(link.claims.peers_of(account.device).into_iter().map(frame).collect());
    }
    Ok(())
}

/// The next link of the chain of keys.
fn rotation(
    told: &Record,
    next: &SigningKey,
    recovery_hash: [u8; 32],
    voucher: &Voucher,
    identity: &SigningKey,
) -> Result<Rotation, ServiceError> {
    let full = || {
        ServiceError::LimitReached(format!(
            "the key was rotated {} times, which is the most: register a new account",
            told.rotations.len()
        ))
    };
    if told.rotations.len() >= proto::directory::MAX_ROTATIONS {
        return Err(full());
    }
    let number = match told.rotations.last().map(Rotation::statement) {
        None => 1,
        Some(Ok(last)) => last.number.checked_add(1).ok_or_else(full)?,
        Some(Err(_)) => return Err(ServiceError::DataDir("the own record cannot be read".into())),
    };
    let statement = Statement { account: told.account(), number, identity_key: next.public(), recovery_hash };
    Ok(match voucher {
        Voucher::Identity => Rotation::by_identity(&statement, identity.inner()),
        Voucher::Recovery(key) => Rotation::by_recovery(&statement, key.inner()),
    })
}
