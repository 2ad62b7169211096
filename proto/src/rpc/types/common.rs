//! What many methods share: a person, a page, an account.

use serde::{Deserialize, Serialize};

/// No parameters but the account.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountParams {
    /// One of the caller's accounts: its name, its address, or `id:` and its id; the caller's default, or the only one, if
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// No parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Nothing to tell beyond success.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Done {}

/// How messages are sealed and signed, and what that is worth against a quantum computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The encryption suite.
    pub suite: u8,
    /// What messages are sealed with, as age names it: `mlkem768x25519`.
    pub sealed: String,
    /// What they are signed with: `ed25519`.
    pub signed: String,
    /// What is recorded today cannot be read by a later quantum computer.
    pub post_quantum_confidentiality: bool,
    /// Whoever has a quantum computer cannot pretend to be the sender. Never true yet: signatures are of a curve.
    pub post_quantum_authentication: bool,
}

/// Parameters that name a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `bob`, `bob@example.org`, a label, the handle of a request (`%7`), or `id:` and an account id.
    pub who: String,
}

/// Parameters of lists that come in pages.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Entries at most, 1..=1,000; 200 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
