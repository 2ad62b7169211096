//! Tokens: what each grants, and what was done with it.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use crate::scope::Scope;
use crate::time::Timestamp;

/// `token.create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreateParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it is called: 1 to 32 small letters of English, digits, hyphens, underscores and full stops. No other token in force has the name.
    pub name: String,
    /// What it grants. `in` grants `read`, and `send_to` grants `send`, without being told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Scope>,
    /// Reads only the conversations with these, 64 at most; all if left out.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// Sends only to these, 64 at most; to all contacts if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub send_to: Vec<String>,
    /// How fast it may send, and do anything else but read, on all its connections together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Seconds after which it ends by itself; never, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many, 1..=1,000,000; all of them may come at once.
    pub count: u32,
    /// In how many seconds, 1..=31,536,000.
    pub seconds: u32,
}

/// `token.create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenCreateResult {
    /// The token. It is told here and never again: the daemon keeps its hash.
    pub token: Secret,
    /// What it grants.
    pub grants: Token,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// The account that it acts for: `name@domain`.
    pub account: String,
    /// What it grants.
    pub allow: Vec<Scope>,
    /// Reads only the conversations with these, as their owner calls them; all if absent.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub within: Option<Vec<String>>,
    /// Sends only to these; to all contacts if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_to: Option<Vec<String>>,
    /// How fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why: `revoked` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `token.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokensResult {
    /// The newest first.
    pub tokens: Vec<Token>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `token.revoke`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The token's name.
    pub name: String,
}

/// `token.log`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLogParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The token's name; of several that had it, the newest is meant.
    pub name: String,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Entries at most, 1..=1,000; 200 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `token.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogResult {
    /// The newest first. The newest 1,000 of a token are kept.
    pub entries: Vec<TokenUse>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Something that was done with a token, or refused: the same on one day is one entry that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenUse {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
    /// The method that was called; `token.create` and `token.revoke` for its owner's part.
    pub method: String,
    /// To whom, or with whom; absent where it is about nobody alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The user at the other end of the socket.
    pub uid: u32,
    /// Refused, and why: `scope`, `conversation`, `rate`; absent if it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
