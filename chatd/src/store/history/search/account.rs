//! What the indexer thread and the queries of one account share: where its files are, how far the index is, and the one reader.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::history::search::index::Step;
use crate::store::history::search::reader::{Failure, Reader};

/// How far the index of an account is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The indexer has opened (and if need be made) `search.db`.
    pub ready: bool,
    /// The newest message id that the index covers.
    pub watermark: i64,
    /// The newest queued deletion that is done.
    pub deletions: i64,
    /// How often `search.db` was thrown away.
    pub rebuilds: u64,
    /// Why the last pass failed, if it did.
    pub failure: Option<String>,
    /// Passes that failed since the last that did not.
    pub failures: u32,
    /// Passes that failed, ever: tells a waiter a fresh failure from one before its time.
    pub failed: u64,
    /// Passes that left nothing to do, ever.
    pub caught_up: u64,
}

/// One account's share. Lock order: `reader` before `progress`.
#[derive(Debug)]
pub(super) struct Account {
    pub main_db: PathBuf,
    pub search_db: PathBuf,
    newest: AtomicI64,
    indexed: AtomicI64,
    failing: AtomicBool,
    /// In the indexer's queue.
    queued: AtomicBool,
    /// Do not collect more rows before the next pass.
    urgent: AtomicBool,
    damaged: AtomicBool,
    closed: AtomicBool,
    progress: Mutex<Progress>,
    changed: Condvar,
    reader: Mutex<Option<Reader>>,
}

/// A panic elsewhere must not take the search down: everything behind these locks is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    pub fn new(main_db: PathBuf, search_db: PathBuf) -> Account {
        Account {
            main_db,
            search_db,
            newest: AtomicI64::new(0),
            indexed: AtomicI64::new(0),
            failing: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            progress: Mutex::default(),
            changed: Condvar::new(),
            reader: Mutex::new(None),
        }
    }

    pub fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    pub fn saw(&self, newest_id: i64) {
        self.newest.fetch_max(newest_id, Ordering::Relaxed);
    }

    /// Marks the account as queued; true if it was not.
    pub fn enqueue(&self) -> bool {
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Marks the account as wanted at once; true if it was not.
    pub fn make_urgent(&self) -> bool {
        !self.urgent.swap(true, Ordering::AcqRel)
    }

    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    /// The indexer takes the account off its queue: from here on a nudge queues it again.
    pub fn dequeued(&self) {
        self.urgent.store(false, Ordering::Release);
        self.queued.store(false, Ordering::Release);
    }

    pub fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    pub fn take_damaged(&self) -> bool {
        self.damaged.swap(false, Ordering::AcqRel)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *lock(&self.reader) = None;
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// About how many messages are not indexed; none while indexing fails, so that nudges do not cut its pauses short.
    pub fn backlog(&self) -> i64 {
        if self.failing.load(Ordering::Relaxed) {
            return 0;
        }
        self.newest().saturating_sub(self.indexed.load(Ordering::Relaxed))
    }

    /// A pass has committed this much.
    pub fn done(&self, step: Step) {
        self.indexed.store(step.watermark, Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
        self.update(|p| {
            (p.ready, p.failure, p.failures) = (true, None, 0);
            (p.watermark, p.deletions) = (step.watermark, step.deletions);
            p.caught_up += u64::from(!step.more);
        });
    }

    /// A pass has failed; answers how long to wait before the next.
    pub fn failed(&self, reason: String, first: Duration, last: Duration) -> Duration {
        self.failing.store(true, Ordering::Relaxed);
        let mut pause = first;
        self.update(|p| {
            pause = first.saturating_mul(1 << p.failures.min(16)).min(last);
            (p.failure, p.failures) = (Some(reason), p.failures.saturating_add(1));
            p.failed += 1;
        });
        pause
    }

    pub fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut lock(&self.progress));
        self.changed.notify_all();
    }

    /// Wakes those who wait, to look again at what is not part of the progress (the stop).
    pub fn wake(&self) {
        // The lock orders this after a waiter's check and before its wait.
        drop(lock(&self.progress));
        self.changed.notify_all();
    }

    /// Waits until `done` or the deadline; answers the progress then.
    pub fn wait(&self, deadline: Instant, done: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = lock(&self.progress);
        while !done(&progress) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            progress = self.changed.wait_timeout(progress, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        progress.clone()
    }

    /// Runs `f` on the account's reader, opened if need be. A reader that failed is closed.
    pub fn with_reader<T>(&self, f: impl FnOnce(&mut Reader) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut slot = lock(&self.reader);
        let mut reader = match slot.take() {
            Some(reader) => reader,
            None => Reader::open(&self.main_db, &self.search_db)?,
        };
        let result = f(&mut reader);
        if matches!(result, Ok(_) | Err(Failure::Behind { .. })) {
            *slot = Some(reader);
        }
        result
    }

    /// Keeps queries off the index while `f` replaces its file.
    pub fn without_reader<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut slot = lock(&self.reader);
        *slot = None;
        f()
    }

    /// Closes the reader if it was last used before `since`; true if none is open afterwards.
    pub fn close_idle_reader(&self, since: Instant) -> bool {
        let Ok(mut slot) = self.reader.try_lock() else { return false };
        if slot.as_ref().is_some_and(|reader| reader.last_used() < since) {
            *slot = None;
        }
        slot.is_none()
    }
}
