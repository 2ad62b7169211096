//! Whoever can be looked up in a directory.

use serde::{Deserialize, Serialize};

use crate::ids::AccountId;

/// `directory.users`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Case-insensitive part of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A whole name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An IP address that the account agreed to be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Only who is online.
    #[serde(default)]
    pub online: bool,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Entries at most, 1..=1,000; 200 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `directory.users`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsersResult {
    /// In the order of names.
    pub users: Vec<User>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Somebody in a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// Online, where the person lets it be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// Whether the caller has the person as a contact.
    #[serde(default)]
    pub contact: bool,
}
