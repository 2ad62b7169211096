//! What the rest of the program holds of the store.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use proto::ids::{AccountId, DeviceId, LogId};
use proto::name::Name;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::error::{OpenError, StoreError};
use super::groups::{Appended, GroupAppend, GroupRequest, Keep, Kept, NewGroup, PutSlot, Reply, Staged, Statements};
use super::options::{Bounds, Options};
use super::request::{Counted, Deposit, Deposited, Publish, Published, Request, StoreReach};
use super::sqlite::health::{Check, Checked, Health};
use super::sqlite::readers::{self, Readers};
use super::sqlite::writer::Writer;
use super::sqlite::{self, files, schema};
use crate::cluster::Cluster;
use crate::identity::Identity;
use crate::live::Live;
use crate::metrics::Metrics;

/// Requests that wait for the store's thread at most. A full queue makes senders wait, not memory grow.
const QUEUE: usize = 1_024;
/// The handle: cheap to clone; the thread ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    readers: Readers,
    health: Arc<Health>,
    identity: Identity,
    bounds: Arc<Live<Bounds>>,
}

/// Joins the store's thread; wait for it after all handles are dropped.
#[derive(Debug)]
pub struct StoreThread {
    thread: JoinHandle<()>,
    check: Option<Check>,
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
    /// Locks the data directory, opens the database, brings it to the newest schema, tells `cluster` what is there and
    /// starts the thread. `failed` is cancelled when the disk can no longer be trusted and the process must stop.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        options: &Options,
        cluster: Arc<dyn Cluster>,
        metrics: Arc<Metrics>,
        failed: CancellationToken,
    ) -> Result<(Self, StoreThread), OpenError> {
        let lock = files::lock_data_dir(&options.data_dir)?;
        let path = options.data_dir.join("directory.db");
        let unclean = files::has_log(&path);
        let connection = schema::open(&path, options.max_pages)?;
        let identity = sqlite::identity(&options.data_dir, &connection, options.new_identity)?;
        readers::load(&connection, &*cluster, &path)?;
        let (uptime, lying) = sqlite::state(&connection, &path)?;
        cluster.resume(uptime);
        metrics.mailbox.committed(lying.mail.envelopes, lying.mail.bytes, 0, 0);
        metrics.groups.committed((lying.groups, lying.entries, lying.group_bytes), (0, 0, 0));
        let health = Arc::new(Health::default());
        let check = if unclean { Some(Check::start(&path, &health)?) } else { None };
        let readers = Readers::open(&path, Arc::clone(&cluster))?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let bounds = Arc::new(Live::new(Bounds::of(options)));
        let writer = Writer {
            connection,
            cluster,
            metrics,
            health: Arc::clone(&health),
            bounds: Arc::clone(&bounds),
            failed,
            full: None,
        };
        let thread = std::thread::Builder::new()
            .name("directory-store".into())
            .spawn(move || writer.run(queue))
            .map_err(OpenError::Thread)?;
        Ok((Self { requests, readers, health, identity, bounds }, StoreThread { thread, check, _lock: lock }))
    }

    /// Stores a record, if it may be.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub async fn publish(&self, publish: Publish) -> Result<Published, StoreError> {
        self.ask(|reply| Request::Publish(Box::new(publish), reply)).await
    }

    /// Gives an account's name up, and forgets its reach and tokens.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn release(&self, account: AccountId) -> Result<Name, StoreError> {
        self.ask(|reply| Request::Release { account, reply }).await
    }

    /// Keeps the reach of a device, unless a higher seq is stored; the seq that is.
    ///
    /// # Errors
    /// When the account is not registered.
    pub async fn reach(&self, reach: StoreReach) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Reach(reach, reply)).await
    }

    /// Adds and removes token hashes; how many the account has now.
    ///
    /// # Errors
    /// When the account is not registered, or has [`MAX_TOKENS`](crate::store::request::MAX_TOKENS).
    pub async fn tokens(
        &self,
        account: AccountId,
        add: Vec<[u8; 32]>,
        remove: Vec<[u8; 32]>,
    ) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Tokens { account, add, remove, reply }).await
    }

    /// Counts the start of a session, under the number that the device says if it may have that.
    ///
    /// # Errors
    /// When the account is not registered.
    pub async fn session(
        &self,
        account: AccountId,
        device: DeviceId,
        number: Option<u64>,
    ) -> Result<Counted, StoreError> {
        self.ask(|reply| Request::Session { account, device, number, reply }).await
    }

    /// Puts an envelope into a mailbox.
    ///
    /// # Errors
    /// When there is no such account, the token does not hold, or there is no room.
    pub async fn deposit(&self, deposit: Deposit) -> Result<Deposited, StoreError> {
        self.ask(|reply| Request::Deposit(Box::new(deposit), reply)).await
    }

    /// Deletes envelopes that lie here for this very device; how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn delete(&self, account: AccountId, device: DeviceId, numbers: Vec<u64>) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Delete { account, device, numbers, reply }).await
    }

    /// Makes a log; whether it is new.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub async fn create_group(&self, new: NewGroup) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Create(Box::new(new), reply))).await
    }

    /// Changes what holds of a log.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub async fn state_group(&self, log: LogId, new: Statements) -> Result<(), StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::State(log, Box::new(new), reply))).await
    }

    /// Appends an entry to a log, with what was staged for it.
    ///
    /// # Errors
    /// When the token does not hold, the race is lost, or there is no room.
    pub async fn append(&self, new: GroupAppend) -> Result<Appended, StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Append(Box::new(new), reply))).await
    }

    /// Keeps an entry for an event that follows.
    ///
    /// # Errors
    /// When the token does not hold, or there is no room.
    pub async fn stage(&self, new: GroupAppend) -> Result<Staged, StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Stage(Box::new(new), reply))).await
    }

    /// Keeps a slot; the counter that is stored.
    ///
    /// # Errors
    /// When the token does not hold, a newer one is stored, or there is no room.
    pub async fn put_slot(&self, new: PutSlot) -> Result<u64, StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Slot(Box::new(new), reply))).await
    }

    /// Tells who wrote entries, and drops them.
    ///
    /// # Errors
    /// When it is not the log key that asks.
    pub async fn keep(&self, asked: Keep) -> Result<Kept, StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Keep(Box::new(asked), reply))).await
    }

    /// Gives a log up.
    ///
    /// # Errors
    /// When there is none, or it is another account's.
    pub async fn remove_group(&self, account: AccountId, log: LogId) -> Result<(), StoreError> {
        self.ask(|reply| Request::Group(GroupRequest::Remove { account, log, reply })).await
    }

    /// Deletes what has expired, some at a time, and saves the mailbox's clock.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        while self.ask(Request::Sweep).await? {}
        Ok(())
    }

    /// The directory's key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Other bounds, from the next transaction on.
    pub fn reconfigure(&self, bounds: Bounds) {
        self.bounds.set(bounds);
    }

    /// Looks at a data directory as [`Store::open`] would meet it, and changes nothing; the key that it would use, unless it
    /// would make one.
    ///
    /// # Errors
    /// What opening it would fail at first: a folder that cannot be made or is not closed to others, another directory that uses it,
    /// a database of a newer version, an identity key that is lost, damaged, or another than members know.
    pub fn check(data_dir: &Path, new_identity: bool) -> Result<Option<Identity>, OpenError> {
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

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("it is stopping".into());
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
