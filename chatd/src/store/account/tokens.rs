//! Tokens by which others act for the account, and what was done with them.
//!
//! Not the job: whether a token is good for something (the service). The token itself is not stored, only its hash, and not
//! even that once it has ended.
//!
//! Invariants: a name is one token's in force; what a token grants never changes; an ended token never comes back; a token has
//! [`MAX_LOG`] entries at most, and the account [`MAX_TOKENS`] in force and as many that ended.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use proto::ids::AccountId;
use proto::scope::Scope;
use proto::time::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::model::{Rate, TokenRow, TokenUse};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Tokens in force, and tokens that ended and are remembered, at most.
pub const MAX_TOKENS: u32 = 64;
/// Entries that are kept of a token.
pub const MAX_LOG: u32 = 1_000;
const DAY_MS: i64 = 86_400_000;

/// Confined in reading, and in sending: bits of `confined`, and numbers of `may`.
const READS: i64 = 1;
const SENDS: i64 = 2;

fn bit(scope: Scope) -> i64 {
    match scope {
        Scope::Read => 1,
        Scope::Send => 2,
        Scope::Contacts => 4,
        Scope::Admin => 8,
    }
}

/// What became of a wish for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It has this number.
    Token(i64),
    /// Another one in force has the name.
    NameInUse,
    /// There are [`MAX_TOKENS`] in force.
    TooMany,
}

/// Stores a new token; `id` and what comes later are passed over.
///
/// # Errors
/// As all of the store; [`StoreError::Full`].
pub fn create(tx: &mut Tx<'_>, new: &TokenRow) -> Result<Created, StoreError> {
    tx.needs_room()?;
    let in_force: i64 = tx.conn.query_row("SELECT count(*) FROM tokens WHERE ended IS NULL", [], |row| row.get(0))?;
    if tx.conn.prepare("SELECT 1 FROM tokens WHERE name = ?1 AND ended IS NULL")?.exists([&new.name])? {
        return Ok(Created::NameInUse);
    }
    if in_force >= i64::from(MAX_TOKENS) {
        return Ok(Created::TooMany);
    }
    let confined = if new.within.is_some() { READS } else { 0 } | if new.send_to.is_some() { SENDS } else { 0 };
    let rate = new.rate.map_or((0, 0), |rate| (rate.count.get(), rate.seconds.get()));
    tx.conn.execute(
        "INSERT INTO tokens (name, hash, scopes, confined, rate, rate_seconds, made_by, created, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            new.name,
            new.hash.map(Vec::from).unwrap_or_default(),
            new.scopes.iter().map(|scope| bit(*scope)).fold(0, |all, one| all | one),
            confined,
            rate.0,
            rate.1,
            new.made_by,
            new.created.0,
            new.expires.map(|at| at.0),
        ],
    )?;
    let id = tx.conn.last_insert_rowid();
    for (may, people) in [(READS, &new.within), (SENDS, &new.send_to)] {
        for account in people.iter().flatten() {
            tx.conn
                .prepare_cached("INSERT INTO token_people (token, may, account) VALUES (?1, ?2, ?3)")?
                .execute(params![id, may, account.as_bytes()])?;
        }
    }
    note(tx, id, ("token.create", None, new.made_by), None, 1)?;
    Ok(Created::Token(id))
}

const COLUMNS: &str =
    "SELECT id, name, hash, scopes, confined, rate, rate_seconds, made_by, created, expires, used, ended,
    expired FROM tokens";

fn token(conn: &Connection, row: &Row<'_>) -> Result<TokenRow, StoreError> {
    let id = row.get(0)?;
    let (hash, scopes, confined): (Vec<u8>, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let people = |may: i64| -> Result<Option<BTreeSet<AccountId>>, StoreError> {
        if confined & may == 0 {
            return Ok(None);
        }
        let mut select = conn.prepare_cached("SELECT account FROM token_people WHERE token = ?1 AND may = ?2")?;
        let mut rows = select.query(params![id, may])?;
        let mut found = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let account = AccountId::from_slice(&row.get::<_, Vec<u8>>(0)?);
            found.insert(account.ok_or(StoreError::Damaged("an account that a token is for"))?);
        }
        Ok(Some(found))
    };
    let rate = (NonZeroU32::new(row.get(5)?), NonZeroU32::new(row.get(6)?));
    Ok(TokenRow {
        id,
        name: row.get(1)?,
        hash: hash.try_into().ok(),
        scopes: Scope::ALL.into_iter().filter(|scope| scopes & bit(*scope) != 0).collect(),
        within: people(READS)?,
        send_to: people(SENDS)?,
        rate: rate.0.zip(rate.1).map(|(count, seconds)| Rate { count, seconds }),
        made_by: row.get(7)?,
        created: Timestamp(row.get(8)?),
        expires: row.get::<_, Option<i64>>(9)?.map(Timestamp),
        used: row.get::<_, Option<i64>>(10)?.map(Timestamp),
        ended: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        expired: row.get(12)?,
    })
}

fn select(conn: &Connection, rest: &str, params: impl rusqlite::Params) -> Result<Vec<TokenRow>, StoreError> {
    let mut select = conn.prepare_cached(&format!("{COLUMNS} {rest}"))?;
    let mut rows = select.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(token(conn, row)?);
    }
    Ok(found)
}

/// Those in force.
pub fn in_force(conn: &Connection) -> Result<Vec<TokenRow>, StoreError> {
    select(conn, "WHERE ended IS NULL", [])
}

/// A page of all, the newest first, older than the one with the number `before`.
pub fn page(conn: &Connection, before: i64, limit: usize) -> Result<Vec<TokenRow>, StoreError> {
    select(conn, "WHERE id < ?1 ORDER BY id DESC LIMIT ?2", params![before, limit as i64])
}

/// The newest of a name.
pub fn newest(conn: &Connection, name: &str) -> Result<Option<TokenRow>, StoreError> {
    Ok(select(conn, "WHERE name = ?1 ORDER BY id DESC LIMIT 1", [name])?.into_iter().next())
}

/// Ends a token: its hash is gone, and what is not among the newest [`MAX_TOKENS`] that ended is forgotten. Whether it was in
/// force.
pub fn end(tx: &mut Tx<'_>, id: i64, expired: bool) -> Result<bool, StoreError> {
    let changed = tx.conn.execute(
        "UPDATE tokens SET ended = ?2, expired = ?3, hash = x'' WHERE id = ?1 AND ended IS NULL",
        params![id, tx.now.0, expired],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    let mut old = tx
        .conn
        .prepare("SELECT id FROM tokens WHERE ended IS NOT NULL ORDER BY ended DESC, id DESC LIMIT -1 OFFSET ?1")?;
    let forgotten: Vec<i64> = old.query_map([MAX_TOKENS], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for old in forgotten {
        for sql in [
            "DELETE FROM token_log WHERE token = ?1",
            "DELETE FROM token_people WHERE token = ?1",
            "DELETE FROM tokens WHERE id = ?1",
        ] {
            tx.conn.execute(sql, [old])?;
        }
    }
    Ok(true)
}

/// Forgets all tokens: for an account that comes from a backup.
pub(in crate::store) fn forget_all(conn: &Connection) -> Result<(), StoreError> {
    Ok(conn.execute_batch("DELETE FROM token_log; DELETE FROM token_people; DELETE FROM tokens;")?)
}

/// Notes that a token was used, or refused for a reason: the method, whom it was about, and whose program it was.
pub fn note(
    tx: &mut Tx<'_>,
    id: i64,
    (method, about, uid): (&str, Option<AccountId>, u32),
    refused: Option<&str>,
    count: u64,
) -> Result<(), StoreError> {
    let (conn, now) = (tx.conn, tx.now.0);
    let (day, about) = (now.div_euclid(DAY_MS), about.map(|id| id.as_bytes().to_vec()).unwrap_or_default());
    let key = params![id, day, method, about, uid, refused.unwrap_or_default(), count as i64, now];
    let changed = conn
        .prepare_cached(
            "UPDATE token_log SET count = count + ?7, last = ?8
             WHERE token = ?1 AND day = ?2 AND method = ?3 AND account = ?4 AND uid = ?5 AND refused = ?6",
        )?
        .execute(key)?;
    if changed == 0 {
        tx.needs_room()?;
        conn.prepare_cached(
            "INSERT INTO token_log (token, day, method, account, uid, refused, count, first, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        )?
        .execute(key)?;
        conn.prepare_cached(
            "DELETE FROM token_log WHERE token = ?1 AND id IN
             (SELECT id FROM token_log WHERE token = ?1 ORDER BY last DESC, id DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![id, MAX_LOG])?;
    }
    conn.prepare_cached("UPDATE tokens SET used = ?2 WHERE id = ?1")?.execute(params![id, now])?;
    Ok(())
}

/// Entries of a token, the newest first, behind `after` of them; and whether more follow.
pub fn log(conn: &Connection, id: i64, after: u64, limit: usize) -> Result<(Vec<TokenUse>, bool), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT method, account, uid, refused, count, first, last, id FROM token_log WHERE token = ?1
         ORDER BY last DESC, id DESC LIMIT ?2 OFFSET ?3",
    )?;
    let mut rows = select.query(params![id, limit as i64 + 1, after.min(u64::from(MAX_LOG)) as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(TokenUse {
            method: row.get(0)?,
            about: AccountId::from_slice(&row.get::<_, Vec<u8>>(1)?),
            uid: row.get(2)?,
            refused: row.get::<_, Option<String>>(3)?.filter(|why| !why.is_empty()),
            count: row.get::<_, i64>(4)? as u64,
            first: Timestamp(row.get(5)?),
            last: Timestamp(row.get(6)?),
            id: row.get(7)?,
        });
    }
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

/// The newest time at which a token of the account was made, used or ended: time has come so far, whatever a clock shows.
pub fn newest_time(conn: &Connection) -> Result<Timestamp, StoreError> {
    let newest = "SELECT max(coalesce(max(created), 0), coalesce(max(used), 0), coalesce(max(ended), 0)) FROM tokens";
    Ok(Timestamp(conn.query_row(newest, [], |row| row.get(0))?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::tests::fixture::Person;

    fn new(name: &str) -> TokenRow {
        TokenRow {
            id: 0,
            name: name.into(),
            hash: Some([7; 32]),
            scopes: vec![Scope::Read, Scope::Admin],
            within: Some(BTreeSet::from([AccountId([2; 16])])),
            send_to: None,
            rate: NonZeroU32::new(3).map(|three| Rate { count: three, seconds: three }),
            made_by: 1_000,
            created: Timestamp(5),
            expires: Some(Timestamp(9)),
            used: None,
            ended: None,
            expired: false,
        }
    }

    #[test]
    fn what_is_remembered_of_tokens_has_an_end() {
        let alice = Person::new("alice");
        let made = alice.write(|tx| create(tx, &new("first"))).unwrap();
        let Created::Token(id) = made else { panic!("{made:?}") };
        assert_eq!(alice.write(|tx| create(tx, &new("first"))).unwrap(), Created::NameInUse);
        let read = alice.read(in_force).remove(0);
        assert_eq!(TokenRow { id: 0, used: None, ..read }, new("first"), "what was granted is what is read");
        // Each of these is another entry; those that repeat are none.
        for number in 0..MAX_LOG + 50 {
            let method = format!("method{number}");
            alice.write(move |tx| note(tx, id, (&method, None, 1), Some("scope"), 2)).unwrap();
        }
        alice.write(move |tx| note(tx, id, ("method1049", None, 1), Some("scope"), 3)).unwrap();
        let (entries, more) = alice.read(|conn| log(conn, id, 0, 2_000));
        assert_eq!((entries.len(), more), (MAX_LOG as usize, false));
        let newest = entries.iter().max_by_key(|entry| entry.count).unwrap();
        assert_eq!((newest.method.as_str(), newest.count), ("method1049", 5));
        let mut ids = vec![id];
        for number in 1..MAX_TOKENS {
            let Created::Token(id) = alice.write(move |tx| create(tx, &new(&format!("n{number}")))).unwrap() else {
                panic!("there is room for {number}");
            };
            ids.push(id);
        }
        assert_eq!(alice.write(|tx| create(tx, &new("more"))).unwrap(), Created::TooMany);
        for number in 0..6 {
            for id in std::mem::take(&mut ids) {
                assert!(alice.write(move |tx| end(tx, id, false)).unwrap());
                assert!(!alice.write(move |tx| end(tx, id, false)).unwrap(), "once");
            }
            let Created::Token(id) = alice.write(move |tx| create(tx, &new(&format!("m{number}")))).unwrap() else {
                panic!("those that ended are in nobody's way");
            };
            ids.push(id);
        }
        let all = alice.read(|conn| page(conn, i64::MAX, 1_000));
        assert_eq!(all.len(), MAX_TOKENS as usize + 1, "one in force, and as many as are remembered");
        assert!(all.iter().filter(|token| token.ended.is_some()).all(|token| token.hash.is_none()));
        assert_eq!(alice.read(|conn| log(conn, id, 0, 10)).0, [], "what is forgotten has no log");
        alice.write(|tx| forget_all(tx.conn)).unwrap();
        assert_eq!(alice.read(|conn| page(conn, i64::MAX, 1_000)), []);
    }
}
