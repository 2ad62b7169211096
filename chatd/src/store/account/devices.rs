//! The account's own other devices, as its newest record names them.

use proto::directory::SignedRecord;
use rusqlite::{Connection, params};

use crate::model::ids::PeerId;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// How often the own record changed since the store was opened.
#[derive(Default)]
struct Changes(u64);

/// Another number after each change of the own record.
pub(in crate::store) fn change(tx: &mut Tx<'_>) -> u64 {
    tx.cache.of::<Changes>().0
}

/// The own record was written: its devices are known from now on.
pub(super) fn record_changed(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.cache.of::<Changes>().0 += 1;
    index(tx.conn)
}

/// Keeps the devices that the own record names, but for this one, findable by their id. The identity key signed for them.
pub(super) fn index(conn: &Connection) -> Result<(), StoreError> {
    let (record, own): (Vec<u8>, Vec<u8>) =
        conn.query_row("SELECT record, device FROM account", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    conn.execute("DELETE FROM peer_devices WHERE peer = ?1", [PeerId::SELF])?;
    // A test's record may be none.
    let Ok(record) = SignedRecord::decode(&record).and_then(|signed| signed.peek()) else { return Ok(()) };
    for device in record.devices.iter().filter(|device| device.id.as_bytes()[..] != own[..]) {
        conn.execute(
            "INSERT OR IGNORE INTO peer_devices (device, peer, key, proved) VALUES (?1, ?2, ?3, 1)",
            params![device.id.as_bytes(), PeerId::SELF, &device.key[..]],
        )?;
    }
    Ok(())
}
