//! When numbers of a stream may have been used for something that is not known here: what all parts of it share.

use proto::reason::Reason;
use proto::wire::envelope::AckEntry;
use rusqlite::Connection;

use crate::model::ids::{OutStreamRow, PeerId};
use crate::store::delivery::owed;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::{account, peers};

pub(super) mod detect;
pub(in crate::store) mod devices;
pub mod epochs;
pub(super) mod resend;

/// An own message, and where it was in the old streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Placed {
    pub stream: OutStreamRow,
    pub seq: i64,
    /// `messages.id`.
    pub message: i64,
}

/// What the causes of new epochs are called, in `trace` and events.
pub const RESTORED: &str = Reason::Restored.as_str();

/// See [`RESTORED`].
pub const SESSION_COUNTER: &str = Reason::SessionCounter.as_str();

/// See [`RESTORED`].
pub const NUMBERS_UNKNOWN: &str = Reason::NumbersUnknown.as_str();

/// A contact lost what it had acknowledged.
pub const RECIPIENT_RESTORED: &str = Reason::RecipientRestored.as_str();

/// Devices of the contact or of the account came or went.
pub const DEVICES_CHANGED: &str = Reason::DevicesChanged.as_str();

/// Epochs that a contact may show of a conversation without our knowing them. One that invents them only deprives itself
/// of being noticed later.
pub(in crate::store) const MAX_LOST_EPOCHS: i64 = 256;

pub(in crate::store) fn of_ours<'e>(
    tx: &mut Tx<'_>,
    contact: PeerId,
    entries: &'e [AckEntry],
) -> Result<Vec<&'e AckEntry>, StoreError> {
    let device = account::own(tx)?.device;
    let conversation = peers::load(tx.conn, contact)?.conversation;
    let ours = |entry: &&AckEntry| entry.from_device == device && entry.conversation == conversation;
    Ok(entries.iter().filter(ours).collect())
}

/// The highest number that an entry covers.
pub(in crate::store) fn highest(entry: &AckEntry) -> u64 {
    owed::highest(entry.contiguous, &entry.ranges)
}

/// How many epochs more may be remembered that a contact shows and we do not know.
pub(in crate::store) fn room_for_epochs(conn: &Connection, contact: PeerId) -> Result<usize, StoreError> {
    let lost: i64 = conn
        .prepare_cached("SELECT count(*) FROM streams_out WHERE conversation = ?1 AND prev = x''")?
        .query_row([peers::direct(conn, contact)?], |row| row.get(0))?;
    Ok((MAX_LOST_EPOCHS - lost).max(0) as usize)
}
