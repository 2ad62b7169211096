//! How often somebody may ask.
//!
//! Invariants: the memory of who asked is bounded by construction: a network or account is hashed, with a key of this
//! process, into one of `BUCKETS` buckets, and the buckets are what is limited. Two clients share one with a chance of one
//! in `BUCKETS`, and nobody outside can work out who. An address counts for each network that it is in (`LEVELS_V6`),
//! the widest first: who is given a whole /44 to pick addresses from can fill a small part of the buckets only, and so
//! cannot use them up for others.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use proto::ids::AccountId;

use crate::config::Limits;

/// Distinct keys that a limiter ever holds; a full one takes some 5 MB.
const BUCKETS: u64 = 65_536;

/// Networks of IPv6 that are limited, as bits of the prefix and how many times the limit of a /64: what a household, a
/// customer, a site and a provider are given. One site cannot use its provider up.
const LEVELS_V6: [(u32, u32); 4] = [(32, 512), (48, 16), (56, 4), (64, 1)];
/// The same of IPv4, against a single address.
const LEVELS_V4: [(u32, u32); 2] = [(24, 16), (32, 1)];

/// Where a request came from; put into each request by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, as far as it is known.
    pub address: IpAddr,
    /// It is on this machine, asks without a proxy between, and the operator does not limit such.
    pub exempt: bool,
}

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
    /// Anything at all: every request counts here, before it is looked at.
    Request,
    /// A new name.
    Register,
    /// Everything else that costs a look into the index or the database.
    Lookup,
    /// A deposit with a contact's token.
    Deposit,
}

/// One limit for a network of each size.
#[derive(Debug)]
struct Levels {
    v6: [DefaultKeyedRateLimiter<u32>; LEVELS_V6.len()],
    v4: [DefaultKeyedRateLimiter<u32>; LEVELS_V4.len()],
}

impl Levels {
    fn new(quota: impl Fn(u32) -> Quota) -> Self {
        Self {
            v6: LEVELS_V6.map(|(_, times)| RateLimiter::keyed(quota(times))),
            v4: LEVELS_V4.map(|(_, times)| RateLimiter::keyed(quota(times))),
        }
    }

    fn all(&self) -> impl Iterator<Item = &DefaultKeyedRateLimiter<u32>> {
        self.v6.iter().chain(&self.v4)
    }

    /// The limiters that an address counts in, with the network that it counts as, the widest first.
    fn of(&self, address: IpAddr) -> Vec<(&DefaultKeyedRateLimiter<u32>, (u32, u128))> {
        match address.to_canonical() {
            IpAddr::V6(ip) => {
                let network = |bits: u32| u128::from(ip) >> (128 - bits);
                self.v6.iter().zip(LEVELS_V6).map(|(limiter, (bits, _))| (limiter, (bits, network(bits)))).collect()
            }
            IpAddr::V4(ip) => {
                let network = |bits: u32| u128::from(u32::from(ip) >> (32 - bits));
                // Apart from those of IPv6.
                self.v4
                    .iter()
                    .zip(LEVELS_V4)
                    .map(|(limiter, (bits, _))| (limiter, (1_000 + bits, network(bits))))
                    .collect()
            }
        }
    }
}

/// The limits in force.
#[derive(Debug)]
pub struct Limiter {
    request: Levels,
    register: Levels,
    lookup: Levels,
    deposit: Levels,
    member: DefaultKeyedRateLimiter<u32>,
    hasher: std::hash::RandomState,
    clock: DefaultClock,
}

impl Limiter {
    /// With everybody's burst untouched.
    pub fn new(limits: &Limits) -> Self {
        let minute = |rate: u32, burst: u32| {
            move |times: u32| {
                per_minute(rate.saturating_mul(times)).allow_burst(at_least_one(burst.saturating_mul(times)))
            }
        };
        let (rate, burst) = (limits.register_per_hour, limits.register_burst);
        Self {
            request: Levels::new(minute(limits.request_per_minute, limits.request_burst)),
            register: Levels::new(|times| {
                per_hour(rate.saturating_mul(times)).allow_burst(at_least_one(burst.saturating_mul(times)))
            }),
            lookup: Levels::new(minute(limits.lookup_per_minute, limits.lookup_burst)),
            deposit: Levels::new(minute(limits.deposit_per_minute, limits.deposit_burst)),
            member: RateLimiter::keyed(per_minute(limits.member_per_minute)),
            hasher: std::hash::RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// For how long to wait, when it is one too many.
    pub fn check(&self, source: Source, peer: Peer, class: Class) -> Result<(), Duration> {
        if peer.exempt {
            return Ok(());
        }
        let levels = match (class, source) {
            (Class::Request, _) => &self.request,
            // A member's session does not open new names more cheaply.
            (Class::Register, _) => &self.register,
            // Whether the token holds is not known yet: the address is what counts.
            (Class::Deposit, _) => &self.deposit,
            (Class::Lookup, Source::Address(_)) => &self.lookup,
            (Class::Lookup, Source::Member(account)) => return self.count(&self.member, account),
        };
        levels.of(peer.address).into_iter().try_for_each(|(limiter, network)| self.count(limiter, network))
    }

    fn count(&self, limiter: &DefaultKeyedRateLimiter<u32>, who: impl Hash) -> Result<(), Duration> {
        let bucket = u32::try_from(self.hasher.hash_one(who) % BUCKETS).unwrap_or(0);
        limiter.check_key(&bucket).map_err(|not_yet| not_yet.wait_time_from(self.clock.now()))
    }

    /// Gives back the memory of those who have not asked for long.
    pub fn forget(&self) {
        let levels = [&self.request, &self.register, &self.lookup, &self.deposit];
        for limiter in levels.into_iter().flat_map(Levels::all).chain([&self.member]) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(limiter: &Limiter, address: IpAddr, class: Class) -> bool {
        limiter.check(Source::Address(address), Peer { address, exempt: false }, class).is_ok()
    }

    fn ask(limiter: &Limiter, address: &str, class: Class) -> bool {
        from(limiter, address.parse().unwrap(), class)
    }

    #[test]
    fn bursts_end_and_addresses_are_apart() {
        let limiter = Limiter::new(&Limits::default());
        assert!((0..30).all(|_| ask(&limiter, "192.0.2.1", Class::Register)));
        assert!(!ask(&limiter, "192.0.2.1", Class::Register));
        assert!(ask(&limiter, "192.0.2.1", Class::Lookup), "lookups are counted apart");
        assert!(ask(&limiter, "192.0.2.2", Class::Register));
        assert!((0..300).all(|_| ask(&limiter, "2001:db8::1", Class::Lookup)));
        assert!(!ask(&limiter, "2001:db8::2", Class::Lookup), "one /64 is one source");
        assert!((0..30).all(|_| ask(&limiter, "127.0.0.1", Class::Register)));
        assert!(!ask(&limiter, "127.0.0.1", Class::Register), "an address alone exempts nobody");
        let here = Peer { address: "127.0.0.1".parse().unwrap(), exempt: true };
        assert!((0..400).all(|_| limiter.check(Source::Address(here.address), here, Class::Register).is_ok()));
        let every = limiter.check(Source::Address(here.address), Peer { exempt: false, ..here }, Class::Request);
        assert!(every.is_ok());
    }

    /// Of a flood from one /44 as many fresh addresses elsewhere were refused as there are buckets.
    #[test]
    fn one_network_cannot_use_the_buckets_up() {
        let limiter = Limiter::new(&Limits::default());
        let mut passed = 0u32;
        for n in 0..330_000u128 {
            // Each from a /64 of its own, spread over all of the /44.
            let network = (n.wrapping_mul(0x9e37_79b9)) & 0xf_ffff;
            let ip = (0x2001_0db8_00f0_u128 << 80) | (network << 64) | 1;
            passed += u32::from(from(&limiter, IpAddr::V6(ip.into()), Class::Lookup));
        }
        let fresh = 600;
        let refused =
            (0..fresh).filter(|n| !ask(&limiter, &format!("2a0{}:{:x}::1", n % 8, 0x1000 + n), Class::Lookup));
        let refused = refused.count();
        println!("figure: 330000 requests of one /44: {passed} passed, {refused} of {fresh} fresh addresses refused");
        assert!(refused <= 6 && passed < 100_000, "{refused} of {fresh} fresh addresses; {passed}");
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory() {
        let limiter = Limiter::new(&Limits::default());
        let sources = std::env::var("CHATD_TORTURE_SOURCES").ok().and_then(|text| text.parse().ok());
        let sources: u32 = sources.unwrap_or(300_000);
        for source in 0..sources {
            let address = IpAddr::from(source.wrapping_mul(7_919).to_be_bytes());
            let _ = from(&limiter, address, Class::Lookup);
        }
        let kept = limiter.lookup.all().map(|level| level.len()).max().unwrap_or(0);
        println!("figure: {sources} sources at the directory: {kept} buckets kept");
        assert!(kept as u64 <= BUCKETS);
    }
}
