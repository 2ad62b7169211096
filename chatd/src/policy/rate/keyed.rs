//! A limit by key: governor's GCRA over a store that cannot grow without bound.
//!
//! Invariant: a limiter remembers at most its cap of keys, whatever comes in. Keys beyond it share one allowance, so that
//! a flood of made-up keys neither fills the memory nor buys more than one key's worth. Keys that were there before
//! the flood keep their own.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

/// When the store is full, what has expired is looked for at most this often: the search costs time of its own.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Over the limit; the same may be tried again after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("over the rate limit, try again in {} s", .0.as_secs().saturating_add(1))]
pub struct TooFast(pub Duration);

struct Table<K> {
    arrivals: HashMap<K, Nanos>,
    shared: Option<Nanos>,
}

/// The state of a limiter: theoretical arrival times by key, at most `max_keys` of them, and one for all other keys.
struct BoundedStore<K> {
    table: Mutex<Table<K>>,
    max_keys: usize,
}

impl<K> BoundedStore<K> {
    fn with<T>(&self, f: impl FnOnce(&mut Table<K>) -> T) -> T {
        // The table is whole between any two statements: a panic elsewhere is no reason to stop limiting.
        f(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Hash + Eq + Clone> StateStore for BoundedStore<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.with(|table| {
            if let Some(arrival) = table.arrivals.get_mut(key) {
                let (outcome, next) = f(Some(*arrival))?;
                *arrival = next;
                return Ok(outcome);
            }
            if table.arrivals.len() < self.max_keys {
                let (outcome, next) = f(None)?;
                table.arrivals.insert(key.clone(), next);
                return Ok(outcome);
            }
            let (outcome, next) = f(table.shared)?;
            table.shared = Some(next);
            Ok(outcome)
        })
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for BoundedStore<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.with(|table| table.arrivals.retain(|_, arrival| *arrival > drop_below));
    }

    fn shrink_to_fit(&self) {
        self.with(|table| table.arrivals.shrink_to_fit());
    }

    fn len(&self) -> usize {
        self.with(|table| table.arrivals.len())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A limit by key. Cheap to check from any task.
pub struct KeyedLimiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    limiter: RateLimiter<K, BoundedStore<K>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    max_keys: usize,
    swept: Mutex<C::Instant>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> KeyedLimiter<K, C> {
    /// Grants each key `burst` at once and as many again over `period`; remembers `max_keys` keys.
    pub fn new(burst: NonZeroU32, period: Duration, max_keys: NonZeroU32, clock: C) -> Self {
        let max_keys = max_keys.get() as usize;
        let store = BoundedStore { table: Mutex::new(Table { arrivals: HashMap::new(), shared: None }), max_keys };
        // Only a period of zero, or one too short to divide, makes no quota; a second is then the next best thing.
        let quota = Quota::with_period(period / burst.get()).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let swept = Mutex::new(clock.now());
        Self { limiter: RateLimiter::new(quota, store, clock.clone()), clock, max_keys, swept }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`TooFast`] when the key has used up what it is granted.
    pub fn check(&self, key: &K) -> Result<(), TooFast> {
        self.check_n(key, NonZeroU32::MIN)
    }

    /// Takes `count`, all or none. More than the burst is taken as the burst: it waits until all of it is there.
    ///
    /// # Errors
    /// As [`KeyedLimiter::check`].
    pub fn check_n(&self, key: &K, count: NonZeroU32) -> Result<(), TooFast> {
        self.sweep_if_full();
        let outcome = match self.limiter.check_key_n(key, count) {
            Ok(outcome) => outcome,
            Err(capacity) => match self.limiter.check_key_n(key, NonZeroU32::new(capacity.0).unwrap_or(count)) {
                Ok(outcome) => outcome,
                Err(_) => return Err(TooFast(SWEEP_EVERY)),
            },
        };
        outcome.map_err(|until| TooFast(until.wait_time_from(self.clock.now())))
    }

    /// Forgets the keys that have all of their allowance back. For a housekeeping timer; it also happens when room is
    /// needed.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    fn sweep_if_full(&self) {
        if self.limiter.len() < self.max_keys {
            return;
        }
        let now = self.clock.now();
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(*swept) < Nanos::from(SWEEP_EVERY) {
                return;
            }
            *swept = now;
        }
        self.limiter.retain_recent();
    }
}

impl<K: Hash + Eq + Clone, C: Clock> fmt::Debug for KeyedLimiter<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyedLimiter(at most {} keys)", self.max_keys)
    }
}
