//! What devices tell of themselves and of their account: where they are, that they are there, whom it honours.

use proto::ids::{AccountId, DeviceId};

use super::batch::Batch;
use super::names::{addresses, peek};
use crate::cluster::Change;
use crate::store::command::{Applied, Commands};
use crate::store::error::StoreError;
use crate::store::request::{Counted, MAX_TOKENS, StoreReach};

/// The seq that is kept.
pub fn reach<C: Commands>(db: &mut C, new: &StoreReach, batch: &mut Batch) -> Applied<u64, C::Error> {
    named(db, new.account, new.device)?;
    let kept = db.reach_seq(new.account, new.device)?;
    if let Some(kept) = kept.filter(|kept| *kept >= new.seq) {
        return Ok(kept);
    }
    db.set_reach((new.account, new.device), new.node, new.seq, &new.bytes)?;
    batch.changes.push(Change::Addresses(new.account, addresses(db, new.account)?));
    Ok(new.seq)
}

/// How many the account has now.
pub fn tokens<C: Commands>(
    db: &mut C,
    account: AccountId,
    add: &[[u8; 32]],
    remove: &[[u8; 32]],
) -> Applied<u64, C::Error> {
    if !db.is_registered(account)? {
        return Err(StoreError::NotFound.into());
    }
    let mut held = db.tokens(account)?;
    // Before anything is written: a refusal does not undo the transaction, which is others' as well.
    if held + add.len() > MAX_TOKENS {
        return Err(StoreError::Full(format!(
            "an account has {MAX_TOKENS} tokens at most, one for each contact; remove some first"
        ))
        .into());
    }
    for token in remove {
        held -= usize::from(db.remove_token(account, token)?);
    }
    for token in add {
        held += usize::from(db.add_token(account, token)?);
    }
    Ok(held as u64)
}

/// Counts a session of a device. The number that it says is taken if it is higher than all before: numbers may be skipped, and are
/// given once.
pub fn session<C: Commands>(
    db: &mut C,
    account: AccountId,
    device: DeviceId,
    said: Option<u64>,
) -> Applied<Counted, C::Error> {
    named(db, account, device)?;
    let before = db.sessions(account, device)?;
    let number = said.unwrap_or_default().max(before + 1);
    db.set_sessions(account, device, number)?;
    Ok(Counted { number, before })
}

/// Whether the record that is stored now names the device: rows of one that it does not name would be nobody's to remove.
fn named<C: Commands>(db: &C, account: AccountId, device: DeviceId) -> Applied<(), C::Error> {
    let record = peek(&db.record(account)?.ok_or(StoreError::NotFound)?)?;
    if record.devices.iter().any(|known| known.id == device) { Ok(()) } else { Err(StoreError::NotFound.into()) }
}
