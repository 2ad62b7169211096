//! An account's clock, shared by whoever asks it: [`Clock`] with a way to read the machine's clocks.
//!
//! Not its job: how clocks are read (the caller gives that), when checkpoints are committed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Checkpoint, Clock, Moment, Reading, SKEW_SECONDS};
use crate::model::ids::PeerId;

/// Contacts whose clocks are remembered at most.
const MAX_PEERS: usize = 16;
/// So many must agree that this machine's clock is wrong before anything is said: one may be wrong itself, or lie.
const MIN_PEERS: usize = 2;

/// Whose clock differs from this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The home directory's.
    Directory,
    /// Those of most contacts that were met of late.
    Contacts,
}

/// Clocks that differ by more than five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Seconds that this machine's is ahead; negative if behind.
    pub ahead: i64,
    /// Of whose.
    pub of: Whose,
}

struct State {
    clock: Clock,
    /// Contact, and its clock minus the seconds that passed here.
    peers: VecDeque<(PeerId, i64)>,
}

type Read = Box<dyn Fn() -> Reading + Send + Sync>;

/// See the module.
pub struct AccountClock {
    state: Mutex<State>,
    read: Read,
}

impl fmt::Debug for AccountClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountClock").finish_non_exhaustive()
    }
}

impl AccountClock {
    /// The clock of an account that is new, whose count begins with `counted`.
    pub fn new(counted: i64, read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self::with(Clock::new(counted, read()), Box::new(read))
    }

    /// The clock of an account that was stopped.
    pub fn resume(from: &Checkpoint, read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self::with(Clock::resume(from, read()), Box::new(read))
    }

    fn with(clock: Clock, read: Read) -> Self {
        Self { state: Mutex::new(State { clock, peers: VecDeque::new() }), read }
    }

    /// Every question is also a look at the clocks.
    fn poll<T>(&self, ask: impl FnOnce(&mut State, Reading) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.read)();
        state.clock.tick(now);
        ask(&mut state, now)
    }

    /// The home directory says what time it is, in Unix seconds.
    pub fn directory_says(&self, time: i64) {
        self.poll(|state, now| state.clock.directory_says(time, now));
    }

    /// A contact's clock was so many seconds ahead of this machine's. For display only.
    pub fn contact_says(&self, contact: PeerId, ahead: i64) {
        self.poll(|state, now| {
            state.peers.retain(|(other, _)| *other != contact);
            if state.peers.len() == MAX_PEERS {
                state.peers.pop_front();
            }
            state.peers.push_back((contact, now.wall.saturating_add(ahead).saturating_sub(passed(now))));
        });
    }

    /// See [`Clock::trusted_or_local_now`].
    pub fn trusted_or_local_now(&self) -> i64 {
        self.poll(|state, _| state.clock.trusted_or_local_now())
    }

    /// See [`Clock::trusted_now`].
    pub fn trusted_now(&self) -> Option<i64> {
        self.poll(|state, _| state.clock.trusted_now())
    }

    /// See [`Clock::snapshot`].
    pub fn snapshot(&self) -> Moment {
        self.poll(|state, _| state.clock.snapshot())
    }

    /// See [`Clock::latest_birth`].
    pub fn latest_birth(&self, uptime: i64) -> Option<i64> {
        self.poll(|state, _| state.clock.latest_birth(uptime))
    }

    /// Seconds since the directory was last heard; `None` if it never was in this process's life.
    pub fn unheard(&self) -> Option<i64> {
        self.poll(|state, _| state.clock.unheard())
    }

    /// By how much this machine's clock differs from others', if that is worth telling.
    pub fn skew(&self) -> Option<Skew> {
        self.poll(|state, now| {
            if state.clock.unheard().is_some() {
                return state.clock.skew().map(|ahead| Skew { ahead, of: Whose::Directory });
            }
            let mut clocks: Vec<i64> = state.peers.iter().map(|(_, clock)| *clock).collect();
            if clocks.len() < MIN_PEERS {
                return None;
            }
            clocks.sort_unstable();
            let theirs = |clock: i64| clock.saturating_add(passed(now));
            // The two in the middle, so that half of the contacts cannot make it up.
            let ahead = [clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]]
                .map(|clock| now.wall.saturating_sub(theirs(clock)))
                .into_iter()
                .min_by_key(|ahead| ahead.unsigned_abs())?;
            (ahead.unsigned_abs() > SKEW_SECONDS.unsigned_abs()).then_some(Skew { ahead, of: Whose::Contacts })
        })
    }

    /// What to commit, if `committed` is too old.
    pub fn checkpoint(&self, committed: Option<&Checkpoint>) -> Option<Checkpoint> {
        self.poll(|state, _| {
            let due = committed.is_none_or(|committed| state.clock.is_due(committed));
            due.then(|| state.clock.checkpoint())
        })
    }
}

fn passed(now: Reading) -> i64 {
    i64::try_from(now.uptime.saturating_add(now.asleep)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const START: i64 = 1_800_000_000;

    fn shifted() -> (Arc<AtomicI64>, AccountClock) {
        let wall = Arc::new(AtomicI64::new(START));
        let read = Arc::clone(&wall);
        let clock =
            AccountClock::new(START, move || Reading { wall: read.load(Ordering::SeqCst), uptime: 100, asleep: 0 });
        (wall, clock)
    }

    #[test]
    fn validity_is_judged_by_the_directory_once_it_is_known() {
        let (wall, clock) = shifted();
        assert_eq!((clock.trusted_or_local_now(), clock.trusted_now(), clock.skew()), (START, Some(START), None));
        wall.store(START + 7_200, Ordering::SeqCst);
        assert_eq!(
            (clock.trusted_or_local_now(), clock.trusted_now()),
            (START + 7_200, None),
            "alone, and out of its course"
        );
        clock.directory_says(START);
        assert_eq!((clock.trusted_or_local_now(), clock.trusted_now()), (START, Some(START)), "two of three");
        assert_eq!(clock.skew(), Some(Skew { ahead: 7_200, of: Whose::Directory }));
        wall.store(START - 7_200, Ordering::SeqCst);
        assert_eq!(clock.skew(), Some(Skew { ahead: -7_200, of: Whose::Directory }));
        wall.store(START + 300, Ordering::SeqCst);
        assert_eq!(clock.skew(), None, "five minutes are not worth telling");
        // The directory alone is somewhere else.
        clock.directory_says(START + 864_000);
        assert_eq!(clock.trusted_now(), Some(START + 300));
        wall.store(START - 864_000, Ordering::SeqCst);
        assert_eq!(clock.trusted_now(), None, "three clocks, three times");
    }

    #[test]
    fn one_contact_cannot_say_that_the_clock_is_wrong_and_two_can() {
        let (wall, clock) = shifted();
        clock.contact_says(PeerId(1), 99_999);
        clock.contact_says(PeerId(1), 99_999);
        assert_eq!(clock.skew(), None);
        clock.contact_says(PeerId(2), 10);
        assert_eq!(clock.skew(), None, "the other one says that it is right");
        clock.contact_says(PeerId(3), 5);
        assert_eq!(clock.skew(), None);
        wall.store(START - 4_000, Ordering::SeqCst);
        assert_eq!(clock.skew(), Some(Skew { ahead: -4_010, of: Whose::Contacts }));
        for contact in 0..1_000 {
            clock.contact_says(PeerId(contact), i64::MAX - contact);
        }
        assert!(clock.poll(|state, _| state.peers.len()) <= MAX_PEERS);
        assert!(clock.skew().is_some(), "and nothing overflows");
        clock.directory_says(START - 4_000);
        assert_eq!(clock.skew(), None, "the directory's word counts more");
    }
}
