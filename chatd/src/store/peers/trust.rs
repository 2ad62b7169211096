//! What is kept of people: records, keys, devices, reach, labels, profiles.
//!
//! Invariants: a record replaces another only if the pinned key vouches for it; what a newer seq said is never undone by an
//! older one; a device belongs to the account for which it signed, whoever else names it.

use proto::directory::{MAX_SEQ_STEP, Record, SignedReach, SignedRecord, supersedes};
use proto::ids::ConversationId;
use proto::reason::Reason;
use rusqlite::{Connection, params};

use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{ContactChange, Trust};
use crate::policy::suite;
use crate::store::account;
use crate::store::engine::emit;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers::devices::{index_devices, node_of};
use crate::store::peers::row::ContactRow;
use crate::store::peers::{NewContact, by_account, load};

/// Reasons of `contact.key_changed`: the old key signed the new one.
pub const KEY_ROTATED: &str = Reason::Rotated.as_str();
/// The recovery key signed the new one.
pub const KEY_RECOVERED: &str = Reason::Recovered.as_str();
/// Nothing vouches for the new one.
pub const KEY_NOT_VOUCHED: &str = Reason::NoValidRotation.as_str();
/// The user took the new one.
pub const KEY_ACCEPTED: &str = Reason::Accepted.as_str();
/// The user compared, and the old one holds.
pub const KEY_KEPT: &str = Reason::Kept.as_str();

/// How many requests wait for the user.
pub fn pending_requests(conn: &Connection) -> Result<u32, StoreError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM contacts WHERE state & 12 = 4 AND state & 48 = 0")?
        .query_row([], |row| row.get(0))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Whether [`crate::store::peers::trust::take_record`] would do anything with a record: it is whole, and may take the place of what is known. What may
/// not never stands in the writer's queue.
pub fn may_replace_record(conn: &Connection, contact: PeerId, record: &[u8]) -> Result<bool, StoreError> {
    let row = load(conn, contact)?;
    // The same again, which it nearly always is, costs no signature.
    if row.record == record {
        return Ok(false);
    }
    let Ok(new) = SignedRecord::decode(record) else { return Ok(false) };
    let Ok(seq) = new.peek().map(|new| new.seq) else { return Ok(false) };
    let higher = seq > row.record_seq;
    if !higher && row.record_seq - seq <= MAX_SEQ_STEP {
        return Ok(false);
    }
    let Some(new) = new.verify().ok().filter(|new| new.account() == row.account) else { return Ok(false) };
    // A recovery may go on with a much lower number.
    let known = || SignedRecord::decode(&row.record).and_then(|known| known.verify()).ok();
    Ok(higher || known().is_some_and(|known| supersedes(&known, &new).is_ok()))
}

/// The same of [`crate::store::peers::trust::take_reach`].
pub fn is_newer_reach(conn: &Connection, contact: PeerId, reach: &[u8]) -> Result<bool, StoreError> {
    let row = load(conn, contact)?;
    let newer = SignedReach::decode(reach).ok().filter(|new| new.peek().is_ok_and(|new| new.seq > row.reach_seq));
    let Ok(record) = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()) else { return Ok(false) };
    Ok(newer.is_some_and(|new| new.verify(&record).is_ok()))
}

/// Remembers a person, or brings what is known of one up to date; answers the local number. Never changes a pin, and
/// never confirms a name: [`crate::store::peers::names::confirm_name`] does.
pub fn upsert_contact(tx: &mut Tx<'_>, new: &NewContact) -> Result<PeerId, StoreError> {
    if let Some(row) = by_account(tx.conn, new.account)? {
        take_record(tx, row.id, &new.record)?;
        take_reach(tx, row.id, &new.reach)?;
        return Ok(row.id);
    }
    let own = account::own(tx)?;
    let conversation = ConversationId::direct(own.id, new.account);
    tx.conn.execute("INSERT INTO conversations (conversation, kind) VALUES (?1, 0)", [conversation.as_bytes()])?;
    let direct = ConversationRow(tx.conn.last_insert_rowid());
    tx.conn.execute(
        "INSERT INTO peers (account, name, origin, trust, confirmed, record, record_seq, identity_key, reach, reach_seq,
           node, suite_floor, profile_version, display_name, status, bio)
         VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, '', '', '')",
        params![
            new.account.as_bytes(),
            new.name,
            new.origin,
            new.record,
            new.record_seq as i64,
            &new.identity_key[..],
            new.reach,
            new.reach_seq as i64,
            node_of(&new.reach),
            best_suite(&new.record),
        ],
    )?;
    let id = PeerId(tx.conn.last_insert_rowid());
    tx.conn.execute(
        "INSERT INTO contacts (peer, conversation, state, request_text, ids) VALUES (?1, ?2, 0, '', zeroblob(64))",
        params![id, direct],
    )?;
    for member in [PeerId::SELF, id] {
        tx.conn.execute(
            "INSERT INTO members (conversation, peer, since) VALUES (?1, ?2, ?3)",
            params![direct, member, tx.now.0],
        )?;
    }
    index_devices(tx, id, &new.record)?;
    Ok(id)
}

/// Takes a record that says it is a contact's, as far as the pinned key vouches for it: a newer one is kept, with its
/// rotations; one that leaves the pinned key without a valid rotation stops sending. `false`: it is not theirs. What it
/// says of a name confirms nothing, wherever it comes from: anybody writes into a record what he likes.
pub fn take_record(tx: &mut Tx<'_>, contact: PeerId, record: &[u8]) -> Result<bool, StoreError> {
    let row = load(tx.conn, contact)?;
    let read = |bytes: &[u8]| SignedRecord::decode(bytes).and_then(|signed| signed.verify()).ok();
    let (Some(old), Some(new)) = (read(&row.record), read(record)) else { return Ok(false) };
    if new.account() != row.account {
        return Ok(false);
    }
    match supersedes(&old, &new) {
        Ok(()) => {}
        // Not newer; what the recovery key resets is.
        Err(_) if new.seq <= row.record_seq => return Ok(true),
        Err(_) => {
            reject_record(tx, &row, record, &new)?;
            return Ok(false);
        }
    }
    update_record(tx, contact, record, (row.record_seq, new.seq))?;
    if new.identity_key != row.identity_key {
        let trust = if row.trust == Trust::Verified { Trust::Rotated } else { row.trust };
        let recovered = new.rotations.iter().any(|link| link.recovery_key.is_some() && !old.rotations.contains(link));
        let reason = if recovered { KEY_RECOVERED } else { KEY_ROTATED };
        if recovered {
            tracing::warn!(contact = %row.account, "the recovery key of a contact gave it a new identity key");
        }
        set_key(tx, contact, &new.identity_key, trust, reason)?;
    }
    Ok(true)
}

/// Keeps a record for which the pinned key does not vouch, until `verify` decides: nothing is sealed to what it names,
/// and nothing is sent meanwhile. One whose key `verify` has refused before changes nothing.
fn reject_record(tx: &mut Tx<'_>, row: &ContactRow, record: &[u8], new: &Record) -> Result<(), StoreError> {
    let held = row.rejected_record.as_ref();
    let held = held.and_then(|bytes| SignedRecord::decode(bytes).and_then(|signed| signed.peek()).ok());
    let same_key = held.as_ref().is_some_and(|held| held.identity_key == new.identity_key);
    if row.trust != Trust::Changed && same_key {
        return Ok(());
    }
    if held.as_ref().is_some_and(|held| row.trust == Trust::Changed && held.seq >= new.seq) {
        return Ok(());
    }
    tx.conn.execute("UPDATE peers SET rejected_record = ?2 WHERE id = ?1", params![row.id, record])?;
    if row.trust != Trust::Changed || !same_key {
        tracing::warn!(contact = %row.account, "another key without a valid rotation: sending stops until it is verified");
        set_trust(tx, row.id, Trust::Changed)?;
        emit::contact_because(tx, ContactChange::KeyChanged, row.id, KEY_NOT_VOUCHED);
    }
    Ok(())
}

/// Takes the key that changed, as the user decided: its record, its devices, and what waits may go. `key` is the one
/// that the user decided on: another may have come meanwhile.
///
/// # Errors
/// [`StoreError::NotFound`] when no such key waits.
pub fn adopt_changed_key(tx: &mut Tx<'_>, contact: PeerId, key: &[u8; 32], trust: Trust) -> Result<(), StoreError> {
    let row = load(tx.conn, contact)?;
    let waits = StoreError::NotFound("the changed key that was decided on");
    let Some(record) = row.rejected_record.as_ref().filter(|_| row.new_key() == Some(*key)) else {
        return Err(waits);
    };
    let new = SignedRecord::decode(record).and_then(|signed| signed.verify()).map_err(|_| waits)?;
    tx.conn.execute(
        "UPDATE peers SET record = ?2, record_seq = ?3, suite_floor = ?4, rejected_record = NULL WHERE id = ?1",
        params![contact, record, new.seq as i64, best_suite(record)],
    )?;
    index_devices(tx, contact, record)?;
    set_key(tx, contact, &new.identity_key, trust, KEY_ACCEPTED)
}

/// The pinned key was found to be the right one after all: the other is remembered as refused, and what waits may go.
pub fn keep_pinned_key(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    set_trust(tx, contact, Trust::Verified)?;
    emit::contact_because(tx, ContactChange::KeyChanged, contact, KEY_KEPT);
    Ok(())
}

/// Takes a reach that says it is of one of a contact's devices.
pub fn take_reach(tx: &mut Tx<'_>, contact: PeerId, reach: &[u8]) -> Result<(), StoreError> {
    let row = load(tx.conn, contact)?;
    let Ok(record) = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()) else { return Ok(()) };
    if let Ok(verified) = SignedReach::decode(reach).and_then(|signed| signed.verify(&record)) {
        update_reach(tx, contact, reach, verified.seq)?;
    }
    Ok(())
}

/// The best suite that a record offers of those known.
fn best_suite(record: &[u8]) -> u8 {
    let record = SignedRecord::decode(record).and_then(|signed| signed.peek());
    record.map_or(0, |record| suite::best(record.prekeys.iter(), suite::KNOWN))
}

/// Keeps a newer record of a contact whose identity key is the pinned one.
fn update_record(tx: &mut Tx<'_>, contact: PeerId, record: &[u8], (held, seq): (u64, u64)) -> Result<(), StoreError> {
    let newer = tx
        .conn
        .prepare_cached(
            "UPDATE peers SET record = ?2, record_seq = ?3, suite_floor = max(suite_floor, ?5)
             WHERE id = ?1 AND record_seq = ?4",
        )?
        .execute(params![contact, record, seq as i64, held as i64, best_suite(record)])?;
    if newer > 0 {
        index_devices(tx, contact, record)?;
    }
    tx.wake_delivery(contact);
    Ok(())
}

/// Keeps a newer reach.
fn update_reach(tx: &mut Tx<'_>, contact: PeerId, reach: &[u8], seq: u64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE peers SET reach = ?2, reach_seq = ?3, node = ?4 WHERE id = ?1 AND reach_seq < ?3")?
        .execute(params![contact, reach, seq as i64, node_of(reach)])?;
    Ok(())
}

/// Pins another identity key, with the trust that goes with it, and tells.
fn set_key(
    tx: &mut Tx<'_>,
    contact: PeerId,
    identity_key: &[u8; 32],
    trust: Trust,
    reason: &str,
) -> Result<(), StoreError> {
    tx.conn.execute("UPDATE peers SET identity_key = ?2 WHERE id = ?1", params![contact, &identity_key[..]])?;
    set_trust(tx, contact, trust)?;
    emit::contact_because(tx, ContactChange::KeyChanged, contact, reason);
    Ok(())
}

/// Sets the trust in a contact's key.
pub fn set_trust(tx: &mut Tx<'_>, contact: PeerId, trust: Trust) -> Result<(), StoreError> {
    let number = match trust {
        Trust::Unverified => 0,
        Trust::Verified => 1,
        Trust::Rotated => 2,
        Trust::Changed => 3,
    };
    tx.conn.execute("UPDATE peers SET trust = ?2 WHERE id = ?1", params![contact, number])?;
    tx.wake_delivery(contact);
    Ok(())
}

/// Sets the trust in a contact's key, if it is this one. What the contact offers now to be sealed with is then what the user
/// wants, though it offered better before.
///
/// # Errors
/// [`StoreError::NotFound`] when the key changed since.
pub fn trust_key(tx: &mut Tx<'_>, contact: PeerId, key: &[u8; 32], trust: Trust) -> Result<(), StoreError> {
    let row = load(tx.conn, contact)?;
    if row.identity_key != *key || row.new_key().is_some() {
        return Err(StoreError::NotFound("the key that was compared: it changed meanwhile, and"));
    }
    tx.conn.execute("UPDATE peers SET suite_floor = ?2 WHERE id = ?1", params![contact, best_suite(&row.record)])?;
    set_trust(tx, contact, trust)
}
