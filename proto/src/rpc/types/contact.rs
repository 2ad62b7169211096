//! People whom one has asked, accepted, named, muted, verified or forgotten.

use serde::{Deserialize, Serialize};

use super::Encryption;
use crate::ids::{AccountId, ConversationId};
use crate::time::Timestamp;

/// `contact.add`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactAddParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `bob`, `bob@example.org` or an invite (`chat:...`).
    pub who: String,
    /// Shown with the request; at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a contact's key is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Taken at first contact from the directory.
    Unverified,
    /// Compared by people, or carried by an invite.
    Verified,
    /// Was verified, then rotated with the old key: compare again.
    Rotated,
    /// Changed without a valid rotation: nothing is sent until `verify`.
    Changed,
}

/// Where a contact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// Asked; no answer yet.
    Requested,
    /// Asks us; not answered yet.
    Pending,
    /// Messages flow.
    Accepted,
    /// Refused by them.
    Rejected,
    /// Ended, by either side.
    Removed,
    /// A request of ours that is not repeated any more; `reason` tells why.
    GivenUp,
}

/// A contact, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// The form that names exactly this person, as `chatctl` takes it: the label, the name, `name@domain`, the handle, or
    /// `id:` and the account id; the first of these that nobody else has.
    pub who: String,
    /// The name in its directory; while `confirmed` is false, the words of whoever it is.
    pub name: String,
    /// `name@domain`; the name alone without a directory. See `name`.
    pub address: String,
    /// The caller's own label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of the newest request that came: `%7`. It never names another person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The account.
    pub account: AccountId,
    /// The conversation with it.
    pub conversation: ConversationId,
    /// Where it stands.
    pub state: ContactState,
    /// `request_expired`: nobody answered our request in 30 days. `account_gone`: its directory knows no such account any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far its key is trusted.
    pub trust: Trust,
    /// The identity key, short.
    pub fingerprint: String,
    /// While `trust` is `changed`: the key that waits for `verify`, short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_fingerprint: Option<String>,
    /// How the next message to it is sealed; absent when nothing can be, because it offers no suite that is known here, or only
    /// weaker ones than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Its directory confirmed that name and domain are this account's. If not, nobody is found by this name.
    pub confirmed: bool,
    /// Blocked by the caller.
    pub blocked: bool,
    /// Muted until then; absent when not muted. `9999-12-31T23:59:59.000Z` means until unmuted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Online, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// When that was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_since: Option<Timestamp>,
    /// Unread messages from it.
    pub unread: u64,
    /// Its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The text that came with its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the request came or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// `contact.list`, `contact.requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactsResult {
    /// In the order of names.
    pub contacts: Vec<Contact>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `contact.rename`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// The new label; empty takes the label away.
    pub label: String,
}

/// `contact.mute`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// For how long; for ever if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// `contact.verify`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// The safety number that the other side sees; digits, spaces ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_number: Option<String>,
    /// Take a changed key without comparing.
    #[serde(default)]
    pub accept_unverified: bool,
}

/// `contact.verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyResult {
    /// Sixty digits in groups of five; the same on both sides. Of a key that changed, the number of the new one.
    pub safety_number: String,
    /// The contact after it.
    pub contact: Contact,
}

/// `message.forget`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// With whom.
    pub who: String,
    /// Only what was stored here before this time; everything if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// `message.forget`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForgetResult {
    /// Messages deleted here. What waits for its recipient stays.
    pub forgotten: u64,
}

/// How a contact's daemon is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Straight to an address.
    Direct,
    /// Through a relay.
    Relayed,
    /// It is this daemon.
    Local,
}

/// Result of `contact.ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingResult {
    /// The contact, as it is called here.
    pub who: String,
    /// By which way the answer was asked for.
    pub route: Route,
    /// `address:port` of the contact's daemon, or the URL of the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Microseconds until the answer.
    pub round_trip_us: u64,
}

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
