//! The recipient and identity of age's hybrid stanza `mlkem768x25519` (C2SP age, "Hybrid recipients"), which stays secret as long
//! as one of ML-KEM-768 (FIPS 203) and X25519 holds.
//!
//! An encryption to it is HPKE in base mode (RFC 9180) with HKDF-SHA256, ChaCha20-Poly1305, and the KEM MLKEM768-X25519 (X-Wing,
//! draft-connolly-cfrg-xwing-kem), whose secret is a seed of 32 bytes. The crate `age` has this stanza for keys in hardware
//! only; once it has this one, it replaces all that is here, under the same vectors.
//!
//! A crate of its own, so that tests are not run with lattices in an unoptimised build.
//!
//! Not its job: how long a key lives, and which of age's headers are let in.
//!
//! Invariants: no bytes of others make it panic; points of small order, to which everybody knows the secret, are refused; what
//! is secret is zeroized, as far as the libraries' own temporaries allow.

use std::collections::HashSet;
use std::io;
use std::sync::LazyLock;

use age::secrecy::ExposeSecret;
use age::{DecryptError, EncryptError};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::{bech32_decode, hkdf};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::Hrp;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use ml_kem::kem::Decapsulate;
use ml_kem::{EncapsulateDeterministic, EncodedSizeUser, KemCore, MlKem768};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use sha3::digest::{ExtendableOutput, FixedOutput, Update, XofReader};
use sha3::{Sha3_256, Shake256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a recipient: an encapsulation key of ML-KEM-768, then a point of X25519.
pub const RECIPIENT_BYTES: usize = ML_KEM_KEY_BYTES + POINT_BYTES;
/// Bytes of the seed that all of an identity follows from.
pub const SEED_BYTES: usize = 32;

const ML_KEM_KEY_BYTES: usize = 1_184;
const ML_KEM_CIPHERTEXT_BYTES: usize = 1_088;
const POINT_BYTES: usize = 32;
/// The stanza's argument: a ciphertext of ML-KEM-768, then an ephemeral share.
const ENC_BYTES: usize = ML_KEM_CIPHERTEXT_BYTES + POINT_BYTES;
/// The stanza's body: the file key and a tag.
const BODY_BYTES: usize = FILE_KEY_BYTES + 16;

const TAG: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// Stanzas with other labels are not mixed with these: each recipient of a file could open all of it.
const LABEL: &str = "postquantum";
const RECIPIENT_PREFIX: &str = "age1pq";
const IDENTITY_PREFIX: &str = "age-secret-key-pq-";

/// RFC 9180, 5.1: KEM 0x647a, KDF 1, AEAD 3.
const HPKE_SUITE: &[u8] = b"HPKE\x64\x7a\x00\x01\x00\x03";
const HPKE_VERSION: &[u8] = b"HPKE-v1";
/// The end of what X-Wing hashes.
const XWING_LABEL: &[u8] = b"\\.//^\\";

/// Bytes or a text that are no key to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not usable: {0}")]
pub struct BadKey(pub &'static str);

type EncapsulationKey = <MlKem768 as KemCore>::EncapsulationKey;
type DecapsulationKey = <MlKem768 as KemCore>::DecapsulationKey;

/// The points of small order and their other encodings, without the bit that X25519 ignores. Whatever the scalar, the shared
/// secret is zero.
const SMALL_ORDER: [[u8; POINT_BYTES]; 7] = [
    [0; POINT_BYTES],
    {
        let mut one = [0; POINT_BYTES];
        one[0] = 1;
        one
    },
    *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00",
    *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57",
    near_the_modulus(0xec),
    near_the_modulus(0xed),
    near_the_modulus(0xee),
];

/// 2^255 - 256 + `head`.
const fn near_the_modulus(head: u8) -> [u8; POINT_BYTES] {
    let mut point = [0xff; POINT_BYTES];
    (point[0], point[POINT_BYTES - 1]) = (head, 0x7f);
    point
}

/// Whether everybody knows what X25519 gives with this point.
pub fn is_small_order(point: &[u8; POINT_BYTES]) -> bool {
    let mut point = *point;
    point[POINT_BYTES - 1] &= 0x7f;
    SMALL_ORDER.contains(&point)
}

/// A public key, checked. [`age::Recipient`] says what it is for.
#[derive(Clone)]
pub struct Recipient {
    ml_kem: EncapsulationKey,
    x25519: PublicKey,
}

impl Recipient {
    /// From its [`RECIPIENT_BYTES`].
    ///
    /// # Errors
    /// [`BadKey`]: another length, numbers of ML-KEM that are not below its modulus (FIPS 203, 7.2), a point of
    /// small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        let bytes: &[u8; RECIPIENT_BYTES] =
            bytes.try_into().map_err(|_| BadKey("a recipient of this suite has 1,216 bytes"))?;
        let (ml_kem, point) = bytes.split_at(ML_KEM_KEY_BYTES);
        let encoded = ml_kem.try_into().map_err(|_| BadKey("no key of ML-KEM-768"))?;
        let key = EncapsulationKey::from_bytes(encoded);
        // The library takes any number and reduces it.
        if key.as_bytes() != *encoded {
            return Err(BadKey("a key of ML-KEM-768 that is not reduced"));
        }
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| BadKey("no point of X25519"))?;
        if is_small_order(&point) {
            return Err(BadKey("a point of X25519 of small order"));
        }
        Ok(Self { ml_kem: key, x25519: point.into() })
    }

    /// From `age1pq...`.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        Self::from_bytes(&decode_text(text, RECIPIENT_PREFIX)?)
    }

    /// See [`Self::from_bytes`].
    pub fn to_bytes(&self) -> [u8; RECIPIENT_BYTES] {
        let mut bytes = [0; RECIPIENT_BYTES];
        bytes[..ML_KEM_KEY_BYTES].copy_from_slice(&self.ml_kem.as_bytes());
        bytes[ML_KEM_KEY_BYTES..].copy_from_slice(self.x25519.as_bytes());
        bytes
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let failed = |what: &str| EncryptError::Io(io::Error::other(what.to_owned()));
        let random = || {
            let mut bytes = Zeroizing::new([0; 32]);
            SysRng.try_fill_bytes(&mut *bytes).map_err(|_| failed("the operating system gave no randomness"))?;
            Ok::<_, EncryptError>(bytes)
        };
        let (message, ephemeral) = (random()?, StaticSecret::from(*random()?));
        let (ciphertext, mut pq_secret) = self
            .ml_kem
            .encapsulate_deterministic(&(*message).into())
            .map_err(|()| failed("ML-KEM-768 did not encapsulate"))?;
        let share = PublicKey::from(&ephemeral);
        let curve_secret = ephemeral.diffie_hellman(&self.x25519);
        // Refused when the key was taken in; and if it were not, everybody could open the file.
        if !curve_secret.was_contributory() {
            return Err(failed("a point of X25519 of small order"));
        }
        let shared = combine(&pq_secret, curve_secret.as_bytes(), &share, &self.x25519);
        pq_secret.zeroize();
        let (key, nonce) = schedule(&shared);
        let body = ChaCha20Poly1305::new((&*key).into())
            .encrypt((&nonce).into(), file_key.expose_secret().as_slice())
            .map_err(|_| failed("the file key was not encrypted"))?;
        let mut enc = [0; ENC_BYTES];
        enc[..ML_KEM_CIPHERTEXT_BYTES].copy_from_slice(&ciphertext);
        enc[ML_KEM_CIPHERTEXT_BYTES..].copy_from_slice(share.as_bytes());
        let stanza = Stanza { tag: TAG.to_owned(), args: vec![BASE64_STANDARD_NO_PAD.encode(enc)], body };
        Ok((vec![stanza], HashSet::from([LABEL.to_owned()])))
    }
}

/// A secret key. Zeroized on drop.
pub struct Identity {
    seed: Zeroizing<[u8; SEED_BYTES]>,
    ml_kem: DecapsulationKey,
    x25519: StaticSecret,
    public: Recipient,
}

impl Identity {
    /// All of it follows from the seed.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        let mut expanded = Zeroizing::new([0; 96]);
        let mut hash = Shake256::default();
        hash.update(seed);
        hash.finalize_xof().read(&mut *expanded);
        let part = |index: usize| {
            let mut part = Zeroizing::new([0; 32]);
            part.copy_from_slice(&expanded[32 * index..32 * (index + 1)]);
            part
        };
        let (ml_kem, public) = MlKem768::generate_deterministic(&(*part(0)).into(), &(*part(1)).into());
        let x25519 = StaticSecret::from(*part(2));
        let public = Recipient { ml_kem: public, x25519: PublicKey::from(&x25519) };
        Self { seed: Zeroizing::new(*seed), ml_kem, x25519, public }
    }

    /// From `AGE-SECRET-KEY-PQ-1...`.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let seed = decode_text(text, IDENTITY_PREFIX)?;
        let seed = seed.as_slice().try_into().map_err(|_| BadKey("a seed of this suite has 32 bytes"))?;
        Ok(Self::from_seed(seed))
    }

    /// The public half.
    pub fn public(&self) -> &Recipient {
        &self.public
    }

    /// What is to be stored.
    pub fn seed(&self) -> &[u8; SEED_BYTES] {
        &self.seed
    }

    /// The file key that a stanza holds; `None` if it is for another key.
    fn unwrap(&self, enc: &[u8; ENC_BYTES], body: &[u8]) -> Result<Option<FileKey>, DecryptError> {
        let (ciphertext, share) = enc.split_at(ML_KEM_CIPHERTEXT_BYTES);
        let share: [u8; POINT_BYTES] = share.try_into().map_err(|_| DecryptError::InvalidHeader)?;
        let share = PublicKey::from(share);
        let curve_secret = self.x25519.diffie_hellman(&share);
        if !curve_secret.was_contributory() {
            return Err(DecryptError::InvalidHeader);
        }
        let ciphertext = ciphertext.try_into().map_err(|_| DecryptError::InvalidHeader)?;
        // A ciphertext for another key gives another secret, and is told by the tag.
        let mut pq_secret = self.ml_kem.decapsulate(ciphertext).map_err(|()| DecryptError::InvalidHeader)?;
        let shared = combine(&pq_secret, curve_secret.as_bytes(), &share, &self.public.x25519);
        pq_secret.zeroize();
        let (key, nonce) = schedule(&shared);
        let opened = ChaCha20Poly1305::new((&*key).into()).decrypt((&nonce).into(), body).map(Zeroizing::new);
        // The body's length was checked: it is the file key's.
        Ok(opened.ok().map(|file_key| FileKey::init_with_mut(|slot| slot.copy_from_slice(&file_key))))
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        let mut enc = [0; ENC_BYTES];
        // Checked before it is decrypted: a longer file key could be made to open under two keys.
        let sound = stanza.body.len() == BODY_BYTES
            && matches!(stanza.args.as_slice(), [arg] if BASE64_STANDARD_NO_PAD.decode_slice(arg, &mut enc) == Ok(ENC_BYTES));
        if !sound {
            return Some(Err(DecryptError::InvalidHeader));
        }
        self.unwrap(&enc, &stanza.body).transpose()
    }
}

/// X-Wing's secret, out of those of both halves.
fn combine(ml_kem: &[u8], x25519: &[u8; POINT_BYTES], share: &PublicKey, public: &PublicKey) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha3_256::default();
    for part in [ml_kem, x25519, share.as_bytes(), public.as_bytes(), XWING_LABEL] {
        hash.update(part);
    }
    let mut secret = Zeroizing::new([0; 32]);
    hash.finalize_into((&mut *secret).into());
    secret
}

/// Key and nonce of the one message (RFC 9180, 5.1, base mode).
fn schedule(shared: &[u8; 32]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
    // The same for all keys: mode, hash of no pre-shared key's name, hash of what it is for.
    static CONTEXT: LazyLock<Vec<u8>> =
        LazyLock::new(|| [&[0][..], &extract(b"psk_id_hash", b""), &extract(b"info_hash", INFO)].concat());
    let secret = [HPKE_VERSION, HPKE_SUITE, b"secret"].concat();
    let expand = |length: u8, label: &[u8]| {
        let info = [&[0, length], HPKE_VERSION, HPKE_SUITE, label, &**CONTEXT].concat();
        // Extracts and expands; a shorter output is the beginning of a longer one.
        Zeroizing::new(hkdf(shared, &info, &secret))
    };
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&expand(12, b"base_nonce")[..12]);
    (expand(32, b"key"), nonce)
}

/// HKDF-Extract without a salt, which is HMAC-SHA256 under a key of zeros, of what RFC 9180 puts around `text`.
fn extract(label: &[u8], text: &[u8]) -> [u8; 32] {
    let inner = Sha256::digest([&[0x36; 64], HPKE_VERSION, HPKE_SUITE, label, text].concat());
    Sha256::digest([&[0x5c; 64][..], &inner].concat()).into()
}

fn decode_text(text: &str, prefix: &str) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let prefix = Hrp::parse(prefix).map_err(|_| BadKey("not a Bech32 prefix"))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(RECIPIENT_BYTES + 1));
    bech32_decode(
        text,
        |_| BadKey("not Bech32"),
        |found| if found == prefix { Ok(()) } else { Err(BadKey("the key is of another kind")) },
        |_, decoded| {
            // As much as there is room for, so that no copy of a secret is left behind by growing.
            bytes.extend(decoded.take(RECIPIENT_BYTES + 1));
            Ok(bytes)
        },
    )
}

#[cfg(test)]
mod tests;
