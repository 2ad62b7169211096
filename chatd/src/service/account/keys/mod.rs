//! Keys of an account on disk: its identity and its device's. `statements` are what is signed with them; `rotation` puts another
//! identity key in the place of the one that there is.

pub(crate) mod rotation;
pub(in crate::service) mod statements;

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use proto::directory::recovery_hash;
use proto::ids::{AccountId, DeviceId, unhex};
use zeroize::Zeroizing;

use crate::crypto::keyfile::{self, KeyFileError};
use crate::crypto::keys::SigningKey;
use crate::service::error::ServiceError;

/// The identity key, and the one that is to take its place while a rotation is under way.
const IDENTITY_FILE: &str = "identity.key";
const NEXT_IDENTITY_FILE: &str = "identity.key.next";
const DEVICE_FILE: &str = "device.key";

/// The keys of an account on this node.
pub(in crate::service) struct Keys {
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
pub(in crate::service) fn node_key(data_dir: &Path) -> Result<SigningKey, ServiceError> {
    let path = data_dir.join("node.key");
    if !path.exists() {
        keyfile::create(&path, &SigningKey::generate()?.to_bytes())?;
    }
    Ok(SigningKey::from_bytes(&*keyfile::load(&path)?))
}

/// A fresh recovery key: the secret to show once, and the hash that the record carries.
pub(in crate::service) fn recovery_key() -> Result<(Zeroizing<String>, [u8; 32]), ServiceError> {
    let key = SigningKey::generate()?;
    Ok((Zeroizing::new(proto::ids::hex(&*key.to_bytes())), recovery_hash(&key.public())))
}

/// The key of 64 hexadecimal digits, with white space around and between them.
pub(in crate::service) fn read_recovery_key(text: &str) -> Result<SigningKey, ServiceError> {
    let digits = Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let secret = unhex::<32>(&digits).map(Zeroizing::new).ok_or_else(|| {
        ServiceError::InvalidParams("a recovery key is 64 hexadecimal digits, as `register` printed it".into())
    })?;
    Ok(SigningKey::from_bytes(&secret))
}
