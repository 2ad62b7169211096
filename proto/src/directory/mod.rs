//! What a directory keeps and says: signed [`record`]s (who somebody is), signed [`reach`] (where a device is), the
//! chain of key [`rotation`]s, the directory's own word on who is a member ([`membership`]), the logs of [`groups`], and the types of its API ([`api`]). docs/directory-api.md is the prose.
//!
//! Invariant: a directory is trusted with nothing but availability. What it hands out is signed by the account or the
//! device; every signature covers received bytes, begins with a domain string that no other signature of this system
//! begins with, and is checked with `verify_strict`.

pub mod api;
pub mod certificate;
pub mod groups;
pub mod mailbox;
pub mod membership;
pub mod reach;
pub mod record;
pub mod rotation;
pub mod session;
pub mod signed;
pub mod spki;

pub use membership::{Membership, MembershipError, SignedMembership};
pub use reach::{Reach, ReachError, SignedReach};
pub use record::{ContactPolicy, Device, Prekey, Record, RecordError};
pub use rotation::{MAX_ROTATIONS, Rotation, RotationError, Statement, recovery_hash};
pub use signed::{Conflict, MAX_SEQ_STEP, SignedRecord, supersedes};
pub use spki::SpkiPin;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// `[bin body, bin signature]`.
fn join(body: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 72);
    write::array(&mut out, 2);
    write::bin(&mut out, body);
    write::bin(&mut out, signature);
    out
}

/// Body and signature of what [`join`] made, and of nothing else: only the shortest MessagePack form is taken, so that the
/// very bytes that were received come out again and their hash is one.
fn split(bytes: &[u8], limit: usize, what: &'static str) -> Result<(Vec<u8>, [u8; 64]), WireError> {
    if bytes.len() > limit {
        return Err(WireError::TooLarge { what, size: bytes.len(), limit });
    }
    let mut r = Reader::new(bytes);
    r.array_of(2, what)?;
    let (body, signature) = (r.bin(what)?.to_vec(), r.fixed(what)?);
    r.finish(what)?;
    if join(&body, &signature) == bytes { Ok((body, signature)) } else { Err(WireError::Malformed(what)) }
}

/// Whether `signature` over `message` is `key`'s; a key that is no point of the curve signs nothing.
pub fn verified(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
