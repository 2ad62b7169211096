//! Logs that are made, changed and given up.

use proto::directory::groups::Running;
use proto::ids::{AccountId, LogId};

use super::statements;
use crate::store::command::{Applied, Commands, Group, Room};
use crate::store::error::StoreError;
use crate::store::groups::{NewGroup, Statements};
use crate::store::rules::batch::Batch;

/// Whether it is new.
pub fn create<C: Commands>(db: &mut C, new: &NewGroup, batch: &mut Batch) -> Applied<bool, C::Error> {
    batch.has_disk()?;
    if !db.is_registered(new.account)? {
        return Err(StoreError::NotFound.into());
    }
    let (root, header) = (&new.root, &new.header);
    let log = root.says.log;
    if !root.says.is_first() || root.by != root.says.root_key {
        return Err(
            StoreError::BadSignature("the first root of a log is signed by the key that the log is named by").into()
        );
    }
    if header.says.log != log || header.says.root != 0 || header.by != root.says.log_key {
        return Err(StoreError::BadSignature("the header is not signed by the log key in force").into());
    }
    if let Some(there) = db.group(log)? {
        // Repeated: the answer was lost.
        if there.account == new.account && there.root == root.bytes && there.header == header.bytes {
            return Ok(false);
        }
        let reason = "this log is there already, and other statements hold of it".into();
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    let bounds = batch.bounds.groups;
    if db.groups_of(new.account)?.0 >= bounds.per_account {
        let most = bounds.per_account;
        return Err(StoreError::Full(format!(
            "an account has {most} logs of groups here at most (groups.per_account)"
        ))
        .into());
    }
    if db.sums()?.group_bytes >= bounds.total_bytes {
        let most = bounds.total_bytes;
        return Err(StoreError::GroupFull(format!("this directory's logs are full ({most} bytes at most)")).into());
    }
    db.add_group(&Group {
        log,
        account: new.account,
        root: root.bytes.clone(),
        root_number: 0,
        root_key: root.says.root_key,
        log_key: root.says.log_key,
        header: header.bytes.clone(),
        header_root: 0,
        header_number: header.says.number,
        read: header.says.read,
        write: header.says.write,
        changes: 0,
        head: Running::start(log),
        event: 0,
        floor: 0,
        minute: 0,
        appended: 0,
        turn: None,
        next_turn: 0,
        orphaned: None,
        room: Room::default(),
    })?;
    batch.logged = true;
    Ok(true)
}

/// Other statements, without an event. Whoever has them may bring them: they are signed, and a directory that was put back
/// must hear of them.
pub fn state<C: Commands>(db: &mut C, log: LogId, new: &Statements, batch: &mut Batch) -> Applied<(), C::Error> {
    batch.has_disk()?;
    let old = db.group(log)?.ok_or(StoreError::NoSuchGroup)?;
    let (group, changed) = statements::with(&old, new)?;
    if group != old {
        db.set_group(&group)?;
        if changed {
            statements::replaced(db, &old, &group)?;
        }
        batch.logged = true;
    }
    Ok(())
}

/// Gives a log up, with all that is in it: it is on the account's quota.
pub fn remove<C: Commands>(db: &mut C, account: AccountId, log: LogId, batch: &mut Batch) -> Applied<(), C::Error> {
    match db.group(log)? {
        Some(group) if group.account == account => {
            db.remove_group(log)?;
            batch.logged = true;
            Ok(())
        }
        _ => Err(StoreError::NoSuchGroup.into()),
    }
}
