//! A request to append an entry, or to stage one for an event that follows.

use super::chain::{EntryKind, Running, entry_hash};
use super::statement::numbered;
use super::{MAX_APPEND_BYTES, MAX_ENTRY_BYTES, MAX_HEADER_BYTES, MAX_ROOT_BYTES, MAX_STAGED};
use crate::directory::verified;
use crate::ids::{LogId, sha256};
use crate::wire::reader::write;
use crate::wire::{Reader, VERSION, WireError};

const FIELDS: usize = 9;

/// By the log key: this goes before others, and into the room that is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The newest entry that whoever signs knew. What a log has forgotten since cannot be brought to it again.
    pub seen: u64,
    /// By the log key over [`Append::message`].
    pub signature: [u8; 64],
}

/// Where an entry must come to lie: it was there before the directory went back.
pub type Place = Running;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// What it is.
    pub kind: EntryKind,
    /// Of an event: the number of the newest event, or 0. It is appended only if that is so.
    pub after: u64,
    /// Of an event: what was staged, and comes to lie right before it in this order.
    pub staged: Vec<[u8; 32]>,
    /// Of an event: a signed root that holds from then on.
    pub root: Option<Vec<u8>>,
    /// Of an event: a signed header that holds from then on.
    pub header: Option<Vec<u8>>,
    /// By the log key.
    pub proof: Option<Proof>,
    /// Nowhere else than here, with this running hash.
    pub at: Option<Place>,
    /// Ciphertext.
    pub entry: Vec<u8>,
}

impl Append {
    /// An entry that goes wherever there is the next number.
    pub fn new(kind: EntryKind, entry: Vec<u8>) -> Self {
        Self { kind, after: 0, staged: Vec::new(), root: None, header: None, proof: None, at: None, entry }
    }

    /// By what the entry is known.
    pub fn hash(&self) -> [u8; 32] {
        entry_hash(self.kind, &self.entry)
    }

    /// `"chatd/gappend/1\0" || log || seen as u64be || hash of the entry || after as u64be || SHA-256 of the hashes of what was staged`.
    pub fn message(&self, log: LogId, seen: u64) -> Vec<u8> {
        let staged = sha256(&[&self.staged.concat()]);
        let (seen, after) = (seen.to_be_bytes(), self.after.to_be_bytes());
        [&b"chatd/gappend/1\0"[..], log.as_bytes(), &seen, &self.hash(), &after, &staged].concat()
    }

    /// Shows that the log key wants it; `sign` has that.
    #[must_use]
    pub fn proved(mut self, log: LogId, seen: u64, sign: impl Fn(&[u8]) -> [u8; 64]) -> Self {
        let signature = sign(&self.message(log, seen));
        self.proof = Some(Proof { seen, signature });
        self
    }

    /// Whether this log key wants it.
    pub fn is_proved_by(&self, log: LogId, log_key: &[u8; 32]) -> bool {
        self.proof.is_some_and(|proof| verified(log_key, &self.message(log, proof.seen), &proof.signature))
    }

    /// `[version, kind, after, [bin staged], bin root or nil, bin header or nil, [seen, bin signature] or nil, [number, bin hash] or nil,
    /// bin entry]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entry.len() + self.staged.len() * 34 + 512);
        write::array(&mut out, FIELDS);
        write::uint(&mut out, VERSION.into());
        write::uint(&mut out, self.kind.code().into());
        write::uint(&mut out, self.after);
        write::array(&mut out, self.staged.len());
        self.staged.iter().for_each(|hash| write::bin(&mut out, hash));
        for statement in [&self.root, &self.header] {
            match statement {
                Some(bytes) => write::bin(&mut out, bytes),
                None => write::nil(&mut out),
            }
        }
        let pairs = [
            self.proof.as_ref().map(|proof| (proof.seen, &proof.signature[..])),
            self.at.as_ref().map(|at| (at.number, &at.hash[..])),
        ];
        for pair in pairs {
            match pair {
                Some((number, bytes)) => {
                    write::array(&mut out, 2);
                    write::uint(&mut out, number);
                    write::bin(&mut out, bytes);
                }
                None => write::nil(&mut out),
            }
        }
        write::bin(&mut out, &self.entry);
        out
    }

    /// Reads what [`Append::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format, or from a limit of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_APPEND_BYTES {
            return Err(WireError::TooLarge { what: "append", size: bytes.len(), limit: MAX_APPEND_BYTES });
        }
        let mut r = Reader::new(bytes);
        r.array_of(FIELDS, "append")?;
        match r.u8("version")? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let kind = EntryKind::of(r.u8("kind")?).ok_or(WireError::Malformed("kind"))?;
        let after = numbered(&mut r)?;
        let count = r.array("staged")?;
        if count > MAX_STAGED {
            return Err(WireError::Malformed("staged"));
        }
        let mut staged = Vec::with_capacity(count);
        for _ in 0..count {
            let hash = r.fixed("staged")?;
            if staged.contains(&hash) {
                return Err(WireError::Malformed("staged"));
            }
            staged.push(hash);
        }
        let (root, header) = (statement(&mut r, MAX_ROOT_BYTES)?, statement(&mut r, MAX_HEADER_BYTES)?);
        let proof = match r.nil() {
            true => None,
            false => {
                r.array_of(2, "proof")?;
                Some(Proof { seen: numbered(&mut r)?, signature: r.fixed("proof")? })
            }
        };
        let at = match r.nil() {
            true => None,
            false => {
                r.array_of(2, "place")?;
                Some(Place { number: numbered(&mut r)?, hash: r.fixed("place")? })
            }
        };
        let entry = r.bin("entry")?;
        r.finish("append")?;
        let bare = after == 0 && staged.is_empty() && root.is_none() && header.is_none();
        if entry.is_empty() || entry.len() > MAX_ENTRY_BYTES || (kind != EntryKind::Event && !bare) {
            return Err(WireError::Malformed("entry"));
        }
        Ok(Self { kind, after, staged, root, header, proof, at, entry: entry.to_vec() })
    }
}

fn statement(r: &mut Reader<'_>, limit: usize) -> Result<Option<Vec<u8>>, WireError> {
    if r.nil() {
        return Ok(None);
    }
    let bytes = r.bin("statement")?;
    if bytes.len() > limit { Err(WireError::Malformed("statement")) } else { Ok(Some(bytes.to_vec())) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn full() -> Append {
        Append {
            after: 7,
            staged: (0..MAX_STAGED as u8).map(|n| [n; 32]).collect(),
            root: Some(vec![1; MAX_ROOT_BYTES]),
            header: Some(vec![2; MAX_HEADER_BYTES]),
            proof: Some(Proof { seen: 9, signature: [3; 64] }),
            at: Some(Place { number: 10, hash: [4; 32] }),
            ..Append::new(EntryKind::Event, vec![5; MAX_ENTRY_BYTES])
        }
    }

    #[test]
    fn requests_come_out_as_they_went_in_and_keep_limits() {
        for append in [full(), Append::new(EntryKind::Message, vec![1]), Append::new(EntryKind::Keys, vec![1])] {
            let bytes = append.encode();
            assert_eq!(Append::decode(&bytes).unwrap(), append);
            assert!(bytes.len() <= MAX_APPEND_BYTES);
            assert!(Append::decode(&bytes[..bytes.len() - 1]).is_err());
            assert!(Append::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        for bad in [
            Append { entry: vec![], ..full() },
            Append { entry: vec![0; MAX_ENTRY_BYTES + 1], ..full() },
            Append { staged: vec![[1; 32]; 2], ..full() },
            Append { root: Some(vec![0; MAX_ROOT_BYTES + 1]), ..full() },
            Append { header: Some(vec![0; MAX_HEADER_BYTES + 1]), ..full() },
            Append { kind: EntryKind::Message, ..full() },
            Append { after: 1, ..Append::new(EntryKind::Keys, vec![1]) },
        ] {
            assert!(Append::decode(&bad.encode()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_proof_holds_for_one_log_one_place_and_one_key() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = key.verifying_key().to_bytes();
        let log = LogId([1; 16]);
        let append = Append { proof: None, ..full() }.proved(log, 3, |bytes| key.sign(bytes).to_bytes());
        assert!(append.is_proved_by(log, &public));
        assert!(!append.is_proved_by(LogId([2; 16]), &public) && !append.is_proved_by(log, &[2; 32]));
        assert!(!Append { after: 8, ..append.clone() }.is_proved_by(log, &public));
        assert!(!Append { staged: Vec::new(), ..append.clone() }.is_proved_by(log, &public));
        assert!(!Append { entry: vec![6], ..append.clone() }.is_proved_by(log, &public));
        assert!(!Append { proof: None, ..append }.is_proved_by(log, &public));
    }
}
