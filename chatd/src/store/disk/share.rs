//! What one user may store: all stores of that user together take so much of the disk, and what one of them takes is what its
//! pages hold, without those that are free to be filled again. So what is forgotten makes room at once, though no file becomes smaller.
//!
//! Each store's writer tells its share what it takes, ten times a second at most; what is stored in between may be beyond it.
//!
//! Not the job: which operation needs room (`Tx::needs_room`), and the disk as a whole (`reserve`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// A store is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much of a share is taken, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// By all stores together.
    pub bytes: u64,
    /// At most.
    pub most: u64,
}

impl Used {
    /// Whether nothing more may be stored.
    pub fn is_all(self) -> bool {
        self.bytes >= self.most
    }
}

/// Of one user.
#[derive(Debug)]
pub struct Share {
    most: AtomicU64,
    stores: Mutex<HashMap<PathBuf, u64>>,
}

impl Share {
    /// With nothing in it.
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most: most.into(), stores: Mutex::default() })
    }

    /// Makes it larger or smaller; what is stored stays.
    pub fn change(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// What is taken of it.
    pub fn used(&self) -> Used {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        Used { bytes: stores.values().sum(), most: self.most.load(Ordering::Relaxed) }
    }

    fn set(&self, store: &Path, bytes: Option<u64>) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        match bytes {
            Some(bytes) => drop(stores.insert(store.to_owned(), bytes)),
            None => drop(stores.remove(store)),
        }
    }
}

/// A store's part in it; leaves it when it goes.
#[derive(Debug)]
pub struct Member {
    share: Arc<Share>,
    store: PathBuf,
    looked: Mutex<Option<Instant>>,
}

impl Member {
    /// Of the database with this path, which takes nothing yet.
    pub(in crate::store) fn new(share: Arc<Share>, store: PathBuf) -> Self {
        Self { share, store, looked: Mutex::default() }
    }

    /// Tells what the store takes, if that was not done a moment ago; what is taken by all.
    pub(in crate::store) fn look(&self, conn: &Connection) -> Used {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            *looked = Some(Instant::now());
            // What cannot be told now is told a second later.
            if let Ok(bytes) = taken(conn) {
                self.share.set(&self.store, Some(bytes));
            }
        }
        drop(looked);
        self.share.used()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.share.set(&self.store, None);
    }
}

/// Bytes of the pages of a database that hold something.
fn taken(conn: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, u32>(0));
    let (pages, free, size) = (number("page_count")?, number("freelist_count")?, number("page_size")?);
    Ok(u64::from(pages.saturating_sub(free)) * u64::from(size))
}

/// What is missing for something to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Lack {
    /// Room on the disk.
    Disk,
    /// Room in the user's share.
    Share(Used),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_all_stores_and_what_is_forgotten_makes_room() {
        let share = Share::new(1 << 20);
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (b BLOB)").unwrap();
        let member = |name: &str| Member::new(Arc::clone(&share), name.into());
        let (first, second) = (member("first"), member("second"));
        let empty = first.look(&conn).bytes;
        conn.execute("INSERT INTO t VALUES (randomblob(2000000))", []).unwrap();
        assert!(second.look(&conn).is_all(), "{:?}", share.used());
        conn.execute("DELETE FROM t", []).unwrap();
        drop(second);
        let third = member("third");
        assert!(!third.look(&conn).is_all() && share.used().bytes <= 3 * empty, "{:?}", share.used());
        drop((first, third));
        assert_eq!(share.used().bytes, 0);
    }
}
