//! Deposit tokens: what a contact shows the directory to be let through to reach, presence and mailbox. The directory
//! stores only the hash, so that reading its database lets nobody in.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{CryptoError, random_bytes};

/// 32 random bytes, made by the recipient for one contact. Zeroized on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DepositToken([u8; 32]);

impl DepositToken {
    /// A fresh token.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, CryptoError> {
        random_bytes().map(Self)
    }

    /// A stored or received token.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret itself, for the contact.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of the token, for the directory.
    pub fn hash(&self) -> [u8; 32] {
        proto::ids::sha256(&[&self.0])
    }
}

impl fmt::Debug for DepositToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DepositToken(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_hide() {
        let (a, b) = (DepositToken::generate().unwrap(), DepositToken::generate().unwrap());
        assert_ne!(a, b);
        assert_ne!(a.hash(), *a.as_bytes());
        assert_eq!(DepositToken::from_bytes(*a.as_bytes()).hash(), a.hash());
        assert_eq!(format!("{a:?}"), "DepositToken(..)");
    }

    #[test]
    fn the_hash_is_plain_sha_256() {
        assert_eq!(
            proto::ids::hex(&DepositToken::from_bytes([0; 32]).hash()),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }
}
