//! The one thread that writes every account's index.
//!
//! Accounts wait in a queue, each at most once, so that it is never longer than there are accounts and a nudge never blocks. A
//! nudged account waits a moment for more rows, then gets one transaction and goes to the back of the queue. Open files are few:
//! the indexes used last, until they are idle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::store::history::search::account::{Account, Progress, lock};
use crate::store::history::search::index::{Fault, Index, Step, remove};
use crate::store::history::search::{BATCH_ROWS, BATCH_TIME};

/// Indexes open at a time (two connections each, about 0.5 MB).
const MAX_OPEN: usize = 8;
/// Readers kept open between queries, over all accounts.
const MAX_READERS: usize = 16;
/// How long an account collects rows when more accounts are busy than indexes can be open: each pass then opens files, 2 ms.
const CROWDED: Duration = Duration::from_secs(2);
/// How long an index or a reader stays open without use.
const IDLE: Duration = Duration::from_secs(10);
/// The pause after a failed pass, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Owns the indexing thread. Dropping it stops and joins the thread, after the transaction that runs.
#[derive(Debug)]
pub struct Indexer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts the thread. If the system refuses one, that is logged, and accounts then fail to open with
    /// [`Stopped`](crate::store::error::SearchError::Stopped).
    #[must_use]
    pub fn start() -> Indexer {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = match std::thread::Builder::new().name("search-index".into()).spawn(move || run(&theirs)) {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::error!(%error, "cannot start the search indexer");
                shared.stop.store(true, Ordering::Release);
                None
            }
        };
        Indexer { shared, thread }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the search indexer panicked");
        }
    }
}

/// What the thread and the accounts share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Accounts with a reader that may be open, least recently used first.
    readers: VecDeque<Weak<Account>>,
}

#[derive(Debug)]
struct Waiting {
    account: Arc<Account>,
    due: Instant,
}

enum Task {
    Pass(Arc<Account>),
    CloseIdle,
    Stop,
}

impl Shared {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn stop(&self) {
        let queue = lock(&self.queue);
        self.stop.store(true, Ordering::Release);
        let waiting: Vec<_> = queue.waiting.iter().map(|w| Arc::clone(&w.account)).collect();
        drop(queue);
        self.wake.notify_all();
        waiting.iter().for_each(|account| account.wake());
    }

    /// There are new rows: a pass soon, or at once when a whole transaction's worth waits.
    pub fn nudge(&self, account: &Arc<Account>, newest_id: i64) {
        account.saw(newest_id);
        if usize::try_from(account.backlog()).is_ok_and(|rows| rows >= BATCH_ROWS) {
            self.hurry(account);
        } else {
            self.enqueue(account, None);
        }
    }

    /// A pass at once.
    pub fn hurry(&self, account: &Arc<Account>) {
        let fresh = account.make_urgent();
        if !self.enqueue(account, Some(Instant::now())) && fresh {
            // It waits already; the lock makes sure that the thread does not miss the change while it falls asleep.
            drop(lock(&self.queue));
            self.wake.notify_one();
        }
    }

    /// Queues the account for `due`, or for when it has collected some rows; false if it is queued already.
    fn enqueue(&self, account: &Arc<Account>, due: Option<Instant>) -> bool {
        if !account.enqueue() {
            return false;
        }
        let mut queue = lock(&self.queue);
        let collect = if queue.waiting.len() < MAX_OPEN { BATCH_TIME } else { CROWDED };
        let due = due.unwrap_or_else(|| Instant::now() + collect);
        queue.waiting.push_back(Waiting { account: Arc::clone(account), due });
        drop(queue);
        self.wake.notify_one();
        true
    }

    /// A query has used the account's reader: notes it, so that it is closed when idle, and closes the oldest of too many.
    pub fn reader_used(&self, account: &Arc<Account>) {
        let mut queue = lock(&self.queue);
        // With none open, the thread may sleep without an end.
        let first = queue.readers.is_empty();
        queue.readers.retain(|known| known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(account)));
        queue.readers.push_back(Arc::downgrade(account));
        let oldest = if queue.readers.len() > MAX_READERS { queue.readers.pop_front() } else { None };
        drop(queue);
        if first {
            self.wake.notify_one();
        }
        if let Some(oldest) = oldest.and_then(|weak| weak.upgrade())
            && !oldest.close_idle_reader(Instant::now())
        {
            // In use this moment: it stays known, to be closed later.
            lock(&self.queue).readers.push_front(Arc::downgrade(&oldest));
        }
    }

    /// Waits for something to do.
    fn next(&self, indexes_open: bool) -> Task {
        let mut queue = lock(&self.queue);
        let tidy_at = Instant::now() + IDLE;
        loop {
            if self.stopped() {
                return Task::Stop;
            }
            let now = Instant::now();
            if let Some(at) = queue.waiting.iter().position(|w| w.due <= now || w.account.is_urgent())
                && let Some(waiting) = queue.waiting.remove(at)
            {
                waiting.account.dequeued();
                return Task::Pass(waiting.account);
            }
            let anything_open = indexes_open || !queue.readers.is_empty();
            if anything_open && now >= tidy_at {
                return Task::CloseIdle;
            }
            let due = queue.waiting.iter().map(|w| w.due).chain(anything_open.then_some(tidy_at)).min();
            queue = match due {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn close_idle_readers(&self) {
        let Some(since) = Instant::now().checked_sub(IDLE) else { return };
        let mut queue = lock(&self.queue);
        queue.readers.retain(|weak| weak.upgrade().is_some_and(|account| !account.close_idle_reader(since)));
    }
}

/// An account's open index, known to the thread only.
struct Open {
    account: Arc<Account>,
    index: Index,
    used: Instant,
}

fn run(shared: &Shared) {
    // Least recently used first.
    let mut open: Vec<Open> = Vec::new();
    let mut tidied = Instant::now();
    loop {
        match shared.next(!open.is_empty()) {
            Task::Stop => break,
            Task::CloseIdle => {}
            Task::Pass(account) => {
                let at = open.iter().position(|o| Arc::ptr_eq(&o.account, &account));
                let index = at.map(|at| open.remove(at).index);
                if account.is_closed() {
                    // Its files may be gone already: no checkpoint.
                    continue;
                }
                if let Some(index) = pass(shared, &account, index) {
                    if open.len() >= MAX_OPEN {
                        open.remove(0).index.close();
                    }
                    open.push(Open { account, index, used: Instant::now() });
                }
            }
        }
        // Also under steady work, when there is never a moment without a task.
        if tidied.elapsed() >= IDLE / 2 {
            tidied = Instant::now();
            shared.close_idle_readers();
            let (idle, used) = open.into_iter().partition(|o| o.used.elapsed() >= IDLE);
            open = used;
            let idle: Vec<Open> = idle;
            idle.into_iter().for_each(|o| o.index.close());
        }
    }
    open.into_iter().for_each(|o| o.index.close());
}

/// One transaction for one account. Answers the index, to be kept open, unless it failed.
fn pass(shared: &Shared, account: &Arc<Account>, index: Option<Index>) -> Option<Index> {
    let mut result = if account.take_damaged() {
        drop(index);
        replace(shared, account, "found by a query")
    } else {
        step(shared, account, index)
    };
    if let Err(fault) = &result
        && fault.is_damage()
    {
        result = replace(shared, account, &fault.to_string());
    }
    match result {
        Ok((index, step)) => {
            account.done(step);
            if step.more {
                shared.enqueue(account, Some(Instant::now()));
            }
            Some(index)
        }
        Err(fault) => {
            let pause = account.failed(fault.to_string(), FIRST_RETRY, LAST_RETRY);
            tracing::warn!(index = %account.search_db.display(), %fault, ?pause, "cannot index messages for search");
            shared.enqueue(account, Some(Instant::now() + pause));
            None
        }
    }
}

fn step(shared: &Shared, account: &Account, index: Option<Index>) -> Result<(Index, Step), Fault> {
    let mut index = match index {
        Some(index) => index,
        None => Index::open(&account.main_db, &account.search_db)?,
    };
    let step = index.step(&shared.stop)?;
    Ok((index, step))
}

/// Throws the index away and starts a new one.
fn replace(shared: &Shared, account: &Account, why: &str) -> Result<(Index, Step), Fault> {
    tracing::warn!(index = %account.search_db.display(), why, "search index damaged or missing: building it anew");
    let index = account.without_reader(|| {
        remove(&account.search_db)?;
        Index::open(&account.main_db, &account.search_db)
    })?;
    account.update(|p| {
        let rebuilds = p.rebuilds + 1;
        *p = Progress {
            rebuilds,
            failed: p.failed,
            failures: p.failures,
            caught_up: p.caught_up,
            ..Progress::default()
        };
    });
    step(shared, account, Some(index))
}
