//! What of the outbox lies in a recipient's mailbox, until when, and what became of it there.
//!
//! A deposit ends nothing: the core stays in the outbox until the recipient's own acknowledgement. It only says what need
//! not be put into the mailbox again for a while.

use proto::ids::{DeviceId, MessageId};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::envelope::AckEntry;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::model::{MessageState, Outcome};
use crate::store::delivery::attempts::{self, AttemptNote};
use crate::store::delivery::{marks, owed};
use crate::store::engine::numbers;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;

/// What `trace` says when a directory turns out to be older than it was.
const WENT_BACK: Reason = Reason::MailboxRestored;

/// An envelope that a mailbox has taken.
#[derive(Debug, Clone)]
pub struct Deposit {
    /// `streams_out.id`.
    pub stream: OutStreamRow,
    /// For which of the recipient's devices.
    pub device: DeviceId,
    /// First seq.
    pub low: u64,
    /// Last seq.
    pub high: u64,
    /// The mailbox's URL.
    pub mailbox: String,
    /// The contact's token, which was shown.
    pub token: [u8; 32],
    /// What the mailbox counts for this token.
    pub number: u64,
    /// The highest number that was known for it before the envelope went out.
    pub floor: u64,
    /// When it was put there, by the clock that [`crate::store::delivery::deposits::end_deposits`] is given.
    pub at: Timestamp,
    /// For how many seconds it is kept.
    pub seconds: u64,
}

impl Deposit {
    fn until(&self) -> i64 {
        let seconds = i64::try_from(self.seconds).unwrap_or(i64::MAX);
        self.at.0.saturating_add(seconds.saturating_mul(1_000))
    }
}

/// An envelope for a contact lies in its mailbox. A number that is not above what was known before for this token says that
/// the directory was restored from a backup: what was put there for this contact since is lost, and is put there again. Of
/// others' mailboxes their own numbers tell: a contact that plays with its token must not move anybody else's mail.
pub fn deposited(tx: &mut Tx<'_>, contact: PeerId, deposit: &Deposit) -> Result<(), StoreError> {
    let (stream, low, high) = (deposit.stream, deposit.low as i64, deposit.high as i64);
    tx.conn
        .prepare_cached("DELETE FROM deposits WHERE stream = ?1 AND device = ?4 AND high >= ?2 AND low <= ?3")?
        .execute(params![stream, low, high, deposit.device.as_bytes()])?;
    mailbox_counts(tx, contact, deposit)?;
    attempts::note_attempt(
        tx,
        &AttemptNote {
            stream,
            low: deposit.low,
            high: deposit.high,
            path: "mailbox",
            outcome: Outcome::Deposited,
            at: tx.now,
        },
    )?;
    let waits = tx
        .conn
        .prepare_cached("SELECT 1 FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 LIMIT 1")?
        .exists(params![stream, low, high])?;
    if !waits {
        // The acknowledgement was faster than the mailbox's answer.
        return Ok(());
    }
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO deposits (stream, device, high, low, at, until, mailbox, number)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            stream,
            deposit.device.as_bytes(),
            high,
            low,
            deposit.at.0,
            deposit.until(),
            deposit.mailbox,
            deposit.number as i64
        ])?;
    let marked: i64 = tx
        .conn
        .prepare_cached("SELECT coalesce(max(high), 0) FROM marks WHERE stream = ?1 AND state = ?2")?
        .query_row(params![stream, numbers::state_number(MessageState::Mailboxed)], |row| row.get(0))?;
    if marked >= high {
        return Ok(());
    }
    let first = low.max(marked + 1);
    marks::mark(tx, stream, MessageState::Mailboxed, (first as u64, deposit.high), "in the recipient's mailbox")?;
    let rows: Vec<i64> = tx
        .conn
        .prepare_cached("SELECT message FROM outbox WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq")?
        .query_map(params![stream, first, high], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let messages = marks::with_ids(tx, rows.into_iter())?;
    marks::tell(tx, contact, MessageState::Mailboxed, None, messages)
}

fn mailbox_counts(tx: &mut Tx<'_>, contact: PeerId, deposit: &Deposit) -> Result<(), StoreError> {
    let Deposit { mailbox: url, token, number, floor, .. } = deposit;
    let went_back = number <= floor;
    if went_back {
        tracing::warn!(
            mailbox = url,
            "the directory was restored from a backup: what is lost there is put there again"
        );
        let condition =
            "mailbox = ?1 AND number >= ?2 AND stream IN (SELECT id FROM streams_out WHERE conversation = ?3)";
        let lost = forget_where(tx, condition, params![url, *number as i64, peers::direct(tx.conn, contact)?])?;
        say_lost(tx, lost, WENT_BACK)?;
        tx.conn.execute("UPDATE signals SET deposited_until = 0 WHERE contact = ?1", [contact])?;
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO mailboxes (url, contact, token, highest) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (url, contact) DO UPDATE SET token = excluded.token,
                 highest = iif(?5 OR token <> excluded.token, excluded.highest, max(highest, excluded.highest))",
        )?
        .execute(params![url, contact, token, *number as i64, went_back])?;
    Ok(())
}

/// A directory went back in time: whatever was deposited there may be gone. To be called after new epochs were begun for
/// the same reason, which move what waits.
pub fn mailbox_went_back(tx: &mut Tx<'_>, url: &str, contacts: &[PeerId]) -> Result<(), StoreError> {
    let lost = forget_where(tx, "mailbox = ?1", params![url])?;
    say_lost(tx, lost, WENT_BACK)?;
    tx.conn.execute("UPDATE signals SET deposited_until = 0 WHERE deposited_until > 0", [])?;
    // It counts anew from where it was.
    tx.conn.execute("DELETE FROM mailboxes WHERE url = ?1", [url])?;
    for contact in contacts {
        attempts::attempt_failed(tx, *contact, "mailbox", Outcome::failed(WENT_BACK))?;
        tx.wake_delivery(*contact);
    }
    Ok(())
}

/// Contacts for whom something lies in a mailbox.
pub fn deposited_at(tx: &Tx<'_>, url: &str) -> Result<Vec<PeerId>, StoreError> {
    let mut select = tx.conn.prepare_cached(
        "SELECT DISTINCT c.peer FROM deposits d JOIN streams_out s ON s.id = d.stream
         JOIN contacts c ON c.conversation = s.conversation WHERE d.mailbox = ?1",
    )?;
    Ok(select.query_map([url], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Deposits whose time in the mailbox is over at `now` (Unix ms, by the clock that [`Deposit::at`] was told by) without
/// an acknowledgement count no longer; nor do those from the future, which a clock made that has gone back since.
pub fn end_deposits(tx: &mut Tx<'_>, now: i64) -> Result<(), StoreError> {
    let ended = forget_where(tx, "until <= ?1 OR at > ?1", params![now])?;
    say_lost(tx, ended, Reason::MailboxTimeOver)?;
    let signals: Vec<PeerId> = tx
        .conn
        .prepare_cached(
            "UPDATE signals SET deposited_until = 0 WHERE deposited_until > 0 AND deposited_until <= ?1
             RETURNING contact",
        )?
        .query_map([now], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    signals.into_iter().for_each(|contact| tx.wake_delivery(contact));
    Ok(())
}

/// The stream, low and high of each deposit that was forgotten.
fn forget_where(
    tx: &mut Tx<'_>,
    condition: &str,
    with: &[&dyn rusqlite::ToSql],
) -> Result<Vec<(OutStreamRow, i64, i64)>, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(&format!("DELETE FROM deposits WHERE {condition} RETURNING stream, low, high"))?
        .query_map(with, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?)
}

fn say_lost(tx: &mut Tx<'_>, lost: Vec<(OutStreamRow, i64, i64)>, reason: Reason) -> Result<(), StoreError> {
    for (stream, low, high) in lost {
        let (low, high, at) = (low as u64, high as u64, tx.now);
        let outcome = Outcome::failed(reason);
        attempts::note_attempt(tx, &AttemptNote { stream, low, high, path: "mailbox", outcome, at })?;
        let contact: Option<PeerId> = tx
            .conn
            .prepare_cached(
                "SELECT c.peer FROM streams_out s JOIN contacts c ON c.conversation = s.conversation WHERE s.id = ?1",
            )?
            .query_row([stream], |row| row.get(0))
            .optional()?;
        if let Some(contact) = contact {
            tx.wake_delivery(contact);
        }
    }
    Ok(())
}

/// What a contact's acknowledgement says of the mailbox: what it covers is done with, and what it leaves out between
/// seqs that arrived was lost on its way there.
pub(in crate::store) fn acknowledged_deposits(
    tx: &mut Tx<'_>,
    from: PeerDevice,
    stream: OutStreamRow,
    entry: &AckEntry,
) -> Result<(), StoreError> {
    // Where it is one device alone, what lies there for the one before it is of no use to anybody.
    let alone = owed::of_stream(tx.conn, stream)?.is_empty();
    let device = from.device.as_bytes();
    let contiguous = i64::try_from(entry.contiguous).unwrap_or(i64::MAX);
    tx.conn
        .prepare_cached("DELETE FROM deposits WHERE stream = ?1 AND high <= ?2 AND (?3 OR device = ?4)")?
        .execute(params![stream, contiguous, alone, device])?;
    let Some((_, top)) = entry.ranges.last() else { return Ok(()) };
    let top = i64::try_from(*top).unwrap_or(i64::MAX);
    // Bundled with something that arrived, it would have arrived as well: the envelope itself is not there.
    let holes = tx
        .conn
        .prepare_cached("DELETE FROM deposits WHERE stream = ?1 AND high > ?2 AND high < ?3 AND (?4 OR device = ?5)")?
        .execute(params![stream, contiguous, top, alone, device])?;
    if holes > 0 {
        tx.wake_delivery(from.peer);
    }
    Ok(())
}

/// Signals lie in a contact's mailbox until then (Unix ms).
pub fn signals_deposited(tx: &mut Tx<'_>, contact: PeerId, ids: &[MessageId], until: i64) -> Result<(), StoreError> {
    let mut update =
        tx.conn.prepare_cached("UPDATE signals SET deposited_until = ?3 WHERE contact = ?1 AND msgid = ?2")?;
    for id in ids {
        update.execute(params![contact, id.as_bytes(), until])?;
    }
    Ok(())
}

/// The highest number that a mailbox has counted for a contact's token.
pub fn highest_of(conn: &Connection, url: &str, contact: PeerId, token: &[u8; 32]) -> Result<u64, StoreError> {
    let highest: Option<i64> = conn
        .prepare_cached("SELECT highest FROM mailboxes WHERE url = ?1 AND contact = ?2 AND token = ?3")?
        .query_row(params![url, contact, token], |row| row.get(0))
        .optional()?;
    Ok(highest.unwrap_or(0) as u64)
}

/// Whether a seq of an own stream lies in a mailbox.
pub(in crate::store) fn lies_there(conn: &Connection, stream: OutStreamRow, seq: i64) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM deposits WHERE stream = ?1 AND high >= ?2 AND low <= ?2 LIMIT 1")?
        .exists(params![stream, seq])?)
}
