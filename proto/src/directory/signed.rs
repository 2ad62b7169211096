//! A record with its signature, and which of two takes the other's place.

use ed25519_dalek::{Signer, SigningKey};

use super::record::{MAX_RECORD_BYTES, Record, RecordError};
use super::rotation::{self, Rotation};
use super::{join, split, verified};
use crate::ids::sha256;
use crate::wire::WireError;

/// A record's exact bytes and their signature. Nothing is known of it before [`SignedRecord::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    /// What was signed.
    pub body: Vec<u8>,
    /// Ed25519 by the identity key.
    pub signature: [u8; 64],
}

impl SignedRecord {
    /// Signs a record.
    ///
    /// # Errors
    /// When it breaks a rule, or `key` is not its identity key: what this returns always verifies.
    pub fn sign(record: &Record, key: &SigningKey) -> Result<Self, RecordError> {
        let body = record.encode();
        let signature = key.sign(&body).to_bytes();
        let signed = Self { body, signature };
        let size = signed.encode().len();
        if size > MAX_RECORD_BYTES {
            return Err(WireError::TooLarge { what: "record", size, limit: MAX_RECORD_BYTES }.into());
        }
        signed.verify()?;
        Ok(signed)
    }

    /// `[bin body, bin signature]`.
    pub fn encode(&self) -> Vec<u8> {
        join(&self.body, &self.signature)
    }

    /// Splits body and signature; nothing is verified.
    ///
    /// # Errors
    /// When it is too large or not the encoding. Only the shortest MessagePack form is taken, so that
    /// [`SignedRecord::encode`] gives back the very bytes that were received and the hash is one.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (body, signature) = split(bytes, MAX_RECORD_BYTES, "signed record")?;
        Ok(Self { body, signature })
    }

    /// Checks everything that needs no clock and no memory, and gives what the record says.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn verify(&self) -> Result<Record, RecordError> {
        let record = Record::decode(&self.body)?;
        // The cheap rules before the expensive signature; the chain's own signatures come last but one.
        record.check()?;
        if verified(&record.identity_key, &self.body, &self.signature) {
            Ok(record)
        } else {
            Err(RecordError::Signature)
        }
    }

    /// What the record says, without any check of its keys: to look at who it claims to be before paying for
    /// cryptography.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek(&self) -> Result<Record, RecordError> {
        Record::decode(&self.body)
    }

    /// SHA-256 of the whole encoding: what the next record's `prev` is.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.encode()])
    }
}

/// How far a record's seq may be ahead of the known one: a second's records for more than a century. With steps of this
/// size two thousand million records use the numbers up, so that the account's owner always has a next one.
pub const MAX_SEQ_STEP: u64 = 1 << 32;

/// Why a record does not take the place of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// They are not of one account.
    #[error("the record is of another account")]
    OtherAccount,
    /// Not newer.
    #[error("the record's seq is {offered}, and {stored} is known")]
    Seq {
        /// Of the record that is held.
        stored: u64,
        /// Of the record that was offered.
        offered: u64,
    },
    /// Much newer than records come to be: who has stolen a key must not use the numbers up.
    #[error(
        "the record's seq is {offered}, and {stored} is known: a record is at most {MAX_SEQ_STEP} ahead of the one before"
    )]
    Jump {
        /// Of the record that is held.
        stored: u64,
        /// Of the record that was offered.
        offered: u64,
    },
    /// The chain of rotations leaves the known one without the recovery key's word.
    #[error("the record leaves the known chain of keys without a valid rotation")]
    Keys,
}

/// Whether `new` takes the place of `old`; both are verified. The account is the same, the seq is higher by
/// [`MAX_SEQ_STEP`] at most (or the recovery key's word is new, and resets a seq that is further ahead than records come to be), and the chain of keys goes on from the known one, or leaves it by a rotation that the recovery key in force signed where the
/// known one was signed by the identity key.
///
/// # Errors
/// The first of these that does not hold.
pub fn supersedes(old: &Record, new: &Record) -> Result<(), Conflict> {
    if old.account() != new.account() {
        return Err(Conflict::OtherAccount);
    }
    let (known, offered) = (steps(old), steps(new));
    let shared = known.iter().zip(&offered).take_while(|(a, b)| a.statement == b.statement).count();
    let held_before = recovery_before(old, shared);
    // What comes first after the shared part must be signed by a key that the *known* record vouches for.
    let by_recovery = offered.get(shared).and_then(|link| link.recovery_key);
    let recovered = by_recovery.is_some_and(|key| rotation::recovery_hash(&key) == held_before);
    let goes_on = match (known.get(shared), offered.get(shared)) {
        (None, None) => new.recovery_hash == old.recovery_hash,
        (None, Some(_)) => by_recovery.is_none() || recovered,
        (Some(held), Some(_)) => recovered && held.recovery_key.is_none(),
        (Some(_), None) => false,
    };
    // Whoever had the identity key may have shown a number that nobody can go above; the recovery key's word ends that, too.
    let reset = recovered && old.seq.saturating_sub(new.seq) > MAX_SEQ_STEP;
    if new.seq <= old.seq && !reset {
        return Err(Conflict::Seq { stored: old.seq, offered: new.seq });
    }
    if new.seq.saturating_sub(old.seq) > MAX_SEQ_STEP {
        return Err(Conflict::Jump { stored: old.seq, offered: new.seq });
    }
    if goes_on { Ok(()) } else { Err(Conflict::Keys) }
}

/// The chain without its genesis, which names no new key.
fn steps(record: &Record) -> Vec<&Rotation> {
    record.rotations.iter().filter(|link| link.statement().is_ok_and(|s| s.number > 0)).collect()
}

/// The recovery hash that was in force after the first `count` steps of a known record.
fn recovery_before(record: &Record, count: usize) -> [u8; 32] {
    let chain = steps(record);
    if count == chain.len() {
        return record.recovery_hash;
    }
    let statement = match count {
        0 => record.rotations.first().and_then(|link| link.statement().ok()).filter(|s| s.number == 0),
        n => chain[n - 1].statement().ok(),
    };
    // Without a genesis nothing tells; no key hashes to zero.
    statement.map_or([0; 32], |s| s.recovery_hash)
}

#[cfg(test)]
#[path = "signed_tests.rs"]
pub(crate) mod tests;
