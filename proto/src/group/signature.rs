//! Where signatures of a group are checked. One seam, so that a million random chains can be judged without a million curves.

use crate::directory::verified;

/// Says whether a signature holds.
pub trait Signatures {
    /// Whether `signature` over `message` is by `key`.
    fn hold(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

/// The real one: Ed25519, strictly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ed25519;

impl Signatures for Ed25519 {
    fn hold(&self, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        verified(key, message, signature)
    }
}
