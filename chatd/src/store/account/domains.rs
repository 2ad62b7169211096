//! Directories by the key that each was first known by, and the own directory's word that this account is a member.
//!
//! Invariant: a pin changes by the owner's wish only ([`crate::store::account::domains::accept_directory`]).

use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// The key that a domain's directory is known by.
pub fn key_of(conn: &Connection, origin: &str) -> Result<Option<[u8; 32]>, StoreError> {
    let key: Option<Vec<u8>> = conn
        .prepare_cached("SELECT key FROM directory_keys WHERE origin = ?1")?
        .query_row([origin], |row| row.get(0))
        .optional()?;
    key.map(|key| key.try_into().map_err(|_| StoreError::Damaged("a directory's key"))).transpose()
}

/// The newest statement of membership; empty when there is none.
pub fn membership(conn: &Connection) -> Result<Vec<u8>, StoreError> {
    Ok(conn.prepare_cached("SELECT membership FROM account")?.query_row([], |row| row.get(0))?)
}

/// Pins a directory that was not known before; one that is known stays as it is.
pub(in crate::store) fn pin(conn: &Connection, origin: &str, key: &[u8; 32]) -> Result<(), StoreError> {
    conn.execute(
        "INSERT OR IGNORE INTO directory_keys (origin, key, at) VALUES (?1, ?2, ?3)",
        params![origin, &key[..], Timestamp::now().0],
    )?;
    Ok(())
}

/// Pins a directory by the key that it showed first (trust on first use). What was pinned before stays.
pub fn pin_directory(tx: &mut Tx<'_>, origin: &str, key: &[u8; 32]) -> Result<(), StoreError> {
    pin(tx.conn, origin, key)
}

/// The owner accepts another key of a directory. What the one before said of the account counts no longer.
pub fn accept_directory(tx: &mut Tx<'_>, origin: &str, key: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn.execute(
        "INSERT INTO directory_keys (origin, key, at) VALUES (?1, ?2, ?3)
         ON CONFLICT (origin) DO UPDATE SET key = excluded.key, at = excluded.at",
        params![origin, &key[..], tx.now.0],
    )?;
    tx.conn.execute("UPDATE account SET membership = x'' WHERE origin = ?1", [origin])?;
    Ok(())
}

/// Keeps the directory's newest word that this account is a member.
pub fn set_membership(tx: &mut Tx<'_>, statement: &[u8]) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE account SET membership = ?1", [statement])?;
    Ok(())
}
