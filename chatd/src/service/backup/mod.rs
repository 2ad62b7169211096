//! `backup.*` and `restore.*`: whole accounts as encrypted files, carried in parts over the RPC.
//!
//! Clients see ciphertext only. In the clear, a backup exists for a moment in a folder of its own beside the accounts,
//! whose name begins with a dot: what a daemon leaves there when it is killed is removed by the next start. What is being
//! carried is a file without a name, which is gone with whoever drops it.
//!
//! A restored account is a new device with new prekeys: its streams begin anew, so no number is used twice, and what was
//! sealed to the lost device is sent again by those who sent it.

pub(super) mod transfers;

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::directory::SignedRecord;
use proto::name::Name;
use proto::time::Timestamp;
use zeroize::Zeroizing;

use self::transfers::{IDLE, Owner, unknown};
use super::account::info::info;
use super::account::keys::statements::{Facts, make_record};
use super::account::lifecycle::{self, io, private_dir};
use super::account::register::reserve;
use super::account::{self, Account, storage};
use super::context::{Service, run_detached};
use super::directory::publisher;
use super::error::ServiceError;
use crate::crypto::archive::{ArchiveError, Secrets, encrypt};
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::crypto::random_bytes;
use crate::model::{AccountInfo, Caller, Restored};
use crate::store::PrekeyStore;
use crate::store::log::recovery::{RESTORED, epochs};
use crate::store::snapshot::{self, Contents, NewHome};

/// Bytes of one part at most: half of what an RPC message holds.
const MAX_PART_BYTES: usize = 524_288;
/// Bytes of an uploaded backup at most: more than ten million messages.
const MAX_UPLOAD_BYTES: u64 = 8 << 30;
/// How long a restore waits for the directory; the session tells it later otherwise.
const PUBLISH: Duration = Duration::from_secs(10);

/// A folder that is gone when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a backup is encrypted to.
pub(crate) struct Keys {
    /// As `age1...`.
    pub recipients: Vec<String>,
    /// Or this.
    pub passphrase: Option<Zeroizing<String>>,
}

/// A backup that was made, and can be read.
pub(crate) struct Made {
    /// Names it.
    pub transfer: String,
    /// Bytes of it.
    pub size: u64,
    /// The account that is in it.
    pub account: AccountInfo,
}

fn owner(service: &Service, caller: &Caller) -> Owner {
    Owner { uid: caller.uid, has_account: service.has_account(caller.uid) }
}

fn scratch(service: &Service, what: &str) -> Result<Scratch, ServiceError> {
    let name = format!(".{what}-{}", proto::ids::hex(&random_bytes::<8>()?));
    let folder = service.accounts_dir().join(name);
    private_dir(&folder)?;
    Ok(Scratch(folder))
}

/// A file that has lost its name already.
fn nameless(service: &Service) -> Result<File, ServiceError> {
    let folder = scratch(service, "transfer")?;
    let path = folder.0.join("file");
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    file.map_err(io(&path))
}

/// Keeps a file until its client ends it, or has gone away.
fn carry(service: &Service, uid: u32, upload: bool, file: File, size: u64) -> Result<String, ServiceError> {
    let transfers = Arc::clone(&service.inner.transfers);
    let id = transfers.add(uid, upload, file, size)?;
    let watched = id.clone();
    service.spawn(async move {
        while transfers.lock().iter().any(|transfer| transfer.id == watched) {
            tokio::time::sleep(IDLE).await;
        }
    });
    Ok(id)
}

/// `backup.begin`.
///
/// # Errors
/// Keys that are none, a cap, a full disk.
pub(crate) async fn start(
    service: &Service,
    caller: &Caller,
    account: Arc<Account>,
    keys: Keys,
) -> Result<Made, ServiceError> {
    let transfers = &service.inner.transfers;
    let place = transfers.place(owner(service, caller))?;
    // A rotation between the copy and its key would tear them apart.
    let alone = Arc::clone(&account.rotating).lock_owned().await;
    let (made_by, of) = (service.clone(), Arc::clone(&account));
    let with_passphrase = keys.passphrase.is_some();
    let make = move || {
        let _alone = alone;
        make(&made_by, &of, &keys)
    };
    let (file, size) = if with_passphrase { transfers.heavy(make).await? } else { blocking(make).await? };
    drop(place);
    let transfer = carry(service, caller.uid, false, file, size)?;
    tracing::info!(name = %account.row().address(), bytes = size, "a backup was made");
    Ok(Made { transfer, size, account: info(&account) })
}

fn make(service: &Service, account: &Account, keys: &Keys) -> Result<(File, u64), ServiceError> {
    let file = nameless(service)?;
    let mut writer =
        encrypt(&keys.recipients, keys.passphrase.as_ref().map(|text| text.as_str()), BufWriter::new(file))?;
    let scratch = scratch(service, "backup")?;
    let copy = scratch.0.join("account.db");
    account.store.snapshot(&copy, &account.keys.identity().to_bytes())?;
    proto::fault::point("backup.copied");
    let mut plain = File::open(&copy).map_err(io(&copy))?;
    std::io::copy(&mut plain, &mut writer).map_err(ArchiveError::from)?;
    let file = writer.finish().map_err(ArchiveError::from)?;
    let file = file.into_inner().map_err(|error| ArchiveError::from(error.into_error()))?;
    let size = file.metadata().map_err(ArchiveError::from)?.len();
    Ok((file, size))
}

/// `backup.read`.
///
/// # Errors
/// No such backup.
pub(crate) async fn read(
    service: &Service,
    caller: &Caller,
    transfer: &str,
    offset: u64,
) -> Result<Vec<u8>, ServiceError> {
    let (file, size) = service.inner.transfers.touch(caller, transfer, false, Ok)?;
    let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX).min(MAX_PART_BYTES);
    blocking(move || {
        let mut data = vec![0; left];
        file.read_exact_at(&mut data, offset).map_err(ArchiveError::from)?;
        Ok(data)
    })
    .await
}

/// `backup.end`.
///
/// # Errors
/// No such backup.
pub(crate) fn end(service: &Service, caller: &Caller, transfer: &str) -> Result<(), ServiceError> {
    service.inner.transfers.take(caller, transfer, false).map(drop).ok_or_else(unknown)
}

/// `restore.begin`.
///
/// # Errors
/// A cap, a full disk.
pub(crate) fn start_restore(service: &Service, caller: &Caller) -> Result<String, ServiceError> {
    // Kept until the upload itself has it: of two calls at once, one must not count for nothing.
    let place = service.inner.transfers.place(owner(service, caller))?;
    let transfer = carry(service, caller.uid, true, nameless(service)?, 0)?;
    drop(place);
    Ok(transfer)
}

/// `restore.write`.
///
/// # Errors
/// No such upload; more than a backup can be; a full disk.
pub(crate) async fn write(
    service: &Service,
    caller: &Caller,
    transfer: &str,
    data: Vec<u8>,
) -> Result<(), ServiceError> {
    let transfers = &service.inner.transfers;
    if data.len() > MAX_PART_BYTES {
        return Err(ServiceError::InvalidParams(format!("a part has {MAX_PART_BYTES} bytes at most")));
    }
    let add = data.len() as u64;
    transfers.room_for(owner(service, caller), add)?;
    let (file, at) = transfers.touch(caller, transfer, true, |size| {
        if size + add > MAX_UPLOAD_BYTES {
            return Err(ServiceError::LimitReached(format!("a backup has {MAX_UPLOAD_BYTES} bytes at most")));
        }
        Ok(size + add)
    })?;
    let written = blocking(move || Ok(file.write_all_at(&data, at).map_err(ArchiveError::from)?)).await;
    if written.is_err() {
        // With a hole in it, it is worth nothing.
        transfers.take(caller, transfer, true);
    }
    written
}

/// `restore.end`.
///
/// # Errors
/// No such upload.
pub(crate) fn end_restore(service: &Service, caller: &Caller, transfer: &str) -> Result<(), ServiceError> {
    service.inner.transfers.take(caller, transfer, true).map(drop).ok_or_else(unknown)
}

/// `restore.finish`.
///
/// # Errors
/// A file that does not open or is damaged, an account that exists here: then nothing is left behind.
pub(crate) async fn finish_restore(
    service: &Service,
    caller: &Caller,
    transfer: &str,
    secrets: Secrets,
) -> Result<Restored, ServiceError> {
    let transfers = &service.inner.transfers;
    let (file, _) = transfers.take(caller, transfer, true).ok_or_else(unknown)?;
    let place = transfers.keep_place(caller.uid);
    let (service, caller) = (service.clone(), caller.clone());
    run_detached(async move {
        let _place = place;
        restore(&service, &caller, file, secrets).await
    })
    .await
}

async fn restore(
    service: &Service,
    caller: &Caller,
    file: Arc<File>,
    secrets: Secrets,
) -> Result<Restored, ServiceError> {
    let scratch = scratch(service, "restore")?;
    let folder = scratch.0.clone();
    let contents = service.inner.transfers.heavy(move || unpack(&file, &secrets, &folder)).await?;
    let made = contents.made;
    let row = &contents.row;
    let record = SignedRecord::decode(&contents.card.record)?;
    let told = record.verify()?;
    let identity = SigningKey::from_bytes(&contents.identity);
    if told.account() != row.id || told.identity_key != identity.public() || told.name.as_str() != row.name {
        return Err(ServiceError::InvalidParams("the backup is damaged: its parts are not of one account".into()));
    }
    let _reserved = reserve(service, caller, &row.name, &row.directory)?;
    let here = service.folder_of(row.id);
    if here.exists() {
        return Err(ServiceError::AlreadyExists(format!(
            "{} is on this daemon: nothing was restored. To go back to the backup, stop chatd, move {} away, start \
             chatd, and restore again",
            row.address(),
            here.display()
        )));
    }
    if service.accounts().iter().any(|other| other.row().address() == row.address()) {
        return Err(ServiceError::AlreadyExists(format!("{} exists on this daemon already", row.address())));
    }
    let keys = account::keys::Keys::new(identity, SigningKey::generate()?);
    let prekey = PrekeySecret::generate(Timestamp::now().unix_seconds())?;
    let facts = Facts {
        name: &Name::parse(&row.name)?,
        origin: &row.origin,
        directory: &row.directory,
        recovery_hash: contents.card.recovery_hash,
        config: &service.config(),
    };
    let (record, record_seq) = make_record(&keys, &facts, Some(&record), &prekey)?;
    let mut row = row.clone();
    (row.device, row.uid, row.logged_in) = (keys.device_id(), caller.uid, true);
    row.user = caller.user.clone().unwrap_or_default();
    let id = row.id;
    let folder = scratch.0.clone();
    blocking(move || {
        keys.create(&folder)?;
        PrekeyStore::open(&folder)?.insert(&prekey, 0)?;
        Ok(snapshot::move_in(&folder, &NewHome { row, record, record_seq })?)
    })
    .await?;
    proto::fault::point("restore.made");
    std::fs::rename(&scratch.0, &here).map_err(io(&here))?;
    sync(&service.accounts_dir())?;
    proto::fault::point("restore.renamed");
    let account = storage::open(service, &here)?;
    // What waits names the lost device: it is issued anew before anything can be sent.
    account.store.write(|tx| epochs::begin_epochs(tx, RESTORED)).await?;
    lifecycle::register(service, &account);
    // Before anybody is told that the account is online, so that they find the new device.
    let published = matches!(tokio::time::timeout(PUBLISH, publisher::publish(service, &account)).await, Ok(Ok(())));
    lifecycle::start(&account).await;
    account.settled().await;
    let info = info(&account);
    tracing::warn!(name = %info.address, account = %id, %made, published, "an account was restored from a backup");
    Ok(Restored { account: info, made, published })
}

fn unpack(file: &File, secrets: &Secrets, folder: &Path) -> Result<Contents, ServiceError> {
    let copy = folder.join("account.db");
    let mut plain = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy).map_err(io(&copy))?;
    let mut file = file;
    std::io::Seek::rewind(&mut file).map_err(ArchiveError::from)?;
    secrets.decrypt(BufReader::new(file), &mut plain)?;
    plain.flush().map_err(ArchiveError::from)?;
    let contents = snapshot::open(&copy, folder)?;
    std::fs::remove_file(&copy).map_err(io(&copy))?;
    Ok(contents)
}

fn sync(folder: &Path) -> Result<(), ServiceError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))
}

/// Runs what blocks off the runtime's threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(ServiceError::ShuttingDown))
}
