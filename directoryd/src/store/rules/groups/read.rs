//! What is read of a log, by which token. No transaction that writes is needed.

use proto::ids::LogId;

use super::access::{Token, to_read};
use crate::store::command::{Applied, Entries, EntriesFetch, Group, GroupQueries, Slots};
use crate::store::error::StoreError;

/// What a token may know of a log, and entries of it.
#[derive(Debug, Clone)]
pub struct GroupRead {
    /// The log.
    pub group: Group,
    /// Whether the token is in force: whoever shows an old one is told no head.
    pub current: bool,
    /// The running hash where the reading began.
    pub before: Option<[u8; 32]>,
    /// What was found.
    pub entries: Entries,
}

/// The log alone.
pub fn look<Q: GroupQueries>(db: &Q, log: LogId, token: &[u8; 32]) -> Applied<GroupRead, Q::Error> {
    let (group, token) = to_read(db, log, token)?;
    Ok(GroupRead { group, current: token == Token::Current, before: None, entries: Entries::default() })
}

/// Entries: all of them for the token in force, events and keys for an old one.
pub fn entries<Q: GroupQueries>(db: &Q, token: &[u8; 32], fetch: EntriesFetch) -> Applied<GroupRead, Q::Error> {
    let mut read = look(db, fetch.log, token)?;
    read.entries = db.entries(&EntriesFetch { messages: read.current, keys: true, ..fetch })?;
    read.before = if read.current { db.running(fetch.log, fetch.after)? } else { None };
    Ok(read)
}

/// Slots, for the token in force only: all above a key, or one.
pub fn slots<Q: GroupQueries>(
    db: &Q,
    (log, token): (LogId, &[u8; 32]),
    (after, key): (Option<[u8; 32]>, Option<[u8; 32]>),
    (count, bytes): (usize, usize),
) -> Applied<Slots, Q::Error> {
    if !look(db, log, token)?.current {
        return Err(StoreError::OldToken.into());
    }
    match key {
        Some(key) => {
            let found = db.slot_bytes(log, &key)?;
            Ok(Slots { slots: found.map(|slot| (key, slot)).into_iter().collect(), more: false })
        }
        None => db.slots(log, after.as_ref(), count, bytes),
    }
}
