//! Names: who may take one, whose record takes the place of whose, and what becomes of one that is given up.

use std::net::SocketAddr;

use proto::directory::api::Base64;
use proto::directory::{Conflict, MAX_SEQ_STEP, Record, SignedReach, SignedRecord, supersedes};
use proto::ids::AccountId;
use proto::name::Name;

use super::batch::Batch;
use crate::cluster::{Change, Entry};
use crate::store::command::{Account, Applied, Commands, Former, Newcomer, Queries, Resting};
use crate::store::error::StoreError;
use crate::store::request::{Publish, Published, RESERVED_SECONDS};

/// The same, as the mailbox's clock counts.
const RESERVED: u64 = RESERVED_SECONDS as u64;

pub fn publish<C: Commands>(db: &mut C, new: Publish, batch: &mut Batch) -> Applied<Published, C::Error> {
    let account = new.record.account();
    let seq = new.record.seq;
    let created = match db.account(account)? {
        Some(stored) if stored.record == new.bytes => return Ok(Published { created: false, seq }),
        Some(stored) => {
            let old = may_replace(&stored, &new.record)?;
            for gone in old.devices.iter().filter(|old| !new.record.devices.iter().any(|new| new.id == old.id)) {
                let dropped = db.remove_device(account, gone.id)?;
                batch.dropped |= dropped.envelopes > 0;
                batch.went(dropped);
            }
            db.replace_record(account, seq, &new.bytes)?;
            false
        }
        None => {
            let former = may_register(db, &new, batch)?;
            let (name, skeleton) = (new.record.name.as_str().to_owned(), new.record.name.skeleton());
            db.wake(&name)?;
            db.add_account(&Account { account, name, skeleton, seq, record: new.bytes.clone() }, former.number)?;
            db.orphan_groups(account, None)?;
            true
        }
    };
    let addresses = if new.record.list_address { addresses(db, account)? } else { Vec::new() };
    batch.changes.push(Change::Put(Box::new(Entry::new(&new.record, new.bytes, addresses))));
    Ok(Published { created, seq })
}

/// Compare-and-set against the record that is stored, which it gives.
fn may_replace(stored: &Account, new: &Record) -> Result<Record, StoreError> {
    let conflict = |reason: String| StoreError::Conflict { reason, stored: Some(Base64(stored.record.clone())) };
    if stored.name != new.name.as_str() {
        return Err(Name::parse(&stored.name).map_or(StoreError::NameTaken, StoreError::OtherName));
    }
    let old = peek(&stored.record)?;
    supersedes(&old, new).map_err(|error| conflict(error.to_string()))?;
    Ok(old)
}

/// What a stored record says.
pub fn peek(record: &[u8]) -> Result<Record, StoreError> {
    let record = SignedRecord::decode(record).and_then(|signed| signed.peek());
    record.map_err(|error| StoreError::Unavailable(format!("the stored record is damaged: {error}")))
}

/// First come, first served: the name is free, was not given up by somebody else lately, and looks like no other.
fn may_register<C: Commands>(db: &C, new: &Publish, batch: &Batch) -> Applied<Former, C::Error> {
    let (account, name) = (new.record.account(), new.record.name.as_str());
    let skeleton = new.record.name.skeleton();
    let taken = db.taken(name, &skeleton)?;
    let rested = batch.now.checked_sub(RESERVED);
    let newcomer = Newcomer { name, skeleton: &skeleton, account, recovery: new.recovery, rested };
    let reserved = db.stands_against(&newcomer)?;
    if let (None, Some((rests, since))) = (&taken, &reserved)
        && rests == name
    {
        let left = i64::try_from((since + RESERVED).saturating_sub(batch.now)).unwrap_or(RESERVED_SECONDS);
        return Err(StoreError::Resting(new.now + left).into());
    }
    match taken.or(reserved.map(|(rests, _)| rests)) {
        Some(other) if other == name => return Err(StoreError::NameTaken.into()),
        Some(other) => {
            return Err(Name::parse(&other).map_or(StoreError::NameTaken, StoreError::LooksLike).into());
        }
        None => {}
    }
    let former = db.former(account, new.recovery.as_ref())?;
    // An account that comes back continues its numbers: contacts keep the highest record that they saw. Whoever shows the
    // recovery key that was in force may begin anew: a thief of the identity key may have used the numbers up.
    let last = former.seq.filter(|_| !former.recovers);
    if let Some(last) = last.filter(|last| new.record.seq <= *last) {
        let reason = format!("the record's seq is {}, and this account has used {last}", new.record.seq);
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    if let Some(last) = last.filter(|last| new.record.seq - last > MAX_SEQ_STEP) {
        let reason = Conflict::Jump { stored: last, offered: new.record.seq }.to_string();
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    // A name that rests takes room as well: else names that are taken and given up again would have no bound.
    let sums = db.sums()?;
    let resting = sums.resting.saturating_sub(u64::from(db.rests(name)?));
    let most = batch.bounds.max_accounts;
    if sums.accounts.saturating_add(resting) >= most {
        return Err(
            StoreError::Full(format!("this directory takes no more accounts than {most} (max_accounts)")).into()
        );
    }
    Ok(former)
}

pub fn release<C: Commands>(db: &mut C, account: AccountId, batch: &mut Batch) -> Applied<Name, C::Error> {
    let held = db.account(account)?.ok_or(StoreError::NotFound)?;
    let number = db.mailbox(account)?.number;
    let dropped = db.remove_account(account)?;
    // As long as the name rests, so that their members can go elsewhere.
    db.orphan_groups(account, Some(batch.now))?;
    batch.dropped |= dropped.envelopes > 0;
    batch.went(dropped);
    // A damaged record has no recovery key; the name can be given up all the same.
    let recovery = peek(&held.record).ok().map(|record| record.recovery_hash);
    let Account { name, skeleton, seq, .. } = held;
    let parsed = Name::parse(&name);
    db.rest(&Resting { name, skeleton, account, seq, number, since: batch.now, recovery })?;
    batch.changes.push(Change::Remove(account));
    parsed.map_err(|error| StoreError::Unavailable(error.to_string()).into())
}

/// Where an account's devices are, for the search by address.
///
/// # Errors
/// Those of the query.
pub fn addresses<Q: Queries>(db: &Q, account: AccountId) -> Applied<Vec<SocketAddr>, Q::Error> {
    let mut found = Vec::new();
    for bytes in db.reach(account)? {
        let reach = SignedReach::decode(&bytes).and_then(|signed| signed.peek());
        found.extend(reach.map(|reach| reach.addresses).unwrap_or_default());
    }
    Ok(found)
}
