//! Who is called what: whom a word means, and which word names exactly one.
//!
//! A person has up to three names here: the owner's label, the name that its directory confirmed, and the handle of its
//! newest request. What somebody says of itself without confirmation is no name: nobody is found by it.
//!
//! Invariants: a label is one person's, in any spelling; so are a confirmed name with its domain, and a handle, which is never
//! given a second time; a name that the owner relies on passes to another account only after the owner let go of it.

use std::collections::HashMap;
use std::sync::Arc;

use proto::name::Address;
use proto::who::{Who, label_key};
use rusqlite::{Connection, params};

use crate::model::ids::PeerId;
use crate::model::{Called, Trust};
use crate::policy::contact::{Outgoing, Relation};
use crate::store::account;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers::row::ContactRow;
use crate::store::peers::{load, select_one};

/// People who claim one name and are looked at at most.
const MAX_CLAIMANTS: i64 = 64;
/// Words that are compared with one that nobody has.
const MAX_SUGGESTED: i64 = 10_000;

/// Everybody whom a word could mean.
#[derive(Debug, Default)]
pub struct Meant {
    /// The owner's label says so.
    pub labelled: Option<ContactRow>,
    /// The directory says so.
    pub named: Option<ContactRow>,
}

/// What became of a name that the directory gives to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It is theirs.
    Given,
    /// The owner knows another account by it: the contact with this local number.
    HeldBy(PeerId),
}

/// How somebody is called who is stored.
pub fn called(conn: &Connection, row: &ContactRow, home: &str) -> Result<Called, StoreError> {
    let who = if row.confirmed {
        let short = row.who(home);
        match short.contains('@') || !is_label_of_another(conn, &short, row.id)? {
            true => short,
            false => row.address(),
        }
    } else {
        match row.handle {
            Some(number) => Who::Handle(number).to_string(),
            None => Who::Id(row.account).to_string(),
        }
    };
    let label = match &row.label {
        Some(label) if !is_name_of_another(conn, label, home, row.id)? => Some(label.clone()),
        _ => None,
    };
    Ok(Called { account: row.account, who, label })
}

/// How a contact is called, by its local number.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn called_by_id(conn: &Connection, contact: PeerId, home: &str) -> Result<Called, StoreError> {
    called(conn, &load(conn, contact)?, home)
}

fn is_label_of_another(conn: &Connection, word: &str, than: PeerId) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached("SELECT 1 FROM contacts WHERE label_key = ?1 AND peer <> ?2")?;
    Ok(select.exists(params![label_key(word), than])?)
}

fn is_name_of_another(conn: &Connection, word: &str, home: &str, than: PeerId) -> Result<bool, StoreError> {
    let Ok(Address { name, domain: None }) = word.parse() else { return Ok(false) };
    let mut select =
        conn.prepare_cached("SELECT 1 FROM peers WHERE name = ?1 AND origin = ?2 AND confirmed = 1 AND id <> ?3")?;
    Ok(select.exists(params![name.as_str(), home, than])?)
}

/// Whom a word could mean that is neither an id nor a handle. `home`: the domain of names without one.
pub fn meant(conn: &Connection, word: &str, home: &str) -> Result<Meant, StoreError> {
    let mut found = Meant { labelled: select_one(conn, "c.label_key = ?1", [label_key(word)])?, named: None };
    let Ok(address) = word.trim().parse::<Address>() else { return Ok(found) };
    let origin = address.domain.as_deref().unwrap_or(home);
    let key = (address.name.as_str(), origin);
    found.named = select_one(conn, "p.name = ?1 AND p.origin = ?2 AND p.confirmed = 1", key)?;
    Ok(found)
}

/// Those who say that a name is theirs without confirmation, the newest first.
pub fn claimants(conn: &Connection, name: &str, origin: &str) -> Result<Vec<ContactRow>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT id FROM peers WHERE name = ?1 AND origin = ?2 AND confirmed = 0 ORDER BY id DESC LIMIT ?3",
    )?;
    let ids = select
        .query_map(params![name, origin, MAX_CLAIMANTS], |row| row.get(0))?
        .collect::<Result<Vec<PeerId>, _>>()?;
    ids.into_iter().map(|id| load(conn, id)).collect()
}

/// Who made the request with a handle.
pub fn by_handle(conn: &Connection, number: u64) -> Result<Option<ContactRow>, StoreError> {
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    select_one(conn, "c.handle = ?1", [number])
}

/// Whether the owner has nothing to do with somebody, who may have asked or not: such a one makes no label ambiguous, for
/// anybody could do that.
pub fn is_stranger(conn: &Connection, row: &ContactRow) -> Result<bool, StoreError> {
    let apart = matches!(row.state.relation, Relation::Apart { outgoing: Outgoing::None, .. });
    if !apart || row.state.blocked || row.label.is_some() {
        return Ok(false);
    }
    Ok(!conn.prepare_cached("SELECT 1 FROM messages WHERE conversation = ?1 LIMIT 1")?.exists([row.direct])?)
}

/// Labels and names, for "did you mean".
pub fn words(conn: &Connection, home: &str) -> Result<Vec<String>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT coalesce(c.label, CASE WHEN p.origin = ?1 THEN p.name ELSE p.name || '@' || p.origin END)
         FROM peers p JOIN contacts c ON c.peer = p.id
         WHERE c.label IS NOT NULL OR p.confirmed = 1 ORDER BY p.id LIMIT ?2",
    )?;
    Ok(select.query_map(params![home, MAX_SUGGESTED], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// How contacts are called.
#[derive(Default)]
struct Cached(HashMap<PeerId, Arc<Called>>);

/// How a contact is called; kept while nothing changes it.
pub(in crate::store) fn called_here(tx: &mut Tx<'_>, contact: PeerId) -> Result<Arc<Called>, StoreError> {
    if let Some(called) = tx.cache.of::<Cached>().0.get(&contact) {
        return Ok(Arc::clone(called));
    }
    let own = account::own(tx)?;
    let called = Arc::new(called_by_id(tx.conn, contact, &own.origin)?);
    tx.cache.of::<Cached>().0.insert(contact, Arc::clone(&called));
    Ok(called)
}

/// Names changed: one of them may have made others ambiguous, or clear.
pub(in crate::store) fn names_changed(tx: &mut Tx<'_>) {
    tx.cache.of::<Cached>().0.clear();
}

/// Gives a label, or takes it away.
///
/// # Errors
/// A constraint error when another contact has the label, in whatever spelling.
pub fn set_label(tx: &mut Tx<'_>, contact: PeerId, label: Option<&str>) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE contacts SET label = ?2, label_key = ?3 WHERE peer = ?1",
        params![contact, label, label.map(label_key)],
    )?;
    names_changed(tx);
    Ok(())
}

/// The directory of `origin` answered with this account when it was asked for `name`. Whoever had the name here before has
/// given it up there; but one whom the owner knows by nothing else keeps it here, until the owner has removed or labelled
/// that contact.
pub fn confirm_name(tx: &mut Tx<'_>, contact: PeerId, name: &str, origin: &str) -> Result<Confirmation, StoreError> {
    let holder = select_one(tx.conn, "p.name = ?1 AND p.origin = ?2 AND p.confirmed = 1", (name, origin))?;
    match holder {
        Some(holder) if holder.id == contact => return Ok(Confirmation::Given),
        Some(holder) if relied_on(&holder) => return Ok(Confirmation::HeldBy(holder.id)),
        Some(holder) => {
            tracing::info!(account = %holder.account, name, "the name is another account's now");
            tx.conn.execute("UPDATE peers SET confirmed = 0 WHERE id = ?1", [holder.id])?;
            if holder.handle.is_none() {
                give_handle(tx, holder.id)?;
            }
        }
        None => {}
    }
    tx.conn.execute(
        "UPDATE peers SET confirmed = 1, name = ?2, origin = ?3 WHERE id = ?1",
        params![contact, name, origin],
    )?;
    names_changed(tx);
    Ok(Confirmation::Given)
}

/// The next handle, for a request that came, or for somebody who has no other name left.
pub fn give_handle(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    let number: i64 =
        tx.conn.query_row("UPDATE account SET handles = handles + 1 RETURNING handles", [], |row| row.get(0))?;
    tx.conn.execute("UPDATE contacts SET handle = ?2 WHERE peer = ?1", params![contact, number])?;
    names_changed(tx);
    Ok(())
}

/// Whether the owner writes to somebody by the name alone.
fn relied_on(row: &ContactRow) -> bool {
    let wanted =
        matches!(row.state.relation, Relation::Accepted | Relation::Apart { outgoing: Outgoing::Requested, .. });
    row.label.is_none() && (wanted || row.state.blocked || row.trust == Trust::Verified)
}
