//! How often somebody may ask.
//!
//! Invariant: the memory of who asked is bounded by construction. An address (IPv6: its /64) or account is hashed, with
//! a key of this process, into one of `BUCKETS` buckets, and the buckets are what is limited: ten million sources use
//! no more memory than the buckets. Two clients share one with a chance of one in `BUCKETS`, and nobody outside can
//! work out who.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use proto::ids::AccountId;

use crate::config::Limits;

/// Distinct keys that a limiter ever holds; a full one takes some 5 MB.
const BUCKETS: u64 = 65_536;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address without a session.
    Address(IpAddr),
    /// The member whose session token came with the request.
    Member(AccountId),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A new name.
    Register,
    /// Everything else.
    Lookup,
    /// A deposit with a contact's token.
    Deposit,
}

/// The limits in force.
#[derive(Debug)]
pub struct Limiter {
    register: DefaultKeyedRateLimiter<u32>,
    lookup: DefaultKeyedRateLimiter<u32>,
    member: DefaultKeyedRateLimiter<u32>,
    deposit: DefaultKeyedRateLimiter<u32>,
    hasher: std::hash::RandomState,
    clock: DefaultClock,
    limit_loopback: bool,
}

impl Limiter {
    /// With everybody's burst untouched.
    pub fn new(limits: &Limits, limit_loopback: bool) -> Self {
        Self {
            register: RateLimiter::keyed(
                per_hour(limits.register_per_hour).allow_burst(at_least_one(limits.register_burst)),
            ),
            lookup: RateLimiter::keyed(
                per_minute(limits.lookup_per_minute).allow_burst(at_least_one(limits.lookup_burst)),
            ),
            member: RateLimiter::keyed(per_minute(limits.member_per_minute)),
            deposit: RateLimiter::keyed(
                per_minute(limits.deposit_per_minute).allow_burst(at_least_one(limits.deposit_burst)),
            ),
            hasher: std::hash::RandomState::new(),
            clock: DefaultClock::default(),
            limit_loopback,
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// For how long to wait, when it is one too many.
    pub fn check(&self, source: Source, address: IpAddr, class: Class) -> Result<(), Duration> {
        if address.is_loopback() && !self.limit_loopback {
            return Ok(());
        }
        let limiter = match (class, source) {
            // A member's session does not open new names more cheaply.
            (Class::Register, _) => &self.register,
            // Whether the token holds is not known yet: the address is what counts.
            (Class::Deposit, _) => &self.deposit,
            (Class::Lookup, Source::Address(_)) => &self.lookup,
            (Class::Lookup, Source::Member(_)) => &self.member,
        };
        let key = match (class, source) {
            (Class::Register | Class::Deposit, _) | (Class::Lookup, Source::Address(_)) => {
                self.hasher.hash_one(prefix(address))
            }
            (Class::Lookup, Source::Member(account)) => self.hasher.hash_one(account),
        };
        let bucket = u32::try_from(key % BUCKETS).unwrap_or(0);
        limiter.check_key(&bucket).map_err(|not_yet| not_yet.wait_time_from(self.clock.now()))
    }

    /// Gives back the memory of those who have not asked for long.
    pub fn forget(&self) {
        for limiter in [&self.register, &self.lookup, &self.member, &self.deposit] {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

fn per_minute(count: u32) -> Quota {
    Quota::per_minute(at_least_one(count))
}

fn per_hour(count: u32) -> Quota {
    Quota::per_hour(at_least_one(count))
}

/// A household has a whole IPv6 /64 to pick addresses from.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(limiter: &Limiter, address: &str, class: Class) -> bool {
        let address = address.parse().unwrap();
        limiter.check(Source::Address(address), address, class).is_ok()
    }

    #[test]
    fn bursts_end_and_addresses_are_apart() {
        let limiter = Limiter::new(&Limits::default(), false);
        assert!((0..30).all(|_| ask(&limiter, "192.0.2.1", Class::Register)));
        assert!(!ask(&limiter, "192.0.2.1", Class::Register));
        assert!(ask(&limiter, "192.0.2.1", Class::Lookup), "lookups are counted apart");
        assert!(ask(&limiter, "192.0.2.2", Class::Register));
        assert!((0..300).all(|_| ask(&limiter, "2001:db8::1", Class::Lookup)));
        assert!(!ask(&limiter, "2001:db8::2", Class::Lookup), "one /64 is one source");
        assert!((0..400).all(|_| ask(&limiter, "127.0.0.1", Class::Register)));
        let strict = Limiter::new(&Limits::default(), true);
        assert!(
            (0..30).all(|_| ask(&strict, "127.0.0.1", Class::Register)) && !ask(&strict, "127.0.0.1", Class::Register)
        );
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory() {
        let limiter = Limiter::new(&Limits::default(), false);
        let sources = std::env::var("CHATD_TORTURE_SOURCES").ok().and_then(|text| text.parse().ok());
        let sources: u32 = sources.unwrap_or(300_000);
        for source in 0..sources {
            let address = IpAddr::from(source.wrapping_mul(7_919).to_be_bytes());
            let _ = limiter.check(Source::Address(address), address, Class::Lookup);
        }
        println!("figure: {sources} sources at the directory: {} buckets kept", limiter.lookup.len());
        assert!(limiter.lookup.len() as u64 <= BUCKETS);
    }
}
