//! What an account signs of itself: its record, and where its device is.
//!
//! Not its job: to keep or to publish them (`directory::publisher`).

use proto::directory::{Device, Prekey, Reach, Record, Rotation, SignedReach, SignedRecord};
use proto::ids::{AccountId, DeviceId, NodeId};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::SUITE_HYBRID;

use super::Keys;
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::link::Whereabouts;
use crate::service::config::Config;
use crate::service::error::ServiceError;

/// Lifetime of a record in seconds: 7 days, renewed daily with the prekey.
const RECORD_LIFETIME_SECONDS: i64 = 7 * 86_400;
/// Addresses in a reach at most (design of the directory).
const MAX_ADDRESSES: usize = 8;

/// What a record says beyond keys.
pub(in crate::service) struct Facts<'a> {
    pub name: &'a Name,
    pub origin: &'a str,
    /// The directory's URL; empty without one.
    pub directory: &'a str,
    pub recovery_hash: [u8; 32],
    pub config: &'a Config,
}

/// Signs a record that names the prekey. `previous` is the record that it replaces.
pub(in crate::service) fn make_record(
    keys: &Keys,
    facts: &Facts<'_>,
    previous: Option<&SignedRecord>,
    prekey: &PrekeySecret,
) -> Result<(Vec<u8>, u64), ServiceError> {
    // By the clock that the prekey was made by, a moment ago.
    let now = prekey.created();
    let identity = keys.identity();
    let old = previous.map(SignedRecord::verify).transpose()?;
    let device = Device::of_key(keys.device.public());
    let record = Record {
        origin: facts.origin.to_owned(),
        name: facts.name.clone(),
        first_key: old.as_ref().map_or(identity.public(), |old| old.first_key),
        // The first link vouches for the recovery key, so that a stranger can trust a rotation signed by it later.
        rotations: match &old {
            Some(old) => old.rotations.clone(),
            None => vec![Rotation::genesis(identity.inner(), facts.recovery_hash)],
        },
        identity_key: identity.public(),
        recovery_hash: facts.recovery_hash,
        seq: old.as_ref().map_or(1, |old| old.seq + 1),
        prev: previous.map_or([0; 32], SignedRecord::hash),
        issued: now,
        expires: now + RECORD_LIFETIME_SECONDS,
        prekeys: vec![Prekey {
            device: device.id,
            suite: prekey.suite(),
            recipient: prekey.public().recipient().to_vec(),
            created: prekey.created(),
            not_after: prekey.not_after(),
        }],
        devices: vec![device],
        mailbox: (!facts.directory.is_empty()).then(|| facts.directory.to_owned()),
        policy: facts.config.first_contact,
        min_suite: SUITE_HYBRID,
        list_address: facts.config.list_address,
        show_online: facts.config.show_online,
    };
    let seq = record.seq;
    Ok((SignedRecord::sign(&record, identity.inner())?.encode(), seq))
}

/// Signs where a device is.
pub(in crate::service) fn make_reach(
    account: AccountId,
    device: &SigningKey,
    node: &SigningKey,
    whereabouts: &Whereabouts,
    last_seq: u64,
) -> Result<(Vec<u8>, u64), ServiceError> {
    let now = Timestamp::now();
    // Milliseconds leave room for the device's next life with an older store; never lower than what was said before.
    let seq = (now.0.max(0) as u64).max(last_seq + 1);
    let reach = Reach {
        account,
        device: DeviceId::of_key(&device.public()),
        node: NodeId(node.public()),
        relay: whereabouts.relay.clone(),
        addresses: whereabouts.addresses.iter().copied().take(MAX_ADDRESSES).collect(),
        seq,
        issued: now.unix_seconds(),
    };
    Ok((SignedReach::sign(&reach, device.inner(), node.inner())?.encode(), seq))
}

/// A record that says what `told` says, changed, under a seq and a key.
pub(in crate::service) fn resign(
    told: &Record,
    prev: [u8; 32],
    seq: u64,
    key: &SigningKey,
    change: impl FnOnce(&mut Record),
) -> Result<(Vec<u8>, u64), ServiceError> {
    let now = Timestamp::now().unix_seconds();
    let mut record = told.clone();
    (record.seq, record.prev) = (seq, prev);
    (record.issued, record.expires) = (now, now + RECORD_LIFETIME_SECONDS);
    record.identity_key = key.public();
    change(&mut record);
    Ok((SignedRecord::sign(&record, key.inner())?.encode(), seq))
}
