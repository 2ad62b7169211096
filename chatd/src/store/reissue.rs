//! Writing what waits into a new own stream, under the old message ids.
//!
//! Invariants: whatever was in the outbox is in it afterwards, in its order, or was a skip; a message keeps its id, its
//! lifetime and its place in history; the new stream repeats everything above the first core of the old one that is not
//! acknowledged, so that its reader never has to wait for the old one.

use proto::ids::MessageId;
use proto::rpc::types::MessageState;
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Text};
use rusqlite::params;

use super::epochs::RECIPIENT_RESTORED;
use super::outbound::{self, OutStream, wire_priority};
use super::{StoreError, Tx, contacts, shown, trace};

/// An own message, and where it was in the old streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Placed {
    pub stream: i64,
    pub seq: i64,
    /// `messages.id`.
    pub message: i64,
}

/// Why a core goes into the new stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It is in the outbox; `message` is 0 if it belongs to none that is shown as waiting.
    Waits,
    /// It was acknowledged, but above something that was not: repeated for the order's sake. It waits again, for what holds
    /// for its place must hold for what is around it.
    Repeated,
    /// The contact had it and lost it.
    Lost,
}

impl Tx<'_> {
    /// Begins a new epoch with a contact and issues again what waits, and messages that the contact lost.
    pub(super) fn renew(&mut self, contact: i64, cause: &str, lost: &[Placed]) -> Result<(), StoreError> {
        let mut all: Vec<(Placed, Why)> = lost.iter().map(|placed| (*placed, Why::Lost)).collect();
        let waiting: Vec<Placed> = self
            .conn
            .prepare_cached(
                "SELECT o.stream, o.seq, o.message FROM streams_out s JOIN outbox o ON o.stream = s.id
                 WHERE s.conversation = ?1 ORDER BY o.stream, o.seq",
            )?
            .query_map([contact], |row| Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? }))?
            .collect::<Result<_, _>>()?;
        // What a contact lost is a hole in the old stream, too: it holds what it has above it.
        let mut first: Vec<Placed> = lost.iter().chain(&waiting).copied().collect();
        first.sort_unstable();
        all.extend(self.acknowledged_above(contact, &first)?.into_iter().map(|placed| (placed, Why::Repeated)));
        all.extend(waiting.into_iter().map(|placed| (placed, Why::Waits)));
        all.sort_unstable();
        let sent_upto = self.sent_upto(contact)?;
        let mut stream = self.new_epoch(contact)?;
        // What became queued again, for events and trace: (message, cause).
        let mut queued: Vec<(i64, &str)> = Vec::new();
        let mut runs: Vec<(u64, u64, &str)> = Vec::new();
        for (placed, why) in all {
            if !self.issue_again(contact, &mut stream, placed, why)? {
                continue;
            }
            let cause = if why == Why::Lost { RECIPIENT_RESTORED } else { cause };
            match runs.last_mut() {
                Some((_, high, of)) if *of == cause && *high + 1 == stream.seq => *high = stream.seq,
                _ => runs.push((stream.seq, stream.seq, cause)),
            }
            let was_sent = sent_upto.iter().any(|(of, high)| *of == placed.stream && placed.seq <= *high);
            if placed.message != 0 && (why != Why::Waits || was_sent) {
                queued.push((placed.message, cause));
            }
        }
        let newest = stream.id;
        self.keep_out_stream(contact, stream)?;
        for (low, high, cause) in runs {
            self.mark(newest, MessageState::Queued, (low, high), cause)?;
        }
        self.conn
            .prepare_cached(
                "DELETE FROM deposits WHERE stream IN (SELECT id FROM streams_out WHERE conversation = ?1 AND id < ?2)",
            )?
            .execute(params![contact, newest])?;
        for part in queued.chunk_by(|a, b| a.1 == b.1) {
            let messages = self.with_ids(part.iter().map(|(message, _)| *message))?;
            self.event_state(contact, MessageState::Queued, Some(part[0].1), messages)?;
        }
        self.wake_delivery(contact);
        Ok(())
    }

    /// Puts one core at the end of the new stream; `false` if it has no place there.
    fn issue_again(
        &mut self,
        contact: i64,
        stream: &mut OutStream,
        placed: Placed,
        why: Why,
    ) -> Result<bool, StoreError> {
        let own = self.own()?;
        let core = match why {
            Why::Waits => {
                let bytes: Vec<u8> = self
                    .conn
                    .prepare_cached("DELETE FROM outbox WHERE stream = ?1 AND seq = ?2 RETURNING core")?
                    .query_row(params![placed.stream, placed.seq], |row| row.get(0))?;
                let core = Core::decode(&bytes).map_err(|_| StoreError::Damaged("outbox core"))?;
                // It names numbers of the old stream: nobody waits for them in the new one.
                if Kind::parse(core.kind) == Some(Kind::Skip) {
                    return Ok(false);
                }
                stream.append(own.device, core)
            }
            Why::Repeated | Why::Lost => {
                self.unmark(placed.stream, (placed.seq as u64, placed.seq as u64))?;
                self.make_again(contact, stream, placed.message)?
            }
        };
        let message = placed.message;
        self.conn
            .prepare_cached("INSERT INTO outbox (stream, seq, message, core) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream.id, stream.seq as i64, message, core])?;
        if message != 0 {
            self.conn.prepare_cached("UPDATE messages SET stream = ?2, seq = ?3 WHERE id = ?1")?.execute(params![
                message,
                stream.id,
                stream.seq as i64
            ])?;
            self.conn
                .prepare_cached("UPDATE lifetimes SET stream = ?3, seq = ?4 WHERE stream = ?1 AND seq = ?2")?
                .execute(params![placed.stream, placed.seq, stream.id, stream.seq as i64])?;
        }
        Ok(true)
    }

    /// The core of an own message, made anew from what history has of it.
    fn make_again(&mut self, contact: i64, stream: &mut OutStream, message: i64) -> Result<Vec<u8>, StoreError> {
        let own = self.own()?;
        let to = contacts::load(self.conn, contact)?;
        let (id, flags, tags, reply_to, body, sent_at) = self
            .conn
            .prepare_cached("SELECT msgid, flags, tags, reply_to, body, sent_at FROM messages WHERE id = ?1")?
            .query_row([message], |row| {
                let (id, flags, tags): (Vec<u8>, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let (reply_to, body, sent_at): (Option<Vec<u8>>, String, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
                Ok((id, flags, tags, reply_to, body, sent_at))
            })?;
        let text = Text {
            body: &body,
            format: (flags >> 2 & 3) as u8,
            priority: wire_priority(shown::priority_of((flags & 3) as u8)),
            tags: tags.split_terminator('\n').collect(),
            reply_to: reply_to.and_then(|id| MessageId::from_slice(&id)),
        };
        let id = MessageId::from_slice(&id).ok_or(StoreError::Damaged("message id"))?;
        let payload = text.encode();
        Ok(stream.append(own.device, outbound::unplaced(&own, &to, id, sent_at, Kind::Text, &payload)))
    }

    /// Messages that were acknowledged above the first core of their stream that was not.
    fn acknowledged_above(&mut self, contact: i64, waiting: &[Placed]) -> Result<Vec<Placed>, StoreError> {
        // What waits is sorted; the messages above it in its stream came later into history too.
        let Some(first) = waiting.first() else { return Ok(Vec::new()) };
        let found: Vec<Placed> = self
            .conn
            .prepare_cached(
                "SELECT m.stream, m.seq, m.id FROM messages m
                 WHERE m.conversation = ?1 AND m.id > ?2 AND m.sender = 0
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.stream = m.stream AND o.seq = m.seq)",
            )?
            .query_map(params![contact, first.message], |row| {
                Ok(Placed { stream: row.get(0)?, seq: row.get(1)?, message: row.get(2)? })
            })?
            .collect::<Result<_, _>>()?;
        let mut out = Vec::new();
        for placed in found {
            let above = waiting.iter().find(|w| w.stream == placed.stream).is_some_and(|w| w.seq < placed.seq);
            if !above {
                continue;
            }
            let (state, _) = trace::state_at(self.conn, contact, placed.stream, placed.seq)?;
            if matches!(state, MessageState::Delivered | MessageState::Read) {
                out.push(placed);
            }
        }
        Ok(out)
    }

    /// Up to where each own stream of a contact was ever put on the way.
    fn sent_upto(&mut self, contact: i64) -> Result<Vec<(i64, i64)>, StoreError> {
        Ok(self
            .conn
            .prepare_cached(
                "SELECT a.stream, max(a.high) FROM streams_out s JOIN attempts a ON a.stream = s.id
                 WHERE s.conversation = ?1 AND (a.outcome = 'sent' OR a.outcome LIKE 'deposited%')
                 AND EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id) GROUP BY a.stream",
            )?
            .query_map([contact], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?)
    }
}
