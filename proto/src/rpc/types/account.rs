//! Accounts of the local user: registered, listed, set up, given up.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use crate::advice::Advice;
use crate::ids::AccountId;
use crate::time::Timestamp;

/// `account.register`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterParams {
    /// `alice` or `alice@example.org`.
    pub name: String,
    /// URL or domain of the directory; the daemon's default if left out; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// For contacts to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A registration token of the directory's operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite_token: Option<String>,
    /// The recovery key of an account that gave the name up: takes the name back while it rests, and stays the recovery key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Secret>,
}

/// `account.register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterResult {
    /// The new account.
    pub account: AccountInfo,
    /// The recovery key (the one that was given, if so), told this once and never stored by the daemon. It can replace a lost identity key.
    pub recovery_key: Secret,
}

/// An account of this daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// Its name.
    pub name: String,
    /// `name@domain`; the name alone without a directory.
    pub address: String,
    /// Its id.
    pub id: AccountId,
    /// The identity key, short, for comparing by eye.
    pub fingerprint: String,
    /// URL of its directory, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The key that it pinned of its directory, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_key: Option<String>,
    /// Logged in.
    pub logged_in: bool,
    /// The directory session is up.
    pub online: bool,
    /// The caller's default among several, see `account.use`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What of it is damaged, and where; such an account can only be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// What can be done about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Advice>,
}

/// `account.unregister`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnregisterParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The account's name once more, typed by the user.
    pub confirm: String,
}

/// `account.unregister`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UnregisterResult {
    /// Until when the directory keeps the name for whoever has the account's keys; absent without a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<Timestamp>,
}

/// `account.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountListResult {
    /// The caller's accounts.
    pub accounts: Vec<AccountInfo>,
}

/// `account.settings`: what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether contacts are told what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_receipts: Option<bool>,
    /// Seconds that messages live which are not delivered, unless `message.send` says otherwise; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// `account.settings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsResult {
    /// Whether contacts are told what was read.
    pub read_receipts: bool,
    /// Seconds that messages live which are not delivered; absent when they never end by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}
