//! Keys, signatures and the sealing of envelopes.
//!
//! Not its job: which key to trust (that is a pin in the store), when to rotate, what a message means. Nothing here does
//! IO, except [`keyfile`] and the streams of [`archive`].
//!
//! Invariants:
//! - Ed25519 signatures are checked with `verify_strict` only, over received bytes and behind a domain string.
//! - No age code sees a header that [`prescan`] has not accepted; passphrases are for backups only ([`archive`]), whose header has a
//!   limit of its own.
//! - Secrets are zeroized when dropped and their `Debug` prints no secret byte.

pub mod archive;
pub mod claim;
pub mod envelope;
pub mod keyfile;
pub mod keys;
pub mod prekey;
pub mod prescan;
pub mod safety;
pub mod token;

use proto::wire::WireError;
use rand::TryRng;
use rand::rngs::SysRng;

/// Why something could not be sealed, opened or verified.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Random(String),
    /// A public key that is no point of the curve, or one of small order.
    #[error("the key is not usable: {0}")]
    BadKey(&'static str),
    /// A prekey that is none, or one to which everybody would know the secret.
    #[error(transparent)]
    BadPrekey(#[from] hybrid::BadKey),
    /// The signature is not the key's.
    #[error("the signature is not valid")]
    BadSignature,
    /// The signing key is not that of the named device.
    #[error("the signing key belongs to another device than the one named")]
    WrongSigner,
    /// A suite that this program does not have.
    #[error("encryption suite {0} is not known here")]
    UnknownSuite(u8),
    /// Sealed to another prekey than the one at hand.
    #[error("the envelope is sealed to another prekey")]
    WrongPrekey,
    /// The lifetime is outside of 1..=604,800 s.
    #[error("a lifetime of {0} s is outside of 1..=604800 s")]
    BadTtl(u32),
    /// More than one envelope holds.
    #[error("{size} bytes do not fit into an envelope of {limit} bytes")]
    TooLarge {
        /// What signature, wrap and body need, in bytes.
        size: usize,
        /// What there is, in bytes.
        limit: usize,
    },
    /// The pre-scan refused the ciphertext.
    #[error("the ciphertext is refused before decryption")]
    Prescan(#[from] prescan::PrescanError),
    /// age could not encrypt.
    #[error("encryption failed: {0}")]
    Encrypt(String),
    /// The ciphertext was changed, cut, or is for another key. One error for all: more would be an oracle.
    #[error("the ciphertext does not open with this key")]
    Decrypt,
    /// The plaintext is not laid out as an envelope.
    #[error("malformed plaintext: {0}")]
    Plaintext(&'static str),
    /// The signed binding contradicts the envelope around it.
    #[error("the envelope was made for someone else: {0} differs")]
    Binding(&'static str),
    /// A core names another sender than the envelope's signer.
    #[error("a message in the envelope names another sender than the signer")]
    ForeignCore,
    /// A part breaks the wire format.
    #[error("the envelope breaks the wire format")]
    Wire(#[from] WireError),
}

/// Bytes straight from the operating system, for keys and tokens.
///
/// # Errors
/// [`CryptoError::Random`].
pub fn random_bytes<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| CryptoError::Random(error.to_string()))?;
    Ok(bytes)
}
