//! Prekeys: the short-lived age keys that envelopes are sealed to.
//!
//! Not its job: when to rotate, publish or destroy them (the store and its owner decide, by times kept here); which of a
//! record's is taken ([`crate::policy::suite`]).

use std::fmt;

use hybrid::{BadKey, Identity, RECIPIENT_BYTES, Recipient, SEED_BYTES};
use proto::ids::{PrekeyId, recipient_hash};
use proto::wire::SUITE_HYBRID;
use zeroize::Zeroizing;

use super::{CryptoError, random_bytes};

/// Seconds after its creation in which senders may seal to a prekey: 7 days.
pub const PREKEY_LIFETIME_SECONDS: i64 = 7 * 86_400;

/// The public half of a prekey, checked and ready to seal to.
#[derive(Clone)]
pub struct PrekeyPublic {
    suite: u8,
    recipient_hash: [u8; 32],
    id: PrekeyId,
    age: Recipient,
}

impl PrekeyPublic {
    /// From a record's entry. Costs some microseconds: parse once, seal often.
    ///
    /// # Errors
    /// [`CryptoError::UnknownSuite`]; [`CryptoError::BadPrekey`] for a wrong length, a key that is not reduced, and a point of
    /// small order, to which everybody would know the key.
    pub fn new(suite: u8, recipient: &[u8]) -> Result<Self, CryptoError> {
        check_suite(suite)?;
        Ok(Self::of(suite, Recipient::from_bytes(recipient)?))
    }

    fn of(suite: u8, age: Recipient) -> Self {
        let recipient_hash = recipient_hash(suite, &age.to_bytes());
        Self { suite, recipient_hash, id: PrekeyId::of_recipient_hash(&recipient_hash), age }
    }

    /// The suite.
    pub fn suite(&self) -> u8 {
        self.suite
    }

    /// The raw public key, as a record holds it.
    pub fn recipient(&self) -> [u8; RECIPIENT_BYTES] {
        self.age.to_bytes()
    }

    /// `SHA-256("chatd/prekey/1\0" || suite || recipient)`.
    pub fn recipient_hash(&self) -> &[u8; 32] {
        &self.recipient_hash
    }

    /// The first 8 bytes of the hash.
    pub fn id(&self) -> PrekeyId {
        self.id
    }

    pub(super) fn age(&self) -> &Recipient {
        &self.age
    }
}

fn check_suite(suite: u8) -> Result<(), CryptoError> {
    if suite == SUITE_HYBRID { Ok(()) } else { Err(CryptoError::UnknownSuite(suite)) }
}

impl PartialEq for PrekeyPublic {
    fn eq(&self, other: &Self) -> bool {
        self.recipient_hash == other.recipient_hash
    }
}

impl Eq for PrekeyPublic {}

impl fmt::Debug for PrekeyPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeyPublic({}, suite {})", self.id, self.suite)
    }
}

/// A prekey with its secret. Zeroized on drop.
pub struct PrekeySecret {
    public: PrekeyPublic,
    age: Identity,
    created: i64,
    not_after: i64,
}

impl PrekeySecret {
    /// A fresh prekey of suite 2, valid from `now` (Unix seconds) for [`PREKEY_LIFETIME_SECONDS`].
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(now: i64) -> Result<Self, CryptoError> {
        let seed: Zeroizing<[u8; SEED_BYTES]> = Zeroizing::new(random_bytes()?);
        Self::from_stored(SUITE_HYBRID, &*seed, now, now.saturating_add(PREKEY_LIFETIME_SECONDS))
    }

    /// What [`PrekeySecret::secret_bytes`] and the times gave, back from the store.
    ///
    /// # Errors
    /// [`CryptoError::UnknownSuite`]; [`CryptoError::BadPrekey`] when the stored bytes are no seed.
    pub fn from_stored(suite: u8, seed: &[u8], created: i64, not_after: i64) -> Result<Self, CryptoError> {
        check_suite(suite)?;
        let seed = seed.try_into().map_err(|_| BadKey("a seed of this suite has 32 bytes"))?;
        let age = Identity::from_seed(seed);
        let public = PrekeyPublic::of(suite, age.public().clone());
        Ok(Self { public, age, created, not_after })
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

    /// The seed that the secret keys follow from, to be stored where it can be destroyed.
    pub fn secret_bytes(&self) -> &[u8; SEED_BYTES] {
        self.age.seed()
    }

    /// When it was made, in Unix seconds.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// After this, in Unix seconds, no sender seals to it.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn age(&self) -> &Identity {
        &self.age
    }
}

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeySecret({}, created {}, not after {})", self.public.id, self.created, self.not_after)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stored_and_loaded_it_is_the_same() {
        let made = PrekeySecret::generate(1_000).unwrap();
        assert_eq!((made.created(), made.not_after()), (1_000, 1_000 + 604_800));
        let loaded = PrekeySecret::from_stored(2, made.secret_bytes(), made.created(), made.not_after()).unwrap();
        assert_eq!(loaded.public(), made.public());
        let sent = PrekeyPublic::new(2, &made.public().recipient()).unwrap();
        assert_eq!(&sent, made.public());
        assert_eq!(sent.id(), made.id());
        assert_eq!(sent.id().as_bytes(), &sent.recipient_hash()[..8]);
        assert_ne!(PrekeySecret::generate(1_000).unwrap().id(), made.id());
    }

    #[test]
    fn of_this_suite_and_no_other() {
        let seed = [7; 32];
        let good = PrekeySecret::from_stored(2, &seed, 0, 0).unwrap();
        assert!(matches!(PrekeySecret::from_stored(2, &[9; 33], 0, 0), Err(CryptoError::BadPrekey(_))));
        for other in [0, 1, 3, 255] {
            let public = PrekeyPublic::new(other, &good.public().recipient());
            assert!(matches!(public, Err(CryptoError::UnknownSuite(suite)) if suite == other));
            let secret = PrekeySecret::from_stored(other, &seed, 0, 0);
            assert!(matches!(secret, Err(CryptoError::UnknownSuite(suite)) if suite == other));
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let prekey = PrekeySecret::from_stored(2, &[7; 32], 0, 0).unwrap();
        let shown = format!("{prekey:?}");
        assert!(!shown.contains("07, 7") && !shown.contains("0707"), "{shown}");
    }
}
