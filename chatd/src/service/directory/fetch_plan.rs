//! When a contact's newer record is fetched: at once, and not more often than is good for its directory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::ids::PeerId;

/// One contact's record is fetched so often at most: anybody who knows our prekey can name a record that does not exist.
const PAUSE: Duration = Duration::from_secs(20);
/// Contacts remembered at most; beyond, all of them may be fetched again.
const REMEMBERED: usize = 1_024;

/// When each contact's record was last fetched, or will be.
#[derive(Debug, Default)]
pub(in crate::service) struct FetchPlan(Mutex<HashMap<PeerId, Instant>>);

impl FetchPlan {
    /// When to fetch for what waits since `now`: at once, or at the end of the pause. `None`: that is planned already.
    pub fn plan(&self, contact: PeerId, now: Instant) -> Option<Instant> {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = match at.get(&contact) {
            Some(planned) if *planned > now => return None,
            Some(last) => now.max(*last + PAUSE),
            None => now,
        };
        if at.len() >= REMEMBERED {
            at.clear();
        }
        at.insert(contact, due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_the_pause_is_fetched_for_at_its_end() {
        let (fetched, begin) = (FetchPlan::default(), Instant::now());
        assert_eq!(fetched.plan(PeerId(1), begin), Some(begin));
        let soon = begin + PAUSE / 4;
        assert_eq!(fetched.plan(PeerId(1), soon), Some(begin + PAUSE));
        assert_eq!(fetched.plan(PeerId(1), soon + PAUSE / 4), None, "it is planned");
        assert_eq!(fetched.plan(PeerId(2), soon), Some(soon), "each contact has its own");
        assert_eq!(fetched.plan(PeerId(1), begin + PAUSE), Some(begin + PAUSE * 2));
        assert_eq!(fetched.plan(PeerId(1), begin + PAUSE * 9), Some(begin + PAUSE * 9));
    }
}
