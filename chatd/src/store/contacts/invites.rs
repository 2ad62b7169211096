//! Invites: consent that is given before anybody asks.
//!
//! Whoever shows the token of one first is a contact. The token is a deposit token, too: with it the request finds its way through
//! the owner's directory while the owner is away, on a lane of its own. Only hashes are stored, so that who reads the database is
//! nobody's guest.

use proto::ids::hex;
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Invite;
use crate::model::ids::PeerId;
use crate::policy::contact::Event;
use crate::store::account;
use crate::store::contacts::requests::apply_user_event;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers::{load, names};

/// Invites kept at most, those that were used included.
pub const MAX_INVITES: i64 = 64;
/// Bytes of a hash that name an invite.
const ID_BYTES: usize = 4;

/// Keeps a new one; `None`: there are too many.
pub fn keep(
    tx: &mut Tx<'_>,
    hash: &[u8; 32],
    (label, expires): (Option<&str>, Timestamp),
) -> Result<Option<Invite>, StoreError> {
    tx.conn.execute("DELETE FROM invites WHERE expires <= ?1", [tx.now.0])?;
    let count: i64 = tx.conn.query_row("SELECT count(*) FROM invites", [], |row| row.get(0))?;
    if count >= MAX_INVITES {
        return Ok(None);
    }
    tx.conn.execute(
        "INSERT INTO invites (hash, created, expires, label) VALUES (?1, ?2, ?3, ?4)",
        params![&hash[..], tx.now.0, expires.0, label],
    )?;
    tell_directory(tx);
    let label = label.map(str::to_owned);
    Ok(Some(Invite { id: id_of(&hash[..]), label, created: tx.now, expires, used_by: None }))
}

/// Those whose time is not over, the newest first.
pub fn list(conn: &Connection, now: Timestamp, home: &str) -> Result<Vec<Invite>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT hash, label, created, expires, used_by FROM invites WHERE expires > ?1 ORDER BY created DESC, hash",
    )?;
    let mut rows = select.query([now.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let used_by: Option<PeerId> = row.get(4)?;
        let used_by = used_by.map(|peer| names::called_by_id(conn, peer, home)).transpose()?;
        out.push(Invite {
            id: id_of(&row.get::<_, Vec<u8>>(0)?),
            label: row.get(1)?,
            created: Timestamp(row.get(2)?),
            expires: Timestamp(row.get(3)?),
            used_by: used_by.map(|called| called.form().to_string()),
        });
    }
    Ok(out)
}

/// Makes those with this id worthless; `false`: there is none.
pub fn revoke(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    let gone = tx.conn.execute("DELETE FROM invites WHERE lower(hex(substr(hash, 1, 4))) = ?1", [id])?;
    tell_directory(tx);
    Ok(gone > 0)
}

/// Hashes of those that may still be used: with these tokens the directory lets through.
pub fn open(conn: &Connection, now: Timestamp) -> Result<Vec<[u8; 32]>, StoreError> {
    let mut select = conn.prepare_cached("SELECT hash FROM invites WHERE expires > ?1 AND used_by IS NULL")?;
    let mut rows = select.query([now.0])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(row.get::<_, Vec<u8>>(0)?.try_into().map_err(|_| StoreError::Damaged("an invite"))?);
    }
    Ok(out)
}

/// Whether an invite may be used: by anybody, or by the one who has used it, who asks again while the answer is under way.
pub fn is_good(conn: &Connection, hash: &[u8; 32], by: Option<PeerId>, now: Timestamp) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached("SELECT used_by FROM invites WHERE hash = ?1 AND expires > ?2")?;
    let found: Option<Option<PeerId>> = select.query_row(params![&hash[..], now.0], |row| row.get(0)).optional()?;
    Ok(found.is_some_and(|used_by| used_by.is_none() || used_by == by))
}

/// A request that came with an invite's token is answered by it; `false`: it is good no more.
pub fn answer(tx: &mut Tx<'_>, hash: &[u8; 32], contact: PeerId) -> Result<bool, StoreError> {
    if !is_good(tx.conn, hash, Some(contact), tx.now)? {
        return Ok(false);
    }
    let label: Option<String> = tx.conn.query_row(
        "UPDATE invites SET used_by = ?2 WHERE hash = ?1 RETURNING label",
        params![&hash[..], contact],
        |row| row.get(0),
    )?;
    // First, so that whoever is told of it is told the name.
    if let Some(label) = label {
        give_label(tx, contact, &label)?;
    }
    match apply_user_event(tx, contact, Event::UserAccepts, "") {
        Ok(_) => {}
        // What they asked came too late, or was taken back.
        Err(StoreError::Contact(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    tell_directory(tx);
    Ok(true)
}

/// Calls a contact so; what the owner calls this one already, or somebody else by now, stays.
pub fn give_label(tx: &mut Tx<'_>, contact: PeerId, label: &str) -> Result<(), StoreError> {
    let home = account::own(tx)?.origin.clone();
    let meant = names::meant(tx.conn, label, &home)?;
    let is_free = [meant.labelled, meant.named].into_iter().flatten().all(|other| other.id == contact);
    if is_free && load(tx.conn, contact)?.label.is_none() {
        names::set_label(tx, contact, Some(label))?;
    }
    Ok(())
}

/// Which tokens open the mailbox has changed: the session looks whenever delivery is woken, for whomever.
fn tell_directory(tx: &mut Tx<'_>) {
    tx.wake_delivery(PeerId::SELF);
}

fn id_of(hash: &[u8]) -> String {
    hex(&hash[..ID_BYTES.min(hash.len())])
}
