//! The account's own row.

pub(super) mod devices;
pub mod domains;
pub(super) mod prekeys;
pub mod tokens;

use std::sync::Arc;

use proto::ids::{AccountId, DeviceId};
use proto::time::Timestamp;
use proto::wire::payload::Kind;
use rusqlite::{Connection, params};

use crate::model::{AccountRow, ProfileRow, Standing};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// What a new account starts with.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Identity, names, owner.
    pub row: AccountRow,
    /// SHA-256 of the recovery public key.
    pub recovery_hash: [u8; 32],
    /// Its first signed record.
    pub record: Vec<u8>,
    /// That record's seq.
    pub record_seq: u64,
    /// May be empty.
    pub display_name: String,
    /// The key that its directory showed when the account was registered.
    pub directory_key: Option<[u8; 32]>,
}

/// What the account hands out of itself.
#[derive(Debug, Clone)]
pub struct OwnCard {
    /// Newest signed record.
    pub record: Vec<u8>,
    /// Its seq.
    pub record_seq: u64,
    /// Newest signed reach; empty when none.
    pub reach: Vec<u8>,
    /// Its seq.
    pub reach_seq: u64,
    /// Of the recovery key.
    pub recovery_hash: [u8; 32],
}

/// The account's row, kept while nothing changes it.
#[derive(Default)]
struct Cached(Option<Arc<AccountRow>>);

/// The account's own row.
pub fn own(tx: &mut Tx<'_>) -> Result<Arc<AccountRow>, StoreError> {
    if let Some(own) = &tx.cache.of::<Cached>().0 {
        return Ok(Arc::clone(own));
    }
    let own = Arc::new(load(tx.conn)?);
    tx.cache.of::<Cached>().0 = Some(Arc::clone(&own));
    Ok(own)
}

/// To be called after every change of the account's row that [`own`] shows.
pub(in crate::store) fn forget_cached(tx: &mut Tx<'_>) {
    tx.cache.of::<Cached>().0 = None;
}

/// The account of this store.
///
/// # Errors
/// As all of the store; [`StoreError::Damaged`] when the row is not what the schema says.
pub fn load(conn: &Connection) -> Result<AccountRow, StoreError> {
    let (id, device, row) = conn.query_row(
        "SELECT id, device, name, origin, directory, uid, user, logged_in, preferred, standing FROM account",
        [],
        |row| {
            let (id, device): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let account = AccountRow {
                id: AccountId([0; 16]),
                device: DeviceId([0; 16]),
                name: row.get(2)?,
                origin: row.get(3)?,
                directory: row.get(4)?,
                uid: row.get(5)?,
                user: row.get(6)?,
                logged_in: row.get(7)?,
                preferred: row.get(8)?,
                standing: Standing::of(row.get(9)?),
            };
            Ok((id, device, account))
        },
    )?;
    Ok(AccountRow {
        id: AccountId::from_slice(&id).ok_or(StoreError::Damaged("account id"))?,
        device: DeviceId::from_slice(&device).ok_or(StoreError::Damaged("device id"))?,
        ..row
    })
}

/// What the account hands out of itself.
pub fn own_card(conn: &Connection) -> Result<OwnCard, StoreError> {
    let (card, hash) =
        conn.query_row("SELECT record, record_seq, reach, reach_seq, recovery_hash FROM account", [], |row| {
            let hash: Vec<u8> = row.get(4)?;
            let card = OwnCard {
                record: row.get(0)?,
                record_seq: row.get::<_, i64>(1)? as u64,
                reach: row.get(2)?,
                reach_seq: row.get::<_, i64>(3)? as u64,
                recovery_hash: [0; 32],
            };
            Ok((card, hash))
        })?;
    Ok(OwnCard { recovery_hash: hash.try_into().map_err(|_| StoreError::Damaged("recovery hash"))?, ..card })
}

/// Whether a restore made this store, and new epochs were not begun yet.
pub fn is_restored(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.query_row("SELECT restored FROM account", [], |row| row.get(0))?)
}

/// The account's own profile.
pub fn own_profile(conn: &Connection) -> Result<ProfileRow, StoreError> {
    Ok(conn.query_row("SELECT profile_version, display_name, status, bio FROM account", [], |row| {
        Ok(ProfileRow {
            version: row.get::<_, i64>(0)? as u64,
            display_name: row.get(1)?,
            status: row.get(2)?,
            bio: row.get(3)?,
        })
    })?)
}

/// Writes the row of a new account.
///
/// # Errors
/// As all of the store; a second account in one store is a constraint error.
pub(in crate::store) fn insert(conn: &Connection, new: &NewAccount) -> Result<(), StoreError> {
    let row = &new.row;
    conn.execute(
        "INSERT INTO account (one, id, device, name, origin, directory, uid, user, logged_in, created, recovery_hash,
               record, record_seq, reach, reach_seq, session_counter, profile_version, display_name, status, bio)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, x'', 0, 0, ?13, ?14, '', '')",
        params![
            row.id.as_bytes(),
            row.device.as_bytes(),
            row.name,
            row.origin,
            row.directory,
            row.uid,
            row.user,
            row.logged_in,
            Timestamp::now().0,
            &new.recovery_hash[..],
            new.record,
            new.record_seq as i64,
            i64::from(!new.display_name.is_empty()),
            new.display_name,
        ],
    )?;
    devices::index(conn)?;
    match &new.directory_key {
        Some(key) => domains::pin(conn, &row.origin, key),
        None => Ok(()),
    }
}

/// What the owner chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Contacts are told what was read.
    pub read_receipts: bool,
    /// Seconds that undelivered messages live; `None`: for ever.
    pub lifetime: Option<u64>,
}

/// The settings as they are.
pub fn settings(conn: &Connection) -> Result<Settings, StoreError> {
    Ok(conn.prepare_cached("SELECT read_receipts, lifetime FROM account")?.query_row([], |row| {
        let lifetime: Option<i64> = row.get(1)?;
        Ok(Settings { read_receipts: row.get(0)?, lifetime: lifetime.and_then(|seconds| u64::try_from(seconds).ok()) })
    })?)
}

/// Whether contacts are told what was read.
pub(in crate::store) fn tells_reads(tx: &Tx<'_>) -> Result<bool, StoreError> {
    Ok(settings(tx.conn)?.read_receipts)
}

/// Changes settings; what is `None` stays, a lifetime of 0 is none. Answers how they are then.
pub fn set_settings(
    tx: &mut Tx<'_>,
    read_receipts: Option<bool>,
    lifetime: Option<u64>,
) -> Result<Settings, StoreError> {
    if let Some(on) = read_receipts {
        tx.conn.execute("UPDATE account SET read_receipts = ?1", [on])?;
        if !on {
            // Those that have not left would tell after the owner said not to.
            tx.conn.execute("DELETE FROM signals WHERE kind = ?1", [Kind::Receipt.as_str()])?;
        }
    }
    if let Some(seconds) = lifetime {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        tx.conn.execute("UPDATE account SET lifetime = nullif(?1, 0)", [seconds])?;
    }
    settings(tx.conn)
}

/// Remembers whether the account is to be online.
pub fn set_logged_in(tx: &mut Tx<'_>, logged_in: bool) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE account SET logged_in = ?1", [logged_in])?;
    forget_cached(tx);
    Ok(())
}

/// Remembers where this copy of the account stands.
pub fn set_standing(tx: &mut Tx<'_>, standing: Standing) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE account SET standing = ?1", [standing.number()])?;
    forget_cached(tx);
    Ok(())
}

/// Makes the account its owner's default, or one among others (0).
pub fn set_preferred(tx: &mut Tx<'_>, preferred: i64) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE account SET preferred = ?1", [preferred])?;
    forget_cached(tx);
    Ok(())
}

/// Keeps a newer own record; an older one is ignored.
pub fn set_own_record(tx: &mut Tx<'_>, record: &[u8], seq: u64) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE account SET record = ?1, record_seq = ?2 WHERE record_seq < ?2",
        params![record, seq as i64],
    )?;
    devices::record_changed(tx)
}

/// Keeps an own record with another identity key, and the recovery hash that goes with it, if the record that it was
/// made from is still the newest; whether it is.
pub fn set_rotated_record(
    tx: &mut Tx<'_>,
    from: &[u8],
    (record, seq): (&[u8], u64),
    recovery_hash: &[u8; 32],
) -> Result<bool, StoreError> {
    let changed = tx.conn.execute(
        "UPDATE account SET record = ?2, record_seq = ?3, recovery_hash = ?4 WHERE record = ?1 AND record_seq < ?3",
        params![from, record, seq as i64, &recovery_hash[..]],
    )?;
    devices::record_changed(tx)?;
    Ok(changed > 0)
}

/// Keeps a newer own reach; an older one is ignored.
pub fn set_own_reach(tx: &mut Tx<'_>, reach: &[u8], seq: u64) -> Result<(), StoreError> {
    tx.conn
        .execute("UPDATE account SET reach = ?1, reach_seq = ?2 WHERE reach_seq < ?2", params![reach, seq as i64])?;
    Ok(())
}

/// The number of the next session, which no other one had as far as this store knows.
pub fn next_session(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let sql = "UPDATE account SET session_counter = session_counter + 1 RETURNING session_counter";
    Ok(tx.conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
}

/// Whether the directory knew of later sessions once than those `before` the one that begins.
pub fn directory_went_back(tx: &Tx<'_>, before: u64) -> Result<bool, StoreError> {
    let sql = "SELECT session_confirmed FROM account";
    Ok(before < tx.conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
}

/// A directory knows of the session of this number.
pub fn session_confirmed(tx: &mut Tx<'_>, number: u64) -> Result<(), StoreError> {
    let sql = "UPDATE account SET session_confirmed = ?1, session_counter = max(session_counter, ?1)";
    tx.conn.prepare_cached(sql)?.execute([number as i64])?;
    Ok(())
}
