//! Invites: becoming a contact without being asked, with or without a directory.

use serde::{Deserialize, Serialize};

use crate::rpc::secret::Secret;
use crate::time::Timestamp;

/// `invite.create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteCreateParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What whoever uses it is called here from then on; a label, as `contact.rename` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// It is good for so long: from a minute to 31 days; 7 days if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
}

/// An invite, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invite {
    /// Names it, for `invite.revoke`: 8 hex digits.
    pub id: String,
    /// What whoever uses it is called here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its time is over.
    pub expires: Timestamp,
    /// Who has used it: the form that names this contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

/// The answer to `invite.create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InviteCreateResult {
    /// `chat:...`, at most 2,953 characters. Whoever has it can use it: it is told this once, and stored nowhere.
    pub uri: Secret,
    /// The rest.
    pub invite: Invite,
}

/// The answer to `invite.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InviteListResult {
    /// The newest first; at most 64.
    pub invites: Vec<Invite>,
}

/// `invite.revoke`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRevokeParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// See [`Invite::id`].
    pub id: String,
}
