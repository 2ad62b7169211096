//! A small internet of network namespaces: one street with an address for everybody, and houses behind routers of different kinds.
//!
//! ```text
//! internet 203.0.113.1 ──┬── router 203.0.113.11 ── host 10.0.1.2
//!                        └── router 203.0.113.12 ── host 10.0.2.2
//! ```
//!
//! Only root can make one, and `ip` and `nft` must be there. Nothing of it leaves the namespaces, and all of it is gone when it is
//! dropped (and what runs in it has ended): a namespace lives as long as somebody holds it.

mod net;

use anyhow::{Context, Result};

pub use self::net::Net;

/// What a router does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// A host is seen by the same port, whoever looks (endpoint-independent mapping, RFC 4787): the port that it sends from.
    Easy,
    /// By another port for each who looks.
    Hard,
    /// As hard, and nothing of UDP goes through.
    NoUdp,
}

impl Nat {
    fn rules(self) -> String {
        let (ports, udp) = match self {
            Self::Easy => ("", ""),
            Self::Hard => (" fully-random", ""),
            Self::NoUdp => (" fully-random", "\n    meta l4proto udp drop"),
        };
        // What comes unasked is dropped, also if it is for the router itself: a packet through which the other side makes its hole
        // must not be answered by "nobody is here", nor take the port.
        format!(
            "table ip nat {{
  chain post {{
    type nat hook postrouting priority 100
    oifname \"wan\" masquerade{ports}
  }}
}}
table ip filter {{
  chain in {{
    type filter hook input priority 0
    iifname \"wan\" ct state established,related accept
    iifname \"wan\" drop
  }}
  chain through {{
    type filter hook forward priority 0
    iifname \"wan\" ct state new drop{udp}
  }}
}}
"
        )
    }
}

/// See the module.
#[derive(Debug)]
pub struct Lab {
    /// Where directories stand.
    pub internet: Net,
    houses: u8,
}

/// The address of [`Lab::internet`].
pub const INTERNET: &str = "203.0.113.1";

impl Lab {
    /// An internet with nobody in it.
    ///
    /// # Errors
    /// When this user, or this machine, cannot make one.
    pub fn new() -> Result<Self> {
        let internet = Net::new().context("only root may make a network of its own")?;
        internet.ip("link set lo up")?;
        internet.ip("link add street type bridge forward_delay 0")?;
        internet.ip(&format!("addr add {INTERNET}/24 dev street"))?;
        internet.ip("link set street up")?;
        Ok(Self { internet, houses: 0 })
    }

    /// A host behind a router.
    ///
    /// # Errors
    /// When `ip` or `nft` are missing, or the kernel lacks what they want.
    pub fn house(&mut self, nat: Nat) -> Result<House> {
        self.houses += 1;
        let number = self.houses;
        let host = Net::new()?;
        let router = self.router(number, nat, &host, "eth0")?;
        let house = House { router, host, number, second: None };
        house.host.ip("link set lo up")?;
        house.live_at(2)?;
        Ok(house)
    }

    /// A second router of a house, at a network of its own: `10.0.N.1`, where N is what is returned. The host has an address there, and
    /// no route by it yet: see [`House::route_by`].
    ///
    /// # Errors
    /// As [`Lab::house`].
    pub fn second_uplink(&mut self, house: &mut House, nat: Nat) -> Result<u8> {
        self.houses += 1;
        let number = self.houses;
        let router = self.router(number, nat, &house.host, "eth1")?;
        house.host.ip(&format!("addr add 10.0.{number}.2/24 dev eth1"))?;
        house.host.ip("link set eth1 up")?;
        house.second = Some(router);
        Ok(number)
    }

    /// A router from the street to a host's port.
    fn router(&self, number: u8, nat: Nat, host: &Net, port: &str) -> Result<Net> {
        let router = Net::new()?;
        // To the street.
        self.internet.pair(&format!("house{number}"), &router, "wan")?;
        self.internet.ip(&format!("link set house{number} master street up"))?;
        // Into the house.
        router.pair("lan", host, port)?;
        router.ip("link set lo up")?;
        router.ip(&format!("addr add 203.0.113.{}/24 dev wan", 10 + number))?;
        router.ip(&format!("addr add 10.0.{number}.1/24 dev lan"))?;
        router.ip("link set wan up")?;
        router.ip("link set lan up")?;
        router.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        // Nothing goes out under an address that is none of its network's.
        router.within(|| std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1"))??;
        router.nft(&nat.rules())?;
        Ok(router)
    }
}

/// A host behind a router.
#[derive(Debug)]
pub struct House {
    /// Its router.
    pub router: Net,
    /// The host.
    pub host: Net,
    number: u8,
    /// Another router, if it has one.
    second: Option<Net>,
}

impl House {
    /// The host takes this address of its network, in the place of any other.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn live_at(&self, last: u8) -> Result<()> {
        let number = self.number;
        self.host.ip("addr flush dev eth0")?;
        self.host.ip(&format!("addr add 10.0.{number}.{last}/24 dev eth0"))?;
        self.host.ip("link set eth0 up")?;
        self.host.ip(&format!("route replace default via 10.0.{number}.1"))
    }

    /// The host's cable is pulled out: it has no route anywhere. [`House::live_at`] puts it in again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn unplug(&self) -> Result<()> {
        self.host.ip("link set eth0 down")
    }

    /// What the host sends elsewhere goes by this network's router; its addresses stay.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn route_by(&self, number: u8) -> Result<()> {
        self.host.ip(&format!("route replace default via 10.0.{number}.1"))
    }

    /// The number of its first network.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The router lets nothing through any more, in either direction; nobody is told.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn cut(&self) -> Result<()> {
        self.router
            .nft("table ip cut {\n  chain every {\n    type filter hook forward priority -10\n    drop\n  }\n}\n")
    }

    /// It does again.
    ///
    /// # Errors
    /// When `nft` fails.
    pub fn heal(&self) -> Result<()> {
        self.router.nft("delete table ip cut\n")
    }
}
