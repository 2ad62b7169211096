//! The devices that the records of peers name, and the nodes where they are reached.

use std::collections::HashSet;

use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{AccountId, DeviceId, NodeId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::store::account;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Keeps the devices that a record names findable by their id.
pub(in crate::store) fn index_devices(tx: &mut Tx<'_>, contact: PeerId, record: &[u8]) -> Result<(), StoreError> {
    let Ok(record) = SignedRecord::decode(record).and_then(|signed| signed.verify()) else {
        return Err(StoreError::Damaged("a contact's record"));
    };
    let known: Vec<Vec<u8>> = tx
        .conn
        .prepare_cached("SELECT device FROM peer_devices WHERE peer = ?1")?
        .query_map([contact], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tx.cache.of::<Compared>().peers.remove(&contact);
    for gone in known.iter().filter(|id| record.devices.iter().all(|device| device.id.as_bytes() != id.as_slice())) {
        tx.conn.execute("DELETE FROM peer_devices WHERE peer = ?1 AND device = ?2", params![contact, gone])?;
    }
    for device in &record.devices {
        tx.conn.execute(
            "INSERT OR IGNORE INTO peer_devices (device, peer, key, proved) VALUES (?1, ?2, ?3, 0)",
            params![device.id.as_bytes(), contact, &device.key[..]],
        )?;
    }
    Ok(())
}

/// Peers whose devices were compared with those that their stream goes to, since a record changed.
#[derive(Default)]
struct Compared {
    /// Of the own record.
    change: u64,
    peers: HashSet<PeerId>,
}

/// Whether the devices of a peer, or the account's own, may be others than when this was asked last. Also after a start.
pub(in crate::store) fn may_have_changed(tx: &mut Tx<'_>, peer: PeerId) -> bool {
    let change = account::devices::change(tx);
    let compared = tx.cache.of::<Compared>();
    if compared.change != change {
        (compared.change, compared.peers) = (change, HashSet::new());
    }
    compared.peers.insert(peer)
}

/// Whether the newest record of an account names a device.
pub fn has_device(tx: &Tx<'_>, account: AccountId, device: DeviceId) -> Result<bool, StoreError> {
    Ok(device_of(tx.conn, account, device)?.is_some())
}

/// A device signed an envelope that names this contact's account as its own.
pub fn device_proved(tx: &mut Tx<'_>, contact: PeerId, device: DeviceId) -> Result<(), StoreError> {
    tx.conn.execute(
        "UPDATE peer_devices SET proved = 1 WHERE peer = ?1 AND device = ?2",
        params![contact, device.as_bytes()],
    )?;
    Ok(())
}

/// Whose device this is: the contact's local number and the device's signing key. Of several contacts whose records name
/// it, the one for whom it has signed.
pub fn by_device(conn: &Connection, device: DeviceId) -> Result<Option<(PeerId, [u8; 32])>, StoreError> {
    let found: Option<(PeerId, Vec<u8>)> = conn
        .prepare_cached("SELECT peer, key FROM peer_devices WHERE device = ?1 ORDER BY proved DESC, peer LIMIT 1")?
        .query_row([device.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(contact, key)| Some((contact, key.try_into().ok()?))))
}

/// A device that an account's newest record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDevice {
    /// The contact's local number.
    pub contact: PeerId,
    /// The device's signing key.
    pub key: [u8; 32],
    /// It has signed for the account before.
    pub proved: bool,
}

/// A device of an account: of a peer, or another one of the own account ([`PeerId::SELF`]).
pub fn device_of(conn: &Connection, account: AccountId, device: DeviceId) -> Result<Option<KnownDevice>, StoreError> {
    let found: Option<(PeerId, Vec<u8>, bool)> = conn
        .prepare_cached(
            "SELECT d.peer, d.key, d.proved FROM peer_devices d
             WHERE d.device = ?2 AND d.peer = coalesce(
               (SELECT -1 FROM account WHERE id = ?1), (SELECT id FROM peers WHERE account = ?1))",
        )?
        .query_row(params![account.as_bytes(), device.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(found.and_then(|(contact, key, proved)| Some(KnownDevice { contact, key: key.try_into().ok()?, proved })))
}

/// Contacts whose newest reach names a node.
pub fn by_node(conn: &Connection, node: NodeId) -> Result<Vec<PeerId>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id FROM peers WHERE node = ?1")?;
    Ok(select.query_map([node.as_bytes()], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The node id in a stored reach; empty when there is none.
pub(in crate::store) fn node_of(reach: &[u8]) -> Vec<u8> {
    SignedReach::decode(reach).and_then(|signed| signed.peek()).map(|reach| reach.node.0.to_vec()).unwrap_or_default()
}
