//! Fixed-size identifiers.
//!
//! Each is a newtype over bytes. In human-readable formats (JSON, and MessagePack-RPC, where ids are strings so that a
//! stock client can print them) an id is lowercase hex, or a hyphenated UUID for [`MessageId`]; on the wire between
//! peers it is raw bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Text that is no id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct ParseIdError {
    /// The text, cut to 80 characters.
    pub text: String,
    /// What was expected, with its length.
    pub what: &'static str,
}

impl ParseIdError {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what }
    }
}

/// Lowercase hex of any bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// Bytes of a hex string of exactly `2 * N` digits; `None` for anything else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0u8; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(out)
}

/// Serde of a fixed-size byte array as a MessagePack `bin`, or as hex where the format is human-readable.
/// For use as `#[serde(with = "proto::ids::bytes_serde")]`.
pub mod bytes_serde {
    use super::*;

    /// See the module.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&hex(bytes)) } else { s.serialize_bytes(bytes) }
    }

    /// See the module.
    ///
    /// # Errors
    /// When the input is not exactly `N` bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
        struct Bytes<const N: usize>;
        impl<const N: usize> de::Visitor<'_> for Bytes<N> {
            type Value = [u8; N];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<[u8; N], E> {
                v.try_into().map_err(|_| E::invalid_length(v.len(), &self))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<[u8; N], E> {
                unhex(v).ok_or_else(|| E::custom(format_args!("expected {} hex digits", 2 * N)))
            }
        }
        if d.is_human_readable() { d.deserialize_str(Bytes::<N>) } else { d.deserialize_bytes(Bytes::<N>) }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// From a slice of exactly the right length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                unhex(text).map(Self).ok_or_else(|| ParseIdError::new(text, $what))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                bytes_serde::serialize(&self.0, s)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                bytes_serde::deserialize(d).map(Self)
            }
        }
    };
}

id! {
    /// Names a person for ever: hash of the first identity key, unchanged by rotation.
    AccountId, 16, "an account id (32 hex digits)"
}
id! {
    /// An account on a node: hash of the device's signing key.
    DeviceId, 16, "a device id (32 hex digits)"
}
id! {
    /// A daemon's transport key (iroh's EndpointId).
    NodeId, 32, "a node id (64 hex digits)"
}
id! {
    /// A direct conversation, a group or a channel.
    ConversationId, 16, "a conversation id (32 hex digits)"
}
id! {
    /// A SHA-256 hash, or a public key, where it is neither an id nor to be read.
    Hex32, 32, "64 hex digits"
}
id! {
    /// The log of a group at a directory: hash of its first root key, so that nobody else can have it.
    LogId, 16, "a log id (32 hex digits)"
}
id! {
    /// A run of sequence numbers of one device; see docs/wire.md, "Epoch".
    Epoch, 8, "an epoch (16 hex digits)"
}
id! {
    /// The first 8 bytes of a prekey's recipient hash.
    PrekeyId, 8, "a prekey id (16 hex digits)"
}

fn tagged_hash<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut out = [0u8; N];
    out.copy_from_slice(&hash.finalize()[..N]);
    out
}

impl AccountId {
    /// `SHA-256("chatd/account/1\0" || first identity key)[..16]`.
    pub fn of_first_key(first_identity_key: &[u8; 32]) -> Self {
        Self(tagged_hash(&[b"chatd/account/1\0", first_identity_key]))
    }
}

impl DeviceId {
    /// `SHA-256("chatd/device/1\0" || device signing key)[..16]`.
    pub fn of_key(device_key: &[u8; 32]) -> Self {
        Self(tagged_hash(&[b"chatd/device/1\0", device_key]))
    }
}

impl LogId {
    /// `SHA-256("chatd/glog/1\0" || first root key)[..16]`.
    pub fn of_root_key(root_key: &[u8; 32]) -> Self {
        Self(tagged_hash(&[b"chatd/glog/1\0", root_key]))
    }
}

impl ConversationId {
    /// The conversation of two accounts, whichever side computes it:
    /// `SHA-256("chatd/direct/1\0" || smaller account id || larger)[..16]`.
    pub fn direct(a: AccountId, b: AccountId) -> Self {
        let (small, large) = if a <= b { (a, b) } else { (b, a) };
        Self(tagged_hash(&[b"chatd/direct/1\0", &small.0, &large.0]))
    }
}

/// `SHA-256("chatd/prekey/1\0" || suite || recipient bytes)`: what a sender signs to bind an envelope to one prekey.
pub fn recipient_hash(suite: u8, recipient: &[u8]) -> [u8; 32] {
    tagged_hash(&[b"chatd/prekey/1\0", &[suite], recipient])
}

impl PrekeyId {
    /// First 8 bytes of a [`recipient_hash`].
    pub fn of_recipient_hash(hash: &[u8; 32]) -> Self {
        let mut id = [0u8; 8];
        id.copy_from_slice(&hash[..8]);
        Self(id)
    }
}

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    tagged_hash(parts)
}

/// A message: a UUIDv7, so that ids of one sender sort by time and index pages fill in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// A fresh id of this moment; ids made by one process are in increasing order.
    pub fn now() -> Self {
        Self(uuid::Uuid::now_v7().into_bytes())
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From a slice of exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = uuid::Uuid::encode_buffer();
        f.write_str(uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut buffer))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        uuid::Uuid::try_parse(text)
            .map(|id| Self(id.into_bytes()))
            .map_err(|_| ParseIdError::new(text, "a message id (a UUID such as 01977e5c-...)"))
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            let mut buffer = uuid::Uuid::encode_buffer();
            s.serialize_str(uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(&mut buffer))
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            struct Text;
            impl de::Visitor<'_> for Text {
                type Value = MessageId;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a message id (a UUID)")
                }
                fn visit_str<E: de::Error>(self, v: &str) -> Result<MessageId, E> {
                    v.parse().map_err(E::custom)
                }
            }
            d.deserialize_str(Text)
        } else {
            bytes_serde::deserialize(d).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_text_and_bytes() {
        let id = AccountId::of_first_key(&[7; 32]);
        assert_eq!(id.to_string().parse::<AccountId>(), Ok(id));
        assert_eq!(serde_json::from_str::<AccountId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        let packed = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(packed.len(), 18, "bin8 header and 16 bytes");
        assert_eq!(rmp_serde::from_slice::<AccountId>(&packed).unwrap(), id);
        let message = MessageId::now();
        assert_eq!(message.to_string().parse::<MessageId>(), Ok(message));
        assert_eq!(rmp_serde::from_slice::<MessageId>(&rmp_serde::to_vec(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn both_sides_compute_one_direct_conversation() {
        let (a, b) = (AccountId([1; 16]), AccountId([2; 16]));
        assert_eq!(ConversationId::direct(a, b), ConversationId::direct(b, a));
        assert_ne!(ConversationId::direct(a, b), ConversationId::direct(a, a));
    }

    #[test]
    fn bad_text_is_named() {
        let error = "xyz".parse::<AccountId>().unwrap_err();
        assert_eq!(error.to_string(), "\"xyz\" is not an account id (32 hex digits)");
        assert!("é".repeat(16).parse::<AccountId>().is_err(), "two-byte characters are no digits");
    }
}
