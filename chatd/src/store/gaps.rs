//! Holes in the streams of others: what comes after one is held back for a while, then shown after a `message.gap` event.
//!
//! Not its job: to ask for what is missing (`service::gaps` has the timer, delivery the link).
//!
//! Invariants: a hole that is given up is told, with the number of what is missing, before anything above it is shown;
//! it stays unacknowledged, so that its sender keeps what it has of it.

use proto::ids::sha256;
use proto::time::Timestamp;
use proto::wire::envelope::Core;
use rusqlite::{Connection, OptionalExtension, params};

use super::inbound::{CHAIN_BROKEN, Received};
use super::shown::{Place, Shown};
use super::streams::InStream;
use super::{StoreError, Tx};

/// A core is held so long for its predecessor once the mailbox was drained.
pub const HOLD_MS: i64 = 60_000;
/// And so long when the mailbox cannot be drained: what is missing may lie there, but nobody should wait for a day.
pub const HOLD_UNDRAINED_MS: i64 = 3_600_000;

/// A contact with a hole before something that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Whose.
    pub contact: i64,
    /// Since when (the oldest, if there are several).
    pub since: Timestamp,
}

/// Who has holes now.
///
/// # Errors
/// Those of the database.
pub fn holes(conn: &Connection) -> Result<Vec<Hole>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT s.contact, min(h.at) FROM held h JOIN streams_in s ON s.id = h.stream GROUP BY s.contact",
    )?;
    Ok(select
        .query_map([], |row| Ok(Hole { contact: row.get(0)?, since: Timestamp(row.get(1)?) }))?
        .collect::<Result<_, _>>()?)
}

/// Whether something of a contact is held because of a hole before it.
///
/// # Errors
/// Those of the database.
pub fn has_hole(conn: &Connection, contact: i64) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM streams_in s WHERE s.contact = ?1 AND EXISTS (SELECT 1 FROM held h WHERE h.stream = s.id)",
        )?
        .exists([contact])?)
}

impl Tx<'_> {
    /// Keeps a core until its predecessor comes.
    pub(super) fn hold(&mut self, stream: &InStream, seq: u64, core: &[u8]) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("INSERT OR IGNORE INTO held (stream, seq, core, at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream.id, seq as i64, core, self.now.0])?;
        Ok(())
    }

    /// Shows what waited for what is there now; whether something of it does not link.
    pub(super) fn release_held(
        &mut self,
        contact: i64,
        stream: &mut InStream,
        shown: &mut Shown,
    ) -> Result<bool, StoreError> {
        self.release(contact, stream, 0, shown)
    }

    /// The first that is shown has `missing` before it.
    fn release(
        &mut self,
        contact: i64,
        stream: &mut InStream,
        mut missing: u64,
        shown: &mut Shown,
    ) -> Result<bool, StoreError> {
        let mut broken = false;
        while let Some(high) = stream.ready() {
            // The numbers first: a range can hold more cores than should be in memory at a time, and a skipped one none.
            let held: Vec<i64> = self
                .conn
                .prepare_cached("SELECT seq FROM held WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq")?
                .query_map(params![stream.id, (stream.shown + 1) as i64, high as i64], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for seq in held {
                let bytes: Vec<u8> = self
                    .conn
                    .prepare_cached("DELETE FROM held WHERE stream = ?1 AND seq = ?2 RETURNING core")?
                    .query_row(params![stream.id, seq], |row| row.get(0))?;
                let core = Core::decode(&bytes).map_err(|_| StoreError::Damaged("held core"))?;
                if core.seq != stream.shown + 1 {
                    stream.prev = None;
                }
                broken |= !stream.links(&core);
                let before = shown.ids.len();
                self.show(contact, stream, &core, Place { late: false, missing }, shown)?;
                if shown.ids.len() > before {
                    missing = 0;
                }
                (stream.shown, stream.prev) = (core.seq, Some(sha256(&[&bytes])));
            }
            if stream.shown < high {
                (stream.shown, stream.prev) = (high, None);
            }
        }
        Ok(broken)
    }

    /// Gives up the holes whose time is over: tells of each, and shows what was held back by it. `drained` says that
    /// nothing lies in the account's mailbox. Answers when to look again; `None`: nothing is held.
    ///
    /// # Errors
    /// Those of the database; then no hole was given up.
    pub fn give_up_gaps(&mut self, now: Timestamp, drained: bool) -> Result<Option<Timestamp>, StoreError> {
        let wait = if drained { HOLD_MS } else { HOLD_UNDRAINED_MS };
        // A clock that was set back must not make anybody wait for it to come round again.
        self.conn.prepare_cached("UPDATE held SET at = ?1 WHERE at > ?1")?.execute([now.0])?;
        type Row = (i64, Vec<u8>, Vec<u8>, Vec<u8>);
        let streams: Vec<Row> = self
            .conn
            .prepare_cached(
                "SELECT s.contact, s.device, s.conversation, s.epoch FROM streams_in s
                 WHERE s.id IN (SELECT DISTINCT stream FROM held) ORDER BY s.id",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<Result<_, _>>()?;
        let mut again: Option<Timestamp> = None;
        for (contact, device, conversation, epoch) in streams {
            let key = super::tx::stream_key(&device, &conversation, &epoch).ok_or(StoreError::Damaged("stream key"))?;
            let mut stream = self.in_stream(contact, &key)?;
            let mut changed = false;
            while let Some((seq, since)) = self.first_held(&stream)? {
                let due = since.saturating_add(wait);
                if due > now.0 {
                    let due = Timestamp(due);
                    again = Some(again.map_or(due, |at| at.min(due)));
                    break;
                }
                self.give_up(contact, &mut stream, seq)?;
                changed = true;
            }
            if changed {
                self.close_stream(key, stream, &mut Received::default())?;
            }
        }
        Ok(again)
    }

    /// The first core that is held, and since when the oldest of its run is.
    fn first_held(&mut self, stream: &InStream) -> Result<Option<(u64, i64)>, StoreError> {
        let first: Option<i64> = self
            .conn
            .prepare_cached("SELECT seq FROM held WHERE stream = ?1 ORDER BY seq LIMIT 1")?
            .query_row([stream.id], |row| row.get(0))
            .optional()?;
        let Some(first) = first else { return Ok(None) };
        let run = stream.ranges.iter().find(|(low, high)| (*low..=*high).contains(&(first as u64)));
        let high = run.map_or(first, |(_, high)| *high as i64);
        let since: i64 = self
            .conn
            .prepare_cached("SELECT min(at) FROM held WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3")?
            .query_row(params![stream.id, first, high], |row| row.get(0))?;
        Ok(Some((first as u64, since)))
    }

    /// Gives up what is missing before a held core, and shows what follows up to the next hole.
    fn give_up(&mut self, contact: i64, stream: &mut InStream, seq: u64) -> Result<(), StoreError> {
        let missing = stream.missing_below(seq);
        (stream.shown, stream.prev, stream.given_up) = (seq - 1, None, self.now.0);
        let mut shown = Shown::default();
        let broken = self.release(contact, stream, missing, &mut shown)?;
        // Everything that was held came another way meanwhile (its sender began a new epoch): nothing is missing.
        if missing > 0 && (shown.known == 0 || !shown.ids.is_empty()) {
            tracing::warn!(often = "missing", contact, missing, "messages are missing; what follows them is shown");
            self.event_gap(contact, missing, None);
        }
        self.tell_shown(contact, shown)?;
        if broken {
            self.event_gap(contact, 0, Some(CHAIN_BROKEN));
        }
        Ok(())
    }
}
