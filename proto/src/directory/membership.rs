//! Membership: a directory's signed word that an account has a name in its domain, and the proof that a directory has
//! its key.
//!
//! A record names its own origin, which anybody can write. Whoever asks somebody of a domain to be a contact shows a
//! statement of that domain's directory beside it: `[bin body, bin signature]`, at most [`MAX_MEMBERSHIP_BYTES`]. It
//! names the account and no device: the record that comes with it says which devices are the account's.
//!
//! Not the job: which key a domain's directory has. Members pin it when they register (see docs/directory-api.md).

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};

use super::api::{Base64, sized};
use super::{join, split, verified};
use crate::ids::AccountId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// Bytes of an encoded [`SignedMembership`] at most: a domain of 253 bytes, and room.
pub const MAX_MEMBERSHIP_BYTES: usize = 512;
/// Seconds that a statement holds: so long may a member be away from its directory and still be believed, and so long is
/// one believed who is a member no more.
pub const MEMBERSHIP_SECONDS: i64 = 86_400;
/// How far the clocks of a directory and of whoever reads its word may differ, in seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 300;
/// Bytes of the challenge that a directory signs to show its key.
pub const CHALLENGE_BYTES: usize = 32;

const DOMAIN: &str = "chatd/member/1";
const FIELDS: usize = 6;
/// Bytes of a domain at most (RFC 1035, section 2.3.4, as text).
const MAX_ORIGIN_BYTES: usize = 253;

/// Why a statement proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Not the encoding.
    #[error("the statement of membership cannot be read")]
    Wire(#[from] WireError),
    /// Of another directory than the one that is known for the domain.
    #[error("the statement of membership is by another key than the directory's")]
    Key,
    /// The signature is wrong.
    #[error("the statement of membership is not signed by the directory")]
    Signature,
    /// About another domain.
    #[error("the statement of membership is of another domain")]
    Domain,
    /// About somebody else.
    #[error("the statement of membership is of another account")]
    Account,
    /// Over, not begun yet, or for longer than any may be.
    #[error("the statement of membership does not hold now")]
    Expired,
}

/// A directory says: this account is one of mine. Fields in the order of the encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The domain, in lower case.
    pub origin: String,
    /// The directory's identity key, which signs this.
    pub key: [u8; 32],
    /// Who.
    pub account: AccountId,
    /// Unix seconds by the directory's clock.
    pub issued: i64,
    /// The same; at most [`MEMBERSHIP_SECONDS`] later.
    pub expires: i64,
}

impl Membership {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_MEMBERSHIP_BYTES);
        write::array(&mut out, FIELDS);
        write::str(&mut out, DOMAIN);
        write::str(&mut out, &self.origin);
        write::bin(&mut out, &self.key);
        write::bin(&mut out, &self.account.0);
        write::sint(&mut out, self.issued);
        write::sint(&mut out, self.expires);
        out
    }

    fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.array_of(FIELDS, "membership")?;
        if r.str("membership domain")? != DOMAIN {
            return Err(WireError::Malformed("membership domain"));
        }
        let origin = r.str("membership origin")?.to_owned();
        if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES {
            return Err(WireError::Malformed("membership origin"));
        }
        let key = r.fixed("membership key")?;
        let account = r.account("membership account")?;
        let (issued, expires) = (r.i64("membership issued")?, r.i64("membership expires")?);
        r.finish("membership")?;
        Ok(Self { origin, key, account, issued, expires })
    }
}

/// A statement's exact bytes and the directory's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMembership {
    /// What was signed.
    pub body: Vec<u8>,
    /// Ed25519 by the directory's key.
    pub signature: [u8; 64],
}

impl SignedMembership {
    /// A statement of this moment, by the directory of a domain.
    pub fn issue(origin: &str, account: AccountId, now: i64, key: &SigningKey) -> Self {
        let membership = Membership {
            origin: origin.to_owned(),
            key: key.verifying_key().to_bytes(),
            account,
            issued: now,
            expires: now.saturating_add(MEMBERSHIP_SECONDS),
        };
        Self::sign(&membership, key)
    }

    /// Signs a statement, whatever it says.
    pub fn sign(membership: &Membership, key: &SigningKey) -> Self {
        let body = membership.encode();
        let signature = key.sign(&body).to_bytes();
        Self { body, signature }
    }

    /// `[bin body, bin signature]`.
    pub fn encode(&self) -> Vec<u8> {
        join(&self.body, &self.signature)
    }

    /// Splits body and signature; nothing is verified.
    ///
    /// # Errors
    /// When it is too large or not the encoding, of which there is one.
    pub fn decode(bytes: &[u8]) -> Result<Self, MembershipError> {
        let (body, signature) = split(bytes, MAX_MEMBERSHIP_BYTES, "signed membership")?;
        Ok(Self { body, signature })
    }

    /// What it says, without any check: to know whose key to check it by.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn peek(&self) -> Result<Membership, MembershipError> {
        Ok(Membership::decode(&self.body)?)
    }

    /// Checks that the directory whose key this is says so of this account and domain, now (Unix seconds).
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn verify(
        &self,
        key: &[u8; 32],
        origin: &str,
        account: AccountId,
        now: i64,
    ) -> Result<Membership, MembershipError> {
        let said = self.peek()?;
        if said.origin != origin {
            return Err(MembershipError::Domain);
        }
        if said.account != account {
            return Err(MembershipError::Account);
        }
        if said.key != *key {
            return Err(MembershipError::Key);
        }
        let life = said.expires.saturating_sub(said.issued);
        let begun = said.issued <= now.saturating_add(CLOCK_SKEW_SECONDS);
        let over = said.expires.saturating_add(CLOCK_SKEW_SECONDS) <= now;
        if !(0..=MEMBERSHIP_SECONDS).contains(&life) || !begun || over {
            return Err(MembershipError::Expired);
        }
        if !verified(key, &self.body, &self.signature) {
            return Err(MembershipError::Signature);
        }
        Ok(said)
    }
}

/// `GET /v1/directory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryAnswer {
    /// The domain that this directory serves.
    pub origin: String,
    /// Its identity key, 32 bytes in hex.
    pub key: String,
    /// With `?challenge=`: by that key over [`identity_message`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Base64>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `GET /v1/membership`, for whoever shows the bearer token of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipAnswer {
    /// An encoded [`SignedMembership`].
    pub membership: Base64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `"chatd/directory/1\0" || sized(origin) || sized(challenge)`, signed by a directory's key to show that it has it.
pub fn identity_message(origin: &str, challenge: &[u8; CHALLENGE_BYTES]) -> Vec<u8> {
    [&b"chatd/directory/1\0"[..], &sized(origin.as_bytes()), &sized(challenge)].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_760_000_000;
    const HOME: &str = "example.org";

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(n: u8) -> [u8; 32] {
        key(n).verifying_key().to_bytes()
    }

    fn alice() -> AccountId {
        AccountId([0xa1; 16])
    }

    #[test]
    fn a_statement_holds_for_its_directory_domain_account_and_day() {
        let signed = SignedMembership::issue(HOME, alice(), NOW, &key(1));
        let bytes = signed.encode();
        assert!(bytes.len() <= MAX_MEMBERSHIP_BYTES);
        let signed = SignedMembership::decode(&bytes).unwrap();
        let check = |key, origin, account, now| signed.verify(&public(key), origin, account, now).map(drop);
        assert_eq!(check(1, HOME, alice(), NOW), Ok(()));
        assert_eq!(check(1, HOME, alice(), NOW - CLOCK_SKEW_SECONDS), Ok(()), "a clock that is behind");
        let last = NOW + MEMBERSHIP_SECONDS + CLOCK_SKEW_SECONDS - 1;
        assert_eq!(check(1, HOME, alice(), last), Ok(()), "a clock that is ahead");
        for (key, origin, account, now, error) in [
            (2, HOME, alice(), NOW, MembershipError::Key),
            (1, "example.com", alice(), NOW, MembershipError::Domain),
            (1, HOME, AccountId([0xa2; 16]), NOW, MembershipError::Account),
            (1, HOME, alice(), last + 1, MembershipError::Expired),
            (1, HOME, alice(), NOW - CLOCK_SKEW_SECONDS - 1, MembershipError::Expired),
        ] {
            assert_eq!(check(key, origin, account, now), Err(error));
        }
    }

    #[test]
    fn a_statement_has_one_encoding() {
        let bytes = SignedMembership::issue(HOME, alice(), NOW, &key(1)).encode();
        // The same body, as bytes with a length of two bytes.
        assert_eq!(bytes[..2], [0x92, 0xc4]);
        let longer = [&[0x92, 0xc5, 0], &bytes[2..]].concat();
        assert!(SignedMembership::decode(&bytes).is_ok() && SignedMembership::decode(&longer).is_err());
    }

    #[test]
    fn no_statement_is_for_ever_and_none_is_for_nobody() {
        let said = Membership { origin: HOME.into(), key: public(1), account: alice(), issued: NOW, expires: NOW };
        for (issued, expires) in [(NOW, NOW + MEMBERSHIP_SECONDS + 1), (i64::MIN, i64::MAX), (NOW, NOW - 1)] {
            let signed = SignedMembership::sign(&Membership { issued, expires, ..said.clone() }, &key(1));
            let result = signed.verify(&public(1), HOME, alice(), NOW);
            assert_eq!(result, Err(MembershipError::Expired), "{issued}..{expires}");
        }
        let signed = SignedMembership::sign(&Membership { origin: String::new(), ..said.clone() }, &key(1));
        assert!(matches!(signed.verify(&public(1), "", alice(), NOW), Err(MembershipError::Wire(_))));
        // Says one key and is signed by another.
        let signed = SignedMembership::sign(&Membership { expires: NOW + 60, ..said }, &key(2));
        assert_eq!(signed.verify(&public(1), HOME, alice(), NOW), Err(MembershipError::Signature));
    }

    #[test]
    fn what_a_directory_signs_is_exact() {
        let expected = [&b"chatd/directory/1\0\0\x0bexample.org\0\x20"[..], &[7; 32]].concat();
        assert_eq!(identity_message(HOME, &[7; 32]), expected);
        let signed = SignedMembership::issue(HOME, alice(), NOW, &key(1));
        let body = [
            &b"\x96\xaechatd/member/1\xabexample.org\xc4\x20"[..],
            &public(1),
            b"\xc4\x10",
            &[0xa1; 16],
            b"\xce\x68\xe7\x78\x00\xce\x68\xe8\xc9\x80",
        ]
        .concat();
        assert_eq!(signed.body, body);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(bit in 0usize..1_600) {
            let mut bytes = SignedMembership::issue(HOME, alice(), NOW, &key(1)).encode();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let result = SignedMembership::decode(&bytes).and_then(|s| s.verify(&public(1), HOME, alice(), NOW));
            prop_assert!(result.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = SignedMembership::decode(&bytes).and_then(|s| s.verify(&public(1), HOME, alice(), NOW));
        }
    }
}
