//! Sealing and opening envelopes.
//!
//! Sign, then encrypt, with both names inside the signature: age alone authenticates nobody. The plaintext is
//! `signature[64] || u32be length || wrap || u32be length || body || zeros` up to one of eight sizes, at most one age
//! chunk, so that it opens whole or not at all.
//!
//! Not its job: to know whose key a device's is, whether the signer is a contact, or what the messages mean.
//!
//! Invariants: [`Opened`] tells what an envelope claims, [`Opened::verify`] alone turns it into [`Cores`]; every byte of
//! the plaintext is accounted for, pad included; plaintexts are zeroized when dropped.

use std::fmt;
use std::io::{Read, Write};
use std::iter;
use std::ops::Range;

use proto::ids::{AccountId, DeviceId, sha256};
use proto::wire::envelope::{AckEntry, Core, HEAD_BYTES, Outer, Wrap, decode_body, encode_body};
use proto::wire::{MAX_ACK_ENTRIES, MAX_CORE_BYTES, MAX_PLAINTEXT_BYTES, MAX_TTL_SECONDS, WireError};
use zeroize::Zeroizing;

use super::CryptoError;
use super::keys::{SigningKey, verify};
use super::prekey::{PrekeyPublic, PrekeySecret};
use super::prescan::{MAX_HEADER_BYTES, prescan};

const DOMAIN: &[u8] = b"chatd/wrap/1\0";
/// Sizes of a plaintext in bytes: an observer learns one of eight, not the length of what was said.
pub const PLAINTEXT_SIZES: [usize; 8] = [512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, MAX_PLAINTEXT_BYTES];
const SIGNATURE_BYTES: usize = 64;
const LENGTH_BYTES: usize = 4;
/// What age adds to a plaintext of one chunk, after its header: a nonce and a tag.
const PAYLOAD_OVERHEAD_BYTES: usize = 32;
/// Bytes of a wrap without acknowledgements at most.
const MAX_WRAP_BYTES: usize = 1 + 34 + 18 + 18 + 18 + 10 + 34 + 2 + 9 + 34 + 3;
/// Bytes of one encoded acknowledgement at most: three ids, a seq and eight ranges, all at their largest.
const MAX_ACK_BYTES: usize = 1 + 18 + 18 + 10 + 9 + 1 + 8 * (1 + 9 + 9) + (2 + HEAD_BYTES);
/// Bytes of a body's own array header at most.
const BODY_HEADER_BYTES: usize = 5;

/// Who seals.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The sending account.
    pub account: AccountId,
    /// Its device on this node; the id of `key`.
    pub device: DeviceId,
    /// The device's signing key.
    pub key: &'a SigningKey,
    /// Sequence number of the account's newest record; 0 without a directory.
    pub record_seq: u64,
    /// SHA-256 of that record; zeros without one.
    pub record_hash: [u8; 32],
}

/// Whom it is sealed to.
#[derive(Debug, Clone)]
pub struct SealTo {
    /// The receiving device.
    pub device: DeviceId,
    /// Its newest prekey. The caller has checked that it may still be sealed to.
    pub prekey: PrekeyPublic,
}

/// Body bytes that fit beside `acks` acknowledgements, whatever these hold; 0 when nothing does.
///
/// Cores fit when the sum of [`proto::wire::envelope::body_cost`] over them is at most this. The largest core that the
/// format allows fits beside 8 acknowledgements.
pub const fn capacity(acks: usize) -> usize {
    let fixed = SIGNATURE_BYTES + 2 * LENGTH_BYTES + MAX_WRAP_BYTES + BODY_HEADER_BYTES;
    (MAX_PLAINTEXT_BYTES - fixed).saturating_sub(acks.saturating_mul(MAX_ACK_BYTES))
}

/// Acknowledgements that fit beside `body` bytes of cores (their summed `body_cost`), whatever they hold.
pub const fn ack_capacity(body: usize) -> usize {
    let fit = capacity(0).saturating_sub(body) / MAX_ACK_BYTES;
    if fit < MAX_ACK_ENTRIES { fit } else { MAX_ACK_ENTRIES }
}

/// Seals the cores and acknowledgements into one envelope; the result is an encoded [`Outer`]. No cores make an
/// envelope that only acknowledges.
///
/// # Errors
/// [`CryptoError::TooLarge`] when it all does not fit (see [`capacity`]); [`CryptoError::BadTtl`];
/// [`CryptoError::WrongSigner`] when the sender's device id is not that of its key.
pub fn seal(
    sender: &Sender<'_>,
    to: &SealTo,
    acks: Vec<AckEntry>,
    cores: &[&[u8]],
    ttl: u32,
) -> Result<Vec<u8>, CryptoError> {
    seal_by(sender, to, acks, cores, ttl, |plaintext| encrypt(&to.prekey, plaintext))
}

fn seal_by(
    sender: &Sender<'_>,
    to: &SealTo,
    acks: Vec<AckEntry>,
    cores: &[&[u8]],
    ttl: u32,
    encrypt: impl FnOnce(&[u8]) -> Result<Vec<u8>, CryptoError>,
) -> Result<Vec<u8>, CryptoError> {
    if !(1..=MAX_TTL_SECONDS).contains(&ttl) {
        return Err(CryptoError::BadTtl(ttl));
    }
    if DeviceId::of_key(&sender.key.public()) != sender.device {
        return Err(CryptoError::WrongSigner);
    }
    for (what, size, limit) in [
        ("acks", acks.len(), MAX_ACK_ENTRIES),
        ("core", cores.iter().map(|core| core.len()).max().unwrap_or(0), MAX_CORE_BYTES),
    ] {
        if size > limit {
            return Err(WireError::TooLarge { what, size, limit }.into());
        }
    }
    let body = Zeroizing::new(encode_body(cores.iter().copied()));
    let wrap = Wrap {
        body_hash: sha256(&[&body]),
        from: sender.account,
        from_device: sender.device,
        to_device: to.device,
        prekey_id: to.prekey.id(),
        recipient_hash: *to.prekey.recipient_hash(),
        suite: to.prekey.suite(),
        record_seq: sender.record_seq,
        record_hash: sender.record_hash,
        acks,
    };
    let wrap = wrap.encode();
    let plaintext = lay_out(&sender.key.sign(&[DOMAIN, &wrap]), &wrap, &body)?;
    let ciphertext = encrypt(&plaintext)?;
    let outer = Outer {
        suite: to.prekey.suite(),
        to_device: to.device,
        prekey_id: to.prekey.id(),
        ttl,
        ciphertext: &ciphertext,
        work: None,
    };
    Ok(outer.encode())
}

fn lay_out(signature: &[u8; 64], wrap: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let length = SIGNATURE_BYTES + LENGTH_BYTES + wrap.len() + LENGTH_BYTES + body.len();
    let size = padded_size(length).ok_or(CryptoError::TooLarge { size: length, limit: MAX_PLAINTEXT_BYTES })?;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(size));
    plaintext.extend_from_slice(signature);
    for part in [wrap, body] {
        // Both are under 64 KiB: their sum is.
        plaintext.extend_from_slice(&(part.len() as u32).to_be_bytes());
        plaintext.extend_from_slice(part);
    }
    plaintext.resize(size, 0);
    Ok(plaintext)
}

fn padded_size(length: usize) -> Option<usize> {
    PLAINTEXT_SIZES.into_iter().find(|size| *size >= length)
}

fn encrypt(prekey: &PrekeyPublic, plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let failed = |error: &dyn fmt::Display| CryptoError::Encrypt(error.to_string());
    let recipient: &dyn age::Recipient = prekey.age();
    let encryptor = age::Encryptor::with_recipients(iter::once(recipient)).map_err(|error| failed(&error))?;
    let mut out = Vec::with_capacity(plaintext.len() + 1_024);
    let mut writer = encryptor.wrap_output(&mut out).map_err(|error| failed(&error))?;
    writer.write_all(plaintext).and_then(|()| writer.finish()).map_err(|error| failed(&error))?;
    Ok(out)
}

/// An envelope that decrypts, with a binding that fits the envelope around it. Whose it is, is claimed, not proved:
/// anyone who has the prekey can make one. See [`Opened::verify`].
pub struct Opened {
    wrap: Wrap,
    plaintext: Zeroizing<Vec<u8>>,
    wrap_at: Range<usize>,
    body_at: Range<usize>,
}

/// Decrypts an envelope and checks everything that needs no key of the sender: the pre-scan, every pad byte, the exact
/// size, the body's hash, and that device, prekey and suite inside are those outside and the recipient hash is that of
/// the secret at hand.
///
/// # Errors
/// Anything that does not fit. None of them says anything about the claimed sender.
pub fn open(outer: &Outer<'_>, secret: &PrekeySecret) -> Result<Opened, CryptoError> {
    if outer.suite != secret.suite() {
        return Err(CryptoError::UnknownSuite(outer.suite));
    }
    if outer.prekey_id != secret.id() {
        return Err(CryptoError::WrongPrekey);
    }
    let limit = MAX_HEADER_BYTES + PAYLOAD_OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES;
    if outer.ciphertext.len() > limit {
        return Err(CryptoError::TooLarge { size: outer.ciphertext.len(), limit });
    }
    let payload = outer.ciphertext.len() - prescan(outer.ciphertext)?;
    // The size is visible before any key is tried: a wrong one costs the sender more than us.
    let size = payload
        .checked_sub(PAYLOAD_OVERHEAD_BYTES)
        .filter(|size| PLAINTEXT_SIZES.contains(size))
        .ok_or(CryptoError::Plaintext("the size is none of the eight"))?;
    let plaintext = decrypt(outer.ciphertext, secret, size)?;
    check(outer, secret, plaintext)
}

/// What has been decrypted: everything in it is what it must be.
fn check(outer: &Outer<'_>, secret: &PrekeySecret, plaintext: Zeroizing<Vec<u8>>) -> Result<Opened, CryptoError> {
    let (wrap_at, body_at) = find_parts(&plaintext)?;
    let wrap = Wrap::decode(&plaintext[wrap_at.clone()])?;
    if sha256(&[&plaintext[body_at.clone()]]) != wrap.body_hash {
        return Err(CryptoError::Binding("body"));
    }
    for (same, what) in [
        (wrap.to_device == outer.to_device, "device"),
        (wrap.suite == outer.suite, "suite"),
        (wrap.prekey_id == outer.prekey_id, "prekey"),
        (wrap.recipient_hash == *secret.public().recipient_hash(), "recipient"),
    ] {
        if !same {
            return Err(CryptoError::Binding(what));
        }
    }
    Ok(Opened { wrap, plaintext, wrap_at, body_at })
}

fn decrypt(ciphertext: &[u8], secret: &PrekeySecret, size: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let identity: &dyn age::Identity = secret.age();
    let mut reader = age::Decryptor::new_buffered(ciphertext)
        .and_then(|decryptor| decryptor.decrypt(iter::once(identity)))
        .map_err(|_| CryptoError::Decrypt)?;
    // Of its final size from the start: a vector that grows leaves plaintext behind.
    let mut plaintext = Zeroizing::new(vec![0; size]);
    reader.read_exact(&mut plaintext).map_err(|_| CryptoError::Decrypt)?;
    // age tells a missing last chunk only to those who read to the end.
    match reader.read(&mut [0]) {
        Ok(0) => Ok(plaintext),
        _ => Err(CryptoError::Decrypt),
    }
}

/// Where wrap and body lie; everything else is checked to be what it must be.
fn find_parts(plaintext: &[u8]) -> Result<(Range<usize>, Range<usize>), CryptoError> {
    let part = |from: usize| -> Option<Range<usize>> {
        let start = from + LENGTH_BYTES;
        let length: [u8; LENGTH_BYTES] = plaintext.get(from..start)?.try_into().ok()?;
        let end = start.checked_add(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
        (end <= plaintext.len()).then_some(start..end)
    };
    let wrap = part(SIGNATURE_BYTES).ok_or(CryptoError::Plaintext("the wrap runs past the end"))?;
    let body = part(wrap.end).ok_or(CryptoError::Plaintext("the body runs past the end"))?;
    if padded_size(body.end) != Some(plaintext.len()) {
        return Err(CryptoError::Plaintext("padded further than needed"));
    }
    if plaintext[body.end..].iter().any(|byte| *byte != 0) {
        return Err(CryptoError::Plaintext("a pad byte is not zero"));
    }
    Ok((wrap, body))
}

impl Opened {
    /// What the envelope claims: who signed it, for whom, with which record. Nothing of it is proved, and its
    /// acknowledgements must not be acted on, before [`Opened::verify`].
    pub fn wrap(&self) -> &Wrap {
        &self.wrap
    }

    /// Bytes of the plaintext, padding included.
    pub fn plaintext_len(&self) -> usize {
        self.plaintext.len()
    }

    /// Proves that the device of `device_key` sealed this, and hands out its messages. The key is the pinned one of
    /// `wrap().from_device`; it is on the caller to have it from the account `wrap().from`.
    ///
    /// # Errors
    /// [`CryptoError::BadSignature`]; [`CryptoError::WrongSigner`] when the wrap names another device;
    /// [`CryptoError::ForeignCore`] when any core names another sender, which refuses all of them.
    pub fn verify(&self, device_key: &[u8; 32]) -> Result<Cores<'_>, CryptoError> {
        let signature: &[u8; SIGNATURE_BYTES] =
            self.plaintext.first_chunk().ok_or(CryptoError::Plaintext("no signature"))?;
        verify(device_key, &[DOMAIN, &self.plaintext[self.wrap_at.clone()]], signature)?;
        if DeviceId::of_key(device_key) != self.wrap.from_device {
            return Err(CryptoError::WrongSigner);
        }
        Ok(Cores { wrap: &self.wrap, list: self.decode_cores()? })
    }

    /// As [`Opened::verify`], for a caller that takes the messages to another thread: the proof stays with them.
    ///
    /// # Errors
    /// As [`Opened::verify`].
    pub fn prove(self, device_key: &[u8; 32]) -> Result<Proved, CryptoError> {
        self.verify(device_key)?;
        Ok(Proved(self))
    }

    /// The messages of an envelope whose signer is not known yet, for one purpose: to find in a contact request the
    /// record that holds the key for [`Opened::verify`]. Nothing of it may be stored or shown before that succeeded.
    ///
    /// # Errors
    /// As [`Opened::verify`], but for the signature.
    pub fn unverified_cores(&self) -> Result<Vec<Core<'_>>, CryptoError> {
        Ok(self.decode_cores()?.into_iter().map(|(_, core)| core).collect())
    }

    fn decode_cores(&self) -> Result<Vec<(&[u8], Core<'_>)>, CryptoError> {
        let parts = decode_body(&self.plaintext[self.body_at.clone()])?;
        let mut list = Vec::with_capacity(parts.len());
        for bytes in parts {
            let core = Core::decode(bytes)?;
            if core.from != self.wrap.from || core.from_device != self.wrap.from_device {
                return Err(CryptoError::ForeignCore);
            }
            list.push((bytes, core));
        }
        Ok(list)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened(claims {}, {} bytes)", self.wrap.from_device, self.body_at.len())
    }
}

/// An envelope whose signer is proved.
#[derive(Debug)]
pub struct Proved(Opened);

impl Proved {
    /// The signed binding.
    pub fn wrap(&self) -> &Wrap {
        &self.0.wrap
    }

    /// The messages.
    ///
    /// # Errors
    /// None in practice: they were decoded when the signature was checked.
    pub fn cores(&self) -> Result<Cores<'_>, CryptoError> {
        Ok(Cores { wrap: &self.0.wrap, list: self.0.decode_cores()? })
    }
}

/// The messages of an envelope whose signer is proved. Borrows from its [`Opened`].
pub struct Cores<'o> {
    /// The signed binding; its acknowledgements are the signer's.
    pub wrap: &'o Wrap,
    /// Each core's exact bytes (for hashes), and what they say.
    pub list: Vec<(&'o [u8], Core<'o>)>,
}

impl fmt::Debug for Cores<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cores({} from {})", self.list.len(), self.wrap.from_device)
    }
}

/// The same without encryption, for simulations that make millions of envelopes: signed, laid out and checked as ever.
#[cfg(test)]
pub(crate) mod plain {
    use super::*;

    /// As [`super::seal`].
    pub(crate) fn seal(
        sender: &Sender<'_>,
        to: &SealTo,
        acks: Vec<AckEntry>,
        cores: &[&[u8]],
    ) -> Result<Vec<u8>, CryptoError> {
        seal_by(sender, to, acks, cores, MAX_TTL_SECONDS, |plaintext| Ok(plaintext.to_vec()))
    }

    /// As [`super::open`].
    pub(crate) fn open(outer: &Outer<'_>, secret: &PrekeySecret) -> Result<Opened, CryptoError> {
        check(outer, secret, Zeroizing::new(outer.ciphertext.to_vec()))
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
