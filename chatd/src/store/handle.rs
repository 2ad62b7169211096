//! The handle of an account's store: operations go to its writer, queries to connections that cannot write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::events::EventHub;
use crate::model::ids::PeerId;
use crate::store::account::{self, NewAccount};
use crate::store::disk::reserve::Space;
use crate::store::disk::share::{Member, Share};
use crate::store::disk::{checksum, health};
use crate::store::engine::queue::Lane;
use crate::store::engine::tx::Tx;
use crate::store::engine::wake::{Pending, Wake};
use crate::store::engine::{migrate, writer};
use crate::store::error::StoreError;
use crate::store::history::search::{Indexer, Search};

/// Reading connections kept open per account.
const READERS: usize = 2;

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    care: Arc<health::Care>,
    space: Option<Arc<Space>>,
    share: Arc<OnceLock<Member>>,
    writer: writer::Writer,
    readers: Mutex<Vec<Connection>>,
    hub: Arc<EventHub>,
    wake: Arc<Wake>,
    search: Arc<Search>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes the store of a new account in its folder and closes it again. Blocks.
    ///
    /// # Errors
    /// When there is one already, or the disk refuses.
    pub fn create(folder: &Path, new: &NewAccount) -> Result<(), StoreError> {
        let conn = migrate::create(&folder.join("messages.db"))?;
        account::insert(&conn, new)?;
        conn.close().map_err(|(_, error)| error.into())
    }

    /// Opens the store in an account's folder, on a disk that nobody watches.
    ///
    /// # Errors
    /// When it is missing, damaged ([`StoreError::is_damage`]), newer than this program, or the disk refuses.
    pub fn open(folder: &Path, indexer: &Indexer) -> Result<Self, StoreError> {
        Self::open_on(folder, indexer, None)
    }

    /// Opens the store in an account's folder. After an unclean end it is also checked, in the background.
    ///
    /// # Errors
    /// When it is missing, damaged ([`StoreError::is_damage`]), newer than this program, or the disk refuses.
    pub fn open_on(folder: &Path, indexer: &Indexer, space: Option<Arc<Space>>) -> Result<Self, StoreError> {
        let path = path_in(folder);
        checksum::forget(&path);
        let log = health::look_at_log(&path)?;
        if let health::Log::Damaged { frame } = log {
            let wal = checksum::wal_of(&path);
            return Err(StoreError::Corrupt(format!("{}, frame {frame}: commits after it are lost", wal.display())));
        }
        let conn = migrate::open(&path)?;
        let store = Self::start(path, conn, indexer, space)?;
        if log == health::Log::Usable {
            store.inner.care.check();
        }
        Ok(store)
    }

    /// From now on what this store takes counts against a share, and nothing is added to it when that is used up.
    pub fn count_against(&self, share: &Arc<Share>) {
        let member = Member::new(Arc::clone(share), self.inner.path.clone());
        // What it has already counts for the user's other accounts before anything is added to it. One that cannot be read adds nothing.
        let _ = self.read_blocking(|conn| Ok(member.look(conn)));
        let _ = self.inner.share.set(member);
    }

    /// Runs a store on an open connection.
    pub(in crate::store) fn start(
        path: PathBuf,
        conn: Connection,
        indexer: &Indexer,
        space: Option<Arc<Space>>,
    ) -> Result<Self, StoreError> {
        let head: i64 = conn.query_row("SELECT coalesce(max(last), 0) FROM events", [], |row| row.get(0))?;
        let hub = Arc::new(EventHub::new(head as u64));
        let search = Arc::new(Search::open(indexer, path.clone(), path.with_file_name("search.db"))?);
        let wake = Arc::new(Wake::default());
        let care = Arc::new(health::Care::new(path.clone(), None));
        let index = Arc::clone(&search);
        let share = Arc::new(OnceLock::new());
        let shared = writer::Shared {
            on_message: Arc::new(move |newest| index.nudge(newest)),
            hub: Arc::clone(&hub),
            wake: Arc::clone(&wake),
            care: Arc::clone(&care),
            space: space.clone(),
            share: Arc::clone(&share),
        };
        let writer = writer::Writer::spawn(conn, shared)?;
        Ok(Self {
            inner: Arc::new(Inner { path, care, space, share, writer, readers: Mutex::default(), hub, wake, search }),
        })
    }

    /// Opens what is left of a damaged store, to be read: `text` is what writers are told. Writes nothing, ever.
    ///
    /// # Errors
    /// When the search thread has stopped.
    pub fn open_damaged(folder: &Path, indexer: &Indexer, text: String) -> Result<Self, StoreError> {
        checksum::install();
        let path = path_in(folder);
        let care = Arc::new(health::Care::new(path.clone(), Some(text)));
        let search = Arc::new(Search::open(indexer, path.clone(), path.with_file_name("search.db"))?);
        let (hub, wake, writer) = (Arc::new(EventHub::new(0)), Arc::new(Wake::default()), writer::Writer::none());
        let share = Arc::new(OnceLock::new());
        let inner = Inner { path, care, space: None, share, writer, readers: Mutex::default(), hub, wake, search };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What to tell of a store in `folder` whose opening met damage.
    pub fn describe_damage(folder: &Path, what: &str) -> String {
        health::describe(&path_in(folder), what)
    }

    /// What is damaged, where, and what to do; `None` while nothing is known of damage.
    pub fn damage(&self) -> Option<String> {
        self.inner.care.damage()
    }

    /// Changes when damage is found.
    pub fn damage_watch(&self) -> watch::Receiver<Option<String>> {
        self.inner.care.watch()
    }

    /// The database's file.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Queues an operation and returns once it has its place in the order; the outcome comes after COMMIT.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn enqueue<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        self.enqueue_in(Lane::Own, op).await
    }

    /// The same for what a contact sent: its operations have a share of the thread, and wait for nobody's but their own.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn enqueue_for<T: Send + 'static>(
        &self,
        contact: PeerId,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        self.enqueue_in(Lane::Contact(contact), op).await
    }

    async fn enqueue_in<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        if let Some(text) = self.damage() {
            return Err(StoreError::ReadOnly(text));
        }
        self.inner.writer.enqueue(lane, op).await
    }

    /// Operations that were run so far.
    #[cfg(test)]
    pub(crate) fn operations(&self) -> u64 {
        self.inner.writer.operations()
    }

    /// Runs an operation in the next transaction and waits for its COMMIT.
    ///
    /// # Errors
    /// Those of the operation or of the commit; then nothing of the operation was stored.
    pub async fn write<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.enqueue(op).await?.outcome().await
    }

    /// [`Store::write`], in a contact's share; see [`Store::enqueue_for`].
    ///
    /// # Errors
    /// Those of the operation or of the commit; then nothing of the operation was stored.
    pub async fn write_for<T: Send + 'static>(
        &self,
        contact: PeerId,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.enqueue_for(contact, op).await?.outcome().await
    }

    /// Leaves an operation for the next transaction without causing one at once (within half a second one is made). For
    /// notes that may be lost in a crash. Dropped when the queue is full.
    pub fn write_lazily(&self, op: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        self.inner.writer.defer(op);
    }

    /// Runs a query on a reading connection. Blocks: call it from [`Store::read`] or a blocking thread.
    ///
    /// # Errors
    /// Those of the query.
    pub fn read_blocking<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let pooled = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = pooled.map_or_else(|| health::connect_reader(&self.inner.path), Ok);
        self.inner.care.note(&conn);
        let conn = conn?;
        let result = query(&conn);
        self.inner.care.note(&result);
        let mut readers = self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(conn);
        }
        result
    }

    /// Runs a query on a blocking thread.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.read_blocking(query)).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// The event hub.
    pub fn hub(&self) -> &Arc<EventHub> {
        &self.inner.hub
    }

    /// Changes whenever something new may have to be delivered; [`Store::take_dirty`] then says for whom.
    pub fn outbox_watch(&self) -> watch::Receiver<u64> {
        self.inner.wake.signal.subscribe()
    }

    /// Contacts for whom something changed since the last call.
    pub fn take_dirty(&self) -> Vec<PeerId> {
        let mut dirty = self.inner.wake.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *dirty).into_iter().collect()
    }

    /// Full-text search.
    pub fn search(&self) -> &Arc<Search> {
        &self.inner.search
    }

    /// What keeps the store from taking writes, if anything.
    pub fn write_error(&self) -> Option<String> {
        self.inner.space.as_ref().and_then(|space| space.trouble()).or_else(|| self.inner.writer.error())
    }

    /// Runs what is queued, then ends the writer thread. Later operations answer [`StoreError::Closed`].
    pub async fn close(&self) {
        let store = self.clone();
        self.inner.care.stop();
        // A join blocks; the runtime's threads are for other things.
        let _ = tokio::task::spawn_blocking(move || store.inner.writer.close()).await;
    }
}

/// The database in an account's folder, under the name by which SQLite calls it.
fn path_in(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join("messages.db")
}
