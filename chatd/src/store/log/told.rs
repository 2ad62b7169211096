//! What we have of the streams of others, as acknowledgements tell it, and who has to be told.

use proto::ids::DeviceId;
use proto::wire::envelope::AckEntry;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::PeerId;
use crate::store::delivery::owed;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::streams::{self, told_ranges};

/// What we have of a contact's streams: the content of a `resume`.
pub fn resume_entries(conn: &Connection, contact: PeerId, device: DeviceId) -> Result<Vec<AckEntry>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT s.device, v.conversation, s.epoch, s.contiguous, s.ranges, s.reused, s.shown, s.prev, s.id
         FROM streams_in s JOIN conversations v ON v.id = s.conversation
         WHERE s.peer = ?1 AND s.device = ?2 ORDER BY s.id DESC LIMIT 256",
    )?;
    let mut rows = select.query(params![contact, device.as_bytes()])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (d, c, e): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let key = streams::stream_key(&d, &c, &e).ok_or(StoreError::Damaged("stream key"))?;
        let (contiguous, ranges) = (row.get::<_, i64>(3)? as u64, owed::decode(&row.get::<_, Vec<u8>>(4)?));
        out.push(AckEntry {
            from_device: key.device,
            conversation: key.conversation,
            epoch: key.epoch,
            contiguous,
            head: streams::head(
                conn,
                row.get(8)?,
                owed::highest(contiguous, &ranges),
                row.get::<_, i64>(6)? as u64,
                row.get_ref(7)?.as_blob().ok().and_then(|prev| prev.try_into().ok()),
            )?,
            ranges: told_ranges(ranges, contiguous, row.get(5)?),
        });
    }
    Ok(out)
}

/// What arrived of a contact's device, as far as one envelope takes it.
pub fn acks_for(conn: &Connection, contact: PeerId, device: DeviceId) -> Result<Vec<AckEntry>, StoreError> {
    let mut entries = resume_entries(conn, contact, device)?;
    entries.truncate(MAX_ACKS);
    Ok(entries)
}

/// Acknowledgements that one mailbox envelope carries at most: those of the newest streams. Beside eight, the largest core
/// still fits.
const MAX_ACKS: usize = 8;

/// Something of a contact came by mailbox, and it has to be told that it did; or it was told.
pub fn set_ack_due(tx: &mut Tx<'_>, contact: PeerId, due: bool) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached("UPDATE contacts SET ack_due = ?2 WHERE peer = ?1 AND ack_due <> ?2")?
        .execute(params![contact, due])?;
    if due && changed > 0 {
        tx.wake_delivery(contact);
    }
    Ok(())
}

/// Whether a contact has to be told what arrived of it.
pub fn ack_is_due(conn: &Connection, contact: PeerId) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT ack_due FROM contacts WHERE peer = ?1")?
        .query_row([contact], |row| row.get(0))
        .optional()?
        .unwrap_or(false))
}
