//! Which sessions follow which logs, and which of those have something new. Nothing of a log is kept here: a session that is woken reads
//! the store, so that whoever is slow costs nothing but a place in a set.
//!
//! Invariant: the locks are held for set operations only, never across an await.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::ids::LogId;
use tokio::sync::Notify;

use super::presence::SessionId;

/// Logs that a session may follow.
pub const MAX_FOLLOWED: usize = 1_024;

/// What a session is woken by.
#[derive(Debug, Default)]
pub struct Followed {
    /// Once for any number.
    pub news: Notify,
    logs: Mutex<BTreeSet<LogId>>,
}

impl Followed {
    /// Logs in which something has changed since the last time.
    pub fn take(&self) -> BTreeSet<LogId> {
        std::mem::take(&mut *self.logs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, log: LogId) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).insert(log);
        self.news.notify_one();
    }
}

#[derive(Debug, Default)]
struct Maps {
    by_log: HashMap<LogId, HashMap<SessionId, Arc<Followed>>>,
    by_session: HashMap<SessionId, HashSet<LogId>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Followers {
    maps: Mutex<Maps>,
}

impl Followers {
    /// Tells a session of a log from now on; not if it follows too many.
    pub fn follow(&self, id: SessionId, log: LogId, followed: &Arc<Followed>) -> bool {
        let mut maps = self.lock();
        let own = maps.by_session.entry(id).or_default();
        if own.len() >= MAX_FOLLOWED && !own.contains(&log) {
            return false;
        }
        own.insert(log);
        maps.by_log.entry(log).or_default().insert(id, Arc::clone(followed));
        true
    }

    /// No longer.
    pub fn unfollow(&self, id: SessionId, log: LogId) {
        let mut maps = self.lock();
        if let Some(own) = maps.by_session.get_mut(&id) {
            own.remove(&log);
            if own.is_empty() {
                maps.by_session.remove(&id);
            }
        }
        maps.forget(id, log);
    }

    /// Nothing more of any.
    pub fn leave(&self, id: SessionId) {
        let mut maps = self.lock();
        for log in maps.by_session.remove(&id).unwrap_or_default() {
            maps.forget(id, log);
        }
    }

    /// Something in a log has changed, and is committed.
    pub fn came(&self, log: LogId) {
        let maps = self.lock();
        maps.by_log.get(&log).into_iter().flat_map(HashMap::values).for_each(|followed| followed.add(log));
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn forget(&mut self, id: SessionId, log: LogId) {
        if let Some(all) = self.by_log.get_mut(&log) {
            all.remove(&id);
            if all.is_empty() {
                self.by_log.remove(&log);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_once_of_each_log_that_it_follows() {
        let (followers, followed) = (Followers::default(), Arc::new(Followed::default()));
        let (one, two) = (LogId([1; 16]), LogId([2; 16]));
        assert!(followers.follow(7, one, &followed));
        (0..3).for_each(|_| followers.came(one));
        followers.came(two);
        assert_eq!(followed.take(), BTreeSet::from([one]));
        assert!(followed.take().is_empty());
        followers.unfollow(7, one);
        followers.came(one);
        assert!(followed.take().is_empty());
        for n in 0..MAX_FOLLOWED as u32 {
            let mut log = LogId([9; 16]);
            log.0[..4].copy_from_slice(&n.to_be_bytes());
            assert!(followers.follow(7, log, &followed));
        }
        assert!(!followers.follow(7, two, &followed), "one too many");
        followers.leave(7);
        let maps = followers.lock();
        assert!(maps.by_log.is_empty() && maps.by_session.is_empty());
    }
}
