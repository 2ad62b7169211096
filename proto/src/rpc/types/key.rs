//! Keys of an account.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::AccountInfo;

/// `directory.key`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryKeyParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whose directory, if not the account's own: one that the configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Trust this key from now on, 64 hex digits; it must be the one that the directory shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
}

/// `directory.key`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DirectoryKeyResult {
    /// The domain.
    pub origin: String,
    /// Where it is asked.
    pub url: String,
    /// The key that it is known by, in hex; absent if it was never met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// The key that it shows now, in hex, and has proved to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// Why it shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// `key.recover`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecoverParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The recovery key that `account.register` told, or the last `key.recover`.
    pub recovery_key: Secret,
}

/// `key.rotate`, `key.recover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyResult {
    /// The account with its new key.
    pub account: AccountInfo,
    /// After `key.recover`: the new recovery key, told this once; the one before is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Secret>,
    /// Whether the directory has the new key; if not, the daemon tells it as soon as it can.
    pub published: bool,
}
