//! What ties a peer to an invite: the one by which the owner asks it, and the one that it has used.

use rusqlite::{Connection, params};

use crate::model::ids::PeerId;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// The token of the invite by which the owner asks somebody.
pub(in crate::store) fn held(conn: &Connection, contact: PeerId) -> Result<Option<[u8; 32]>, StoreError> {
    let token: Option<Vec<u8>> =
        conn.prepare_cached("SELECT invite FROM contacts WHERE peer = ?1")?.query_row([contact], |row| row.get(0))?;
    token.map(|token| token.try_into().map_err(|_| StoreError::Damaged("an invite's token"))).transpose()
}

/// The owner asks somebody by an invite, whose token opens the mailbox as well, until there is one of their own.
pub fn hold(tx: &mut Tx<'_>, contact: PeerId, token: &[u8; 32]) -> Result<(), StoreError> {
    tx.conn
        .execute("UPDATE contacts SET invite = ?2, token_held = ?2 WHERE peer = ?1", params![contact, &token[..]])?;
    Ok(())
}

/// What the owner asked is answered.
pub(in crate::store) fn used(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE contacts SET invite = NULL WHERE peer = ?1")?.execute([contact])?;
    Ok(())
}

/// The contact is over: the invite that it came by is worth nothing any more.
pub(in crate::store) fn end(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    tx.conn.prepare_cached("DELETE FROM invites WHERE used_by = ?1")?.execute([contact])?;
    used(tx, contact)
}
