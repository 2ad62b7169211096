//! Keys on disk, and the statements that are made with them: records, reach, prekeys.

use std::net::SocketAddr;
use std::path::Path;

use proto::directory::{Device, Prekey, Reach, Record, Rotation, SignedReach, SignedRecord, recovery_hash};
use proto::ids::{AccountId, DeviceId, NodeId};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::SUITE_X25519;

use super::ServiceError;
use super::config::Config;
use crate::crypto::keyfile;
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;

/// Lifetime of a record in seconds: 7 days, renewed daily with the prekey.
const RECORD_LIFETIME_SECONDS: i64 = 7 * 86_400;
/// A prekey is offered for so long before a new one takes its place.
pub(super) const PREKEY_ROTATION_SECONDS: i64 = 86_400;
/// Addresses in a reach at most (design of the directory).
const MAX_ADDRESSES: usize = 8;

/// The keys of an account on this node.
pub(super) struct Keys {
    pub identity: SigningKey,
    pub device: SigningKey,
}

impl Keys {
    pub fn generate() -> Result<Self, ServiceError> {
        Ok(Self { identity: SigningKey::generate()?, device: SigningKey::generate()? })
    }

    pub fn load(folder: &Path) -> Result<Self, ServiceError> {
        let key = |name| keyfile::load(&folder.join(name)).map(|secret| SigningKey::from_bytes(&secret));
        Ok(Self { identity: key("identity.key")?, device: key("device.key")? })
    }

    pub fn create(&self, folder: &Path) -> Result<(), ServiceError> {
        keyfile::create(&folder.join("identity.key"), &self.identity.to_bytes())?;
        keyfile::create(&folder.join("device.key"), &self.device.to_bytes())?;
        Ok(())
    }

    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity.public())
    }

    pub fn device_id(&self) -> DeviceId {
        DeviceId::of_key(&self.device.public())
    }
}

/// This node's transport key, made on first use and never again.
pub(super) fn node_key(data_dir: &Path) -> Result<SigningKey, ServiceError> {
    let path = data_dir.join("node.key");
    if !path.exists() {
        keyfile::create(&path, &SigningKey::generate()?.to_bytes())?;
    }
    Ok(SigningKey::from_bytes(&*keyfile::load(&path)?))
}

/// A fresh recovery key: the secret to show once, and the hash that the record carries.
pub(super) fn recovery_key() -> Result<(String, [u8; 32]), ServiceError> {
    let key = SigningKey::generate()?;
    Ok((proto::ids::hex(&*key.to_bytes()), recovery_hash(&key.public())))
}

/// What a record says beyond keys.
pub(super) struct Facts<'a> {
    pub name: &'a Name,
    pub origin: &'a str,
    /// The directory's URL; empty without one.
    pub directory: &'a str,
    pub recovery_hash: [u8; 32],
    pub config: &'a Config,
}

/// Signs a record that names the prekey. `previous` is the record that it replaces.
pub(super) fn make_record(
    keys: &Keys,
    facts: &Facts<'_>,
    previous: Option<&SignedRecord>,
    prekey: &PrekeySecret,
) -> Result<(Vec<u8>, u64), ServiceError> {
    let now = Timestamp::now().unix_seconds();
    let old = previous.map(SignedRecord::verify).transpose()?;
    let device = Device::of_key(keys.device.public());
    let record = Record {
        origin: facts.origin.to_owned(),
        name: facts.name.clone(),
        first_key: old.as_ref().map_or(keys.identity.public(), |old| old.first_key),
        // The first link vouches for the recovery key, so that a stranger can trust a rotation signed by it later.
        rotations: match &old {
            Some(old) => old.rotations.clone(),
            None => vec![Rotation::genesis(keys.identity.inner(), facts.recovery_hash)],
        },
        identity_key: keys.identity.public(),
        recovery_hash: facts.recovery_hash,
        seq: old.as_ref().map_or(1, |old| old.seq + 1),
        prev: previous.map_or([0; 32], SignedRecord::hash),
        issued: now,
        expires: now + RECORD_LIFETIME_SECONDS,
        prekeys: vec![Prekey {
            device: device.id,
            suite: SUITE_X25519,
            recipient: prekey.public().recipient().to_vec(),
            created: prekey.created(),
            not_after: prekey.not_after(),
        }],
        devices: vec![device],
        mailbox: (!facts.directory.is_empty()).then(|| facts.directory.to_owned()),
        policy: facts.config.first_contact,
        min_suite: SUITE_X25519,
        list_address: facts.config.list_address,
        show_online: facts.config.show_online,
    };
    let seq = record.seq;
    Ok((SignedRecord::sign(&record, keys.identity.inner())?.encode(), seq))
}

/// Signs where a device is.
pub(super) fn make_reach(
    account: AccountId,
    device: &SigningKey,
    node: &SigningKey,
    addresses: &[SocketAddr],
    last_seq: u64,
) -> Result<(Vec<u8>, u64), ServiceError> {
    let now = Timestamp::now();
    // Milliseconds leave room for the device's next life with an older store; never lower than what was said before.
    let seq = (now.0.max(0) as u64).max(last_seq + 1);
    let reach = Reach {
        account,
        device: DeviceId::of_key(&device.public()),
        node: NodeId(node.public()),
        relay: None,
        addresses: addresses.iter().copied().take(MAX_ADDRESSES).collect(),
        seq,
        issued: now.unix_seconds(),
    };
    Ok((SignedReach::sign(&reach, device.inner(), node.inner())?.encode(), seq))
}
