//! The writer thread: group commit without a timer.
//!
//! It takes one operation, then whatever else waits (up to a bound), runs all in one transaction, commits, and only then
//! answers, publishes events and wakes delivery. A lone operation pays one commit; a burst shares it. Whose operation is next
//! is the queue's decision (`queue`). A sync that fails does not come back here: it ends the process (`checksum`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proto::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::events::EventHub;
use crate::model::ids::PeerId;
use crate::store::disk::health::Care;
use crate::store::disk::reserve::Space;
use crate::store::disk::share::{Lack, Member};
use crate::store::disk::{checksum, connection};
use crate::store::engine::cache::Cache;
use crate::store::engine::queue::{Lane, Queue};
use crate::store::engine::tx::Tx;
use crate::store::engine::wake::{Pending, Wake};
use crate::store::error::StoreError;

/// Operations in one transaction at most, so that the first does not wait for ever.
const MAX_GROUP: usize = 64;
/// When those behind the first have taken so long, the transaction ends.
const MAX_GROUP_TIME: Duration = Duration::from_millis(50);
/// Notes kept for the next transaction at most; beyond that the oldest is dropped (it would only have been in `trace`).
const MAX_NOTES: usize = 1_024;
/// After so long without another operation, notes get a transaction of their own.
const NOTE_DELAY: Duration = Duration::from_millis(500);

type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Runs in a transaction; without one (none could be begun) it only makes the answer.
type Op = Box<dyn FnOnce(Option<&mut Tx<'_>>) -> Finish + Send>;
type Note = Box<dyn FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send>;

/// What the thread shares with the store.
#[derive(Clone)]
pub(in crate::store) struct Shared {
    pub hub: Arc<EventHub>,
    pub wake: Arc<Wake>,
    /// Told the newest message of each commit that has one.
    pub on_message: Arc<dyn Fn(i64) + Send + Sync>,
    pub care: Arc<Care>,
    pub space: Option<Arc<Space>>,
    /// Set once it is known whose store this is.
    pub share: Arc<OnceLock<Member>>,
}

impl Shared {
    /// What an outcome says of the disk.
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        self.care.note(outcome);
        if let (Err(error), Some(space)) = (outcome, &self.space)
            && error.is_full()
        {
            space.full();
        }
    }
}

pub(in crate::store) struct Writer {
    shared: Option<Shared>,
    queue: Arc<Queue<Op>>,
    notes: Arc<Notes>,
    thread: Mutex<Option<JoinHandle<()>>>,
    error: Arc<Mutex<Option<String>>>,
}

#[derive(Default)]
struct Notes {
    list: Mutex<VecDeque<Note>>,
    count: AtomicU64,
}

impl Notes {
    fn take(&self) -> VecDeque<Note> {
        if self.count.swap(0, Ordering::AcqRel) == 0 {
            return VecDeque::new();
        }
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Instructions that SQLite's machine has run for the writer whose thread this is: what operations cost, the same each time.
#[cfg(test)]
pub(in crate::store) fn steps() -> u64 {
    STEPS.get()
}

/// The newest message that there ever was.
pub(in crate::store) fn newest_message(conn: &Connection) -> Result<i64, StoreError> {
    let newest = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0)";
    Ok(conn.query_row(newest, [], |row| row.get(0))?)
}

impl Writer {
    pub(in crate::store) fn spawn(conn: Connection, shared: Shared) -> Result<Self, StoreError> {
        #[cfg(test)]
        let conn = {
            let mut conn = conn;
            conn.progress_handler(
                1,
                Some(|| {
                    STEPS.set(STEPS.get() + 1);
                    false
                }),
            )?;
            conn
        };
        let opened_with = newest_message(&conn)?;
        let queue = Arc::new(Queue::new());
        let notes = Arc::new(Notes::default());
        let error = Arc::new(Mutex::new(None));
        let theirs = shared.clone();
        let state = Loop {
            conn,
            queue: Arc::clone(&queue),
            met: checksum::met(),
            low: false,
            shared,
            notes: Arc::clone(&notes),
            error: Arc::clone(&error),
            cache: Cache::default(),
            opened_with,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .stack_size(1 << 20)
            .spawn(move || state.run())
            .map_err(|source| StoreError::Io { path: "store thread".into(), source })?;
        Ok(Self { shared: Some(theirs), queue, notes, thread: Mutex::new(Some(thread)), error })
    }

    /// One that takes nothing.
    pub(in crate::store) fn none() -> Self {
        let queue = Queue::new();
        queue.close();
        let (queue, thread) = (Arc::new(queue), Mutex::default());
        Self { shared: None, queue, notes: Arc::default(), thread, error: Arc::default() }
    }

    pub(in crate::store) async fn enqueue<T: Send + 'static>(
        &self,
        lane: Lane,
        op: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let (reply, pending) = oneshot::channel();
        let shared = self.shared.clone();
        let boxed: Op = Box::new(move |tx| {
            let result = tx.map_or(Err(StoreError::Closed), |tx| tx.savepoint(op));
            if let Some(shared) = shared {
                shared.note(&result);
            }
            Box::new(move |commit| {
                // A caller that went away is no failure.
                let _ = reply.send(match commit {
                    Ok(()) => result.map_err(StoreError::classify),
                    Err(error) => Err(error),
                });
            })
        });
        if self.queue.push(lane, boxed).await { Ok(Pending(pending)) } else { Err(StoreError::Closed) }
    }

    /// Operations that were run so far.
    #[cfg(test)]
    pub(in crate::store) fn operations(&self) -> u64 {
        self.queue.taken()
    }

    pub(in crate::store) fn defer(&self, op: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        let mut list = self.notes.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= MAX_NOTES {
            list.pop_front();
        }
        list.push_back(Box::new(op));
        self.notes.count.store(list.len() as u64, Ordering::Release);
    }

    pub(in crate::store) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::store) fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was logged by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Loop {
    conn: Connection,
    queue: Arc<Queue<Op>>,
    shared: Shared,
    /// Damaged pages that were met anywhere, when this was last looked at.
    met: u64,
    /// Whether the settings are those for a full disk.
    low: bool,
    notes: Arc<Notes>,
    error: Arc<Mutex<Option<String>>>,
    cache: Cache,
    /// The newest message when the store was opened.
    opened_with: i64,
}

impl Loop {
    fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        loop {
            let first = runtime.block_on(async { tokio::time::timeout(NOTE_DELAY, self.queue.recv()).await });
            match first {
                Ok(Some(op)) => self.transaction(Some(op)),
                Ok(None) => break,
                Err(_) if self.notes.count.load(Ordering::Acquire) > 0 => self.transaction(None),
                Err(_) => {
                    // Nothing to do for a while: a quiet daemon should not wake twice a second.
                    match runtime.block_on(idle(&self.queue, &self.notes, self.shared.space.as_deref())) {
                        Idle::Op(op) => self.transaction(Some(op)),
                        Idle::Notes => {}
                        Idle::Low => self.look_at_disk(),
                        Idle::Closed => break,
                    }
                }
            }
        }
        self.transaction(None);
        if self.shared.care.damage().is_some() {
            // Damaged files are left as they are.
            let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        } else {
            // Leaves a small WAL behind; failing to is harmless.
            let _ = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
    }

    fn transaction(&mut self, first: Option<(Lane, Op)>) {
        let mut finish: Vec<Finish> = Vec::new();
        self.look_at_disk();
        let outcome = self.group(first, &mut finish);
        self.shared.note(&outcome);
        match outcome {
            Ok(after) => {
                self.set_error(None);
                // After the COMMIT, and before anybody hears of it.
                proto::fault::point("store.commit.after");
                if let Some(batch) = after.events {
                    self.shared.hub.publish(batch);
                }
                for done in finish {
                    done(Ok(()));
                }
                if after.newest_message > 0 {
                    (self.shared.on_message)(after.newest_message);
                }
                self.shared.wake.mark(after.dirty);
            }
            Err(error) => {
                let error = error.classify();
                tracing::error!(%error, operations = finish.len(), "commit failed, nothing of it is stored");
                self.cache = Cache::default();
                self.set_error(Some(error.to_string()));
                for done in finish {
                    done(Err(error.for_neighbours()));
                }
            }
        }
    }

    fn group(&mut self, first: Option<(Lane, Op)>, finish: &mut Vec<Finish>) -> Result<After, StoreError> {
        if let Some(text) = self.shared.care.damage() {
            finish.extend(first.map(|(_, op)| op(None)));
            return Err(StoreError::ReadOnly(text));
        }
        let used = self.shared.share.get().map(|member| member.look(&self.conn)).filter(|used| used.is_all());
        let low = self.shared.space.as_ref().is_some_and(|space| space.is_low());
        let lack = if low { Some(Lack::Disk) } else { used.map(Lack::Share) };
        let sql = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let sql = match sql {
            Ok(sql) => sql,
            Err(error) => {
                // It must be answered even so, with why there is no transaction.
                if let Some((_, op)) = first {
                    finish.push(op(None));
                }
                return Err(error.into());
            }
        };
        let hub = &self.shared.hub;
        let mut tx = Tx::new(
            &sql,
            &mut self.cache,
            (hub.head(), self.opened_with),
            (hub.has_listeners(), lack),
            Timestamp::now(),
        );
        for note in self.notes.take() {
            if let Err(error) = tx.savepoint(note) {
                tracing::warn!(%error, "a note for trace was not stored");
            }
        }
        let mut next = first;
        let mut ends = None;
        let mut since = Instant::now();
        while let Some((lane, op)) = next {
            finish.push(op(Some(&mut tx)));
            // Of the clock and not of the processor, which would be asked by a call of the system each time.
            let now = Instant::now();
            self.queue.charge(lane, now - since);
            since = now;
            let ends = *ends.get_or_insert(now + MAX_GROUP_TIME);
            next = if finish.len() < MAX_GROUP && now < ends { self.queue.pop() } else { None };
        }
        if let Some(error) = tx.loss() {
            return Err(error);
        }
        let after = tx.finish()?;
        proto::fault::point("store.commit.before");
        sql.commit()?;
        Ok(After { events: after.events, newest_message: after.newest_message, dirty: after.dirty })
    }

    /// Follows the disk: while it is full, the WAL is copied back often, so that it grows no more than it must. And a
    /// checkpoint, whose errors SQLite keeps to itself, may have met a damaged page.
    fn look_at_disk(&mut self) {
        let met = checksum::met();
        if std::mem::replace(&mut self.met, met) != met {
            self.shared.care.look();
        }
        let Some(space) = &self.shared.space else { return };
        let low = space.look();
        if std::mem::replace(&mut self.low, low) != low {
            let pages = if low { connection::CHECKPOINT_PAGES_LOW } else { connection::CHECKPOINT_PAGES };
            let _ = self.conn.pragma_update(None, "wal_autocheckpoint", pages);
            if low {
                // As far as readers let it; what fails here is tried again after each commit.
                let _ = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
        }
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Also after a panic: whoever waits is told that the store is closed.
        self.queue.end();
    }
}

struct After {
    events: Option<crate::events::EventBatch>,
    newest_message: i64,
    dirty: Vec<PeerId>,
}

enum Idle {
    Op((Lane, Op)),
    Notes,
    /// The disk was full when last looked at.
    Low,
    Closed,
}

/// Waits for an operation; looks for notes every two seconds, because they come without waking anybody.
async fn idle(queue: &Queue<Op>, notes: &Notes, space: Option<&Space>) -> Idle {
    loop {
        match tokio::time::timeout(Duration::from_secs(2), queue.recv()).await {
            Ok(Some(op)) => return Idle::Op(op),
            Ok(None) => return Idle::Closed,
            Err(_) if notes.count.load(Ordering::Acquire) > 0 => return Idle::Notes,
            Err(_) if space.is_some_and(Space::is_low) => return Idle::Low,
            Err(_) => {}
        }
    }
}
