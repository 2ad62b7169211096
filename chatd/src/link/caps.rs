//! How many inbound links there may be: in all, without an authenticated account, and from one address.
//!
//! Invariants: a link is counted from before its handshake until it is over; the map of addresses is never larger than
//! the number of links; no lock is held across an await.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use iroh::endpoint::IncomingAddr;

/// Where a link comes from, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    Loopback,
    V4(Ipv4Addr),
    /// The /64: one household or host is given at least that much.
    V6([u8; 8]),
    /// By node id, behind a relay that knows its users.
    Relayed([u8; 32]),
    Unknown,
}

impl Origin {
    pub(super) fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => Self::of_ip(address.ip()),
            IncomingAddr::Relay { endpoint_id, .. } => Self::Relayed(*endpoint_id.as_bytes()),
            _ => Self::Unknown,
        }
    }

    fn of_ip(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        match ip {
            _ if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let mut network = [0; 8];
                network.copy_from_slice(&ip.octets()[..8]);
                Self::V6(network)
            }
        }
    }
}

/// Which cap was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Inbound,
    Unauthenticated,
    Address,
}

#[derive(Debug, Default)]
struct Counts {
    inbound: usize,
    unauthenticated: usize,
    by_origin: HashMap<Origin, usize>,
}

/// The counters and their limits.
#[derive(Debug)]
pub(super) struct InboundCaps {
    max_inbound: usize,
    max_unauthenticated: usize,
    max_per_address: usize,
    exempt_loopback: bool,
    counts: Mutex<Counts>,
}

impl InboundCaps {
    pub(super) fn new(caps: &super::LinkCaps) -> Arc<Self> {
        Arc::new(Self {
            max_inbound: caps.max_inbound,
            max_unauthenticated: caps.max_unauthenticated,
            max_per_address: caps.max_per_address,
            exempt_loopback: caps.exempt_loopback,
            counts: Mutex::default(),
        })
    }

    /// Takes a place for a link, or says which cap is in the way.
    pub(super) fn admit(self: &Arc<Self>, origin: Origin) -> Result<Slot, Full> {
        let exempt = self.is_exempt(origin);
        let mut counts = self.lock();
        if counts.inbound >= self.max_inbound {
            return Err(Full::Inbound);
        }
        if counts.unauthenticated >= self.max_unauthenticated {
            return Err(Full::Unauthenticated);
        }
        if !exempt && counts.by_origin.get(&origin).is_some_and(|n| *n >= self.max_per_address) {
            return Err(Full::Address);
        }
        counts.inbound += 1;
        counts.unauthenticated += 1;
        *counts.by_origin.entry(origin).or_default() += 1;
        Ok(Slot {
            caps: Arc::clone(self),
            origin,
            authenticated: AtomicBool::new(false),
            released: AtomicBool::new(false),
        })
    }

    /// Whether the address is this machine's, and that is trusted.
    pub(super) fn is_exempt(&self, origin: Origin) -> bool {
        self.exempt_loopback && origin == Origin::Loopback
    }

    /// Whether half of the places for unknown peers are taken: then an address must prove that it can receive.
    pub(super) fn is_crowded(&self) -> bool {
        self.lock().unauthenticated * 2 >= self.max_unauthenticated
    }

    /// Links in all, and those without an authenticated account.
    pub(super) fn totals(&self) -> (usize, usize) {
        let counts = self.lock();
        (counts.inbound, counts.unauthenticated)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let counts = self.lock();
        (counts.inbound, counts.unauthenticated, counts.by_origin.len())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        // Nothing panics while it is held; if something did, the counts would still be the best there are.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted link.
#[derive(Debug)]
pub(super) struct Slot {
    caps: Arc<InboundCaps>,
    origin: Origin,
    authenticated: AtomicBool,
    released: AtomicBool,
}

impl Slot {
    /// The link speaks for an account that its owner trusts: it no longer counts as unknown.
    pub(super) fn authenticate(&self) {
        let mut counts = self.caps.lock();
        if !self.released.load(Ordering::Acquire) && !self.authenticated.swap(true, Ordering::AcqRel) {
            counts.unauthenticated -= 1;
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Acquire)
    }

    /// Gives the place back; later calls do nothing.
    pub(super) fn release(&self) {
        let mut counts = self.caps.lock();
        if self.released.swap(true, Ordering::AcqRel) {
            return;
        }
        counts.inbound -= 1;
        if !self.is_authenticated() {
            counts.unauthenticated -= 1;
        }
        if let Some(n) = counts.by_origin.get_mut(&self.origin) {
            *n -= 1;
            if *n == 0 {
                counts.by_origin.remove(&self.origin);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::link::LinkCaps;

    fn caps(inbound: usize, unauthenticated: usize, address: usize) -> Arc<InboundCaps> {
        InboundCaps::new(&LinkCaps {
            max_inbound: inbound,
            max_unauthenticated: unauthenticated,
            max_per_address: address,
            ..LinkCaps::default()
        })
    }

    fn v4(last: u8) -> Origin {
        Origin::of_ip(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn one_address_takes_its_share_and_no_more() {
        let caps = caps(10, 10, 2);
        let alice = [caps.admit(v4(1)).unwrap(), caps.admit(v4(1)).unwrap()];
        assert_eq!(caps.admit(v4(1)).unwrap_err(), Full::Address);
        let bob = caps.admit(v4(2)).unwrap();
        drop(alice);
        assert!(caps.admit(v4(1)).is_ok());
        drop(bob);
        assert_eq!(caps.counts(), (0, 0, 0));
    }

    #[test]
    fn authenticated_links_make_room_for_unknown_ones() {
        let caps = caps(3, 1, 9);
        let alice = caps.admit(v4(1)).unwrap();
        assert_eq!(caps.admit(v4(2)).unwrap_err(), Full::Unauthenticated);
        alice.authenticate();
        alice.authenticate();
        let bob = caps.admit(v4(2)).unwrap();
        bob.authenticate();
        let carol = caps.admit(v4(3)).unwrap();
        carol.authenticate();
        assert_eq!(caps.admit(v4(4)).unwrap_err(), Full::Inbound);
        alice.release();
        alice.release();
        assert_eq!(caps.counts(), (2, 0, 2));
        alice.authenticate();
        drop((alice, bob, carol));
        assert_eq!(caps.counts(), (0, 0, 0));
    }

    #[test]
    fn loopback_is_exempt_only_when_told() {
        let caps = caps(10, 10, 1);
        let local = Origin::of_ip(IpAddr::from([127, 0, 0, 1]));
        let _held = (caps.admit(local).unwrap(), caps.admit(local).unwrap());
        let strict = InboundCaps::new(&LinkCaps { max_per_address: 1, exempt_loopback: false, ..LinkCaps::default() });
        let _one = strict.admit(local).unwrap();
        assert_eq!(strict.admit(local).unwrap_err(), Full::Address);
    }

    #[test]
    fn addresses_are_counted_by_what_one_host_commands() {
        let of = |text: &str| Origin::of_ip(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), v4(1));
    }

    #[test]
    fn ten_thousand_sources_leave_nothing_behind() {
        let caps = caps(256, 64, 4);
        let mut held = Vec::new();
        for n in 0..10_000_u32 {
            let [a, b, c, d] = n.to_be_bytes();
            if let Ok(slot) = caps.admit(Origin::of_ip(IpAddr::from([10 + a, b, c, d]))) {
                held.push(slot);
            }
        }
        assert_eq!(caps.counts(), (64, 64, 64));
        drop(held);
        assert_eq!(caps.counts(), (0, 0, 0));
    }
}
