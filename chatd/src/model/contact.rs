//! People whom the owner of an account has to do with.

use proto::ids::{AccountId, ConversationId};
use proto::time::Timestamp;
use proto::wire::SUITE_HYBRID;

/// How somebody is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// Whatever it is called.
    pub account: AccountId,
    /// Without the owner's label: the shortest form that names exactly this one.
    pub who: String,
    /// The owner's label, if it names nobody else.
    pub label: Option<String>,
}

impl Called {
    /// As the owner calls it.
    pub fn form(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.who)
    }
}

/// How far a contact's key is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Taken at first contact from the directory.
    Unverified,
    /// Compared by people, or carried by an invite.
    Verified,
    /// Was verified, then rotated with the old key: compare again.
    Rotated,
    /// Changed without a valid rotation: nothing is sent until the owner decides.
    Changed,
}

/// Where a contact stands, in one word: what its owner sees of `policy::contact::ContactState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactStage {
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
    /// A request of ours that is not repeated any more; the reason tells why.
    GivenUp,
}

/// A contact, as the owner of the account sees it. Whether it is online is not part of it: that is not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// See [`Called::form`].
    pub who: String,
    /// The name in its directory; while `confirmed` is false, the words of whoever it is.
    pub name: String,
    /// `name@domain`; the name alone without a directory. See `name`.
    pub address: String,
    /// The owner's own label.
    pub label: Option<String>,
    /// The number of the newest request that came.
    pub handle: Option<u64>,
    /// The account.
    pub account: AccountId,
    /// The conversation with it.
    pub conversation: ConversationId,
    /// Where it stands.
    pub stage: ContactStage,
    /// Why it stands there, or that its directory knows no such account any more: the word of a `Reason`.
    pub reason: Option<String>,
    /// How far its key is trusted.
    pub trust: Trust,
    /// The identity key, short.
    pub fingerprint: String,
    /// While `trust` is [`Trust::Changed`]: the key that waits for the owner's decision, short.
    pub new_fingerprint: Option<String>,
    /// The encryption suite of the next message to it; `None` when nothing can be sealed.
    pub suite: Option<Suite>,
    /// Its directory confirmed that name and domain are this account's.
    pub confirmed: bool,
    /// Blocked by the owner.
    pub blocked: bool,
    /// Muted until then.
    pub muted_until: Option<Timestamp>,
    /// Unread messages from it.
    pub unread: u64,
    /// Its profile, if it ever told one.
    pub profile: Option<ProfileRow>,
    /// The text that came with its request.
    pub request_text: Option<String>,
    /// When the request came or went.
    pub request_at: Option<Timestamp>,
}

/// A way to seal, of those known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// [`SUITE_HYBRID`].
    Hybrid,
}

impl Suite {
    /// By its number.
    pub fn of_number(number: u8) -> Option<Self> {
        (number == SUITE_HYBRID).then_some(Self::Hybrid)
    }
}

/// A conversation with unread messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// With whom: see [`Called::form`].
    pub who: String,
    /// With which account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Unread messages.
    pub count: u64,
}

/// What is known of somebody's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whether it is online.
    pub online: bool,
    /// Since when that is known.
    pub since: Timestamp,
}

/// A contact as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactNow {
    /// What is stored.
    pub contact: Contact,
    /// `None`: nothing is known of it.
    pub presence: Option<Presence>,
}

/// A number to compare, and whose key it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// 60 digits.
    pub safety_number: String,
    /// The contact, as it is since.
    pub contact: ContactNow,
}

/// Somebody in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// Online, where the person lets it be shown.
    pub online: Option<bool>,
    /// Whether it is a contact.
    pub is_contact: bool,
}

/// What a directory is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryKey {
    /// Its domain.
    pub origin: String,
    /// Where it is asked.
    pub url: String,
    /// The key that it is known by; `None` if it was never met.
    pub known: Option<[u8; 32]>,
    /// The key that it shows now.
    pub shown: Option<[u8; 32]>,
    /// Why it shows none.
    pub problem: Option<String>,
}

/// An invite, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Names it.
    pub id: String,
    /// What whoever uses it is called.
    pub label: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its time is over.
    pub expires: Timestamp,
    /// Who has used it: the form that names this contact.
    pub used_by: Option<String>,
}

/// How a contact's daemon is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Straight to an address.
    Direct,
    /// Through a relay.
    Relayed,
    /// It is this daemon.
    Local,
}

/// A contact's daemon has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pong {
    /// The contact, as it is called here.
    pub who: String,
    /// By which way.
    pub route: Route,
    /// Its address, or the URL of the relay.
    pub address: Option<String>,
    /// Until the answer.
    pub round_trip: std::time::Duration,
}

/// A profile as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileRow {
    /// Counts changes; 0 when none was ever told.
    pub version: u64,
    /// Display name.
    pub display_name: String,
    /// Status.
    pub status: String,
    /// Bio.
    pub bio: String,
}
