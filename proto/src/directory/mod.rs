//! What a directory keeps and says: signed [`record`]s (who somebody is), signed [`reach`] (where a device is), the
//! chain of key [`rotation`]s, the directory's own word on who is a member ([`membership`]), and the types of its API ([`api`]). docs/directory-api.md is the prose.
//!
//! Invariant: a directory is trusted with nothing but availability. What it hands out is signed by the account or the
//! device; every signature covers received bytes, begins with a domain string that no other signature of this system
//! begins with, and is checked with `verify_strict`.

pub mod api;
pub mod mailbox;
pub mod membership;
pub mod reach;
pub mod record;
pub mod rotation;
pub mod session;
pub mod signed;

pub use membership::{Membership, MembershipError, SignedMembership};
pub use reach::{Reach, ReachError, SignedReach};
pub use record::{ContactPolicy, Device, Prekey, Record, RecordError};
pub use rotation::{MAX_ROTATIONS, Rotation, RotationError, Statement, recovery_hash};
pub use signed::{Conflict, MAX_SEQ_STEP, SignedRecord, supersedes};

use ed25519_dalek::{Signature, VerifyingKey};

/// Whether `signature` over `message` is `key`'s; a key that is no point of the curve signs nothing.
pub fn verified(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
