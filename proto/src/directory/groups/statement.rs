//! What the keys of a log say of it: the root key, which the owner alone has, names the log key; the log key, which admins have as well,
//! names tokens and where to go. Both are `[bin body, bin signature]`, numbered, and handed out as they came, so that whoever has seen
//! one can bring a directory that went back to it again.

use super::{MAX_HEADER_BYTES, MAX_LOG_BYTES, MAX_NAME_BYTES, MAX_NUMBER, MAX_ROOT_BYTES, MAX_SUCCESSORS};
use crate::directory::{join, split, verified};
use crate::ids::LogId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

const ROOT: &str = "chatd/groot/1";
const HEADER: &str = "chatd/ghead/1";

/// Which keys a log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Of which log.
    pub log: LogId,
    /// Counts up; the first has 0, and is signed by the key that it names. Each later one is signed by the root key before it.
    pub number: u64,
    /// The root key from now on.
    pub root_key: [u8; 32],
    /// The log key from now on.
    pub log_key: [u8; 32],
}

impl Root {
    /// `["chatd/groot/1", bin log, uint number, bin root key, bin log key]`.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        write::array(&mut out, 5);
        write::str(&mut out, ROOT);
        write::bin(&mut out, self.log.as_bytes());
        write::uint(&mut out, self.number);
        write::bin(&mut out, &self.root_key);
        write::bin(&mut out, &self.log_key);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(5, "root")?;
        labelled(&mut r, ROOT)?;
        let (log, number) = (LogId(r.fixed("root log")?), numbered(&mut r)?);
        let (root_key, log_key) = (r.fixed("root key")?, r.fixed("log key")?);
        r.finish("root")?;
        Ok(Self { log, number, root_key, log_key })
    }

    /// Whether it can be the first of its log.
    pub fn is_first(&self) -> bool {
        self.number == 0 && self.log == LogId::of_root_key(&self.root_key)
    }
}

/// What holds of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Of which log.
    pub log: LogId,
    /// The number of the root whose log key signs it.
    pub root: u64,
    /// Counts up under that root.
    pub number: u64,
    /// The hash of the token that reads.
    pub read: [u8; 32],
    /// The hash of the token that writes.
    pub write: [u8; 32],
    /// As what it is listed, if it is a room.
    pub room: Option<String>,
    /// Logs to which the group may go.
    pub successors: Vec<String>,
}

impl Header {
    /// `["chatd/ghead/1", bin log, uint root, uint number, bin read, bin write, str room or nil, [str successor]]`.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        write::array(&mut out, 8);
        write::str(&mut out, HEADER);
        write::bin(&mut out, self.log.as_bytes());
        write::uint(&mut out, self.root);
        write::uint(&mut out, self.number);
        write::bin(&mut out, &self.read);
        write::bin(&mut out, &self.write);
        match &self.room {
            Some(room) => write::str(&mut out, room),
            None => write::nil(&mut out),
        }
        write::array(&mut out, self.successors.len());
        self.successors.iter().for_each(|log| write::str(&mut out, log));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(8, "header")?;
        labelled(&mut r, HEADER)?;
        let log = LogId(r.fixed("header log")?);
        let (root, number) = (numbered(&mut r)?, numbered(&mut r)?);
        let (read, write) = (r.fixed("read token")?, r.fixed("write token")?);
        let room = if r.nil() { None } else { Some(text(&mut r, MAX_NAME_BYTES)?) };
        let count = r.array("successors")?;
        if count > MAX_SUCCESSORS {
            return Err(WireError::Malformed("successors"));
        }
        let successors = (0..count).map(|_| text(&mut r, MAX_LOG_BYTES)).collect::<Result<_, _>>()?;
        r.finish("header")?;
        Ok(Self { log, root, number, read, write, room, successors })
    }
}

macro_rules! signed {
    ($(#[$doc:meta])* $name:ident, $what:ident, $limit:ident, $label:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// What it says.
            pub says: $what,
            body: Vec<u8>,
            signature: [u8; 64],
        }

        impl $name {
            /// Signs it; `sign` has the key.
            ///
            /// # Errors
            /// When it breaks a limit: what this returns can be read.
            pub fn sign(says: $what, sign: impl Fn(&[u8]) -> [u8; 64]) -> Result<Self, WireError> {
                let body = says.encode();
                let signature = sign(&body);
                Self::decode(&Self { says, body, signature }.encode())
            }

            /// `[bin body, bin signature]`.
            pub fn encode(&self) -> Vec<u8> {
                join(&self.body, &self.signature)
            }

            /// Reads it; whether the signature holds, [`Self::is_by`] tells.
            ///
            /// # Errors
            /// Any departure from the format, or from a limit of it.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let (body, signature) = split(bytes, $limit, $label)?;
                let says = $what::decode(&body)?;
                if says.encode() != body {
                    return Err(WireError::Malformed($label));
                }
                Ok(Self { says, body, signature })
            }

            /// Whether this key has signed it.
            pub fn is_by(&self, key: &[u8; 32]) -> bool {
                verified(key, &self.body, &self.signature)
            }
        }
    };
}

signed! {
    /// A [`Root`] and its signature.
    SignedRoot, Root, MAX_ROOT_BYTES, "root"
}
signed! {
    /// A [`Header`] and its signature.
    SignedHeader, Header, MAX_HEADER_BYTES, "header"
}

pub(super) fn labelled(r: &mut Reader<'_>, label: &'static str) -> Result<(), WireError> {
    if r.str(label)? == label { Ok(()) } else { Err(WireError::Malformed(label)) }
}

pub(super) fn numbered(r: &mut Reader<'_>) -> Result<u64, WireError> {
    let number = r.u64("number")?;
    if number <= MAX_NUMBER { Ok(number) } else { Err(WireError::Malformed("number")) }
}

fn text(r: &mut Reader<'_>, limit: usize) -> Result<String, WireError> {
    let text = r.str("text")?;
    if text.len() <= limit { Ok(text.to_owned()) } else { Err(WireError::Malformed("text")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn key(seed: u8) -> (SigningKey, [u8; 32]) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        (key, public)
    }

    fn header(log: LogId) -> Header {
        let successors = vec!["other.example".to_owned(); MAX_SUCCESSORS];
        Header { log, root: 0, number: 3, read: [1; 32], write: [2; 32], room: Some("team".into()), successors }
    }

    #[test]
    fn statements_come_out_as_they_went_in_and_hold_for_one_key() {
        let ((root, root_key), (other, other_key)) = (key(1), key(2));
        let log = LogId::of_root_key(&root_key);
        let first = Root { log, number: 0, root_key, log_key: other_key };
        assert!(first.is_first() && !Root { root_key: other_key, ..first.clone() }.is_first());
        let signed = SignedRoot::sign(first.clone(), |bytes| root.sign(bytes).to_bytes()).unwrap();
        let read = SignedRoot::decode(&signed.encode()).unwrap();
        assert!(read == signed && read.says == first && read.is_by(&root_key) && !read.is_by(&other_key));
        let signed = SignedHeader::sign(header(log), |bytes| other.sign(bytes).to_bytes()).unwrap();
        let read = SignedHeader::decode(&signed.encode()).unwrap();
        assert!(read.says == header(log) && read.is_by(&other_key) && !read.is_by(&root_key));
        assert!(SignedRoot::decode(&signed.encode()).is_err(), "one is not taken for the other");
        let mut bent = signed.encode();
        let last = bent.len() - 1;
        bent[last] ^= 1;
        assert!(!SignedHeader::decode(&bent).unwrap().is_by(&other_key));
    }

    #[test]
    fn limits_are_kept() {
        let (root, root_key) = key(1);
        let log = LogId::of_root_key(&root_key);
        let signs = |header: Header| SignedHeader::sign(header, |bytes| root.sign(bytes).to_bytes()).is_ok();
        assert!(signs(Header { room: Some("x".repeat(MAX_NAME_BYTES)), ..header(log) }));
        assert!(signs(Header { successors: vec!["x".repeat(MAX_LOG_BYTES); MAX_SUCCESSORS], ..header(log) }));
        assert!(!signs(Header { room: Some("x".repeat(MAX_NAME_BYTES + 1)), ..header(log) }));
        assert!(!signs(Header { successors: vec!["x".repeat(MAX_LOG_BYTES + 1)], ..header(log) }));
        assert!(!signs(Header { successors: vec![String::new(); MAX_SUCCESSORS + 1], ..header(log) }));
        assert!(!signs(Header { number: MAX_NUMBER + 1, ..header(log) }));
    }
}
