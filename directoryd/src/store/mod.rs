//! What must survive: the directory's own key, records, released names, reach, token hashes, session counters.
//!
//! The write connection belongs to one named thread. Commands reach it through a bounded channel; everything that waits
//! goes into one transaction, and every answer is given after COMMIT (`synchronous=FULL`), when the [`Index`] shows the
//! new state as well. So what a client was told is on the disk, and what one client was told, all others can see.
//! Readers have connections of their own, which cannot write.
//!
//! Not the job: signatures. What comes in here was verified.

mod error;
mod rules;
mod sqlite;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use proto::directory::{Record, SignedRecord};
use proto::ids::{AccountId, DeviceId};
use proto::name::Name;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use error::{BackupError, OpenError, StoreError};
pub use sqlite::health::{Checked, Health};
pub use sqlite::read::{Mail, Readers};

use rules::mailbox;
use sqlite::{files, health, read, schema, writer};

use crate::cluster::index::Index;
use crate::cluster::uptime::{Monotonic, Uptime};
use crate::identity::Identity;
use crate::live::Live;
use crate::metrics::Metrics;

/// Commands that wait for the store thread at most. A full queue makes senders wait, not memory grow.
const QUEUE: usize = 1_024;
/// Tokens that an account may have at most; one for each contact.
pub const MAX_TOKENS: usize = 16_384;
/// Seconds for which a released name is kept for the account that had it: 30 days that the directory is up, by no clock
/// that can be set.
pub const RESERVED_SECONDS: i64 = 30 * 86_400;

/// A verified record on its way in.
#[derive(Debug)]
pub struct Publish {
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The same, taken apart.
    pub signed: SignedRecord,
    /// What it says.
    pub record: Record,
    /// The hash of a recovery key that whoever asks has shown to have.
    pub recovery: Option<[u8; 32]>,
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

/// What mailboxes may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Envelopes from contacts for an account.
    pub envelopes: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Envelopes from strangers for an account; as many again with proof of work.
    pub strangers: u64,
    /// Work that is asked for when that room is full, in bits.
    pub work_bits: u8,
    /// Bytes in all mailboxes of the directory.
    pub total_bytes: u64,
}

/// What the store refuses by, and may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Accounts at most.
    pub max_accounts: u64,
    /// Mail at most.
    pub quotas: Quotas,
}

impl Rules {
    /// Those of the options.
    pub fn of(options: &Options) -> Self {
        Self { max_accounts: options.max_accounts, quotas: options.quotas }
    }
}

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where; made if it is not there.
    pub data_dir: PathBuf,
    /// Accounts at most.
    pub max_accounts: u64,
    /// Mail at most.
    pub quotas: Quotas,
    /// Go on with another identity key than members know, or without the one that they know.
    pub new_identity: bool,
    /// What the mailbox's clock runs by.
    pub clock: Monotonic,
    /// Pages that the database may have, for tests of a full disk.
    pub max_pages: Option<u32>,
}

/// Whose room an envelope takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lane {
    /// Of a contact, who has presented the token with this hash.
    Contact([u8; 32]),
    /// Of those who may send a request.
    Stranger(Stranger),
}

/// Whoever leaves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The network that it comes from, hashed with a key of this directory.
    pub site: [u8; 8],
    /// The part of that network that one host has.
    pub host: [u8; 8],
    /// It is on this machine, and such are not limited.
    pub exempt: bool,
    /// Proof of work, in bits.
    pub work: u8,
}

/// An envelope on its way in.
#[derive(Debug)]
pub struct Deposit {
    /// Whose mailbox.
    pub account: AccountId,
    /// The device that can open it.
    pub device: DeviceId,
    /// Whose room it takes.
    pub lane: Lane,
    /// Seconds to keep it.
    pub ttl: u32,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its exact bytes.
    pub envelope: Bytes,
}

/// What a deposit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposited {
    /// Whether it was not there before.
    pub created: bool,
    /// Its number.
    pub number: u64,
    /// Seconds that it is kept.
    pub expires_in: u64,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Publish(Box<Publish>, Reply<Published>),
    Release { account: AccountId, reply: Reply<Name> },
    Reach(StoreReach, Reply<u64>),
    Tokens { account: AccountId, add: Vec<[u8; 32]>, remove: Vec<[u8; 32]>, reply: Reply<u64> },
    Session { account: AccountId, device: DeviceId, reply: Reply<u64> },
    Deposit(Box<Deposit>, Reply<Deposited>),
    Delete { account: AccountId, device: DeviceId, numbers: Vec<u64>, reply: Reply<u64> },
    Sweep(Reply<bool>),
}

/// The handle: cheap to clone; the thread ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    readers: Readers,
    health: Arc<Health>,
    identity: Identity,
    rules: Arc<Live<Rules>>,
}

/// Joins the store's thread; wait for it after all handles are dropped.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<()>,
    check: Option<health::Check>,
    /// Held as long as the database may be written.
    _lock: File,
}

impl StoreThread {
    /// Blocks until everything that was queued is committed and the database is closed.
    pub fn join(self) {
        if let Some(check) = self.check {
            check.stop();
        }
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
        options: &Options,
        index: Arc<Index>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
    ) -> Result<(Self, StoreThread), OpenError> {
        let lock = files::lock_data_dir(&options.data_dir)?;
        let path = options.data_dir.join("directory.db");
        let unclean = files::has_log(&path);
        let connection = schema::open(&path, options.max_pages)?;
        let identity = Identity::open(&options.data_dir, &connection, options.new_identity)?;
        read::load(&connection, &index, &path)?;
        let sqlite = |source| OpenError::Database { path: path.clone(), source };
        let saved = mailbox::saved_uptime(&connection).map_err(sqlite)?;
        let uptime = Arc::new(Uptime::resume(options.clock.clone(), saved));
        let (envelopes, bytes) = mailbox::lying(&connection).map_err(sqlite)?;
        metrics.mailbox.committed(envelopes, bytes, 0, 0);
        let health = Arc::new(Health::default());
        let check = if unclean { Some(health::Check::start(&path, &health)?) } else { None };
        let readers = Readers::open(&path, Arc::clone(&uptime))?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let rules = Arc::new(Live::new(Rules::of(options)));
        let writer = writer::Writer {
            connection,
            index,
            metrics,
            uptime,
            health: Arc::clone(&health),
            rules: Arc::clone(&rules),
            failed,
            full: None,
        };
        let thread = std::thread::Builder::new()
            .name("directory-store".into())
            .spawn(move || writer.run(queue))
            .map_err(OpenError::Thread)?;
        Ok((Self { commands, readers, health, identity, rules }, StoreThread { thread, check, _lock: lock }))
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
    pub async fn release(&self, account: AccountId) -> Result<Name, StoreError> {
        self.ask(|reply| Command::Release { account, reply }).await
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

    /// Puts an envelope into a mailbox.
    ///
    /// # Errors
    /// When there is no such account, the token does not hold, or there is no room.
    pub async fn deposit(&self, deposit: Deposit) -> Result<Deposited, StoreError> {
        self.ask(|reply| Command::Deposit(Box::new(deposit), reply)).await
    }

    /// Deletes envelopes that lie here for this very device; how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn delete(&self, account: AccountId, device: DeviceId, numbers: Vec<u64>) -> Result<u64, StoreError> {
        self.ask(|reply| Command::Delete { account, device, numbers, reply }).await
    }

    /// Deletes what has expired, some at a time, and saves the mailbox's clock.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        while self.ask(Command::Sweep).await? {}
        Ok(())
    }

    /// The directory's key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Other rules, from the next transaction on.
    pub fn reconfigure(&self, rules: Rules) {
        self.rules.set(rules);
    }

    /// Looks at a data directory as [`Store::open`] would meet it, and changes nothing; the key that it would use, unless it
    /// would make one.
    ///
    /// # Errors
    /// What opening it would fail at first: a folder that cannot be made or is not closed to others, another directory that uses it,
    /// a database of a newer version, an identity key that is lost, damaged, or another than members know.
    pub fn check(data_dir: &std::path::Path, new_identity: bool) -> Result<Option<Identity>, OpenError> {
        files::check(data_dir)?;
        let known = schema::check(&data_dir.join("directory.db"))?;
        Ok(Identity::fitting(data_dir, known.as_deref(), new_identity)?)
    }

    /// What is known of the database.
    pub fn checked(&self) -> Checked {
        self.health.checked()
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
