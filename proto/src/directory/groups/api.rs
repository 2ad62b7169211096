//! The JSON of a log's calls.

use serde::{Deserialize, Serialize};

use super::chain::Running;
use crate::directory::api::Base64;
use crate::ids::{AccountId, Hex32, LogId};

pub use crate::directory::api::EntryAnswer;

/// `PUT /v1/groups/{log}` makes a log, or changes its statements.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupRequest {
    /// A signed root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Base64>,
    /// A signed header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Base64>,
}

/// What holds of a log: the answer to that, and to `GET /v1/groups/{log}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupAnswer {
    /// Which.
    pub log: LogId,
    /// The signed root in force.
    pub root: Base64,
    /// The signed header in force.
    pub header: Base64,
    /// Entries so far, with their running hash, for whoever has the token in force; null for others.
    pub head: Option<HeadOf>,
    /// The number of the newest event, or 0.
    pub event: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// A number and the running hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadOf {
    /// Of the entry.
    pub number: u64,
    /// Of everything up to it.
    pub hash: Hex32,
}

impl From<Running> for HeadOf {
    fn from(running: Running) -> Self {
        Self { number: running.number, hash: Hex32(running.hash) }
    }
}

/// The query of `GET /v1/groups/{log}/entries`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// Numbers above this one.
    #[serde(default)]
    pub after: u64,
    /// At most so many: 1 to 1,000, 100 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `GET /v1/groups/{log}/entries`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntriesAnswer {
    /// In the order of their numbers; all of them for the token in force, events and keys for an old one.
    pub entries: Vec<EntryAnswer>,
    /// Whether there are more.
    pub more: bool,
    /// The running hash at `after`, for the token in force; null also if the log has no such number, or has forgotten it.
    pub before: Option<Hex32>,
    /// As in [`GroupAnswer`].
    pub head: Option<HeadOf>,
    /// The number of the newest event, or 0.
    pub event: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// The answer to an append (201, or 200 if this very entry lies there already).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendAnswer {
    /// The entry's number.
    pub number: u64,
    /// The running hash there.
    pub hash: Hex32,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// The answer to an entry that was staged (201, or 200 if it was before).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedAnswer {
    /// By which an append names it.
    pub hash: Hex32,
    /// Seconds that it waits for that.
    pub expires_in: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `PUT /v1/groups/{log}/slots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRequest {
    /// A signed slot.
    pub slot: Base64,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotAnswer {
    /// The counter that is stored.
    pub counter: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// The query of `GET /v1/groups/{log}/slots`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsQuery {
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Hex32>,
    /// Only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Hex32>,
}

/// `GET /v1/groups/{log}/slots`: by their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsAnswer {
    /// Signed slots.
    pub slots: Vec<Base64>,
    /// What to give as `after` for the next page; null on the last one.
    pub next: Option<Hex32>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// `POST /v1/groups/{log}/keeper`: tells whoever has the log key who wrote entries, and drops what it wants gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperRequest {
    /// From `GET /v1/nonce`.
    pub nonce: Base64,
    /// Entries, at most [`super::access::MAX_KEPT`].
    #[serde(default)]
    pub numbers: Vec<u64>,
    /// Slots, at most as many.
    #[serde(default)]
    pub slots: Vec<Hex32>,
    /// Whether they are dropped. Of an entry its hash is left.
    pub drop: bool,
    /// By the log key over [`super::access::keep_message`].
    pub signature: Base64,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperAnswer {
    /// Who wrote each of them that is there.
    pub writers: Vec<WriterAnswer>,
    /// How many entries and slots were dropped.
    pub dropped: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// Who wrote an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterAnswer {
    /// Which.
    pub number: u64,
    /// The account, if it was a member of this directory.
    pub account: Option<AccountId>,
    /// Else a name of the network that it came from: the same for the same, and of no use elsewhere.
    pub place: Option<String>,
}

/// `DELETE /v1/groups/{log}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupGoneAnswer {
    /// Which.
    pub log: LogId,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::directory::groups::EntryKind;

    #[test]
    fn answers_have_the_documented_json() {
        let entry = EntryAnswer { number: 7, kind: EntryKind::Keys, entry: None, hash: Some(Hex32([1; 32])) };
        let json = format!(r#"{{"number":7,"kind":"keys","hash":"{}"}}"#, "01".repeat(32));
        assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        assert!(serde_json::from_str::<EntriesQuery>(r#"{"other":1}"#).is_err());
        assert!(serde_json::from_str::<Hex32>(r#""01""#).is_err());
    }
}
