//! Finding a message by the end of its id, or the last one: what people can read from a screen and type.
//!
//! The end, because ids are UUIDv7: those of one minute begin alike, and end at random.

use proto::ids::MessageId;
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::FoundMessage;
use crate::model::ids::{ConversationRow, PeerId};
use crate::store::account;
use crate::store::error::StoreError;
use crate::store::peers::{self, names::called_by_id};

/// Digits of an ending at least.
pub const MIN_DIGITS: usize = 8;
/// Candidates named at most.
pub const MAX_FOUND: usize = 10;
/// Characters of a text that are shown to tell it from others.
const TEXT_CHARS: i64 = 80;
/// Bytes of an id that the scan compares.
const TAIL_BYTES: usize = MIN_DIGITS / 2;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest.
    Last,
    /// Those whose id ends with these hexadecimal digits, in lower case and without dashes; [`MIN_DIGITS`] to 32.
    Ending(String),
}

impl Wanted {
    /// `last`, or an id or its ending with or without dashes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "last" {
            return Some(Self::Last);
        }
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        let fits = (MIN_DIGITS..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then_some(Self::Ending(digits))
    }
}

/// The messages that are meant, the newest first, [`MAX_FOUND`] at most; in one conversation, and only own ones or only
/// received ones, if so asked.
pub fn find(
    conn: &Connection,
    wanted: &Wanted,
    contact: Option<PeerId>,
    own: Option<bool>,
) -> Result<Vec<FoundMessage>, StoreError> {
    let rows = match wanted {
        Wanted::Last => last(conn, contact, own)?.into_iter().collect(),
        Wanted::Ending(digits) => ending(conn, digits)?,
    };
    let wanted_in = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
    let home = account::load(conn)?.origin;
    let name = account::load(conn)?.name;
    let mut found = Vec::new();
    let mut select = conn.prepare_cached(
        "SELECT msgid, conversation, sender, sent_at, received_at, substr(body, 1, ?2) FROM messages WHERE id = ?1",
    )?;
    for id in rows {
        let mut rows = select.query(params![id, TEXT_CHARS])?;
        let Some(row) = rows.next()? else { continue };
        let (conversation, is_own): (ConversationRow, bool) = (row.get(1)?, row.get::<_, i64>(2)? <= 0);
        if wanted_in.is_some_and(|wanted| wanted != conversation) || own.is_some_and(|own| own != is_own) {
            continue;
        }
        let who = peers::partner(conn, conversation)
            .and_then(|peer| called_by_id(conn, peer, &home))
            .map_or_else(|_| "?".to_owned(), |called| called.form().to_owned());
        found.push(FoundMessage {
            id: MessageId::from_slice(&row.get::<_, Vec<u8>>(0)?).ok_or(StoreError::Damaged("message id"))?,
            from: if is_own { name.clone() } else { who.clone() },
            who,
            at: Timestamp(row.get(if is_own { 3 } else { 4 })?),
            text: row.get(5)?,
        });
        if found.len() == MAX_FOUND {
            break;
        }
    }
    Ok(found)
}

fn last(conn: &Connection, contact: Option<PeerId>, own: Option<bool>) -> Result<Option<i64>, StoreError> {
    let sender = "(?2 IS NULL OR (sender <= 0) = ?2)";
    let sql = match contact {
        Some(_) => format!("SELECT id FROM messages WHERE conversation = ?1 AND {sender} ORDER BY id DESC LIMIT 1"),
        None => format!("SELECT id FROM messages WHERE ?1 IS NULL AND {sender} ORDER BY id DESC LIMIT 1"),
    };
    let direct = contact.map(|contact| peers::direct(conn, contact)).transpose()?;
    Ok(conn.prepare_cached(&sql)?.query_row(params![direct, own], |row| row.get(0)).optional()?)
}

/// Local numbers, the newest first. Only the index of ids is read: a hundredth of a second for 100,000 messages.
fn ending(conn: &Connection, digits: &str) -> Result<Vec<i64>, StoreError> {
    // A whole id needs no scan.
    if digits.len() == 32 {
        let whole: Vec<u8> =
            (0..16).filter_map(|n| u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()).collect();
        let row = conn.prepare_cached("SELECT id FROM messages WHERE msgid = ?1")?;
        return Ok({ row }.query_row([whole], |row| row.get(0)).optional()?.into_iter().collect());
    }
    let nibble = |at: usize| digits.get(at..=at).and_then(|digit| u8::from_str_radix(digit, 16).ok()).unwrap_or(0);
    let begin = digits.len() - MIN_DIGITS;
    let tail: Vec<u8> = (0..TAIL_BYTES).map(|n| nibble(begin + 2 * n) << 4 | nibble(begin + 2 * n + 1)).collect();
    let mut select = conn.prepare_cached(
        "SELECT id, lower(hex(msgid)) FROM messages INDEXED BY messages_by_msgid WHERE substr(msgid, ?1) = ?2
         ORDER BY id DESC",
    )?;
    let rows =
        select.query_map(params![-(TAIL_BYTES as i64), tail], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (id, hex) = row?;
        if hex.ends_with(digits) {
            found.push(id);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::log::outgoing::{self, NewMessage};
    use crate::store::tests::fixture::{Person, message};

    #[test]
    fn what_people_type() {
        let ending = |digits: &str| Some(Wanted::Ending(digits.into()));
        let table = [
            ("last", Some(Wanted::Last)),
            ("A1B2C3D4", ending("a1b2c3d4")),
            ("8000-0000000000ab", ending("80000000000000ab")),
            ("01977e5c-0000-7000-8000-0000000000ab", ending("01977e5c0000700080000000000000ab")),
            ("a1b2c3d", None),
            ("a1b2c3dx", None),
            ("001977e5c-0000-7000-8000-0000000000ab", None),
            ("", None),
            ("Last", None),
        ];
        for (text, wanted) in table {
            assert_eq!(Wanted::parse(text), wanted, "{text}");
        }
    }

    #[test]
    fn by_their_ends_and_the_last_one() {
        let (alice, bob, carol) = (Person::new("alice"), Person::new("bob"), Person::new("carol"));
        alice.befriend(&bob);
        alice.befriend(&carol);
        let id = |first: u8| {
            let mut id = [0xab; 16];
            id[0] = first;
            MessageId(id)
        };
        let send = |to: &Person, id: MessageId, text: &str| {
            let (to, new) = (alice.id(to), NewMessage { id, ..message(text) });
            alice.write(move |tx| outgoing::send(tx, to, &[new])).unwrap();
        };
        send(&bob, id(1), "first");
        send(&bob, id(2), "second");
        send(&carol, MessageId([0xcd; 16]), "to carol");
        let texts = |wanted: &str, contact: Option<PeerId>, own: Option<bool>| -> Vec<String> {
            let wanted = Wanted::parse(wanted).unwrap();
            let found = alice.read(|conn| find(conn, &wanted, contact, own));
            found.into_iter().map(|message| message.text).collect()
        };
        assert_eq!(texts("cdcdcdcd", None, None), ["to carol"]);
        assert_eq!(texts("abababab", None, None), ["second", "first"], "ambiguous");
        assert_eq!(texts("01ababababababababababababababab", None, None), ["first"]);
        assert_eq!(texts("dabababab", None, None), [""; 0], "an odd number of digits, and no such end");
        assert_eq!(texts("babababab", None, None).len(), 2);
        assert_eq!(texts("abababab", Some(alice.id(&carol)), None), [""; 0], "of another conversation");
        assert_eq!(texts("last", None, None), ["to carol"]);
        assert_eq!(texts("last", Some(alice.id(&bob)), Some(true)), ["second"]);
        assert_eq!(texts("last", Some(alice.id(&bob)), Some(false)), [""; 0], "bob wrote nothing");
    }
}
