//! Making an account: its keys, its folder, its name in the directory.
//!
//! Invariant: everything is on disk before the name is claimed, so that a kill at any moment leaves a name with its keys.

use std::path::Path;

use proto::directory::recovery_hash;
use proto::ids::hex;
use proto::name::Address;
use proto::time::Timestamp;
use proto::wire::payload::Profile;
use zeroize::Zeroizing;

use super::info::info;
use super::keys::statements::{Facts, make_record};
use super::keys::{Keys, read_recovery_key, recovery_key};
use super::lifecycle::{self, io, private_dir};
use super::registry::Reservation;
use super::storage;
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::directory::{DirectoryClient, DirectoryError};
use crate::model::{AccountRow, Caller, Registered};
use crate::service::context::{Service, run_detached};
use crate::service::error::ServiceError;
use crate::store::account::NewAccount;
use crate::store::{PrekeyStore, Store};

/// What is wanted of a new account.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// `alice` or `alice@example.org`.
    pub name: String,
    /// URL of the directory; empty for none; `None`: the configuration's.
    pub directory: Option<String>,
    /// For contacts to see.
    pub display_name: String,
    /// The recovery key of the account that gave the name up.
    pub recovery_key: Option<Zeroizing<String>>,
}

/// Also the name survives a power cut.
fn rename_durably(from: &Path, to: &Path) -> Result<(), ServiceError> {
    std::fs::rename(from, to).map_err(io(to))?;
    let parent = to.parent().unwrap_or(to);
    std::fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(io(parent))
}

/// `account.register`.
///
/// # Errors
/// Typed by what is wrong: the name, the directory's refusal, a cap; then nothing is left behind.
pub(crate) async fn register(
    service: &Service,
    caller: &Caller,
    wanted: Registration,
) -> Result<Registered, ServiceError> {
    let (service, caller) = (service.clone(), caller.clone());
    run_detached(async move { make(&service, &caller, wanted).await }).await
}

/// Holds a name, and a place under the cap of the configuration, while an account is made.
pub(in crate::service) fn reserve(
    service: &Service,
    caller: &Caller,
    name: &str,
    directory: &str,
) -> Result<Reservation, ServiceError> {
    let cap = service.config().limits.accounts_per_uid.get() as usize;
    service.inner.accounts.reserve(caller, cap, name, directory)
}

/// The directory of an account that was given none: that of the domain in its name, or else the configuration's.
async fn implied(service: &Service, domain: Option<&str>) -> Result<Option<DirectoryClient>, ServiceError> {
    let directories = &service.inner.directories;
    let default = service.config().directory.clone().filter(|place| !place.is_empty());
    let default = default.map(|place| directories.at(&place, None)).transpose()?;
    let Some(domain) = domain else { return Ok(default) };
    match default {
        _ if directories.is_named(domain) => {}
        Some(client) if client.domain() == Some(domain) || client.identify().await?.origin == domain => {
            return Ok(Some(client));
        }
        _ => {}
    }
    let unknown = || ServiceError::InvalidParams(format!("{domain} is no domain that has a directory"));
    // One of its own, for it pins the key that this account gets to know.
    let place = directories.of(domain).ok_or_else(unknown)?.url().to_owned();
    Ok(Some(directories.at(&place, None)?))
}

async fn make(service: &Service, caller: &Caller, wanted: Registration) -> Result<Registered, ServiceError> {
    let address: Address = wanted.name.parse()?;
    let display_name = wanted.display_name;
    if display_name.len() > Profile::MAX_DISPLAY_NAME_BYTES {
        let limit = Profile::MAX_DISPLAY_NAME_BYTES;
        return Err(ServiceError::InvalidText(format!("a display name has {limit} bytes at most")));
    }
    let directory = match wanted.directory {
        Some(place) if place.is_empty() => None,
        Some(place) => Some(service.inner.directories.at(&place, None)?),
        None => implied(service, address.domain.as_deref()).await?,
    };
    let url = directory.as_ref().map(|client| client.url().to_owned()).unwrap_or_default();
    let _reservation = reserve(service, caller, address.name.as_str(), &url)?;
    let (origin, now, directory_key) = match &directory {
        // Its clock is what others judge by. The key that it shows now is the one that it must have from now on.
        Some(client) => {
            let shown = client.identify().await?;
            let wanted = address.domain.as_deref().or(client.domain()).unwrap_or(&shown.origin);
            if wanted != shown.origin {
                let (url, wanted) = (client.url().to_owned(), wanted.to_owned());
                return Err(DirectoryError::OtherDomain { url, serves: shown.origin, wanted }.into());
            }
            client.pin().set(shown.key);
            (shown.origin, shown.time, Some(shown.key))
        }
        None => (String::new(), Timestamp::now().unix_seconds(), None),
    };
    if let (None, Some(domain)) = (&directory, &address.domain) {
        let name = &address.name;
        return Err(ServiceError::InvalidParams(format!(
            "without a directory nobody is {name} of {domain}: leave the domain out"
        )));
    }
    if service.accounts().iter().map(|a| a.row()).any(|row| row.name == address.name.as_str() && row.origin == origin) {
        return Err(ServiceError::AlreadyExists(format!("{} exists on this daemon already", address.name)));
    }
    // A name that rests is given back to the recovery key of the account that gave it up.
    let (recovery, recovery_hash, reclaim) = match &wanted.recovery_key {
        Some(text) => {
            let key = read_recovery_key(text)?;
            (Zeroizing::new(hex(&*key.to_bytes())), recovery_hash(&key.public()), Some(key))
        }
        None => {
            let (text, hash) = recovery_key()?;
            (text, hash, None)
        }
    };
    let keys = Keys::generate()?;
    let prekey = PrekeySecret::generate(now)?;
    let facts =
        Facts { name: &address.name, origin: &origin, directory: &url, recovery_hash, config: &service.config() };
    let (record, record_seq) = make_record(&keys, &facts, None, &prekey)?;
    let row = AccountRow {
        id: keys.account(),
        device: keys.device_id(),
        name: address.name.as_str().to_owned(),
        origin,
        directory: url,
        uid: caller.uid,
        user: caller.user.clone().unwrap_or_default(),
        logged_in: true,
        preferred: 0,
        standing: Default::default(),
    };
    let new = NewAccount { row, recovery_hash, record: record.clone(), record_seq, display_name, directory_key };
    let id = new.row.id;
    let unfinished = service.accounts_dir().join(format!(".{id}"));
    let made = make_folder(&unfinished, &keys, &prekey, new);
    let folder = service.accounts_dir().join(id.to_string());
    let result = match made {
        // Everything is on disk before the name is claimed, so that a kill at any moment leaves a name with its keys.
        Ok(()) => match rename_durably(&unfinished, &folder) {
            Ok(()) => claim(&directory, &address, &record, &keys, reclaim.as_ref()).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        for path in [&unfinished, &folder] {
            let _ = std::fs::remove_dir_all(path);
        }
        return Err(error);
    }
    let account = storage::open(service, &folder)?;
    lifecycle::register(service, &account);
    lifecycle::start(&account).await;
    account.settled().await;
    let info = info(&account);
    tracing::info!(name = %info.address, account = %id, uid = caller.uid, "account registered");
    Ok(Registered { account: info, recovery_key: recovery })
}

fn make_folder(folder: &Path, keys: &Keys, prekey: &PrekeySecret, new: NewAccount) -> Result<(), ServiceError> {
    private_dir(folder)?;
    keys.create(folder)?;
    PrekeyStore::open(folder)?.insert(prekey, 0)?;
    Ok(Store::create(folder, &new)?)
}

async fn claim(
    directory: &Option<DirectoryClient>,
    address: &Address,
    record: &[u8],
    keys: &Keys,
    reclaim: Option<&SigningKey>,
) -> Result<(), ServiceError> {
    let Some(client) = directory else { return Ok(()) };
    let identity = keys.identity();
    let sign = |message: &[u8]| identity.sign(&[message]);
    let published = match client.claim(&address.name, record, &sign, reclaim).await {
        // The answer may be lost while the name is claimed; with the keys, the name would be lost for ever.
        Err(DirectoryError::Unreachable { .. } | DirectoryError::Protocol { .. }) => {
            client.claim(&address.name, record, &sign, reclaim).await
        }
        published => published,
    };
    match published {
        Err(DirectoryError::NameTaken) => Err(ServiceError::NameTaken(address.name.to_string())),
        Err(DirectoryError::NameRests { until }) => {
            Err(ServiceError::NameRests { name: address.name.to_string(), until })
        }
        published => Ok(published.map(drop)?),
    }
}
