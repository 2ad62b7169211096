//! A slot: what one device says beside the log, the next always in the place of the one before. It stands outside of the numbers and of
//! the running hash. The directory knows it by a key of its own, and sees that it only goes forward.

use super::statement::{labelled, numbered};
use super::{MAX_SLOT_BYTES, MAX_STEP};
use crate::directory::{join, split, verified};
use crate::ids::LogId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

const SLOT: &str = "chatd/gslot/1";
/// Bytes of an encoded slot at most.
pub const MAX_SIGNED_SLOT_BYTES: usize = MAX_SLOT_BYTES + 192;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSlot {
    /// In which log.
    pub log: LogId,
    /// Names the slot, and has signed it.
    pub key: [u8; 32],
    /// Counts up.
    pub counter: u64,
    /// Ciphertext.
    pub content: Vec<u8>,
    body: Vec<u8>,
    signature: [u8; 64],
}

impl SignedSlot {
    /// Signs one; `sign` has the slot's key.
    ///
    /// # Errors
    /// When it breaks a limit: what this returns can be read.
    pub fn sign(
        log: LogId,
        key: [u8; 32],
        counter: u64,
        content: &[u8],
        sign: impl Fn(&[u8]) -> [u8; 64],
    ) -> Result<Self, WireError> {
        let body = encode(log, &key, counter, content);
        let signature = sign(&body);
        Self::decode(&join(&body, &signature))
    }

    /// `[bin body, bin signature]`; the body is `["chatd/gslot/1", bin log, bin key, uint counter, bin content]`.
    pub fn encode(&self) -> Vec<u8> {
        join(&self.body, &self.signature)
    }

    /// Reads it; whether the signature holds, [`SignedSlot::holds`] tells.
    ///
    /// # Errors
    /// Any departure from the format, or from a limit of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (body, signature) = split(bytes, MAX_SIGNED_SLOT_BYTES, "slot")?;
        let mut r = Reader::new(&body);
        r.array_of(5, "slot")?;
        labelled(&mut r, SLOT)?;
        let (log, key, counter) = (LogId(r.fixed("slot log")?), r.fixed("slot key")?, numbered(&mut r)?);
        let content = r.bin("slot content")?.to_vec();
        r.finish("slot")?;
        if content.len() > MAX_SLOT_BYTES || encode(log, &key, counter, &content) != body {
            return Err(WireError::Malformed("slot"));
        }
        Ok(Self { log, key, counter, content, body, signature })
    }

    /// Whether its own key has signed it.
    pub fn holds(&self) -> bool {
        verified(&self.key, &self.body, &self.signature)
    }

    /// Whether it takes the place of one with this counter.
    pub fn follows(&self, counter: u64) -> bool {
        self.counter > counter && self.counter - counter <= MAX_STEP
    }
}

fn encode(log: LogId, key: &[u8; 32], counter: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 96);
    write::array(&mut out, 5);
    write::str(&mut out, SLOT);
    write::bin(&mut out, log.as_bytes());
    write::bin(&mut out, key);
    write::uint(&mut out, counter);
    write::bin(&mut out, content);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    #[test]
    fn a_slot_is_its_keys_and_goes_forward() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let sign = |bytes: &[u8]| key.sign(bytes).to_bytes();
        let own = key.verifying_key().to_bytes();
        let slot = SignedSlot::sign(LogId([1; 16]), own, 5, b"marks", sign).unwrap();
        assert!(slot.holds() && SignedSlot::decode(&slot.encode()).unwrap() == slot);
        assert!(!SignedSlot::sign(LogId([1; 16]), [2; 32], 5, b"marks", sign).unwrap().holds(), "of another key");
        assert!(slot.follows(4) && !slot.follows(5) && !slot.follows(6));
        assert!(!SignedSlot::sign(LogId([1; 16]), own, MAX_STEP + 5, b"", sign).unwrap().follows(4));
        assert!(SignedSlot::sign(LogId([1; 16]), own, 5, &[0; MAX_SLOT_BYTES], sign).is_ok());
        assert!(SignedSlot::sign(LogId([1; 16]), own, 5, &[0; MAX_SLOT_BYTES + 1], sign).is_err());
    }
}
