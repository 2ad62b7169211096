//! What people say of themselves.

use serde::{Deserialize, Serialize};

/// A profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// At most 128 bytes.
    #[serde(default)]
    pub display_name: String,
    /// At most 256 bytes.
    #[serde(default)]
    pub status: String,
    /// At most 1,024 bytes.
    #[serde(default)]
    pub bio: String,
}

/// `profile.show`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileShowParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A contact; oneself if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// `profile.set`: what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSetParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// New display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// New status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// New bio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
}
