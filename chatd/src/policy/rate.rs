//! Rate limits by key: governor's GCRA over a store that cannot grow without bound.
//!
//! Invariant: a limiter remembers at most its cap of keys, whatever comes in. Keys beyond it share one allowance, so that
//! a flood of made-up keys neither fills the memory nor buys more than one key's worth. Keys that were there before
//! the flood keep their own.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use proto::ids::{AccountId, NodeId};
use proto::wire::MAX_FRAME_BYTES;

use super::frames::FrameLimits;
use super::limits::Limits;
use super::work::{Over, WorkLane};

/// Bytes are counted in cells of this many, rounded up: governor computes in whole nanoseconds for each cell.
const CELL_BYTES: u32 = 256;
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

/// Inbound bytes by node.
#[derive(Debug)]
pub struct ByteLimiter<C: Clock = DefaultClock>(KeyedLimiter<NodeId, C>);

impl<C: Clock + Clone> ByteLimiter<C> {
    fn new(bytes_per_second: NonZeroU32, max_keys: NonZeroU32, clock: C) -> Self {
        let cells = bytes_per_second.get().div_ceil(CELL_BYTES);
        // One frame of the largest size must pass at a time, whatever the rate.
        let burst = cells.max((MAX_FRAME_BYTES as u32).div_ceil(CELL_BYTES));
        let period = Duration::from_secs(1) * burst / cells.max(1);
        Self(KeyedLimiter::new(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN), period, max_keys, clock))
    }

    /// Takes the bytes of one frame. Over the limit, the link is read no further for the time given: that slows an
    /// honest sender down without losing anything.
    ///
    /// # Errors
    /// [`TooFast`].
    pub fn check(&self, node: &NodeId, bytes: usize) -> Result<(), TooFast> {
        let cells = u32::try_from(bytes).unwrap_or(u32::MAX).div_ceil(CELL_BYTES).max(1);
        self.0.check_n(node, NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN))
    }

    /// Forgets nodes that have all of their allowance back.
    pub fn sweep(&self) {
        self.0.sweep();
    }
}

/// By which way a request was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Within the limits.
    Ordinary,
    /// By work.
    Worked,
}

/// Contact requests, by recipient and then by identity, by proved domain and in all.
#[derive(Debug)]
pub struct RequestLimiter<C: Clock = DefaultClock> {
    identity: KeyedLimiter<(AccountId, AccountId), C>,
    domain: KeyedLimiter<(AccountId, String), C>,
    all: KeyedLimiter<AccountId, C>,
    worked: WorkLane<C>,
}

impl<C: Clock + Clone> RequestLimiter<C> {
    /// Takes one request from `identity` to the local account `to`. `domain` is the one that a directory's word proves; all of
    /// whom nothing is proved share one allowance, whatever they say of themselves. A request that one of the three refuses
    /// may have used up the others: a flood is no customer.
    ///
    /// # Errors
    /// [`TooFast`].
    pub fn check(&self, to: AccountId, identity: AccountId, domain: Option<&str>) -> Result<(), TooFast> {
        self.identity.check(&(to, identity))?;
        // DNS names have at most 253 characters; more is made up, and would be memory.
        let domain: String = domain.unwrap_or_default().chars().take(253).flat_map(char::to_lowercase).collect();
        self.domain.check(&(to, domain))?;
        self.all.check(&to)
    }

    /// The same for a request that shows work (bits): it passes where an ordinary one does not.
    ///
    /// # Errors
    /// What it would take.
    pub fn admit(&self, to: AccountId, identity: AccountId, domain: Option<&str>, work: u8) -> Result<Lane, Over> {
        match self.check(to, identity, domain) {
            Ok(()) => Ok(Lane::Ordinary),
            Err(_) => self.worked.take(to, work).map(|()| Lane::Worked),
        }
    }

    /// For a request that has no place among those that wait, although it is within the limits.
    ///
    /// # Errors
    /// What it would take.
    pub fn admit_by_work(&self, to: AccountId, work: u8) -> Result<Lane, Over> {
        self.worked.take(to, work).map(|()| Lane::Worked)
    }

    /// Forgets keys that have all of their allowance back.
    pub fn sweep(&self) {
        self.identity.sweep();
        self.domain.sweep();
        self.all.sweep();
    }
}

/// All rate limits of the receive path.
#[derive(Debug)]
pub struct RateLimits<C: Clock = DefaultClock> {
    /// Bytes of nodes with a contact on them.
    pub known_bytes: ByteLimiter<C>,
    /// Bytes of all other nodes.
    pub stranger_bytes: ByteLimiter<C>,
    /// Envelopes of all other nodes, before they are decrypted.
    pub stranger_envelopes: KeyedLimiter<NodeId, C>,
    /// Frames that are no envelopes.
    pub frames: FrameLimits<C>,
    /// Contact requests without a valid invite.
    pub requests: RequestLimiter<C>,
    /// The figures that it was made from.
    pub limits: Limits,
}

impl RateLimits {
    /// With the figures of the configuration and the system's monotonic clock.
    pub fn new(limits: &Limits) -> Self {
        Self::with_clock(limits, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// With a clock of the caller's.
    pub fn with_clock(limits: &Limits, clock: C) -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3_600);
        let keys = limits.limiter_keys;
        Self {
            limits: limits.clone(),
            known_bytes: ByteLimiter::new(limits.known_node_bytes_per_second, keys, clock.clone()),
            stranger_bytes: ByteLimiter::new(limits.stranger_node_bytes_per_second, keys, clock.clone()),
            stranger_envelopes: KeyedLimiter::new(limits.stranger_envelopes_per_minute, MINUTE, keys, clock.clone()),
            frames: FrameLimits::new(keys, &clock),
            requests: RequestLimiter {
                identity: KeyedLimiter::new(limits.requests_per_identity_per_hour, HOUR, keys, clock.clone()),
                domain: KeyedLimiter::new(limits.requests_per_domain_per_hour, HOUR, keys, clock.clone()),
                all: KeyedLimiter::new(limits.requests_per_hour, HOUR, keys, clock.clone()),
                worked: WorkLane::new(limits.request_work_bits.get(), clock),
            },
        }
    }

    /// Housekeeping: forgets every key that has all of its allowance back.
    pub fn sweep(&self) {
        self.known_bytes.sweep();
        self.stranger_bytes.sweep();
        self.stranger_envelopes.sweep();
        self.requests.sweep();
        self.frames.sweep();
    }
}

/// The limits that are in force now; all clones see a change.
#[derive(Debug, Clone)]
pub struct SharedLimits(Arc<RwLock<Arc<RateLimits>>>);

impl SharedLimits {
    /// With the figures of the configuration.
    pub fn new(limits: &Limits) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(RateLimits::new(limits)))))
    }

    /// Those in force.
    pub fn now(&self) -> Arc<RateLimits> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other figures in force. If they are others, everybody begins with a full allowance.
    pub fn change(&self, limits: &Limits) {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if shared.limits != *limits {
            *shared = Arc::new(RateLimits::new(limits));
        }
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
