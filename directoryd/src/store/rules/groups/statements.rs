//! Roots and headers: which follows which. A number that is too low, or a key that is not in force, changes nothing.

use proto::directory::groups::{MAX_STEP, Root};

use crate::store::command::{Applied, Group, GroupCommands};
use crate::store::error::StoreError;
use crate::store::groups::Statements;

/// Tokens of a log that were in force and still read what they may. Whoever was away for longer is let in by a member.
const OLD_TOKENS: u64 = 1_024;

/// The log as it is with these; whether its tokens are others then. Nothing is written.
pub fn with(group: &Group, new: &Statements) -> Result<(Group, bool), StoreError> {
    let mut group = group.clone();
    let old = (group.read, group.write);
    if let Some(root) = new.root.as_ref().filter(|root| root.bytes != group.root) {
        let Root { log, number, root_key, log_key } = root.says;
        if log != group.log || root.by != group.root_key {
            return Err(StoreError::BadSignature("the root is not signed by the root key in force"));
        }
        follows("root", group.root_number, number)?;
        group.root.clone_from(&root.bytes);
        (group.root_number, group.root_key, group.log_key) = (number, root_key, log_key);
    }
    if let Some(header) = new.header.as_ref().filter(|header| header.bytes != group.header) {
        let says = &header.says;
        if says.log != group.log || header.by != group.log_key || says.root != group.root_number {
            return Err(StoreError::BadSignature("the header is not signed by the log key in force"));
        }
        if says.root == group.header_root {
            follows("header", group.header_number, says.number)?;
        }
        group.header.clone_from(&header.bytes);
        (group.header_root, group.header_number) = (says.root, says.number);
        (group.read, group.write) = (says.read, says.write);
    }
    let changed = old != (group.read, group.write);
    group.changes += u64::from(changed);
    Ok((group, changed))
}

/// Remembers the tokens that `old` has and `new` has no longer.
pub fn replaced<C: GroupCommands>(db: &mut C, old: &Group, new: &Group) -> Applied<(), C::Error> {
    if old.read != new.read {
        db.add_old_token(old.log, &old.read, false, new.changes)?;
    }
    if old.write != new.write {
        db.add_old_token(old.log, &old.write, true, new.changes)?;
    }
    match new.changes.checked_sub(OLD_TOKENS) {
        Some(gone) => db.forget_tokens(old.log, gone),
        None => Ok(()),
    }
}

fn follows(what: &str, stored: u64, offered: u64) -> Result<(), StoreError> {
    if offered > stored && offered - stored <= MAX_STEP {
        return Ok(());
    }
    let reason = format!("the {what} with number {stored} is stored, which {offered} does not follow");
    Err(StoreError::Conflict { reason, stored: None })
}
