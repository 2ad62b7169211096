//! Ed25519: identity keys and device keys.

use std::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use zeroize::Zeroizing;

use super::{CryptoError, random_bytes};

/// A secret signing key. Zeroized on drop.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, CryptoError> {
        let secret = Zeroizing::new(random_bytes()?);
        Ok(Self::from_bytes(&secret))
    }

    /// The key of a stored secret; every 32 bytes are one.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(secret))
    }

    /// The secret, to be stored.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs the parts, one after the other. The first is a domain string, so that no signature means two things.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 64] {
        self.0.sign(&parts.concat()).to_bytes()
    }

    /// The key as the library knows it, for code of the shared crate that signs records.
    pub fn inner(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", proto::ids::hex(&self.public()))
    }
}

/// Checks a signature over the parts, strictly: small-order keys and malleable signatures are refused
/// (RFC 8032 leaves that open; see "Taming the many EdDSAs", 2020).
///
/// # Errors
/// [`CryptoError::BadKey`] when the key is none, else [`CryptoError::BadSignature`].
pub fn verify(key: &[u8; 32], parts: &[&[u8]], signature: &[u8; 64]) -> Result<(), CryptoError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| CryptoError::BadKey("not an Ed25519 public key"))?;
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&parts.concat(), &signature).map_err(|_| CryptoError::BadSignature)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signatures_hold_for_exactly_what_was_signed() {
        let alice = SigningKey::generate().unwrap();
        let signature = alice.sign(&[b"chatd/test/1\0", b"hello"]);
        assert!(verify(&alice.public(), &[b"chatd/test/1\0", b"hello"], &signature).is_ok());
        assert!(verify(&alice.public(), &[b"chatd/test/1\0hel", b"lo"], &signature).is_ok(), "parts are concatenated");
        assert!(verify(&alice.public(), &[b"chatd/test/2\0", b"hello"], &signature).is_err());
        let bob = SigningKey::generate().unwrap();
        assert!(verify(&bob.public(), &[b"chatd/test/1\0", b"hello"], &signature).is_err());
        for byte in 0..64 {
            let mut bad = signature;
            bad[byte] ^= 1;
            assert!(verify(&alice.public(), &[b"chatd/test/1\0", b"hello"], &bad).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_small_order_key_signs_nothing() {
        // With the identity point as key and R, and S = 0, plain verification accepts any message.
        let mut key = [0; 32];
        key[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(matches!(verify(&key, &[b"anything"], &signature), Err(CryptoError::BadSignature)));
    }

    #[test]
    fn rfc_8032_test_1() {
        let secret = proto::ids::unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_bytes(&secret);
        assert_eq!(proto::ids::hex(&key.public()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(proto::ids::hex(&key.sign(&[])).starts_with("e5564300c360ac729086e2cc806e828a"));
        assert_eq!(*key.to_bytes(), secret);
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let shown = format!("{key:?}");
        assert!(shown.contains(&proto::ids::hex(&key.public())));
        assert!(!shown.contains("0707"), "{shown}");
    }
}
