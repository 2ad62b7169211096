//! Another identity key for an account: `key.rotate`, signed by the old one, and `key.recover`, signed by the recovery key.
//!
//! A rotation is four steps, and a daemon that is killed between any two of them starts with exactly one key: the next key
//! is written beside the old one; the own record that names it is committed; its file takes the old one's place; the
//! directory is told. The start finishes what the committed record tells of, and undoes the rest
//! ([`super::identity::Keys::load`]); the directory is told by the session, which compares seqs.
//!
//! Not its job: what contacts make of it (`store::peers::trust`).

use std::sync::Arc;

use proto::directory::{MAX_SEQ_STEP, Record, Rotation, SignedRecord, Statement, recovery_hash, supersedes};
use proto::ids::unhex;
use proto::rpc::types::{AccountParams, KeyRecoverParams, KeyResult};
use proto::time::Timestamp;
use proto::wire::frame::Frame;
use zeroize::Zeroizing;

use super::account::Account;
use super::identity::{Keys, RECORD_LIFETIME_SECONDS, recovery_key};
use super::{Service, ServiceError, session};
use crate::crypto::keys::SigningKey;
use crate::directory::DirectoryError;
use crate::model::Caller;
use crate::store::account;

/// How often a rotation is begun anew because the record was renewed meanwhile.
const TRIES: usize = 4;

/// Who vouches for the new key.
enum Voucher {
    Identity,
    Recovery(Box<SigningKey>),
}

impl Service {
    /// `key.rotate`.
    ///
    /// # Errors
    /// When the chain of keys is full, or the disk refuses; then the old key stays.
    pub async fn key_rotate(&self, caller: &Caller, params: AccountParams) -> Result<KeyResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let service = self.clone();
        Self::whole(async move { service.replace_key(&account, Voucher::Identity).await }).await
    }

    /// `key.recover`.
    ///
    /// # Errors
    /// [`ServiceError::KeyNotTrusted`] when it is not the account's recovery key.
    pub async fn key_recover(&self, caller: &Caller, params: KeyRecoverParams) -> Result<KeyResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let key = read_recovery_key(&params.recovery_key)?;
        let service = self.clone();
        Self::whole(async move { service.replace_key(&account, Voucher::Recovery(Box::new(key))).await }).await
    }

    async fn replace_key(&self, account: &Arc<Account>, voucher: Voucher) -> Result<KeyResult, ServiceError> {
        let _alone = account.rotating.lock().await;
        let mut recovery = None;
        let folder = self.folder_of(account.id);
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
        let info = self.info(account);
        tracing::warn!(name = %info.address, fingerprint = %info.fingerprint, recovered = recovery.is_some(),
            "the account has a new identity key");
        let published = match session::publish(self, account).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the directory has not taken the new key yet");
                false
            }
        };
        proto::fault::point("key.published");
        self.show_record(account).await?;
        Ok(KeyResult { account: info, recovery_key: recovery, published })
    }

    /// Gives the newest own record to contacts on open links; the others get it with the next claim, or ask the directory.
    async fn show_record(&self, account: &Account) -> Result<(), ServiceError> {
        let record = account.store.read(account::own_card).await?.record;
        for link in self.open_links() {
            let frame = |to_device| Frame::Record { from_device: account.device, to_device, record: record.clone() };
            link.answer(link.claims.peers_of(account.device).into_iter().map(frame).collect());
        }
        Ok(())
    }

    /// The directory has a record of ours under another key. Ours goes above it if its rotations take the place of what is
    /// there.
    pub(super) async fn outrank(&self, account: &Arc<Account>, theirs: &Record) -> Result<(), ServiceError> {
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
            return Err(DirectoryError::Conflict {
                stored: None,
                message:
                    "the directory holds another key of this account, which a rotation put there that was not made \
                          here: if that was not you, run chatctl key recover --recovery-file FILE"
                        .into(),
            }
            .into());
        }
        account.store.write(move |tx| account::set_own_record(tx, &record, seq)).await?;
        Ok(())
    }
}

/// The key of 64 hexadecimal digits, with white space around and between them.
pub(super) fn read_recovery_key(text: &str) -> Result<SigningKey, ServiceError> {
    let digits = Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let secret = unhex::<32>(&digits).map(Zeroizing::new).ok_or_else(|| {
        ServiceError::InvalidParams("a recovery key is 64 hexadecimal digits, as `register` printed it".into())
    })?;
    Ok(SigningKey::from_bytes(&secret))
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

/// A record that says what `told` says, changed, under a seq and a key.
fn resign(
    told: &Record,
    prev: [u8; 32],
    seq: u64,
    key: &SigningKey,
    change: impl FnOnce(&mut Record),
) -> Result<(Vec<u8>, u64), ServiceError> {
    let now = Timestamp::now().unix_seconds();
    let mut record = told.clone();
    (record.seq, record.prev) = (seq, prev);
    (record.issued, record.expires) = (now, now + RECORD_LIFETIME_SECONDS);
    record.identity_key = key.public();
    change(&mut record);
    Ok((SignedRecord::sign(&record, key.inner())?.encode(), seq))
}
