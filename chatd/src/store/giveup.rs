//! Giving up: what nobody answers ends, and what is addressed to an account that is gone is not looked after as if it were there.
//!
//! Messages to contacts are their owner's, and end by their lifetime only (`super::lifetimes`).

use proto::wire::payload::Kind;
use rusqlite::{Connection, params};

use super::trace::ACCOUNT_GONE;
use super::{StoreError, Tx, contacts};
use crate::model::ids::PeerId;
use crate::policy::contact::{Event, Outgoing, Relation};

/// Signals that are given up in one transaction at most.
const MAX_AT_ONCE: usize = 256;

/// Contacts whose account is gone.
///
/// # Errors
/// Those of the database.
pub fn gone(conn: &Connection) -> Result<Vec<PeerId>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id FROM contacts WHERE gone = 1")?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

impl Tx<'_> {
    /// Begins the counts of signals that have not begun, and ends those that are over at the agreed time `now` (Unix seconds).
    /// `true`: there may be more.
    pub(super) fn give_up_signals(&mut self, now: i64) -> Result<bool, StoreError> {
        self.conn
            .prepare_cached("UPDATE signals SET expires = ?1 - expires WHERE expires < 0")?
            .execute([now.max(0)])?;
        let due: Vec<(i64, PeerId, String)> = self
            .conn
            .prepare_cached(
                "SELECT id, contact, kind FROM signals WHERE expires BETWEEN 0 AND ?1 ORDER BY expires LIMIT ?2",
            )?
            .query_map(params![now, MAX_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for (id, contact, kind) in &due {
            if Kind::parse(kind) == Some(Kind::ContactRequest) {
                self.end_request(*contact, false)?;
            }
            self.conn.prepare_cached("DELETE FROM signals WHERE id = ?1")?.execute([id])?;
        }
        Ok(due.len() == MAX_AT_ONCE)
    }

    /// The directory of a contact knows no such account; `sure` when it said so before. Then a request ends, and so does what
    /// is owed to somebody who is there; messages wait on.
    ///
    /// # Errors
    /// Those of the database.
    pub fn account_gone(&mut self, contact: PeerId, path: &'static str, sure: bool) -> Result<(), StoreError> {
        self.attempt_failed(contact, path, ACCOUNT_GONE)?;
        if !sure {
            return Ok(());
        }
        self.conn.prepare_cached("UPDATE contacts SET gone = 1 WHERE id = ?1 AND gone = 0")?.execute([contact])?;
        self.end_request(contact, true)?;
        for kind in [Kind::ContactReject, Kind::ContactRemove] {
            self.drop_signals(contact, kind)?;
        }
        self.set_ack_due(contact, false)
    }

    /// Something was heard of a contact whose account was gone.
    ///
    /// # Errors
    /// Those of the database.
    pub fn account_found(&mut self, contact: PeerId) -> Result<(), StoreError> {
        self.conn.prepare_cached("UPDATE contacts SET gone = 0 WHERE id = ?1 AND gone = 1")?.execute([contact])?;
        Ok(())
    }

    fn end_request(&mut self, contact: PeerId, gone: bool) -> Result<(), StoreError> {
        let row = contacts::load(self.conn, contact)?;
        if matches!(row.state.relation, Relation::Apart { outgoing: Outgoing::Requested, .. }) {
            self.contact_wish(contact, Event::RequestEnds { gone }, "")?;
        }
        Ok(())
    }
}
