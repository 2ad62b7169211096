//! What entries are hashed by, and how they are pushed.
//!
//! The running hash covers each entry's own hash, and not its bytes: what was dropped leaves its hash, and whoever reads later can still
//! check everything behind it.

use crate::ids::{LogId, sha256};

use super::MAX_ENTRY_BYTES;

/// In a pushed frame: what follows is the hash of an entry that was dropped.
const DROPPED: u8 = 0x80;
/// How a pushed entry begins. Mail begins with the first byte of a number that no mailbox ever comes to.
const PUSHED: u8 = 1;
/// Bytes before the entry in a pushed frame.
const PUSHED_HEAD: usize = 26;

/// What an entry is: for how long it is kept, and who may read it, follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Kept while the log is; appended by compare-and-set.
    Event,
    /// Seeds of keys: kept for 35 days behind the next that come with an event.
    Keys,
    /// Kept for 35 days.
    Message,
}

impl EntryKind {
    /// As it is hashed, pushed and stored.
    pub fn code(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Keys => 2,
            Self::Message => 3,
        }
    }

    /// The one with that code.
    pub fn of(code: u8) -> Option<Self> {
        [Self::Event, Self::Keys, Self::Message].into_iter().find(|kind| kind.code() == code)
    }
}

/// `SHA-256("chatd/gentry/1\0" || kind || entry)`: by what an entry is known, and what an event's `prev` is.
pub fn entry_hash(kind: EntryKind, entry: &[u8]) -> [u8; 32] {
    sha256(&[b"chatd/gentry/1\0", &[kind.code()], entry])
}

/// A number of a log, with the hash of everything up to there: `h(n) = SHA-256(h(n-1) || hash of entry n)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Running {
    /// Entries so far.
    pub number: u64,
    /// Of all of them, in their order.
    pub hash: [u8; 32],
}

impl Running {
    /// Of a log with nothing in it: `h(0) = SHA-256("chatd/glog-start/1\0" || log)`.
    pub fn start(log: LogId) -> Self {
        Self { number: 0, hash: sha256(&[b"chatd/glog-start/1\0", log.as_bytes()]) }
    }

    /// With one more entry, which has this hash.
    #[must_use]
    pub fn with(&self, entry: &[u8; 32]) -> Self {
        Self { number: self.number.saturating_add(1), hash: sha256(&[&self.hash, entry]) }
    }
}

/// An entry as a session pushes it: `1, log, number as u64be, kind`, then the entry; or, the kind with its highest bit, its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed<'a> {
    /// Of which log.
    pub log: LogId,
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Itself, or the hash that it left.
    pub entry: Result<&'a [u8], [u8; 32]>,
}

impl<'a> Pushed<'a> {
    /// A binary message of a session.
    pub fn encode(&self) -> Vec<u8> {
        let (mark, rest) = match &self.entry {
            Ok(entry) => (0, *entry),
            Err(hash) => (DROPPED, &hash[..]),
        };
        let kind = self.kind.code() | mark;
        [&[PUSHED], self.log.as_bytes(), &self.number.to_be_bytes(), &[kind], rest].concat()
    }

    /// What a binary message is, if it is one of a log.
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<PUSHED_HEAD>()?;
        let log = LogId::from_slice(head.get(1..17)?)?;
        let number = u64::from_be_bytes(head.get(17..25)?.try_into().ok()?);
        let kind = EntryKind::of(head[25] & !DROPPED)?;
        let entry = match head[25] & DROPPED {
            0 => Ok(rest),
            _ => Err(rest.try_into().ok()?),
        };
        (head[0] == PUSHED && rest.len() <= MAX_ENTRY_BYTES).then_some(Self { log, number, kind, entry })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::directory::mailbox::encode_push;

    #[test]
    fn the_running_hash_is_exact() {
        let log = LogId([7; 16]);
        let first = Running::start(log);
        assert_eq!(first.hash, sha256(&[b"chatd/glog-start/1\0", &[7; 16]]));
        let hash = entry_hash(EntryKind::Keys, b"seeds");
        assert_eq!(hash, sha256(&[b"chatd/gentry/1\0\x02seeds"]));
        let second = first.with(&hash);
        assert_eq!((second.number, second.hash), (1, sha256(&[&first.hash, &hash])));
        assert_ne!(hash, entry_hash(EntryKind::Message, b"seeds"), "what it is taken for is hashed as well");
    }

    #[test]
    fn a_pushed_entry_is_no_mail() {
        let log = LogId([3; 16]);
        for entry in [Ok(&b"ciphertext"[..]), Ok(&b""[..]), Err([9; 32])] {
            let pushed = Pushed { log, number: 258, kind: EntryKind::Event, entry };
            assert_eq!(Pushed::decode(&pushed.encode()), Some(pushed));
        }
        assert_eq!(Pushed::decode(&encode_push(u64::MAX >> 8, &[0; 40])), None);
        let dropped = Pushed { log, number: 1, kind: EntryKind::Keys, entry: Err([9; 32]) }.encode();
        for length in 0..dropped.len() {
            assert_eq!(Pushed::decode(&dropped[..length]), None, "{length}");
        }
    }
}
