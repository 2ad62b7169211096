//! `backup.*` and `restore.*`: whole accounts as encrypted files, carried in parts over the RPC.
//!
//! Clients see ciphertext only. In the clear, a backup exists for a moment in a folder of its own beside the accounts,
//! whose name begins with a dot: what a daemon leaves there when it is killed is removed by the next start. What is being
//! carried is a file without a name, which is gone with whoever drops it.
//!
//! A restored account is a new device with new prekeys: its streams begin anew, so no number is used twice, and what was
//! sealed to the lost device is sent again by those who sent it.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::directory::SignedRecord;
use proto::name::Name;
use proto::rpc::types::{
    BackupBeginParams, BackupBeginResult, BackupReadParams, BackupReadResult, Done, Empty, RestoreBeginResult,
    RestoreFinishParams, RestoreResult, RestoreWriteParams, TransferParams,
};
use proto::time::Timestamp;

use super::account::Account;
use super::create::{io, private_dir};
use super::identity::{Facts, Keys, make_record};
use super::transfers::{IDLE, unknown};
use super::{Service, ServiceError, session};
use crate::crypto::archive::{ArchiveError, Secrets, encrypt};
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::PrekeySecret;
use crate::crypto::random_bytes;
use crate::model::Caller;
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

impl Service {
    fn scratch(&self, what: &str) -> Result<Scratch, ServiceError> {
        let name = format!(".{what}-{}", proto::ids::hex(&random_bytes::<8>()?));
        let folder = self.accounts_dir().join(name);
        private_dir(&folder)?;
        Ok(Scratch(folder))
    }

    /// A file that has lost its name already.
    fn nameless(&self) -> Result<File, ServiceError> {
        let folder = self.scratch("transfer")?;
        let path = folder.0.join("file");
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        file.map_err(io(&path))
    }

    /// Keeps a file until its client ends it, or has gone away.
    fn carry(&self, uid: u32, upload: bool, file: File, size: u64) -> Result<String, ServiceError> {
        let id = self.inner.transfers.add(uid, upload, file, size)?;
        let (service, watched) = (self.clone(), id.clone());
        self.spawn(async move {
            while service.inner.transfers.lock().iter().any(|transfer| transfer.id == watched) {
                tokio::time::sleep(IDLE).await;
            }
        });
        Ok(id)
    }

    /// `backup.begin`.
    ///
    /// # Errors
    /// Keys that are none, a cap, a full disk.
    pub async fn backup_begin(
        &self,
        caller: &Caller,
        params: BackupBeginParams,
    ) -> Result<BackupBeginResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let place = self.place(caller.uid)?;
        // A rotation between the copy and its key would tear them apart.
        let alone = Arc::clone(&account.rotating).lock_owned().await;
        let (service, of) = (self.clone(), Arc::clone(&account));
        let with_passphrase = params.passphrase.is_some();
        let make = move || {
            let _alone = alone;
            service.make_backup(&of, &params)
        };
        let (file, size) = if with_passphrase { self.heavy(make).await? } else { blocking(make).await? };
        drop(place);
        let transfer = self.carry(caller.uid, false, file, size)?;
        tracing::info!(name = %account.row().address(), bytes = size, "a backup was made");
        Ok(BackupBeginResult { transfer, size, account: self.info(&account) })
    }

    fn make_backup(&self, account: &Account, params: &BackupBeginParams) -> Result<(File, u64), ServiceError> {
        let file = self.nameless()?;
        let mut writer = encrypt(&params.recipients, params.passphrase.as_deref(), BufWriter::new(file))?;
        let scratch = self.scratch("backup")?;
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
    pub async fn backup_read(
        &self,
        caller: &Caller,
        params: BackupReadParams,
    ) -> Result<BackupReadResult, ServiceError> {
        let (file, size) = self.inner.transfers.touch(caller, &params.transfer, false, Ok)?;
        let left = usize::try_from(size.saturating_sub(params.offset)).unwrap_or(usize::MAX).min(MAX_PART_BYTES);
        let data = blocking(move || {
            let mut data = vec![0; left];
            file.read_exact_at(&mut data, params.offset).map_err(ArchiveError::from)?;
            Ok(data)
        })
        .await?;
        Ok(BackupReadResult { data })
    }

    /// `backup.end`.
    ///
    /// # Errors
    /// No such backup.
    pub async fn backup_end(&self, caller: &Caller, params: TransferParams) -> Result<Done, ServiceError> {
        self.inner.transfers.take(caller, &params.transfer, false).map(|_| Done {}).ok_or_else(unknown)
    }

    /// `restore.begin`.
    ///
    /// # Errors
    /// A cap, a full disk.
    pub async fn restore_begin(&self, caller: &Caller, _: Empty) -> Result<RestoreBeginResult, ServiceError> {
        // Kept until the upload itself has it: of two calls at once, one must not count for nothing.
        let place = self.place(caller.uid)?;
        let transfer = self.carry(caller.uid, true, self.nameless()?, 0)?;
        drop(place);
        Ok(RestoreBeginResult { transfer })
    }

    /// `restore.write`.
    ///
    /// # Errors
    /// No such upload; more than a backup can be; a full disk.
    pub async fn restore_write(&self, caller: &Caller, params: RestoreWriteParams) -> Result<Done, ServiceError> {
        let data = params.data;
        if data.len() > MAX_PART_BYTES {
            return Err(ServiceError::InvalidParams(format!("a part has {MAX_PART_BYTES} bytes at most")));
        }
        let add = data.len() as u64;
        self.room_for(caller.uid, add)?;
        let (file, at) = self.inner.transfers.touch(caller, &params.transfer, true, |size| {
            if size + add > MAX_UPLOAD_BYTES {
                return Err(ServiceError::LimitReached(format!("a backup has {MAX_UPLOAD_BYTES} bytes at most")));
            }
            Ok(size + add)
        })?;
        let written = blocking(move || Ok(file.write_all_at(&data, at).map_err(ArchiveError::from)?)).await;
        if written.is_err() {
            // With a hole in it, it is worth nothing.
            self.inner.transfers.take(caller, &params.transfer, true);
        }
        written.map(|()| Done {})
    }

    /// `restore.end`.
    ///
    /// # Errors
    /// No such upload.
    pub async fn restore_end(&self, caller: &Caller, params: TransferParams) -> Result<Done, ServiceError> {
        self.inner.transfers.take(caller, &params.transfer, true).map(|_| Done {}).ok_or_else(unknown)
    }

    /// `restore.finish`.
    ///
    /// # Errors
    /// A file that does not open or is damaged, an account that exists here: then nothing is left behind.
    pub async fn restore_finish(
        &self,
        caller: &Caller,
        params: RestoreFinishParams,
    ) -> Result<RestoreResult, ServiceError> {
        let secrets = Secrets::new(&params.identities, params.passphrase.as_deref())?;
        let (file, _) = self.inner.transfers.take(caller, &params.transfer, true).ok_or_else(unknown)?;
        let place = self.keep_place(caller.uid);
        let (service, caller) = (self.clone(), caller.clone());
        Self::whole(async move {
            let _place = place;
            service.restore(&caller, file, secrets).await
        })
        .await
    }

    async fn restore(&self, caller: &Caller, file: Arc<File>, secrets: Secrets) -> Result<RestoreResult, ServiceError> {
        let scratch = self.scratch("restore")?;
        let folder = scratch.0.clone();
        let contents = self.heavy(move || unpack(&file, &secrets, &folder)).await?;
        let made = contents.made;
        let row = &contents.row;
        let record = SignedRecord::decode(&contents.card.record)?;
        let told = record.verify()?;
        let identity = SigningKey::from_bytes(&contents.identity);
        if told.account() != row.id || told.identity_key != identity.public() || told.name.as_str() != row.name {
            return Err(ServiceError::InvalidParams("the backup is damaged: its parts are not of one account".into()));
        }
        let _reserved = self.reserve(caller, &row.name, &row.directory)?;
        let here = self.folder_of(row.id);
        if here.exists() {
            return Err(ServiceError::AlreadyExists(format!(
                "{} is on this daemon: nothing was restored. To go back to the backup, stop chatd, move {} away, start \
                 chatd, and restore again",
                row.address(),
                here.display()
            )));
        }
        if self.accounts().iter().any(|other| other.row().address() == row.address()) {
            return Err(ServiceError::AlreadyExists(format!("{} exists on this daemon already", row.address())));
        }
        let keys = Keys::new(identity, SigningKey::generate()?);
        let prekey = PrekeySecret::generate(Timestamp::now().unix_seconds())?;
        let facts = Facts {
            name: &Name::parse(&row.name)?,
            origin: &row.origin,
            directory: &row.directory,
            recovery_hash: contents.card.recovery_hash,
            config: &self.config(),
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
        sync(&self.accounts_dir())?;
        proto::fault::point("restore.renamed");
        let account = Account::open(self, &here)?;
        // What waits names the lost device: it is issued anew before anything can be sent.
        account.store.write(|tx| epochs::begin_epochs(tx, RESTORED)).await?;
        self.keep(&account);
        // Before anybody is told that the account is online, so that they find the new device.
        let published = matches!(tokio::time::timeout(PUBLISH, session::publish(self, &account)).await, Ok(Ok(())));
        self.begin(&account);
        account.settled().await;
        let info = self.info(&account);
        tracing::warn!(name = %info.address, account = %id, %made, published, "an account was restored from a backup");
        Ok(RestoreResult { account: info, made, published })
    }
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
