//! Keys on disk, and the statements that are made with them: records, reach, prekeys.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use proto::directory::{Device, Prekey, Reach, Record, Rotation, SignedReach, SignedRecord, recovery_hash};
use proto::ids::{AccountId, DeviceId, NodeId};
use proto::name::Name;
use proto::rpc::secret::Secret;
use proto::time::Timestamp;
use proto::wire::SUITE_X25519;

use super::ServiceError;
use super::config::Config;
use crate::crypto::keyfile::{self, KeyFileError};
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;

/// Lifetime of a record in seconds: 7 days, renewed daily with the prekey.
pub(super) const RECORD_LIFETIME_SECONDS: i64 = 7 * 86_400;
/// Addresses in a reach at most (design of the directory).
const MAX_ADDRESSES: usize = 8;

/// The identity key, and the one that is to take its place while a rotation is under way.
const IDENTITY_FILE: &str = "identity.key";
const NEXT_IDENTITY_FILE: &str = "identity.key.next";
const DEVICE_FILE: &str = "device.key";

/// The keys of an account on this node.
pub(super) struct Keys {
    /// Replaced by a rotation while the account runs.
    identity: RwLock<SigningKey>,
    pub device: SigningKey,
}

impl Keys {
    pub fn generate() -> Result<Self, ServiceError> {
        Ok(Self::new(SigningKey::generate()?, SigningKey::generate()?))
    }

    pub fn new(identity: SigningKey, device: SigningKey) -> Self {
        Self { identity: RwLock::new(identity), device }
    }

    /// Loads the keys of the account whose own record names `identity` as its key. A rotation that was cut short is
    /// finished if the record was committed, and undone if it was not.
    pub fn load(folder: &Path, identity: &[u8; 32]) -> Result<Self, ServiceError> {
        let key = |name| keyfile::load(&folder.join(name)).map(|secret| SigningKey::from_bytes(&secret));
        let next_file = folder.join(NEXT_IDENTITY_FILE);
        let next = match key(NEXT_IDENTITY_FILE) {
            Err(KeyFileError::Missing { .. }) => None,
            next => Some(next?),
        };
        let device = key(DEVICE_FILE)?;
        match next {
            Some(next) if next.public() == *identity => {
                keyfile::replace(&next_file, &folder.join(IDENTITY_FILE))?;
                tracing::warn!(folder = %folder.display(), "a rotation of the identity key was cut short; it is finished now");
                return Ok(Self::new(next, device));
            }
            Some(_) => keyfile::remove(&next_file)?,
            None => {}
        }
        let known = key(IDENTITY_FILE)?;
        if known.public() != *identity {
            return Err(ServiceError::DataDir(format!(
                "{}: identity.key is not the key of the account in messages.db; restore both from one backup, or take the \
                 account over with its recovery key",
                folder.display()
            )));
        }
        Ok(Self::new(known, device))
    }

    pub fn create(&self, folder: &Path) -> Result<(), ServiceError> {
        keyfile::create(&folder.join(IDENTITY_FILE), &self.identity().to_bytes())?;
        keyfile::create(&folder.join(DEVICE_FILE), &self.device.to_bytes())?;
        Ok(())
    }

    /// The identity key that signs now.
    pub fn identity(&self) -> SigningKey {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// First step of a rotation: the next key is on disk, and signs nothing yet.
    pub fn prepare_next(folder: &Path, next: &SigningKey) -> Result<(), ServiceError> {
        let file = folder.join(NEXT_IDENTITY_FILE);
        // Left by a rotation that failed before its record was committed: nobody knows that key.
        keyfile::remove(&file)?;
        Ok(keyfile::create(&file, &next.to_bytes())?)
    }

    /// Undoes [`Keys::prepare_next`].
    pub fn forget_next(folder: &Path) -> Result<(), ServiceError> {
        Ok(keyfile::remove(&folder.join(NEXT_IDENTITY_FILE))?)
    }

    /// Last step of a rotation: the record that names the next key is committed.
    pub fn take_next(&self, folder: &Path, next: SigningKey) -> Result<(), ServiceError> {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(keyfile::replace(&folder.join(NEXT_IDENTITY_FILE), &folder.join(IDENTITY_FILE))?)
    }

    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity().public())
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
pub(super) fn recovery_key() -> Result<(Secret, [u8; 32]), ServiceError> {
    let key = SigningKey::generate()?;
    Ok((proto::ids::hex(&*key.to_bytes()).into(), recovery_hash(&key.public())))
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
    Ok((SignedRecord::sign(&record, identity.inner())?.encode(), seq))
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
