//! Tokens. One that was in force and is no longer reads events and keys, and writes its own slot: whoever was away learns what happened,
//! and whoever was removed learns nothing more.

use proto::ids::LogId;

use crate::store::command::{Applied, Group, GroupQueries};
use crate::store::error::StoreError;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// It is in force.
    Current,
    /// It was.
    Old,
}

/// The log, if this token reads it. One answer for a log that is not there and for a token that is none of its.
pub fn to_read<Q: GroupQueries>(db: &Q, log: LogId, token: &[u8; 32]) -> Applied<(Group, Token), Q::Error> {
    let group = db.group(log)?.ok_or(StoreError::NoSuchGroup)?;
    if group.read == *token {
        return Ok((group, Token::Current));
    }
    match db.old_token(log, token)? {
        Some(false) => Ok((group, Token::Old)),
        _ => Err(StoreError::NoSuchGroup.into()),
    }
}

/// The log, if this token writes it.
pub fn to_write<Q: GroupQueries>(db: &Q, log: LogId, token: &[u8; 32]) -> Applied<(Group, Token), Q::Error> {
    let group = db.group(log)?.ok_or(StoreError::NoSuchGroup)?;
    if group.write == *token {
        return Ok((group, Token::Current));
    }
    match db.old_token(log, token)? {
        Some(true) => Ok((group, Token::Old)),
        _ => Err(StoreError::NoSuchGroup.into()),
    }
}
