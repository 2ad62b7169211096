//! Words of the domain that every room shares: callers, accounts, contacts as stored, configuration. No IO, no policy.

pub mod config;

use proto::ids::{AccountId, ConversationId, DeviceId};
use proto::rpc::types::Trust;
use proto::time::Timestamp;

/// Who is at the other end of an RPC connection, as the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Effective uid of the connecting process.
    pub uid: u32,
    /// Its user name, if the system knows one.
    pub user: Option<String>,
    /// Its process id, for the log.
    pub pid: Option<i32>,
}

/// An account of this node, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Account id.
    pub id: AccountId,
    /// This node's device of it.
    pub device: DeviceId,
    /// The name, normalised.
    pub name: String,
    /// The directory's origin (its domain); empty without a directory.
    pub origin: String,
    /// The directory's URL; empty without one.
    pub directory: String,
    /// Owner.
    pub uid: u32,
    /// The owner's user name when the account was made: a uid that changes hands takes no account along.
    pub user: String,
    /// Wanted online.
    pub logged_in: bool,
}

impl AccountRow {
    /// `name@origin`, or the name alone without a directory.
    pub fn address(&self) -> String {
        if self.origin.is_empty() { self.name.clone() } else { format!("{}@{}", self.name, self.origin) }
    }
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

/// A person as stored, contact or not (yet).
#[derive(Debug, Clone, PartialEq)]
pub struct ContactRow {
    /// Local number; also the local number of the direct conversation.
    pub id: i64,
    /// Account id.
    pub account: AccountId,
    /// Direct conversation.
    pub conversation: ConversationId,
    /// Name in its directory.
    pub name: String,
    /// Its directory's origin; empty without one.
    pub origin: String,
    /// The owner's own label.
    pub label: Option<String>,
    /// Where the relation stands.
    pub state: crate::policy::contact::ContactState,
    /// How far the key is trusted.
    pub trust: Trust,
    /// The directory confirmed name and key.
    pub confirmed: bool,
    /// Muted until then.
    pub muted_until: Option<Timestamp>,
    /// Newest signed record.
    pub record: Vec<u8>,
    /// Its seq.
    pub record_seq: u64,
    /// Pinned identity key.
    pub identity_key: [u8; 32],
    /// Newest signed reach, if any was seen.
    pub reach: Vec<u8>,
    /// Its seq.
    pub reach_seq: u64,
    /// Deposit token that we gave.
    pub token_given: Option<[u8; 32]>,
    /// Deposit token that we were given.
    pub token_held: Option<[u8; 32]>,
    /// Text of their request.
    pub request_text: String,
    /// When the request came or went.
    pub request_at: Option<Timestamp>,
    /// What went both ways of the contact protocol.
    pub ids: crate::policy::contact_ids::ContactIds,
    /// Unread messages.
    pub unread: u64,
    /// Everything up to this message is read.
    pub read_upto: i64,
    /// Their profile.
    pub profile: ProfileRow,
}

impl ContactRow {
    /// The name by which the owner writes to them: `bob` in the home directory, `bob@example.org` elsewhere.
    pub fn who(&self, home_origin: &str) -> String {
        if self.origin == home_origin || self.origin.is_empty() {
            self.name.clone()
        } else {
            format!("{}@{}", self.name, self.origin)
        }
    }
}
