//! The challenge that a client signs: a keyed hash over time and address, so that nothing is stored for a client that
//! never comes back.
//!
//! Not the job: one-time use. Within its 60 s a nonce may be signed again; what is signed names the record's hash or
//! is harmless to repeat, and a record's seq decides.

use std::net::IpAddr;

use proto::directory::api::NONCE_SECONDS;
use sha2::{Digest, Sha256};

/// Bytes of a nonce: the second it was made, and 16 bytes of the hash.
pub const NONCE_BYTES: usize = 24;

/// Makes and checks nonces. The key is of this process: after a restart, clients fetch a new one.
#[derive(Debug)]
pub struct Nonces {
    key: [u8; 32],
}

impl Default for Nonces {
    /// With a random key.
    fn default() -> Self {
        Self { key: rand::random() }
    }
}

impl Nonces {
    /// A nonce for a client at `address`.
    pub fn issue(&self, address: IpAddr, now: i64) -> [u8; NONCE_BYTES] {
        let time = now.to_be_bytes();
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&time);
        nonce[8..].copy_from_slice(&self.tag(&time, address)[..16]);
        nonce
    }

    /// Whether `nonce` was issued to `address` at most [`NONCE_SECONDS`] ago.
    pub fn valid(&self, nonce: &[u8], address: IpAddr, now: i64) -> bool {
        let Ok(nonce) = <&[u8; NONCE_BYTES]>::try_from(nonce) else { return false };
        let mut time = [0; 8];
        time.copy_from_slice(&nonce[..8]);
        let tag = self.tag(&time, address);
        // Without an early end: how many bytes were right must not show.
        let wrong = nonce[8..].iter().zip(&tag).fold(0, |wrong, (a, b)| wrong | (a ^ b));
        let age = now.saturating_sub(i64::from_be_bytes(time));
        wrong == 0 && (0..=NONCE_SECONDS).contains(&age)
    }

    fn tag(&self, time: &[u8; 8], address: IpAddr) -> [u8; 32] {
        match address.to_canonical() {
            IpAddr::V4(ip) => hmac_sha256(&self.key, &[time, &ip.octets()]),
            IpAddr::V6(ip) => hmac_sha256(&self.key, &[time, &ip.octets()]),
        }
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key of 32 bytes. By hand, because the `hmac` crate that fits this `sha2` is not
/// among the dependencies and the construction is two hashes.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    const BLOCK_BYTES: usize = 64;
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let mut inner = Sha256::new();
    inner.update(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_hmac() {
        // RFC 4231, test case 1, with its 20-byte key padded by zeros as the construction does anyway.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(proto::ids::hex(&hmac_sha256(&key, &[b"Hi ", b"There"])), expected);
    }

    #[test]
    fn valid_for_a_minute_and_one_address() {
        let (nonces, alice) = (Nonces::default(), "192.0.2.1".parse().unwrap());
        let nonce = nonces.issue(alice, 1_000);
        assert!(nonces.valid(&nonce, alice, 1_000) && nonces.valid(&nonce, alice, 1_060));
        assert!(nonces.valid(&nonce, "::ffff:192.0.2.1".parse().unwrap(), 1_000), "the same address, mapped");
        assert!(!nonces.valid(&nonce, alice, 1_061), "too old");
        assert!(!nonces.valid(&nonce, alice, 999), "from the future");
        assert!(!nonces.valid(&nonce, "192.0.2.2".parse().unwrap(), 1_000), "of another address");
        assert!(!Nonces::default().valid(&nonce, alice, 1_000), "of another directory");
        assert!(!nonces.valid(&nonce[..23], alice, 1_000));
        let mut forged = nonce;
        forged[23] ^= 1;
        assert!(!nonces.valid(&forged, alice, 1_000));
    }
}
