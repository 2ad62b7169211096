//! Which addresses may be dialled.
//!
//! A directory or a peer names addresses of its choice. Followed blindly, they turn a daemon into a scanner of its own
//! network and of services that trust the local host. What the user configured, and what was heard on the LAN itself, is
//! another matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who named the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The user or the operator, in the configuration or on a command line.
    Configured,
    /// A multicast answer on the local network.
    Lan,
    /// A directory.
    Directory {
        /// Whether the directory itself is reached over the loopback interface: then it speaks of this machine.
        loopback: bool,
    },
    /// The DNS, for a domain that anybody may name.
    Dns,
    /// A peer, in its reach, an invite or a contact request.
    Peer,
}

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct DialContext<'a> {
    /// Who named the address.
    pub source: Source,
    /// The operator allows private and loopback addresses.
    pub allow_private: bool,
    /// This host's own addresses with their prefix lengths.
    pub networks: &'a [(IpAddr, u8)],
}

/// Whether to send a packet there.
pub fn may_dial(addr: SocketAddr, context: &DialContext<'_>) -> bool {
    let ip = canonical(addr.ip());
    if addr.port() == 0 || never(ip) {
        return false;
    }
    let local_directory = context.source == Source::Directory { loopback: true };
    if context.source == Source::Configured || context.allow_private || local_directory || !is_private(ip) {
        return true;
    }
    // The loopback interface is no LAN, whatever its prefix says.
    !ip.is_loopback() && (context.source == Source::Lan || context.networks.iter().any(|network| contains(network, ip)))
}

/// The address that the packet would go to in the end: IPv4 in its IPv6 disguises (mapped, NAT64, 6to4) is IPv4.
fn canonical(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let o = v6.octets();
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Ipv4Addr::new(o[12], o[13], o[14], o[15]).into()
        }
        [0x2002, ..] => Ipv4Addr::new(o[2], o[3], o[4], o[5]).into(),
        _ => ip,
    }
}

fn never(ip: IpAddr) -> bool {
    match ip {
        // 0.0.0.0/8 is "this network", 240.0.0.0/4 is reserved and holds the broadcast address.
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.octets()[0] >= 240 || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10 is a provider's NAT (RFC 6598).
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    let first = v6.segments()[0];
    // fc00::/7 unique local, fe80::/10 link-local, fec0::/10 the old site-local.
    v6.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80
}

fn contains((network, prefix): &(IpAddr, u8), ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((a, width), (b, other_width)) = (bits(*network), bits(ip));
    // A prefix of zero bits would be every network.
    width == other_width && (1..=width).contains(prefix) && (a ^ b) >> (128 - u32::from(*prefix)) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PEER: Source = Source::Peer;
    const DIRECTORY: Source = Source::Directory { loopback: false };
    const LOCAL_DIRECTORY: Source = Source::Directory { loopback: true };

    fn allowed(addr: &str, source: Source, allow_private: bool) -> bool {
        let networks = ["192.168.7.20/24", "fd00:7::20/64", "127.0.0.1/8", "10.9.9.9/0"].map(|network| {
            let (ip, prefix) = network.split_once('/').unwrap();
            (ip.parse().unwrap(), prefix.parse().unwrap())
        });
        may_dial(addr.parse().unwrap(), &DialContext { source, allow_private, networks: &networks })
    }

    #[test]
    fn table() {
        //        address                     peer   directory LAN   local directory
        for (addr, expected) in [
            ("1.1.1.1:7", [true, true, true, true]),
            ("[2606:4700::1111]:7", [true, true, true, true]),
            ("127.0.0.1:7", [false, false, false, true]),
            ("127.8.8.8:7", [false, false, false, true]),
            ("[::1]:7", [false, false, false, true]),
            ("10.0.0.1:7", [false, false, true, true]),
            ("172.16.0.1:7", [false, false, true, true]),
            ("172.32.0.1:7", [true, true, true, true]),
            ("192.168.1.1:7", [false, false, true, true]),
            ("192.168.7.99:7", [true, true, true, true]), // this LAN
            ("[fd00:7::99]:7", [true, true, true, true]), // this LAN
            ("[fd00:8::99]:7", [false, false, true, true]),
            ("169.254.169.254:80", [false, false, true, true]),
            ("100.64.0.1:7", [false, false, true, true]),
            ("100.128.0.1:7", [true, true, true, true]),
            ("[fe80::1]:7", [false, false, true, true]),
            ("[fec0::1]:7", [false, false, true, true]),
            ("[::ffff:127.0.0.1]:7", [false, false, false, true]),
            ("[::ffff:10.0.0.1]:7", [false, false, true, true]),
            ("[64:ff9b::7f00:1]:7", [false, false, false, true]),
            ("[2002:a00:1::1]:7", [false, false, true, true]),
            ("0.0.0.0:7", [false, false, false, false]),
            ("0.1.2.3:7", [false, false, false, false]),
            ("[::]:7", [false, false, false, false]),
            ("224.0.0.251:5353", [false, false, false, false]),
            ("255.255.255.255:7", [false, false, false, false]),
            ("[ff02::fb]:5353", [false, false, false, false]),
            ("1.1.1.1:0", [false, false, false, false]),
        ] {
            assert_eq!(allowed(addr, Source::Dns, false), expected[0], "{addr}, by the DNS");
            let got = [PEER, DIRECTORY, Source::Lan, LOCAL_DIRECTORY].map(|source| allowed(addr, source, false));
            assert_eq!(got, expected, "{addr}");
            // Permission and configuration open all but what can never be a peer.
            assert_eq!(allowed(addr, PEER, true), expected[3], "{addr}");
            assert_eq!(allowed(addr, Source::Configured, false), expected[3], "{addr}");
        }
    }
}
