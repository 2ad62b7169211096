//! Devices come and go: a stream goes to those that were there when it was begun, and so a new epoch begins with them.
//!
//! Looked at when something is sent to a peer or heard of it, once after each change of its record or of the own one. What
//! waited goes to all in the new epoch; who has it already knows it by its message id.

use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::owed;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::recovery::{DEVICES_CHANGED, resend};
use crate::store::peers::{self, devices, usage};

/// Begins a new epoch with a peer if the stream to it goes to other devices than it and the account have now. Costs a look
/// into memory where nothing changed.
pub(in crate::store) fn follow(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    if !devices::may_have_changed(tx, contact) {
        return Ok(());
    }
    let direct = peers::direct(tx.conn, contact)?;
    let newest: Option<OutStreamRow> = tx
        .conn
        .prepare_cached("SELECT max(id) FROM streams_out WHERE conversation = ?1")?
        .query_row([direct], |row| row.get(0))?;
    let Some(stream) = newest else { return Ok(()) };
    if !owed::is_outdated(tx.conn, stream, direct)? {
        return Ok(());
    }
    // Its record is its own to change, as often as it likes.
    if !usage::may_renew(tx, contact)? {
        return usage::owe_epoch(tx, contact);
    }
    tracing::info!(%contact, "devices came or went: a new epoch");
    let rows = resend::renew(tx, contact, DEVICES_CHANGED, &[])?;
    usage::renewed(tx, contact, rows)
}
