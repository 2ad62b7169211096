//! What must survive: records, released names, reach, token hashes, session counters.
//!
//! The write connection belongs to one named thread. Commands reach it through a bounded channel; everything that waits
//! goes into one transaction, and every answer is given after COMMIT (`synchronous=FULL`), when the [`Index`] shows the
//! new state as well. So what a client was told is on the disk, and what one client was told, all others can see.
//! Readers have connections of their own, which cannot write.
//!
//! Not the job: signatures. What comes in here was verified.

mod apply;
mod read;
mod schema;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use proto::directory::api::Base64;
use proto::directory::{Record, SignedRecord};
use proto::ids::{AccountId, DeviceId};
use proto::name::Name;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use read::Readers;

use crate::index::{Change, Index};
use crate::metrics::Metrics;

/// Commands that wait for the store thread at most. A full queue makes senders wait, not memory grow.
const QUEUE: usize = 1_024;
/// Commands in one transaction at most: keeps the longest wait for a commit to some milliseconds.
const BATCH: usize = 512;
/// Tokens that an account may have at most; one for each contact.
pub const MAX_TOKENS: usize = 16_384;
/// Seconds for which a released name is kept for the account that had it: 30 days.
pub const RESERVED_SECONDS: i64 = 30 * 86_400;

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another account has the name, or gave it up less than 30 days ago.
    #[error("the name belongs to another account")]
    NameTaken,
    /// It looks like this one.
    #[error("the name looks like {0}, which is taken")]
    LooksLike(Name),
    /// The account has another name here.
    #[error("the account is registered as {0}; give that name up first")]
    OtherName(Name),
    /// The record does not take the stored one's place.
    #[error("{reason}")]
    Conflict {
        /// In words.
        reason: String,
        /// The record that is stored.
        stored: Option<Base64>,
    },
    /// No such name or account.
    #[error("not found")]
    NotFound,
    /// More accounts or tokens than allowed.
    #[error("{0}")]
    Full(&'static str),
    /// The disk or the database refuses; nothing was changed.
    #[error("the store cannot write now: {0}")]
    Unavailable(String),
}

/// Why the store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may write to it.
    #[error("the data directory {path} can be written by others (mode {mode:03o}); run: chmod go-w {path}", path = .path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it.
    #[error("the data directory {0} is in use by another directoryd; stop it, or give this one another --data-dir")]
    Locked(PathBuf),
    /// SQLite says no.
    #[error("cannot open the database {path}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Made by a newer program.
    #[error("the database {path} has schema {found}, and this program knows up to {known}; install a newer directoryd")]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// What is stored cannot be understood.
    #[error("the database {path} holds a record that cannot be read: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system gives no thread.
    #[error("cannot start the store's thread")]
    Thread(#[source] std::io::Error),
}

/// A verified record on its way in.
#[derive(Debug)]
pub struct Publish {
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The same, taken apart.
    pub signed: SignedRecord,
    /// What it says.
    pub record: Record,
    /// The directory's clock.
    pub now: i64,
}

/// What a publish did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether the name is new here.
    pub created: bool,
    /// The seq that is stored now.
    pub seq: u64,
}

/// A verified reach on its way in.
#[derive(Debug)]
pub struct StoreReach {
    /// Whose.
    pub account: AccountId,
    /// Of which device.
    pub device: DeviceId,
    /// Its number.
    pub seq: u64,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Publish(Box<Publish>, Reply<Published>),
    Release { account: AccountId, now: i64, reply: Reply<Name> },
    Reach(StoreReach, Reply<u64>),
    Tokens { account: AccountId, add: Vec<[u8; 32]>, remove: Vec<[u8; 32]>, reply: Reply<u64> },
    Session { account: AccountId, device: DeviceId, reply: Reply<u64> },
}

/// The handle: cheap to clone; the thread ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    readers: Readers,
}

/// Joins the store's thread; wait for it after all handles are dropped.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<()>,
    /// Held as long as the database may be written.
    _lock: File,
}

impl StoreThread {
    /// Blocks until everything that was queued is committed and the database is closed.
    pub fn join(self) {
        // A panic of the thread was printed by its hook; there is nothing to add.
        let _ = self.thread.join();
    }
}

impl Store {
    /// Locks the data directory, opens the database, brings it to the newest schema, fills `index` and starts the
    /// thread. `failed` is cancelled when the disk can no longer be trusted and the process must stop.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        data_dir: &Path,
        max_accounts: u64,
        index: Arc<Index>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
    ) -> Result<(Self, StoreThread), OpenError> {
        let lock = lock_data_dir(data_dir)?;
        let path = data_dir.join("directory.db");
        let connection = schema::open(&path)?;
        read::load(&connection, &index, &path)?;
        let readers = Readers::open(&path)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let writer = Writer { connection, index, metrics, max_accounts, failed };
        let thread = std::thread::Builder::new()
            .name("directory-store".into())
            .spawn(move || writer.run(queue))
            .map_err(OpenError::Thread)?;
        Ok((Self { commands, readers }, StoreThread { thread, _lock: lock }))
    }

    /// Stores a record, if it may be.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub async fn publish(&self, publish: Publish) -> Result<Published, StoreError> {
        self.ask(|reply| Command::Publish(Box::new(publish), reply)).await
    }

    /// Gives an account's name up, and forgets its reach and tokens.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn release(&self, account: AccountId, now: i64) -> Result<Name, StoreError> {
        self.ask(|reply| Command::Release { account, now, reply }).await
    }

    /// Keeps the reach of a device, unless a higher seq is stored; the seq that is.
    ///
    /// # Errors
    /// When the account is not registered.
    pub async fn reach(&self, reach: StoreReach) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Reach(reach, reply)).await
    }

    /// Adds and removes token hashes; how many the account has now.
    ///
    /// # Errors
    /// When the account is not registered, or has [`MAX_TOKENS`].
    pub async fn tokens(
        &self,
        account: AccountId,
        add: Vec<[u8; 32]>,
        remove: Vec<[u8; 32]>,
    ) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Tokens { account, add, remove, reply }).await
    }

    /// Counts the start of a session.
    ///
    /// # Errors
    /// When the account is not registered.
    pub async fn session(&self, account: AccountId, device: DeviceId) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Session { account, device, reply }).await
    }

    /// The connections that only read.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("it is stopping".into());
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Answers one command, once it is known whether the transaction was committed.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

struct Writer {
    connection: Connection,
    index: Arc<Index>,
    metrics: Arc<Metrics>,
    max_accounts: u64,
    failed: CancellationToken,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut changes = Vec::new();
            let mut answers = Vec::with_capacity(batch.len());
            let outcome = self.transaction(&mut batch, &mut changes, &mut answers);
            match &outcome {
                Ok(()) => {
                    self.metrics.committed(answers.len());
                    self.index.apply(changes);
                }
                Err(error) => tracing::error!(%error, commands = answers.len(), "transaction rolled back"),
            }
            let told = outcome.map_err(|error| {
                self.stop_if_fatal(&error);
                StoreError::Unavailable(error.to_string())
            });
            answers.into_iter().for_each(|answer| answer(told.clone()));
        }
        // The last connection to close copies the log back into the database.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the database did not close cleanly; it will be recovered at the next start");
        }
    }

    fn transaction(
        &mut self,
        batch: &mut Vec<Command>,
        changes: &mut Vec<Change>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), rusqlite::Error> {
        let begun = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let (transaction, mut outcome) = match begun {
            Ok(transaction) => (Some(transaction), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let mut limits = apply::Limits { max_accounts: self.max_accounts, accounts: self.index.len() as u64 };
        for command in batch.drain(..) {
            // After a failure the rest is only told about it: the transaction is lost as a whole.
            let usable = transaction.as_ref().filter(|_| outcome.is_ok());
            let (result, answer) = apply::apply(usable, command, &mut limits, changes);
            answers.push(answer);
            if let Err(error) = result {
                outcome = outcome.and(Err(error));
            }
        }
        match (outcome, transaction) {
            (Ok(()), Some(transaction)) => transaction.commit(),
            (outcome, _) => outcome,
        }
    }

    /// After a failed write or sync nobody knows what the disk holds: retrying could acknowledge what is lost. The
    /// process ends and recovers from the write-ahead log. A full disk is none of these: what was rolled back is known.
    fn stop_if_fatal(&self, error: &rusqlite::Error) {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, ReadOnly, SystemIoFailure};
        if matches!(error.sqlite_error_code(), Some(SystemIoFailure | DatabaseCorrupt | NotADatabase | ReadOnly)) {
            tracing::error!(%error, "the database can no longer be trusted to keep what it is given: stopping");
            self.failed.cancel();
        }
    }
}

fn lock_data_dir(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::DataDir { path: path.to_owned(), source };
    if !path.exists() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(failed)?;
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().map_err(failed)?) & 0o777;
        if mode & 0o022 != 0 {
            return Err(OpenError::Permissions { path: path.to_owned(), mode });
        }
    }
    let file = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
