//! The chain of identity keys of an account: from the first key, which the account id is the hash of, to the one that
//! signs now.
//!
//! A link of the chain is a statement `["chatd/rot/1", account, number, new identity key, new recovery hash]`, signed
//! by the identity key before it or by the recovery key whose hash was in force. Link number 0, the *genesis*, names
//! the first key itself and is signed by it: it binds the first recovery hash to the account for whoever has seen no
//! earlier record. A chain may begin with number 0 or number 1; without a genesis, link 1 must be signed by the
//! identity key, because nothing else tells a stranger that a recovery key is the account's.

use ed25519_dalek::{Signer, SigningKey};

use super::verified;
use crate::ids::{AccountId, sha256};
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// Links of a chain at most: a key changed every month for a year and a half, within a record's size.
pub const MAX_ROTATIONS: usize = 20;

const DOMAIN: &str = "chatd/rot/1";

/// `SHA-256("chatd/recovery/1\0" || recovery public key)`: what a record commits to.
pub fn recovery_hash(recovery_key: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"chatd/recovery/1\0", recovery_key])
}

/// Why a chain leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// A statement that cannot be read.
    #[error("rotation {0}: {1}")]
    Wire(usize, #[source] WireError),
    /// Of another account, or with the wrong number.
    #[error("rotation {0} does not belong to this place of the chain")]
    Place(usize),
    /// Not signed by the key before it, nor by the recovery key in force.
    #[error("rotation {0} is not signed by a key that may sign it")]
    Signature(usize),
    /// The chain does not end at the record's identity key or recovery hash.
    #[error("the chain of rotations does not lead to the record's keys")]
    End,
    /// More links than [`MAX_ROTATIONS`].
    #[error("{0} rotations, more than {MAX_ROTATIONS}")]
    TooMany(usize),
}

/// One signed link: the exact statement, the recovery key if it was that which signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The statement's bytes, as they were signed.
    pub statement: Vec<u8>,
    /// The recovery public key, when that key signed; `None` when the identity key before did.
    pub recovery_key: Option<[u8; 32]>,
    /// Ed25519 over the statement.
    pub signature: [u8; 64],
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Whose chain.
    pub account: AccountId,
    /// 0 for the genesis, then counting up.
    pub number: u32,
    /// The key that signs from here on.
    pub identity_key: [u8; 32],
    /// The recovery hash in force from here on.
    pub recovery_hash: [u8; 32],
}

impl Statement {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        write::array(&mut out, 5);
        write::str(&mut out, DOMAIN);
        write::bin(&mut out, &self.account.0);
        write::uint(&mut out, self.number.into());
        write::bin(&mut out, &self.identity_key);
        write::bin(&mut out, &self.recovery_hash);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(5, "rotation")?;
        if r.str("rotation")? != DOMAIN {
            return Err(WireError::Malformed("rotation domain"));
        }
        let statement = Self {
            account: r.account("rotation account")?,
            number: r.u32("rotation number")?,
            identity_key: r.fixed("rotation identity key")?,
            recovery_hash: r.fixed("rotation recovery hash")?,
        };
        r.finish("rotation")?;
        Ok(statement)
    }
}

impl Rotation {
    /// The genesis: binds the first recovery hash to the first key.
    pub fn genesis(first: &SigningKey, recovery_hash: [u8; 32]) -> Self {
        let key = first.verifying_key().to_bytes();
        let account = AccountId::of_first_key(&key);
        Self::signed(&Statement { account, number: 0, identity_key: key, recovery_hash }, first, None)
    }

    /// A new identity key, handed over by the one before it.
    pub fn by_identity(statement: &Statement, old: &SigningKey) -> Self {
        Self::signed(statement, old, None)
    }

    /// A new identity key, by the recovery key that `register` printed.
    pub fn by_recovery(statement: &Statement, recovery: &SigningKey) -> Self {
        Self::signed(statement, recovery, Some(recovery.verifying_key().to_bytes()))
    }

    fn signed(statement: &Statement, key: &SigningKey, recovery_key: Option<[u8; 32]>) -> Self {
        let statement = statement.encode();
        let signature = key.sign(&statement).to_bytes();
        Self { statement, recovery_key, signature }
    }

    /// What the link says, unverified.
    ///
    /// # Errors
    /// When the statement cannot be read.
    pub fn statement(&self) -> Result<Statement, WireError> {
        Statement::decode(&self.statement)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write::array(out, 3);
        write::bin(out, &self.statement);
        match &self.recovery_key {
            Some(key) => write::bin(out, key),
            None => write::nil(out),
        }
        write::bin(out, &self.signature);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array_of(3, "rotation")?;
        let statement = r.bin("rotation statement")?.to_vec();
        let recovery_key = if r.nil() { None } else { Some(r.fixed("recovery key")?) };
        Ok(Self { statement, recovery_key, signature: r.fixed("rotation signature")? })
    }
}

/// The keys that were in force, from the first to the newest: `(identity key, recovery hash)`.
/// The recovery hash before link 1 is unknown without a genesis.
pub(crate) type Keys = Vec<([u8; 32], Option<[u8; 32]>)>;

/// Walks the chain; an empty one ends at the first key with an unknown recovery hash.
///
/// # Errors
/// The first link that does not hold.
pub(crate) fn walk(first_key: &[u8; 32], chain: &[Rotation]) -> Result<Keys, RotationError> {
    if chain.len() > MAX_ROTATIONS {
        return Err(RotationError::TooMany(chain.len()));
    }
    let account = AccountId::of_first_key(first_key);
    let mut keys: Keys = vec![(*first_key, None)];
    let mut next = 1;
    for (index, link) in chain.iter().enumerate() {
        let statement = link.statement().map_err(|error| RotationError::Wire(index, error))?;
        let genesis = index == 0 && statement.number == 0;
        let (identity, recovery) = keys.last().copied().unwrap_or((*first_key, None));
        let in_place = if genesis { statement.identity_key == *first_key } else { statement.number == next };
        if statement.account != account || !in_place {
            return Err(RotationError::Place(index));
        }
        let signer = match link.recovery_key {
            None => identity,
            Some(key) if !genesis && recovery == Some(recovery_hash(&key)) => key,
            Some(_) => return Err(RotationError::Signature(index)),
        };
        if !verified(&signer, &link.statement, &link.signature) {
            return Err(RotationError::Signature(index));
        }
        let now = (statement.identity_key, Some(statement.recovery_hash));
        if genesis {
            keys[0] = now;
        } else {
            keys.push(now);
            next += 1;
        }
    }
    Ok(keys)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn public(seed: u8) -> [u8; 32] {
        key(seed).verifying_key().to_bytes()
    }

    fn statement(number: u32, new: u8, recovery: u8) -> Statement {
        let account = AccountId::of_first_key(&public(1));
        Statement { account, number, identity_key: public(new), recovery_hash: recovery_hash(&public(recovery)) }
    }

    #[test]
    fn a_chain_of_both_kinds_leads_to_the_newest_key() {
        let chain = [
            Rotation::genesis(&key(1), recovery_hash(&public(100))),
            Rotation::by_identity(&statement(1, 2, 100), &key(1)),
            Rotation::by_recovery(&statement(2, 3, 101), &key(100)),
            Rotation::by_recovery(&statement(3, 4, 102), &key(101)),
        ];
        let keys = walk(&public(1), &chain).unwrap();
        assert_eq!(keys.last(), Some(&(public(4), Some(recovery_hash(&public(102))))));
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn a_thief_cannot_add_a_link() {
        let genesis = Rotation::genesis(&key(1), recovery_hash(&public(100)));
        // Eve's recovery key is not the one in force, whoever tells it.
        let eve = Rotation::by_recovery(&statement(1, 66, 66), &key(66));
        assert_eq!(walk(&public(1), &[genesis.clone(), eve.clone()]), Err(RotationError::Signature(1)));
        assert_eq!(walk(&public(1), &[eve]), Err(RotationError::Signature(0)), "no genesis, nothing to trust it by");
        let eve = Rotation::by_identity(&statement(1, 66, 66), &key(66));
        assert_eq!(walk(&public(1), &[genesis.clone(), eve]), Err(RotationError::Signature(1)));
        // A genesis of Eve's for alice's account.
        let mut forged = Rotation::genesis(&key(66), recovery_hash(&public(66)));
        assert_eq!(walk(&public(1), &[forged.clone()]), Err(RotationError::Place(0)));
        forged.statement = statement(0, 1, 66).encode();
        assert_eq!(walk(&public(1), &[forged]), Err(RotationError::Signature(0)));
        // A skipped number, a repeated genesis.
        let skip = Rotation::by_identity(&statement(2, 2, 100), &key(1));
        assert_eq!(walk(&public(1), &[genesis.clone(), skip]), Err(RotationError::Place(1)));
        assert_eq!(walk(&public(1), &[genesis.clone(), genesis]), Err(RotationError::Place(1)));
    }
}
