//! A person as stored.

use proto::directory::SignedRecord;
use proto::ids::{AccountId, ConversationId};
use proto::time::Timestamp;

use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{ProfileRow, Trust};
use crate::policy::contact::ContactState;
use crate::policy::contact_ids::ContactIds;

/// A person as stored, contact or not (yet).
#[derive(Debug, Clone, PartialEq)]
pub struct ContactRow {
    /// Local number.
    pub id: PeerId,
    /// Account id.
    pub account: AccountId,
    /// Direct conversation.
    pub conversation: ConversationId,
    /// Its local number.
    pub direct: ConversationRow,
    /// Name in its directory.
    pub name: String,
    /// Its directory's origin; empty without one.
    pub origin: String,
    /// The owner's own label.
    pub label: Option<String>,
    /// Where the relation stands.
    pub state: ContactState,
    /// How far the key is trusted.
    pub trust: Trust,
    /// The directory confirmed that the name is this account's. If not, it is what the person says.
    pub confirmed: bool,
    /// The number of the newest request that came, or that was given when the name was lost.
    pub handle: Option<u64>,
    /// Why the last request of ours ended without an answer; empty if it did not.
    pub request_end: String,
    /// Its directory has said twice that it knows no such account, and nothing was heard of it since.
    pub gone: bool,
    /// Muted until then.
    pub muted_until: Option<Timestamp>,
    /// Newest signed record.
    pub record: Vec<u8>,
    /// Its seq.
    pub record_seq: u64,
    /// The best encryption suite that it ever offered of those known here; 0 if it never did. Nothing is sealed with a lower one
    /// until `verify`.
    pub suite_floor: u8,
    /// Pinned identity key.
    pub identity_key: [u8; 32],
    /// A newer record with another key for which no rotation vouches, until `verify` decides.
    pub rejected_record: Option<Vec<u8>>,
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
    pub ids: ContactIds,
    /// Unread messages.
    pub unread: u64,
    /// Everything up to this message is read.
    pub read_upto: i64,
    /// Their profile.
    pub profile: ProfileRow,
}

impl ContactRow {
    /// The key that waits for `verify`, while the trust is [`Trust::Changed`].
    pub fn new_key(&self) -> Option<[u8; 32]> {
        let record = self.rejected_record.as_ref().filter(|_| self.trust == Trust::Changed)?;
        Some(SignedRecord::decode(record).and_then(|signed| signed.peek()).ok()?.identity_key)
    }

    /// `name@origin`, or the name alone without a directory.
    pub fn address(&self) -> String {
        if self.origin.is_empty() { self.name.clone() } else { format!("{}@{}", self.name, self.origin) }
    }

    /// The confirmed name, as short as the account's own domain allows: `bob` in the home directory, `bob@example.org` elsewhere.
    pub fn who(&self, home_origin: &str) -> String {
        if self.origin == home_origin || self.origin.is_empty() {
            self.name.clone()
        } else {
            format!("{}@{}", self.name, self.origin)
        }
    }
}
