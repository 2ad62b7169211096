//! What a node may be told, and the constants behind it: each names its unit and says why it has that value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use zeroize::Zeroizing;

/// Frames that wait to be written on one link at most. With frames of 64 KiB that is 2 MiB held for a peer that does
/// not read, and enough to keep a fast peer busy while the owner prepares the next batch.
pub const SEND_QUEUE_FRAMES: usize = 32;

/// Links that wait for the owner to take them from `incoming` at most; further ones wait inside their own handshake
/// task, counted by the caps, so this bounds nothing but latency.
pub const INCOMING_QUEUE_LINKS: usize = 64;

/// Bytes that a peer may have in flight towards us before any account was proved: three frames. A stranger needs one;
/// 64 strangers who fill it cost 14 MiB.
pub(super) const RECEIVE_WINDOW_UNAUTHENTICATED: u32 = 3 * 73_728;

/// Bytes that a peer may have in flight towards us once authenticated: 8 MiB is 80 MB/s over 100 ms of round trip.
pub(super) const RECEIVE_WINDOW: u32 = 8 << 20;

/// Bytes sent and not yet acknowledged that are kept for one peer at most: 40 MB/s over 100 ms of round trip, and the
/// larger part of what a peer that stops reading can hold of our memory.
pub(super) const SEND_WINDOW: u64 = 4 << 20;

/// A link without any packet for so long is over. Longer values were measured to slow the recovery from partitions down.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a quiet link is kept alive: a third of [`IDLE_TIMEOUT`], so that two probes may be lost.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a round trip is taken for until it is known: a first packet is repeated after three of them. With the 333 ms of RFC 9002 that is
/// a second, which is what a packet costs that was sent a moment before the network, or a relay, was back.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How long a link that we close may take to hand over what is queued, the last word included.
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// How long `Node::close` waits for its links, and then for the endpoint: together below the 5 s that a daemon has.
pub(super) const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Quiet time after which a changed set of addresses is announced. The transport was measured to report three sets in
/// the 210 ms after start.
pub(super) const ADDRESS_SETTLE: Duration = Duration::from_millis(300);

/// How long `Node::bind` waits for the first local address. On a machine without a network there may be none.
pub(super) const FIRST_ADDRESS_WAIT: Duration = Duration::from_secs(1);

/// Addresses used of one peer at most when dialling: what a reach holds (8), and as many from the LAN.
pub(super) const MAX_DIAL_ADDRESSES: usize = 16;

/// What a node is and where it listens.
#[derive(Clone)]
pub struct LinkConfig {
    /// The node's Ed25519 secret key; its public half is the node id.
    pub secret_key: Zeroizing<[u8; 32]>,
    /// At most one address per family; port 0 takes a free one. An unspecified IPv6 address (`[::]`) may fail to bind,
    /// as on machines without IPv6; any other address that cannot be bound is an error.
    pub listen: Vec<SocketAddr>,
    /// Whether to say on the local network where the node is, and to listen to others that do.
    pub lan: bool,
    /// How long a dial may take, hello included.
    pub dial_timeout: Duration,
    /// Limits on peers.
    pub caps: LinkCaps,
}

impl LinkConfig {
    /// A node with this key that listens on every address, any port.
    pub fn new(secret_key: [u8; 32]) -> Self {
        Self {
            secret_key: Zeroizing::new(secret_key),
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))],
            lan: false,
            dial_timeout: Duration::from_secs(10),
            caps: LinkCaps::default(),
        }
    }
}

impl std::fmt::Debug for LinkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key never reaches a log.
        f.debug_struct("LinkConfig")
            .field("listen", &self.listen)
            .field("lan", &self.lan)
            .field("dial_timeout", &self.dial_timeout)
            .field("caps", &self.caps)
            .finish_non_exhaustive()
    }
}

/// Limits on peers; the defaults are those of the threat model.
#[derive(Debug, Clone)]
pub struct LinkCaps {
    /// Inbound links in all, those in their handshake included.
    pub max_inbound: usize,
    /// Inbound links of which no account was proved yet.
    pub max_unauthenticated: usize,
    /// Inbound links per remote address (IPv4 address, IPv6 /64, or node id behind a relay).
    pub max_per_address: usize,
    /// Whether loopback addresses are free of `max_per_address`, and need not prove themselves when places for
    /// unknown peers run short. Tests of the caps switch it off.
    pub exempt_loopback: bool,
    /// From the first packet to the end of the QUIC handshake.
    pub handshake: Duration,
    /// From there to the peer's hello.
    pub first_frame: Duration,
    /// How long an inbound link may live without an authenticated account; a contact request needs one round trip.
    pub unauthenticated_for: Duration,
    /// A frame that has begun must go on at this rate, counted from the end of `mid_frame_grace`.
    pub min_mid_frame_bytes_per_second: u32,
    /// What a lost packet or two may cost before that rate counts.
    pub mid_frame_grace: Duration,
    /// A peer that takes not one byte of what waits for it for so long is dropped.
    pub write_stall: Duration,
}

impl Default for LinkCaps {
    fn default() -> Self {
        Self {
            max_inbound: 256,
            max_unauthenticated: 64,
            max_per_address: 4,
            exempt_loopback: true,
            handshake: Duration::from_secs(5),
            first_frame: Duration::from_secs(10),
            unauthenticated_for: Duration::from_secs(60),
            min_mid_frame_bytes_per_second: 1_024,
            mid_frame_grace: Duration::from_secs(5),
            write_stall: Duration::from_secs(30),
        }
    }
}
