//! How many contact requests of whom are let in, and which work opens the lane beside that.

use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use proto::ids::AccountId;

use super::keyed::{KeyedLimiter, TooFast};
use super::work::{Over, WorkLane};
use crate::policy::limits::Limits;

const HOUR: Duration = Duration::from_secs(3_600);

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
    pub(super) fn new(limits: &Limits, clock: C) -> Self {
        let keys = limits.limiter_keys;
        Self {
            identity: KeyedLimiter::new(limits.requests_per_identity_per_hour, HOUR, keys, clock.clone()),
            domain: KeyedLimiter::new(limits.requests_per_domain_per_hour, HOUR, keys, clock.clone()),
            all: KeyedLimiter::new(limits.requests_per_hour, HOUR, keys, clock.clone()),
            worked: WorkLane::new(limits.request_work_bits.get(), clock),
        }
    }

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
