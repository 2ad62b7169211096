//! The directory's API: bodies of the REST answers and requests, and the exact bytes that are signed to prove possession of a key. `/openapi.json` of a directory describes the same.
//!
//! Binary values are base64url without padding in JSON; ids and token hashes are lowercase hex. Fields are only ever
//! added, and unknown ones are ignored by a reader.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::groups::chain::EntryKind;
use crate::ids::{AccountId, Hex32, sha256};
use crate::name::Name;

pub use super::mailbox::{
    DepositAnswer, MAX_DELETE_NUMBERS, MAX_DEPOSIT_BYTES, PUSH_WINDOW, PUSH_WINDOW_BYTES, WorkWanted, decode_push,
    delete_message, encode_push,
};
pub use super::membership::{DirectoryAnswer, MembershipAnswer};
pub use super::session::{ClientFrame, GuestHello, MAX_SESSION_NUMBER, RelayOffer, ServerFrame, SessionHello, Watch};

/// Bytes of a request body at most: a record in base64, its nonce and signature, and room for the JSON around them.
pub const MAX_BODY_BYTES: usize = 65_536;
/// Bytes of one WebSocket message of a session at most, in either direction: an envelope and its number, rounded up.
pub const MAX_SESSION_FRAME_BYTES: usize = 81_920;
/// Entries of one `tokens`, `watch` or `unwatch` frame at most.
pub const MAX_FRAME_ENTRIES: usize = 256;
/// Seconds that a nonce is valid.
pub const NONCE_SECONDS: i64 = 60;
/// The header with a contact's deposit token, in base64url.
pub const DEPOSIT_TOKEN_HEADER: &str = "x-deposit-token";

/// Bytes that are base64url without padding in JSON.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    /// As text.
    pub fn text(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// From text; `None` if it is not base64url without padding.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok().map(Self)
    }
}

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl std::ops::Deref for Base64 {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&Self::text(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected base64url without padding"))
    }
}

/// `len(bytes) || bytes`, the length as two bytes, big endian: where one value ends and the next begins is signed as well.
pub(super) fn sized(bytes: &[u8]) -> Vec<u8> {
    // Nothing that is signed here has more: a domain has 253 bytes at most, a nonce what one frame holds.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// `"chatd/publish/1\0" || sized(origin) || sized(nonce) || SHA-256(record)`, signed by the identity key.
pub fn publish_message(origin: &str, nonce: &[u8], record: &[u8]) -> Vec<u8> {
    [&b"chatd/publish/1\0"[..], &sized(origin.as_bytes()), &sized(nonce), &sha256(&[record])].concat()
}

/// `"chatd/reclaim/1\0" || sized(origin) || sized(nonce) || SHA-256(record)`, signed by the recovery key of the account that gave the name up.
pub fn reclaim_message(origin: &str, nonce: &[u8], record: &[u8]) -> Vec<u8> {
    [&b"chatd/reclaim/1\0"[..], &sized(origin.as_bytes()), &sized(nonce), &sha256(&[record])].concat()
}

/// `"chatd/session/1\0" || sized(origin) || sized(nonce)`, signed by the device key.
pub fn session_message(origin: &str, nonce: &[u8]) -> Vec<u8> {
    [&b"chatd/session/1\0"[..], &sized(origin.as_bytes()), &sized(nonce)].concat()
}

/// `"chatd/unregister/1\0" || sized(origin) || sized(nonce)`, signed by the identity key.
pub fn unregister_message(origin: &str, nonce: &[u8]) -> Vec<u8> {
    [&b"chatd/unregister/1\0"[..], &sized(origin.as_bytes()), &sized(nonce)].concat()
}

/// What a directory stores of a deposit token, and what a `tokens` frame carries in hex.
pub fn token_hash(token: &[u8; 32]) -> [u8; 32] {
    sha256(&[token])
}

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The name belongs to another account, or was given up by one less than 30 days ago.
    NameTaken,
    /// The name breaks a rule, looks like a name that is taken, or is reserved.
    NameNotAllowed,
    /// A newer record is stored; it comes with the error.
    Conflict,
    /// No such thing, or not for the one who asks: there is one answer for both.
    NotFound,
    /// Too many requests; `retry_after` says for how long.
    RateLimited,
    /// A signature does not hold.
    BadSignature,
    /// The nonce is not this directory's, not for this address, or older than 60 s.
    StaleNonce,
    /// The record's validity is over.
    Expired,
    /// Members only, or switched off by the operator.
    NotAllowed,
    /// More bytes than the limit.
    TooLarge,
    /// The account does not honour this deposit token, or no longer: nothing can be left with it.
    TokenRevoked,
    /// The mailbox has no room for this; nothing in it gives way. It can be tried again later.
    MailboxFull,
    /// The log of a group has no room for this; nothing in it gives way, but for what whoever has the log key drops.
    GroupFull,
    /// Another event was appended first, or somebody else has a turn: read what is new, judge again, try again.
    LostRace,
    /// The request cannot be read.
    Malformed,
    /// The directory cannot answer now: it is full, stopping or overloaded.
    Unavailable,
    /// A code that is newer than this program.
    #[serde(other)]
    Unknown,
}

/// Every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// What happened.
    pub error: ErrorBody,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// See [`ErrorAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what failed and what to do.
    pub message: String,
    /// With [`ErrorCode::Conflict`]: the record that is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Base64>,
    /// With [`ErrorCode::NameTaken`]: the name was given up, and is free for everybody from then on, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<i64>,
    /// With [`ErrorCode::MailboxFull`], if a stranger's envelope would be taken with proof of work: how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkWanted>,
    /// With [`ErrorCode::LostRace`]: events that are newer than the one that was named, or the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newer: Vec<EntryAnswer>,
    /// With [`ErrorCode::RateLimited`], and with [`ErrorCode::LostRace`] if somebody has a turn: seconds to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// An entry that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAnswer {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: EntryKind,
    /// Itself, if it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Base64>,
    /// Else the hash that it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hex32>,
}

/// `GET /v1/nonce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceAnswer {
    /// To be signed; opaque, valid for [`NONCE_SECONDS`] and for the address that asked.
    pub nonce: Base64,
    /// The domain that this directory serves.
    pub origin: String,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `PUT /v1/records/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// An encoded signed record.
    pub record: Base64,
    /// From `GET /v1/nonce`.
    pub nonce: Base64,
    /// By the identity key over [`publish_message`].
    pub signature: Base64,
    /// To take a name back that rests: see [`RecoveryProof`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryProof>,
}

/// Shows that whoever claims a name has the recovery key of the account that gave it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryProof {
    /// The recovery public key, 32 bytes.
    pub key: Base64,
    /// By it over [`reclaim_message`].
    pub signature: Base64,
}

/// The answer to a publish that was stored (201 for a new name, 200 for an update or a repetition).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishAnswer {
    /// Whose.
    pub account: AccountId,
    /// The name.
    pub name: Name,
    /// The seq that is stored now.
    pub seq: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `GET /v1/records/{name}` and `GET /v1/accounts/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAnswer {
    /// Whose.
    pub account: AccountId,
    /// The name.
    pub name: Name,
    /// The encoded signed record.
    pub record: Base64,
    /// Whether a device is connected; null if the account does not show it to the one who asks.
    pub online: Option<bool>,
    /// Since when, in Unix seconds, if known.
    pub since: Option<i64>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `DELETE /v1/records/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterRequest {
    /// From `GET /v1/nonce`.
    pub nonce: Base64,
    /// By the identity key over [`unregister_message`].
    pub signature: Base64,
}

/// The answer to an unregistration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterAnswer {
    /// The name that was given up.
    pub name: Name,
    /// Until when nobody else may take it, in Unix seconds.
    pub reserved_until: i64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `PUT /v1/reach`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReachRequest {
    /// An encoded signed reach.
    pub reach: Base64,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReachAnswer {
    /// The seq that is stored now: the highest that was seen, which need not be the one just sent.
    pub seq: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `GET /v1/reach/{account}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachAnswer {
    /// An encoded signed reach for each device that published one.
    pub reach: Vec<Base64>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// The query of `GET /v1/users`; everything is optional, and what is given must all match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersQuery {
    /// A part of the name, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The whole name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An IP address, or an address with port; finds accounts with `list_address` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Only those who are, or are not, shown as online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Users on the page: 1 to 1,000, 100 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /v1/users`: sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersPage {
    /// At most `limit`.
    pub users: Vec<User>,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<String>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// One who is in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: Name,
    /// The account.
    pub account: AccountId,
    /// Null if the account does not show it.
    pub online: Option<bool>,
    /// Since when, in Unix seconds, if known.
    pub since: Option<i64>,
    /// Where the account's devices are; empty unless it has `list_address`.
    pub addresses: Vec<String>,
}

/// `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// `ok`: the store answered, and is not known to be damaged.
    pub status: String,
    /// What is known of the database: `clean` (its last end was), `checking`, or `checked` and found whole.
    #[serde(default)]
    pub database: String,
    /// The domain that this directory serves.
    pub origin: String,
    /// The program's version.
    pub version: String,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_exact() {
        assert_eq!(
            publish_message("example.org", b"NN", b"record"),
            [&b"chatd/publish/1\0\0\x0bexample.org\0\x02NN"[..], &sha256(&[b"record"])].concat()
        );
        assert_eq!(session_message("example.org", b"NN"), b"chatd/session/1\0\0\x0bexample.org\0\x02NN");
        assert_eq!(unregister_message("example.org", b"NN"), b"chatd/unregister/1\0\0\x0bexample.org\0\x02NN");
        assert_ne!(session_message("example.or", b"gNN"), session_message("example.org", b"NN"));
    }

    #[test]
    fn padding_and_other_alphabets_are_refused() {
        for bad in ["\"AA==\"", "\"+/+/\"", "\"A\"", "1"] {
            assert!(serde_json::from_str::<Base64>(bad).is_err(), "{bad}");
        }
    }
}
