//! Rate limits: bytes and frames of nodes, requests of strangers.

pub mod frames;
pub mod keyed;
pub mod requests;
pub mod work;

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use proto::ids::{AccountId, NodeId};
use proto::wire::MAX_FRAME_BYTES;

use self::frames::FrameLimits;
use self::keyed::{KeyedLimiter, TooFast};
use self::requests::RequestLimiter;
use super::limits::{Limits, SpaceLimits};

/// Pings of one contact a minute at most. Its daemon takes 256 frames of that kind of this one, and drops who sends more: the other
/// half is for what is asked beside.
const PINGS: NonZeroU32 = NonZeroU32::new(128).unwrap();
/// Contacts whose pings are counted each by itself.
const PINGED: NonZeroU32 = NonZeroU32::new(4_096).unwrap();

/// What limits how often the users of a daemon ask contacts whether they are there.
pub fn pings() -> KeyedLimiter<AccountId> {
    KeyedLimiter::new(PINGS, Duration::from_secs(60), PINGED, DefaultClock::default())
}

/// Bytes are counted in cells of this many, rounded up: governor computes in whole nanoseconds for each cell.
const CELL_BYTES: u32 = 256;

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
        let keys = limits.limiter_keys;
        Self {
            limits: limits.clone(),
            known_bytes: ByteLimiter::new(limits.known_node_bytes_per_second, keys, clock.clone()),
            stranger_bytes: ByteLimiter::new(limits.stranger_node_bytes_per_second, keys, clock.clone()),
            stranger_envelopes: KeyedLimiter::new(limits.stranger_envelopes_per_minute, MINUTE, keys, clock.clone()),
            frames: FrameLimits::new(keys, &clock),
            requests: RequestLimiter::new(limits, clock),
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
pub struct SharedLimits {
    rates: Arc<RwLock<Arc<RateLimits>>>,
    space: Arc<RwLock<SpaceLimits>>,
}

impl SharedLimits {
    /// With the figures of the configuration.
    pub fn new(limits: &Limits, space: &SpaceLimits) -> Self {
        let rates = Arc::new(RwLock::new(Arc::new(RateLimits::new(limits))));
        Self { rates, space: Arc::new(RwLock::new(space.clone())) }
    }

    /// Those in force.
    pub fn now(&self) -> Arc<RateLimits> {
        Arc::clone(&self.rates.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What may be stored now.
    pub fn space(&self) -> SpaceLimits {
        self.space.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other figures in force. If they are others, everybody begins with a full allowance.
    pub fn change(&self, limits: &Limits, space: &SpaceLimits) {
        self.space.write().unwrap_or_else(PoisonError::into_inner).clone_from(space);
        let mut shared = self.rates.write().unwrap_or_else(PoisonError::into_inner);
        if shared.limits != *limits {
            *shared = Arc::new(RateLimits::new(limits));
        }
    }
}

#[cfg(test)]
mod tests;
