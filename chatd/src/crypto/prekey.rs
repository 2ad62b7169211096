//! Prekeys: the short-lived age keys that envelopes are sealed to.
//!
//! Not its job: when to rotate, publish or destroy them (the store and its owner decide, by times kept here).

use std::fmt;

use bech32::{Bech32, Hrp};
use proto::ids::{PrekeyId, hex, recipient_hash};
use proto::wire::SUITE_X25519;
use zeroize::Zeroizing;

use super::{CryptoError, random_bytes};

/// Seconds after its creation in which senders may seal to a prekey: 7 days.
pub const PREKEY_LIFETIME_SECONDS: i64 = 7 * 86_400;

/// age's human-readable prefixes (C2SP age, "X25519 recipients").
const RECIPIENT_PREFIX: &str = "age";
const IDENTITY_PREFIX: &str = "age-secret-key-";

/// The public half of a prekey, checked and ready to seal to.
#[derive(Clone)]
pub struct PrekeyPublic {
    suite: u8,
    recipient: [u8; 32],
    recipient_hash: [u8; 32],
    id: PrekeyId,
    age: age::x25519::Recipient,
}

impl PrekeyPublic {
    /// From a record's entry. Costs a curve operation: parse once, seal often.
    ///
    /// # Errors
    /// [`CryptoError::UnknownSuite`]; [`CryptoError::BadKey`] for a wrong length, and for a point of small order, to
    /// which everybody would know the key.
    pub fn new(suite: u8, recipient: &[u8]) -> Result<Self, CryptoError> {
        if suite != SUITE_X25519 {
            return Err(CryptoError::UnknownSuite(suite));
        }
        let recipient: [u8; 32] =
            recipient.try_into().map_err(|_| CryptoError::BadKey("an X25519 recipient is 32 bytes"))?;
        // age panics on these while it seals; a peer chooses these bytes, so they are refused here. Any scalar tells:
        // clamping makes it a multiple of the cofactor.
        if x25519_dalek::x25519([1; 32], recipient) == [0; 32] {
            return Err(CryptoError::BadKey("an X25519 recipient of small order"));
        }
        let age = parse_recipient(&recipient)?;
        let recipient_hash = recipient_hash(suite, &recipient);
        Ok(Self { suite, recipient, recipient_hash, id: PrekeyId::of_recipient_hash(&recipient_hash), age })
    }

    /// The suite.
    pub fn suite(&self) -> u8 {
        self.suite
    }

    /// The raw X25519 public key.
    pub fn recipient(&self) -> &[u8; 32] {
        &self.recipient
    }

    /// `SHA-256("chatd/prekey/1\0" || suite || recipient)`.
    pub fn recipient_hash(&self) -> &[u8; 32] {
        &self.recipient_hash
    }

    /// The first 8 bytes of the hash.
    pub fn id(&self) -> PrekeyId {
        self.id
    }

    pub(super) fn age(&self) -> &age::x25519::Recipient {
        &self.age
    }
}

impl PartialEq for PrekeyPublic {
    fn eq(&self, other: &Self) -> bool {
        self.recipient_hash == other.recipient_hash
    }
}

impl Eq for PrekeyPublic {}

impl fmt::Debug for PrekeyPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeyPublic({}, suite {}, {})", self.id, self.suite, hex(&self.recipient))
    }
}

/// A prekey with its secret. Zeroized on drop.
pub struct PrekeySecret {
    public: PrekeyPublic,
    secret: Zeroizing<[u8; 32]>,
    age: age::x25519::Identity,
    created: i64,
    not_after: i64,
}

impl PrekeySecret {
    /// A fresh prekey of suite 1, valid from `now` (Unix seconds) for [`PREKEY_LIFETIME_SECONDS`].
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(now: i64) -> Result<Self, CryptoError> {
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes()?);
        Self::from_stored(SUITE_X25519, &*secret, now, now.saturating_add(PREKEY_LIFETIME_SECONDS))
    }

    /// What [`PrekeySecret::secret_bytes`] and the times gave, back from the store.
    ///
    /// # Errors
    /// [`CryptoError::UnknownSuite`]; [`CryptoError::BadKey`] when the stored bytes are no secret.
    pub fn from_stored(suite: u8, secret: &[u8], created: i64, not_after: i64) -> Result<Self, CryptoError> {
        if suite != SUITE_X25519 {
            return Err(CryptoError::UnknownSuite(suite));
        }
        let secret: [u8; 32] = secret.try_into().map_err(|_| CryptoError::BadKey("an X25519 secret is 32 bytes"))?;
        let secret = Zeroizing::new(secret);
        let age = parse_identity(&secret)?;
        let public = PrekeyPublic::new(suite, &recipient_bytes(&age.to_public())?)?;
        Ok(Self { public, secret, age, created, not_after })
    }

    /// The public half.
    pub fn public(&self) -> &PrekeyPublic {
        &self.public
    }

    /// The prekey's id.
    pub fn id(&self) -> PrekeyId {
        self.public.id
    }

    /// The suite.
    pub fn suite(&self) -> u8 {
        self.public.suite
    }

    /// The secret scalar, to be stored where it can be destroyed.
    pub fn secret_bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// When it was made, in Unix seconds.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// After this, in Unix seconds, no sender seals to it.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn age(&self) -> &age::x25519::Identity {
        &self.age
    }
}

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeySecret({}, created {}, not after {})", self.public.id, self.created, self.not_after)
    }
}

// age's types know only their Bech32 texts. Where raw bytes are wanted, these three go through them.

fn parse_recipient(bytes: &[u8; 32]) -> Result<age::x25519::Recipient, CryptoError> {
    let text = bech32_text(RECIPIENT_PREFIX, bytes)?;
    text.parse().map_err(CryptoError::BadKey)
}

fn parse_identity(secret: &[u8; 32]) -> Result<age::x25519::Identity, CryptoError> {
    let text = bech32_text(IDENTITY_PREFIX, secret)?;
    text.parse().map_err(CryptoError::BadKey)
}

fn recipient_bytes(recipient: &age::x25519::Recipient) -> Result<Vec<u8>, CryptoError> {
    let (_, bytes) = bech32::decode(&recipient.to_string()).map_err(|_| CryptoError::BadKey("not Bech32"))?;
    Ok(bytes)
}

/// Room for either text, so that the string never grows and leaves a copy of a secret behind.
const BECH32_CAPACITY: usize = 96;

fn bech32_text(prefix: &str, bytes: &[u8; 32]) -> Result<Zeroizing<String>, CryptoError> {
    let prefix = Hrp::parse(prefix).map_err(|_| CryptoError::BadKey("not a Bech32 prefix"))?;
    let mut text = Zeroizing::new(String::with_capacity(BECH32_CAPACITY));
    bech32::encode_lower_to_fmt::<Bech32, String>(&mut text, prefix, bytes)
        .map_err(|_| CryptoError::BadKey("not representable in Bech32"))?;
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stored_and_loaded_it_is_the_same() {
        let made = PrekeySecret::generate(1_000).unwrap();
        assert_eq!((made.created(), made.not_after()), (1_000, 1_000 + 604_800));
        let loaded = PrekeySecret::from_stored(1, made.secret_bytes(), made.created(), made.not_after()).unwrap();
        assert_eq!(loaded.public(), made.public());
        let sent = PrekeyPublic::new(1, made.public().recipient()).unwrap();
        assert_eq!(&sent, made.public());
        assert_eq!(sent.id(), made.id());
        assert_eq!(sent.id().as_bytes(), &sent.recipient_hash()[..8]);
        assert_ne!(PrekeySecret::generate(1_000).unwrap().id(), made.id());
    }

    #[test]
    fn bytes_are_those_of_age() {
        // Identity and recipient of the age crate's own test.
        let identity = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let (_, secret) = bech32::decode(identity).unwrap();
        let prekey = PrekeySecret::from_stored(1, &secret, 0, 0).unwrap();
        assert_eq!(prekey.public().age().to_string(), "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa");
    }

    #[test]
    fn recipients_to_which_everybody_knows_the_key_are_refused() {
        let ones = |head: u8| {
            let mut u = [0xff; 32];
            (u[0], u[31]) = (head, 0x7f);
            u
        };
        let mut one = [0; 32];
        one[0] = 1;
        let order_8 = proto::ids::unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800").unwrap();
        for low in [[0; 32], one, order_8, ones(0xec), ones(0xed), ones(0xee)] {
            assert!(matches!(PrekeyPublic::new(1, &low), Err(CryptoError::BadKey(_))), "{low:?}");
        }
        assert!(matches!(PrekeyPublic::new(1, &[9; 31]), Err(CryptoError::BadKey(_))));
        assert!(matches!(PrekeyPublic::new(2, &[9; 32]), Err(CryptoError::UnknownSuite(2))));
        assert!(matches!(PrekeySecret::from_stored(1, &[9; 33], 0, 0), Err(CryptoError::BadKey(_))));
    }

    #[test]
    fn debug_hides_the_secret() {
        let prekey = PrekeySecret::from_stored(1, &[7; 32], 0, 0).unwrap();
        let shown = format!("{prekey:?}");
        assert!(!shown.contains("07, 7") && !shown.contains("0707"), "{shown}");
    }
}
