//! What a group's log holds of its members: signed [`event`]s, the [`consent`] of whoever is added, and [`vote`]s.
//! docs/wire.md is the prose.
//!
//! Not the job: which event counts (the fold in chatd, `policy/group`), sealing, the log itself. An event that was opened is
//! [`Verified`]: everything that can be judged from its own bytes was. What it takes a state to judge was not.
//!
//! Invariants: decoders keep every limit of this file, whatever the bytes; signatures and hashes cover bytes as received; each
//! begins with a domain string of its own.

pub mod act;
pub mod consent;
pub mod event;
pub mod hkdf;
pub mod parts;
pub mod signature;
pub mod vote;

pub use act::Act;
pub use consent::{Consent, DeviceList, SignedDevices};
pub use event::{Event, EventError, KeyOffer, SignedEvent, Verified};
pub use parts::{Add, Genesis, GroupType, Join, Link, Move, Set};
pub use signature::{Ed25519, Signatures};
pub use vote::Vote;

use crate::ids::{ConversationId, sha256};

/// Bytes of an entry in a group's log at most, 72 KiB.
pub const MAX_ENTRY_BYTES: usize = 73_728;
/// Bytes of a signed event at most: an entry, less what it takes to seal it.
pub const MAX_EVENT_BYTES: usize = 70_656;
/// Accounts that one event adds at most.
pub const MAX_ADDS: usize = 64;
/// Members of a group, and writers of a channel, at most.
pub const MAX_GROUP_MEMBERS: usize = 128;
/// Members of a room at most.
pub const MAX_ROOM_MEMBERS: usize = 1_024;
/// Admins at most, the owner not counted.
pub const MAX_ADMINS: usize = 15;
/// Events of a group at most, those that do not count included.
pub const MAX_EVENTS: u32 = 65_536;
/// The last so many are the owner's, so that no flood takes the group from him.
pub const OWNER_EVENTS: u32 = 4_096;
/// `key` events of one account at most.
pub const MAX_KEYS_OF_ONE: u32 = 1_024;
/// Events that one event says that it could not open, at most.
pub const MAX_UNOPENED: usize = 1_024;
/// How far back an event may say so. What is older is settled.
pub const MAX_UNOPENED_BACK: u32 = 1_024;
/// Accounts whose votes replace an owner, at most: the most senior.
pub const MAX_ELECTORS: usize = 15;
/// Links in force at once at most.
pub const MAX_LINKS: usize = 64;
/// Logs that are named at most: where the group is, and three to move to.
pub const MAX_LOGS: usize = 4;
/// Bytes of a log's name at most.
pub const MAX_LOG_BYTES: usize = 512;
/// Bytes of a group's name at most.
pub const MAX_NAME_BYTES: usize = 256;
/// Bytes of a topic at most.
pub const MAX_TOPIC_BYTES: usize = 1_024;
/// Bytes of settings at most; the rules of membership do not look into them.
pub const MAX_SETTINGS_BYTES: usize = 1_024;
/// Bytes of the event secret before, sealed to the new one, at most.
pub const MAX_PREVIOUS_BYTES: usize = 256;

/// What names a group in what others sign for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// The hash of the genesis.
    pub id: ConversationId,
    /// What its founder threw.
    pub nonce: [u8; 32],
}

/// `SHA-256("chatd/group/1\0" || signed genesis)[..16]`.
pub fn group_of_genesis(signed: &[u8]) -> ConversationId {
    let hash = sha256(&[b"chatd/group/1\0", signed]);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    ConversationId(id)
}
