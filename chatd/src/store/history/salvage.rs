//! Reading a damaged store: message by message, past the pages that cannot be read.
//!
//! The job: history and search over what is intact, with a count of what is not. Rows are looked up by number one at a time,
//! never through an index, so that damage costs what stands in the damaged pages and nothing else.
//!
//! Not the job: being fast. A healthy store is read by `history` and `search`.

use proto::ids::MessageId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::Message;
use crate::model::ids::{ConversationRow, PeerId};
use crate::store::error::StoreError;
use crate::store::history::search::words;
use crate::store::history::{self, Names};
use crate::store::peers;

/// Messages that are tokenised in one go: bounds memory.
const CHUNK: i64 = 2_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// A page of history, oldest first; hits of a search, newest first.
    pub messages: Vec<Message>,
    /// More exist beyond the limit.
    pub more: bool,
    /// Numbers of messages that could not be read: of this conversation or of another.
    pub missing: u64,
}

/// A row, as far as it can be known.
enum Row {
    There { conversation: ConversationRow, body: String },
    None,
    Unreadable,
}

/// Remembers what is wrong; anything but damage is an error.
fn spared<T>(result: Result<T, StoreError>, spare: T) -> Result<T, StoreError> {
    match result {
        Err(error) if error.is_damage() || matches!(error, StoreError::Damaged(_)) => Ok(spare),
        other => other,
    }
}

fn row(conn: &Connection, id: i64) -> Result<Row, StoreError> {
    let read = || -> Result<Row, StoreError> {
        let mut select = conn.prepare_cached("SELECT conversation, body FROM messages WHERE id = ?1")?;
        let found =
            select.query_row([id], |row| Ok(Row::There { conversation: row.get(0)?, body: row.get(1)? })).optional();
        Ok(found?.unwrap_or(Row::None))
    };
    spared(read(), Row::Unreadable)
}

fn message(conn: &Connection, id: i64, names: &Names) -> Result<Option<Message>, StoreError> {
    let read = history::by_rows(conn, &[id], names).map(|rows| rows.into_iter().next().map(|(_, message)| message));
    spared(read, None)
}

/// Local number of a message in a conversation.
fn number(conn: &Connection, contact: Option<PeerId>, wanted: &MessageId) -> Result<i64, StoreError> {
    match history::row_of(conn, contact, wanted) {
        Err(error) if error.is_damage() => {}
        found => return found,
    }
    let direct = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
    // The index is damaged: one after the other.
    for id in (1..=newest(conn)?).rev() {
        let read = || -> Result<bool, StoreError> {
            let mut select = conn.prepare_cached("SELECT msgid, conversation FROM messages WHERE id = ?1")?;
            let found = select
                .query_row([id], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, ConversationRow>(1)?)))
                .optional()?;
            Ok(found.is_some_and(|(msgid, whose)| {
                msgid == wanted.as_bytes() && direct.is_none_or(|direct| whose == direct)
            }))
        };
        if spared(read(), false)? {
            return Ok(id);
        }
    }
    Err(StoreError::NotFound("such a message in this conversation"))
}

/// The newest number that was given out.
fn newest(conn: &Connection) -> Result<i64, StoreError> {
    let one = |sql: &str| -> Result<i64, StoreError> { Ok(conn.query_row(sql, [], |row| row.get(0))?) };
    let counted = spared(one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"), 0)?;
    Ok(spared(one("SELECT coalesce(max(id), 0) FROM messages"), 0)?.max(counted))
}

fn names(conn: &Connection) -> Result<Names, StoreError> {
    Ok(spared(Names::load(conn), Names::default())?.sparing())
}

/// A page of a conversation, as `history::page` gives it.
///
/// # Errors
/// As all of the store, but for damage; [`StoreError::NotFound`] if `before` or `after` is not there.
pub fn page(
    conn: &Connection,
    contact: PeerId,
    limit: usize,
    before: Option<MessageId>,
    after: Option<MessageId>,
    tag: Option<&str>,
) -> Result<Salvaged, StoreError> {
    let find = |id: Option<MessageId>| id.map(|id| number(conn, Some(contact), &id)).transpose();
    let (before, after) = (find(before)?, find(after)?);
    let (names, direct) = (names(conn)?, peers::direct(conn, contact)?);
    let forward = after.is_some() && before.is_none();
    let (low, high) = (after.unwrap_or(0) + 1, before.map_or(newest(conn)?, |before| before - 1));
    let (mut out, mut bytes) = (Salvaged::default(), 0);
    for step in 0..(high - low + 1).max(0) {
        let id = if forward { low + step } else { high - step };
        match row(conn, id)? {
            Row::There { conversation, .. } if conversation == direct => match message(conn, id, &names)? {
                Some(message) if tag.is_none_or(|tag| message.tags.iter().any(|own| own == tag)) => {
                    bytes += message.body.len();
                    if history::is_full(out.messages.len(), limit, bytes) {
                        out.more = true;
                        break;
                    }
                    out.messages.push(message);
                }
                Some(_) => {}
                None => out.missing += 1,
            },
            Row::There { .. } | Row::None => {}
            Row::Unreadable => out.missing += 1,
        }
    }
    if !forward {
        out.messages.reverse();
    }
    Ok(out)
}

/// The newest messages that contain all of the words, as `Search::query` finds them.
///
/// # Errors
/// A query without words, but for damage; [`StoreError::NotFound`] if `before` is not there.
pub fn search(
    conn: &Connection,
    query: &str,
    contact: Option<PeerId>,
    limit: usize,
    before: Option<MessageId>,
) -> Result<Salvaged, StoreError> {
    let expression = words::expression(query, contact.map(|contact| peers::direct(conn, contact)).transpose()?)?;
    let names = names(conn)?;
    let (mut out, mut bytes) = (Salvaged::default(), 0);
    let before = before.map(|id| number(conn, contact, &id)).transpose()?;
    let memory = Connection::open_in_memory()?;
    memory.execute_batch(&format!("CREATE VIRTUAL TABLE words USING fts5({})", words::FTS5_ARGUMENTS))?;
    let mut text = String::new();
    let mut high = before.map_or(newest(conn)?, |before| before - 1);
    while high > 0 && !out.more {
        let low = (high - CHUNK).max(0);
        let mut insert = memory.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)")?;
        for id in low + 1..=high {
            match row(conn, id)? {
                Row::There { conversation, body } => {
                    words::document(&mut text, conversation, &body);
                    insert.execute(params![id, text])?;
                }
                Row::None => {}
                Row::Unreadable => out.missing += 1,
            }
        }
        let mut select = memory.prepare_cached("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC")?;
        let hits: Vec<i64> = select.query_map([&expression], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for id in hits {
            match message(conn, id, &names)? {
                Some(message) => {
                    bytes += message.body.len();
                    if history::is_full(out.messages.len(), limit, bytes) {
                        out.more = true;
                        break;
                    }
                    out.messages.push(message);
                }
                None => out.missing += 1,
            }
        }
        memory.execute_batch("INSERT INTO words(words) VALUES ('delete-all')")?;
        high = low;
    }
    Ok(out)
}
