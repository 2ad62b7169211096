//! Cores of others: seen once, shown in the order of their sender, acknowledged as they lie on disk.
//!
//! A core whose predecessor is missing waits in `held` and is acknowledged as a range; it gets its place in history when
//! the hole is filled. The watermark of a stream is kept for ever, independently of history, so that a replay of anything
//! that was ever shown (or deleted) is recognised.

use proto::ids::{DeviceId, MessageId, sha256};
use proto::rpc::event::{Event, EventType};
use proto::rpc::types::{Format, Message, MessageState, Priority};
use proto::time::Timestamp;
use proto::wire::envelope::{AckEntry, Core};
use proto::wire::payload::{Kind, Text};
use rusqlite::{Connection, OptionalExtension, params};

use super::streams::{InStream, MAX_SEQ, StreamKey, decode_ranges, encode_ranges, fill_skipped};
use super::{StoreError, Tx, outbound};

/// Texts kept in memory for those who listen; a stream that was held back for long is read from the store instead.
const MAX_BUILT_BYTES: usize = 4 << 20;

/// What an envelope's chain cores did.
#[derive(Debug, Default)]
pub struct Received {
    /// The state of each touched stream after it, to be acknowledged after COMMIT.
    pub entries: Vec<AckEntry>,
    /// Messages newly shown.
    pub shown: usize,
    /// Cores that were there before.
    pub duplicates: usize,
    /// Consecutive cores whose hashes do not link: the sender is broken or lies.
    pub chain_broken: bool,
}

/// Messages that an operation shows, with their events if somebody listens.
#[derive(Default)]
struct Shown {
    ids: Vec<i64>,
    built: Vec<Event>,
    /// Bytes of the texts in `built`.
    bytes: usize,
}

impl Tx<'_> {
    /// Takes the chain cores of one verified envelope. `cores` are all of one device of this contact.
    ///
    /// # Errors
    /// Those of the database; then nothing of it is stored, and nothing may be acknowledged.
    pub fn receive(&mut self, contact: i64, cores: &[(&[u8], &Core<'_>)]) -> Result<Received, StoreError> {
        let mut result = Received::default();
        let mut shown = Shown::default();
        let mut current: Option<(StreamKey, InStream)> = None;
        for (bytes, core) in cores {
            if !(1..=MAX_SEQ).contains(&core.seq) {
                continue;
            }
            let key = StreamKey { device: core.from_device, conversation: core.conversation, epoch: core.epoch };
            let mut stream = match current.take() {
                Some((open, stream)) if open == key => stream,
                other => {
                    if let Some((key, stream)) = other {
                        self.close_stream(key, stream, &mut result)?;
                    }
                    self.in_stream(contact, &key)?
                }
            };
            if stream.has(core.seq) {
                result.duplicates += 1;
                current = Some((key, stream));
                continue;
            }
            if !fill_skipped(&mut stream, core) {
                current = Some((key, stream));
                continue;
            }
            self.release_held(contact, &mut stream, &mut shown, &mut result)?;
            if core.seq == stream.contiguous + 1 {
                result.chain_broken |= !stream.links(core);
                self.show(contact, &mut stream, core, &mut shown)?;
                stream.contiguous = core.seq;
                stream.prev = Some(sha256(&[bytes]));
                self.release_held(contact, &mut stream, &mut shown, &mut result)?;
            } else if stream.add_range(core.seq, core.seq) {
                self.conn
                    .prepare_cached("INSERT OR IGNORE INTO held (stream, seq, core) VALUES (?1, ?2, ?3)")?
                    .execute(params![stream.id, core.seq as i64, bytes])?;
            }
            current = Some((key, stream));
        }
        if let Some((key, stream)) = current {
            self.close_stream(key, stream, &mut result)?;
        }
        result.shown = shown.ids.len();
        if let Some(newest) = shown.ids.last() {
            self.stored_message(*newest);
            self.conn
                .prepare_cached("UPDATE conversations SET unread = unread + ?2 WHERE id = ?1")?
                .execute(params![contact, shown.ids.len() as i64])?;
        }
        let built = self.listeners.then_some(shown.built);
        self.event_received(contact, shown.ids, built);
        Ok(result)
    }

    fn in_stream(&mut self, contact: i64, key: &StreamKey) -> Result<InStream, StoreError> {
        if let Some(stream) = self.cache.inbound.get(key) {
            return Ok(stream.clone());
        }
        let found = self
            .conn
            .prepare_cached(
                "SELECT id, contiguous, prev, ranges FROM streams_in WHERE device = ?1 AND conversation = ?2 AND epoch = ?3",
            )?
            .query_row(params![key.device.as_bytes(), key.conversation.as_bytes(), key.epoch.as_bytes()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .optional()?;
        if let Some((id, contiguous, prev, ranges)) = found {
            return Ok(InStream {
                id,
                contiguous: contiguous as u64,
                prev: match prev.as_slice() {
                    [] => None,
                    bytes => Some(bytes.try_into().map_err(|_| StoreError::Damaged("prev"))?),
                },
                ranges: decode_ranges(&ranges),
            });
        }
        self.conn
            .prepare_cached(
                "INSERT INTO streams_in (device, conversation, epoch, contact, contiguous, prev, ranges)
                 VALUES (?1, ?2, ?3, ?4, 0, zeroblob(32), x'')",
            )?
            .execute(params![key.device.as_bytes(), key.conversation.as_bytes(), key.epoch.as_bytes(), contact])?;
        Ok(InStream { id: self.conn.last_insert_rowid(), contiguous: 0, prev: Some([0; 32]), ranges: Vec::new() })
    }

    fn close_stream(&mut self, key: StreamKey, stream: InStream, result: &mut Received) -> Result<(), StoreError> {
        let prev = stream.prev.as_ref().map_or(&[][..], |prev| &prev[..]);
        self.conn
            .prepare_cached("UPDATE streams_in SET contiguous = ?2, prev = ?3, ranges = ?4 WHERE id = ?1")?
            .execute(params![stream.id, stream.contiguous as i64, prev, encode_ranges(&stream.ranges)])?;
        let entry = stream.entry(&key);
        result.entries.retain(|e| (e.conversation, e.epoch) != (entry.conversation, entry.epoch));
        result.entries.push(entry);
        self.cache.inbound.insert(key, stream);
        Ok(())
    }

    /// Shows what waited for what is there now.
    fn release_held(
        &mut self,
        contact: i64,
        stream: &mut InStream,
        shown: &mut Shown,
        result: &mut Received,
    ) -> Result<(), StoreError> {
        while let Some((low, high)) = stream.ranges.first().copied() {
            if low != stream.contiguous + 1 {
                break;
            }
            stream.ranges.remove(0);
            // The numbers first: a range can hold more cores than should be in memory at a time, and a skipped one none.
            let held: Vec<i64> = self
                .conn
                .prepare_cached("SELECT seq FROM held WHERE stream = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq")?
                .query_map(params![stream.id, low as i64, high as i64], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for seq in held {
                let bytes: Vec<u8> = self
                    .conn
                    .prepare_cached("DELETE FROM held WHERE stream = ?1 AND seq = ?2 RETURNING core")?
                    .query_row(params![stream.id, seq], |row| row.get(0))?;
                let core = Core::decode(&bytes).map_err(|_| StoreError::Damaged("held core"))?;
                if core.seq != stream.contiguous + 1 {
                    stream.prev = None;
                }
                result.chain_broken |= !stream.links(&core);
                self.show(contact, stream, &core, shown)?;
                stream.prev = Some(sha256(&[&bytes]));
                stream.contiguous = core.seq;
            }
            if stream.contiguous < high {
                (stream.contiguous, stream.prev) = (high, None);
            }
        }
        Ok(())
    }

    /// Gives a core its place in history, if it is one that shows.
    fn show(
        &mut self,
        contact: i64,
        stream: &mut InStream,
        core: &Core<'_>,
        shown: &mut Shown,
    ) -> Result<(), StoreError> {
        let text = match Kind::parse(core.kind) {
            Some(Kind::Text) => match Text::decode(core.payload) {
                Ok(text) => text,
                // The chain goes on: what cannot be read is not shown, but it was there.
                Err(_) => return Ok(()),
            },
            _ => return Ok(()),
        };
        let (format, priority) = (format_of(text.format), priority_of(text.priority));
        let kept: Vec<&str> = text.tags.iter().copied().filter(|tag| !tag.contains('\n')).collect();
        let tags: String = kept.iter().flat_map(|tag| [*tag, "\n"]).collect();
        let inserted = self
            .conn
            .prepare_cached(
                "INSERT OR IGNORE INTO messages
                   (msgid, conversation, sender, stream, seq, sent_at, received_at, flags, tags, reply_to, body)
                 VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                core.id.as_bytes(),
                contact,
                stream.id,
                core.seq as i64,
                core.time,
                self.now.0,
                outbound::flags(priority, format, false),
                tags,
                text.reply_to.as_ref().map(|id| &id.0[..]),
                text.body,
            ])?;
        if inserted == 0 {
            return Ok(());
        }
        shown.ids.push(self.conn.last_insert_rowid());
        if self.listeners && shown.bytes <= MAX_BUILT_BYTES {
            shown.bytes += text.body.len();
            let (own, who) = (self.own()?, self.who(contact)?);
            let mut event = Event::new(0, EventType::MessageReceived, self.now, own.name.clone());
            event.who = Some(who.to_string());
            event.message = Some(Message {
                id: core.id,
                conversation: core.conversation,
                from: who.to_string(),
                to: own.name.clone(),
                body: text.body.to_owned(),
                format,
                tags: kept.into_iter().map(str::to_owned).collect(),
                priority,
                sent_at: Timestamp(core.time),
                received_at: Some(self.now),
                state: MessageState::Delivered,
                reason: None,
                reply_to: text.reply_to,
                late: false,
            });
            event.muted = self.muted(contact)?;
            shown.built.push(event);
        }
        Ok(())
    }

    fn muted(&self, contact: i64) -> Result<bool, StoreError> {
        let until: Option<i64> = self
            .conn
            .prepare_cached("SELECT muted_until FROM conversations WHERE id = ?1")?
            .query_row([contact], |row| row.get(0))?;
        Ok(until.is_some_and(|until| until > self.now.0))
    }

    /// Marks messages of a conversation as read up to one of them (or all), and queues a receipt. Answers how many were
    /// newly marked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such message in it.
    pub fn mark_read(&mut self, contact: i64, upto: Option<MessageId>) -> Result<u64, StoreError> {
        let row: Option<i64> = match upto {
            Some(id) => Some(
                self.conn
                    .prepare_cached(
                        "SELECT id FROM messages WHERE msgid = ?1 AND conversation = ?2 ORDER BY sender DESC LIMIT 1",
                    )?
                    .query_row(params![id.as_bytes(), contact], |row| row.get(0))
                    .optional()?
                    .ok_or(StoreError::NotFound("such a message in this conversation"))?,
            ),
            None => self
                .conn
                .prepare_cached("SELECT max(id) FROM messages WHERE conversation = ?1")?
                .query_row([contact], |row| row.get(0))?,
        };
        let Some(row) = row else { return Ok(0) };
        let before: i64 = self
            .conn
            .prepare_cached("SELECT read_upto FROM conversations WHERE id = ?1")?
            .query_row([contact], |row| row.get(0))?;
        if row <= before {
            return Ok(0);
        }
        let newly: i64 = self
            .conn
            .prepare_cached(
                "SELECT count(*) FROM messages WHERE conversation = ?1 AND id > ?2 AND id <= ?3 AND sender <> 0",
            )?
            .query_row(params![contact, before, row], |r| r.get(0))?;
        self.conn
            .prepare_cached("UPDATE conversations SET read_upto = ?2, unread = max(0, unread - ?3) WHERE id = ?1")?
            .execute(params![contact, row, newly])?;
        if newly > 0 && super::contacts::load(self.conn, contact)?.state.may_talk() {
            self.queue_receipt(contact, row)?;
        }
        Ok(newly as u64)
    }
}

pub(super) fn format_of(wire: u8) -> Format {
    if wire == 1 { Format::Markdown } else { Format::Plain }
}

pub(super) fn priority_of(wire: u8) -> Priority {
    match wire {
        0 => Priority::Low,
        2 => Priority::High,
        _ => Priority::Normal,
    }
}

/// What we have of a contact's streams: the content of a `resume`.
///
/// # Errors
/// Those of the database.
pub fn resume_entries(conn: &Connection, contact: i64, device: DeviceId) -> Result<Vec<AckEntry>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT device, conversation, epoch, contiguous, ranges FROM streams_in WHERE contact = ?1 AND device = ?2
         ORDER BY id DESC LIMIT 256",
    )?;
    let mut rows = select.query(params![contact, device.as_bytes()])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (d, c, e): (Vec<u8>, Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let key = super::tx::stream_key(&d, &c, &e).ok_or(StoreError::Damaged("stream key"))?;
        out.push(AckEntry {
            from_device: key.device,
            conversation: key.conversation,
            epoch: key.epoch,
            contiguous: row.get::<_, i64>(3)? as u64,
            ranges: decode_ranges(&row.get::<_, Vec<u8>>(4)?),
        });
    }
    Ok(out)
}
