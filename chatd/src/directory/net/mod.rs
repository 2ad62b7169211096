//! How a connection to a directory comes to be: where it is ([`place`], [`names`]), whom to believe there ([`trust`]), and which of
//! several machines answers ([`connect`]).
//!
//! Not the job: what is said over it (`client`, `session`), and which directory is meant (`resolver`).
//!
//! Invariants: nothing crosses a network but by TLS; a certificate counts for the name that was asked for, never for the machine that
//! the DNS gave; addresses that the DNS names are dialled under the rules of `policy::dial`; every wait has an end.

pub mod connect;
pub mod names;
pub mod place;
pub mod stream;
pub mod trust;

use std::net::IpAddr;
use std::sync::Arc;

use self::names::{NameOptions, Names};
use self::trust::Authorities;

/// What all directories share: the DNS, and the authorities of this machine. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Network(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Names,
    authorities: Authorities,
    allow_private: bool,
}

impl Network {
    /// By these options; `allow_private`: addresses that the DNS gives may be private, or of this machine.
    pub fn new(names: NameOptions, allow_private: bool) -> Self {
        Self(Arc::new(Shared { names: Names::new(names), authorities: Authorities::default(), allow_private }))
    }
}

/// This host's addresses with their prefix lengths.
pub fn own_networks() -> Vec<(IpAddr, u8)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let (address, mask) = (interface.address?, interface.netmask?);
            if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
                return Some((IpAddr::V4(ip.ip()), u32::from(mask.ip()).leading_ones() as u8));
            }
            let (ip, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
            Some((IpAddr::V6(ip.ip()), u128::from(mask.ip()).leading_ones() as u8))
        })
        .collect()
}
