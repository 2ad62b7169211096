//! What each command does inside the transaction, and what it answers after it.

pub(in crate::store) mod mailbox;

use proto::directory::api::Base64;
use proto::directory::{Conflict, MAX_SEQ_STEP, Record, SignedRecord, supersedes};
use proto::ids::{AccountId, DeviceId};
use proto::name::Name;
use rusqlite::{OptionalExtension, Transaction, params};

use self::mailbox::signed;
use super::{
    Command, MAX_TOKENS, Publish, Published, Quotas, RESERVED_SECONDS, Reply, StoreError, StoreReach, sqlite::read,
};
use crate::cluster::index::{Change, Entry};

/// Answers one command, once it is known whether the transaction was committed.
pub(in crate::store) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// What the commands of one transaction go by, and what they did to mailboxes.
pub(in crate::store) struct Context {
    pub max_accounts: u64,
    /// Registered now, those of this transaction included.
    pub accounts: u64,
    pub quotas: Quotas,
    /// The mailbox's clock.
    pub now: u64,
    /// The disk was full a moment ago: no deposits.
    pub disk_full: bool,
    pub mail: mailbox::Touched,
}

/// A rule's refusal is an answer like any other; a database error ends the transaction.
pub(in crate::store) enum Failure {
    Refused(StoreError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

pub(in crate::store) type Applied<T> = Result<T, Failure>;

/// Runs one command. Without a usable transaction nothing is done, and the answer will be the transaction's error.
pub(in crate::store) fn apply(
    transaction: Option<&Transaction<'_>>,
    command: Command,
    context: &mut Context,
    changes: &mut Vec<Change>,
) -> (Result<(), rusqlite::Error>, Answer) {
    match command {
        Command::Publish(publish, reply) => {
            finish(reply, transaction.map(|db| store_record(db, *publish, context, changes)))
        }
        Command::Release { account, reply } => {
            finish(reply, transaction.map(|db| release(db, account, context, changes)))
        }
        Command::Reach(reach, reply) => finish(reply, transaction.map(|db| store_reach(db, &reach, changes))),
        Command::Tokens { account, add, remove, reply } => {
            finish(reply, transaction.map(|db| tokens(db, account, &add, &remove)))
        }
        Command::Session { account, device, reply } => {
            finish(reply, transaction.map(|db| count_session(db, account, device)))
        }
        Command::Deposit(deposit, reply) => {
            finish(reply, transaction.map(|db| mailbox::deposit(db, &deposit, context)))
        }
        Command::Delete { account, device, numbers, reply } => {
            finish(reply, transaction.map(|db| mailbox::delete(db, account, device, &numbers, context)))
        }
        Command::Sweep(reply) => finish(reply, transaction.map(|db| mailbox::sweep(db, context))),
    }
}

fn finish<T: 'static>(reply: Reply<T>, applied: Option<Applied<T>>) -> (Result<(), rusqlite::Error>, Answer) {
    let (result, value) = match applied {
        Some(Ok(value)) => (Ok(()), Some(Ok(value))),
        Some(Err(Failure::Refused(refusal))) => (Ok(()), Some(Err(refusal))),
        Some(Err(Failure::Database(error))) => (Err(error), None),
        None => (Ok(()), None),
    };
    let answer: Answer = Box::new(move |committed| {
        let lost = || StoreError::Unavailable("the transaction was lost".into());
        let value = committed.and_then(|()| value.unwrap_or_else(|| Err(lost())));
        // Whoever asked may be gone; what is stored stays stored.
        let _ = reply.send(value);
    });
    (result, answer)
}

fn store_record(
    db: &Transaction<'_>,
    new: Publish,
    context: &mut Context,
    changes: &mut Vec<Change>,
) -> Applied<Published> {
    let account = new.record.account();
    let stored: Option<(String, Vec<u8>)> = db
        .prepare_cached("SELECT name, record FROM accounts WHERE account = ?1")?
        .query_row(params![account.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let seq = i64::try_from(new.record.seq).unwrap_or(i64::MAX);
    let created = match stored {
        Some((_, bytes)) if bytes == new.bytes => return Ok(Published { created: false, seq: new.record.seq }),
        Some((name, bytes)) => {
            let old = may_replace(&name, &bytes, &new.record)?;
            for gone in old.devices.iter().filter(|old| !new.record.devices.iter().any(|new| new.id == old.id)) {
                mailbox::drop_device(db, account, gone.id, context)?;
                for table in ["reach", "sessions"] {
                    db.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1 AND device = ?2"))?
                        .execute(params![account.0, gone.id.0])?;
                }
            }
            db.prepare_cached("UPDATE accounts SET seq = ?2, record = ?3 WHERE account = ?1")?
                .execute(params![account.0, seq, new.bytes])?;
            false
        }
        None => {
            may_register(db, &new, context)?;
            let skeleton = new.record.name.skeleton();
            db.prepare_cached(
                "INSERT INTO accounts (account, name, skeleton, seq, record) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![account.0, new.record.name.as_str(), skeleton, seq, new.bytes])?;
            db.prepare_cached("DELETE FROM released WHERE name = ?1")?.execute(params![new.record.name.as_str()])?;
            context.accounts += 1;
            true
        }
    };
    let addresses = if new.record.list_address { read::addresses(db, account)? } else { Vec::new() };
    changes.push(Change::Put(Box::new(Entry::new(&new.record, new.bytes, addresses))));
    Ok(Published { created, seq: new.record.seq })
}

/// Compare-and-set against the record that is stored, which it gives.
fn may_replace(name: &str, stored: &[u8], new: &Record) -> Result<Record, StoreError> {
    let conflict = |reason: String| StoreError::Conflict { reason, stored: Some(Base64(stored.to_vec())) };
    if name != new.name.as_str() {
        return Err(Name::parse(name).map_or(StoreError::NameTaken, StoreError::OtherName));
    }
    let old = SignedRecord::decode(stored).and_then(|signed| signed.peek());
    let old = old.map_err(|error| StoreError::Unavailable(format!("the stored record is damaged: {error}")))?;
    supersedes(&old, new).map_err(|error| conflict(error.to_string()))?;
    Ok(old)
}

/// First come, first served: the name is free, was not given up by somebody else lately, and looks like no other.
fn may_register(db: &Transaction<'_>, new: &Publish, context: &mut Context) -> Applied<()> {
    let (account, name) = (new.record.account(), new.record.name.as_str());
    let skeleton = new.record.name.skeleton();
    let taken: Option<String> = db
        .prepare_cached("SELECT name FROM accounts WHERE name = ?1 OR skeleton = ?2 ORDER BY name = ?1 DESC LIMIT 1")?
        .query_row(params![name, skeleton], |row| row.get(0))
        .optional()?;
    let reserved: Option<(String, i64)> = db
        .prepare_cached(
            "SELECT name, released_at FROM released
             WHERE (name = ?1 OR skeleton = ?2) AND account <> ?3 AND released_at > ?4 AND (?5 IS NULL OR recovery_hash IS NOT ?5)
             ORDER BY name = ?1 DESC LIMIT 1",
        )?
        .query_row(
            params![name, skeleton, account.0, signed(context.now) - RESERVED_SECONDS, new.recovery.as_ref().map(|hash| &hash[..])],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let (None, Some((rests, since))) = (&taken, &reserved)
        && rests == name
    {
        return Err(StoreError::Resting(new.now + since + RESERVED_SECONDS - signed(context.now)).into());
    }
    match taken.or(reserved.map(|(rests, _)| rests)) {
        Some(other) if other == name => return Err(StoreError::NameTaken.into()),
        Some(other) => {
            return Err(Name::parse(&other).map_or(StoreError::NameTaken, StoreError::LooksLike).into());
        }
        None => {}
    }
    // An account that comes back continues its numbers: contacts keep the highest record that they saw.
    let last: Option<i64> = db
        .prepare_cached("SELECT max(seq) FROM released WHERE account = ?1")?
        .query_row(params![account.0], |row| row.get(0))?;
    // Whoever shows the recovery key that was in force may begin anew: a thief of the identity key may have used the numbers up.
    let shown: bool = match &new.recovery {
        Some(hash) => db
            .prepare_cached("SELECT 1 FROM released WHERE account = ?1 AND recovery_hash = ?2")?
            .exists(params![account.0, &hash[..]])?,
        None => false,
    };
    let last = last.filter(|_| !shown);
    if let Some(last) = last.and_then(|last| u64::try_from(last).ok()).filter(|last| new.record.seq <= *last) {
        let reason = format!("the record's seq is {}, and this account has used {last}", new.record.seq);
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    // A name that rests takes room as well: else names that are taken and given up again would have no bound.
    let resting = db
        .prepare_cached("SELECT released - (SELECT count(*) FROM released WHERE name = ?1) FROM mailbox_total")?
        .query_row([name], |row| row.get::<_, i64>(0))?;
    if let Some(last) =
        last.and_then(|last| u64::try_from(last).ok()).filter(|last| new.record.seq - last > MAX_SEQ_STEP)
    {
        let reason = Conflict::Jump { stored: last, offered: new.record.seq }.to_string();
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    if context.accounts.saturating_add(resting.unsigned_abs()) >= context.max_accounts {
        return Err(StoreError::Full(format!(
            "this directory takes no more accounts than {} (max_accounts)",
            context.max_accounts
        ))
        .into());
    }
    Ok(())
}

fn release(
    db: &Transaction<'_>,
    account: AccountId,
    context: &mut Context,
    changes: &mut Vec<Change>,
) -> Applied<Name> {
    let held: Option<(String, String, i64, Vec<u8>)> = db
        .prepare_cached("DELETE FROM accounts WHERE account = ?1 RETURNING name, skeleton, seq, record")?
        .query_row(params![account.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let (text, skeleton, seq, record) = held.ok_or(StoreError::NotFound)?;
    let recovery =
        SignedRecord::decode(&record).and_then(|signed| signed.peek()).map(|record| record.recovery_hash.to_vec());
    // Not REPLACE, which tells no trigger what it removes.
    db.prepare_cached("DELETE FROM released WHERE name = ?1")?.execute(params![text])?;
    db.prepare_cached(
        "INSERT INTO released (name, skeleton, account, seq, released_at, recovery_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![text, skeleton, account.0, seq, signed(context.now), recovery.ok()])?;
    for table in ["reach", "sessions", "tokens"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1"))?.execute(params![account.0])?;
    }
    mailbox::drop_account(db, account, context)?;
    changes.push(Change::Remove(account));
    Name::parse(&text).map_err(|error| StoreError::Unavailable(error.to_string()).into())
}

fn store_reach(db: &Transaction<'_>, reach: &StoreReach, changes: &mut Vec<Change>) -> Applied<u64> {
    named(db, reach.account, reach.device)?;
    let seq = i64::try_from(reach.seq).unwrap_or(i64::MAX);
    let kept: i64 = db
        .prepare_cached(
            "INSERT INTO reach (account, device, seq, reach) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, device) DO UPDATE SET
                 reach = iif(excluded.seq > seq, excluded.reach, reach), seq = max(seq, excluded.seq)
             RETURNING seq",
        )?
        .query_row(params![reach.account.0, reach.device.0, seq, reach.bytes], |row| row.get(0))?;
    if kept == seq {
        changes.push(Change::Addresses(reach.account, read::addresses(db, reach.account)?));
    }
    Ok(kept.unsigned_abs())
}

fn tokens(db: &Transaction<'_>, account: AccountId, add: &[[u8; 32]], remove: &[[u8; 32]]) -> Applied<u64> {
    registered(db, account)?;
    let held: i64 = db
        .prepare_cached("SELECT count(*) FROM tokens WHERE account = ?1")?
        .query_row(params![account.0], |row| row.get(0))?;
    let mut held = usize::try_from(held).unwrap_or(0);
    // Before anything is written: a refusal does not undo the transaction, which is others' as well.
    if held + add.len() > MAX_TOKENS {
        return Err(StoreError::Full(format!(
            "an account has {MAX_TOKENS} tokens at most, one for each contact; remove some first"
        ))
        .into());
    }
    let mut delete = db.prepare_cached("DELETE FROM tokens WHERE account = ?1 AND hash = ?2")?;
    for hash in remove {
        held -= delete.execute(params![account.0, hash])?;
    }
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO tokens (account, hash) VALUES (?1, ?2)")?;
    for hash in add {
        held += insert.execute(params![account.0, hash])?;
    }
    Ok(held as u64)
}

fn count_session(db: &Transaction<'_>, account: AccountId, device: DeviceId) -> Applied<u64> {
    named(db, account, device)?;
    // Counted before counters had owners.
    db.prepare_cached("UPDATE OR IGNORE sessions SET account = ?1 WHERE account = X'' AND device = ?2")?
        .execute(params![account.0, device.0])?;
    let started: i64 = db
        .prepare_cached(
            "INSERT INTO sessions (account, device, started) VALUES (?1, ?2, 1)
             ON CONFLICT (account, device) DO UPDATE SET started = started + 1 RETURNING started",
        )?
        .query_row(params![account.0, device.0], |row| row.get(0))?;
    Ok(started.unsigned_abs())
}

/// Whether the record that is stored now names the device: rows of one that it does not name would be nobody's to remove.
fn named(db: &Transaction<'_>, account: AccountId, device: DeviceId) -> Applied<()> {
    let record: Option<Vec<u8>> = db
        .prepare_cached("SELECT record FROM accounts WHERE account = ?1")?
        .query_row(params![account.0], |row| row.get(0))
        .optional()?;
    let record = SignedRecord::decode(&record.ok_or(StoreError::NotFound)?).and_then(|signed| signed.peek());
    let record = record.map_err(|error| StoreError::Unavailable(format!("the stored record is damaged: {error}")))?;
    if record.devices.iter().any(|known| known.id == device) { Ok(()) } else { Err(StoreError::NotFound.into()) }
}

pub(in crate::store) fn registered(db: &Transaction<'_>, account: AccountId) -> Applied<()> {
    let known = db.prepare_cached("SELECT 1 FROM accounts WHERE account = ?1")?.exists(params![account.0])?;
    if known { Ok(()) } else { Err(StoreError::NotFound.into()) }
}
