//! HKDF-SHA-256 (RFC 5869) of a secret that is random already, one block long. Small enough to stand here; the vectors of the RFC hold it.
//!
//! Not the job: passwords, and secrets that are not uniform.

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// 32 bytes for one use, which `info` names: HKDF with an empty salt.
pub fn derive(secret: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let mut key = hmac(&[0; 32], &[secret]);
    let derived = hmac(&key, &[info, &[1]]);
    key.zeroize();
    derived
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut pad = [0u8; BLOCK];
    pad[..32].copy_from_slice(key);
    let mut inner = Sha256::new();
    inner.update(pad.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let inner = inner.finalize();
    let mut outer = Sha256::new();
    outer.update(pad.map(|byte| byte ^ 0x5c));
    outer.update(inner);
    pad.zeroize();
    outer.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ids::{hex, unhex};

    /// RFC 4231, test case 2, with the key filled up to 32 bytes as HMAC does itself.
    #[test]
    fn the_hmac_is_that_of_the_rfc() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let code = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&code), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// RFC 5869, test case 3: no salt, no info. Its secret has 22 bytes, so the two steps are done by hand.
    #[test]
    fn the_steps_are_those_of_the_rfc() {
        let key = hmac(&[0; 32], &[&[0x0b; 22]]);
        assert_eq!(key, unhex("19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04").unwrap());
        let first = hmac(&key, &[&[1]]);
        assert_eq!(hex(&first), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    #[test]
    fn uses_are_apart() {
        assert_ne!(derive(&[1; 32], b"a"), derive(&[1; 32], b"b"));
        assert_ne!(derive(&[1; 32], b"a"), derive(&[2; 32], b"a"));
    }
}
