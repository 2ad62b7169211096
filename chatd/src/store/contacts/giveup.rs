//! Giving up: what nobody answers ends, and what is addressed to an account that is gone is not looked after as if it were there.
//!
//! Messages to contacts are their owner's, and end by their lifetime only (`crate::store::log::expiry`).

use proto::reason::Reason;
use proto::wire::payload::Kind;
use rusqlite::{Connection, params};

use crate::model::Outcome;
use crate::model::ids::PeerId;
use crate::policy::contact::{Event, Outgoing, Relation};
use crate::store::contacts::requests;
use crate::store::delivery::{attempts, control};
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::log::{expiry, told};
use crate::store::peers;

/// Signals that are given up in one transaction at most.
const MAX_AT_ONCE: usize = 256;

/// Contacts whose account is gone.
pub fn gone(conn: &Connection) -> Result<Vec<PeerId>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id FROM peers WHERE gone = 1")?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Ends what is over at the agreed time `now` (Unix seconds): messages with a lifetime, and signals. `true`: there may be
/// more.
pub fn expire_due(tx: &mut Tx<'_>, now: i64) -> Result<bool, StoreError> {
    let messages = expiry::expire_messages(tx, now)?;
    Ok(give_up_signals(tx, now)? || messages)
}

/// Begins the counts of signals that have not begun, and ends those that are over at the agreed time `now` (Unix seconds).
/// `true`: there may be more.
fn give_up_signals(tx: &mut Tx<'_>, now: i64) -> Result<bool, StoreError> {
    tx.conn.prepare_cached("UPDATE signals SET expires = ?1 - expires WHERE expires < 0")?.execute([now.max(0)])?;
    let due: Vec<(i64, PeerId, String)> = tx
        .conn
        .prepare_cached(
            "SELECT id, contact, kind FROM signals WHERE expires BETWEEN 0 AND ?1 ORDER BY expires LIMIT ?2",
        )?
        .query_map(params![now, MAX_AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (id, contact, kind) in &due {
        if Kind::parse(kind) == Some(Kind::ContactRequest) {
            end_request(tx, *contact, false)?;
        }
        tx.conn.prepare_cached("DELETE FROM signals WHERE id = ?1")?.execute([id])?;
    }
    Ok(due.len() == MAX_AT_ONCE)
}

/// The directory of a contact knows no such account; `sure` when it said so before. Then a request ends, and so does what
/// is owed to somebody who is there; messages wait on.
pub fn account_gone(tx: &mut Tx<'_>, contact: PeerId, path: &'static str, sure: bool) -> Result<(), StoreError> {
    attempts::attempt_failed(tx, contact, path, Outcome::failed(Reason::AccountGone))?;
    if !sure {
        return Ok(());
    }
    tx.conn.prepare_cached("UPDATE peers SET gone = 1 WHERE id = ?1 AND gone = 0")?.execute([contact])?;
    end_request(tx, contact, true)?;
    for kind in [Kind::ContactReject, Kind::ContactRemove] {
        control::drop_signals(tx, contact, kind)?;
    }
    told::set_ack_due(tx, contact, false)
}

/// Something was heard of a contact whose account was gone.
pub fn account_found(tx: &mut Tx<'_>, contact: PeerId) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE peers SET gone = 0 WHERE id = ?1 AND gone = 1")?.execute([contact])?;
    Ok(())
}

fn end_request(tx: &mut Tx<'_>, contact: PeerId, gone: bool) -> Result<(), StoreError> {
    let row = peers::load(tx.conn, contact)?;
    if matches!(row.state.relation, Relation::Apart { outgoing: Outgoing::Requested, .. }) {
        requests::apply_user_event(tx, contact, Event::RequestEnds { gone }, "")?;
    }
    Ok(())
}
