//! Neighbours: nodes that tell by multicast (mDNS) where they are on the local network, as this one does then.
//!
//! Not the job: whom to dial. What is heard proves nothing; a link proves whose node it is, and an address that somebody made up is one
//! that does not answer. Only addresses are taken that a machine of a local network can have.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use proto::ids::NodeId;
use swarm_discovery::{Discoverer, DropGuard};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

use super::node::Whereabouts;

/// The name of the service (RFC 6763): `_chatd._udp.local`.
const SERVICE: &str = "chatd";
/// Neighbours are asked for this often at most, all together.
const CADENCE: Duration = Duration::from_secs(2);
/// After it could not be said: try again so much later.
const AGAIN: Duration = Duration::from_secs(5);
/// Neighbours remembered at most: the rest of a crowded network is found by other ways.
const MAX_NEIGHBOURS: usize = 1_024;
/// Addresses of one neighbour that are taken at most.
const MAX_ADDRESSES: usize = 8;
/// New neighbours that are told of at once; whoever is slower looks at the next.
const SEEN: usize = 64;

/// Nodes on the local network. Clones share them.
#[derive(Debug, Clone)]
pub struct Neighbours {
    known: Arc<Mutex<HashMap<NodeId, Vec<SocketAddr>>>>,
    seen: broadcast::Sender<NodeId>,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self { known: Arc::default(), seen: broadcast::channel(SEEN).0 }
    }
}

impl Neighbours {
    /// Where a node says that it is; empty if it says nothing.
    pub fn addresses(&self, node: NodeId) -> Vec<SocketAddr> {
        self.known().get(&node).cloned().unwrap_or_default()
    }

    /// Whether a node is heard.
    pub fn is_near(&self, node: NodeId) -> bool {
        self.known().contains_key(&node)
    }

    /// Nodes as they are heard first, or at another address.
    pub fn seen(&self) -> broadcast::Receiver<NodeId> {
        self.seen.subscribe()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<NodeId, Vec<SocketAddr>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, node: NodeId, addresses: impl Iterator<Item = SocketAddr>) {
        let mut addresses: Vec<SocketAddr> = addresses.filter(|address| is_of_a_lan(*address)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return;
        }
        let mut known = self.known();
        if known.get(&node) == Some(&addresses) || (known.len() >= MAX_NEIGHBOURS && !known.contains_key(&node)) {
            return;
        }
        known.insert(node, addresses);
        drop(known);
        tracing::debug!(%node, "a neighbour on the local network");
        // Nobody may listen.
        let _ = self.seen.send(node);
    }

    fn forget(&self, node: NodeId) {
        self.known().remove(&node);
    }

    /// Says where a node is and listens to others, on every network that it has an address in; ends when the node does.
    pub(super) async fn run(self, own: NodeId, mut whereabouts: watch::Receiver<Whereabouts>) {
        loop {
            let addresses = whereabouts.borrow_and_update().addresses.clone();
            // Begun anew with each change: what was said of the old place ends with it.
            let said = self.say(own, addresses.into_iter().filter(|address| is_of_a_lan(*address)).collect());
            let changed = whereabouts.changed();
            let changed = match &said {
                Ok(_) => changed.await,
                // An interface that is coming up refuses for a moment, and nothing else changes after that.
                Err(error) => {
                    tracing::warn!(often = "lan", error, "nobody is found on the local network");
                    tokio::time::timeout(AGAIN, changed).await.unwrap_or(Ok(()))
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Until the guard is dropped; `None`: there is no network to say it on.
    fn say(&self, own: NodeId, addresses: Vec<SocketAddr>) -> Result<Option<DropGuard>, String> {
        if addresses.is_empty() {
            return Ok(None);
        }
        let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
        for address in &addresses {
            by_port.entry(address.port()).or_default().push(address.ip());
        }
        let v4 = |address: &SocketAddr| if let IpAddr::V4(v4) = address.ip() { Some(v4) } else { None };
        let interfaces: Vec<Ipv4Addr> = addresses.iter().filter_map(v4).collect();
        let theirs = self.clone();
        let mut discoverer = Discoverer::new(SERVICE.to_owned(), name_of(own))
            .with_cadence(CADENCE)
            // Without these, a machine that has no way out says it nowhere.
            .with_multicast_interfaces_v4(interfaces)
            .with_callback(move |name, peer| match node_of(name) {
                Some(node) if node == own => {}
                Some(node) if peer.is_expiry() => theirs.forget(node),
                Some(node) => theirs.hear(node, peer.addrs().iter().map(|(ip, port)| SocketAddr::new(*ip, *port))),
                None => {}
            });
        for (port, ips) in by_port {
            discoverer = discoverer.with_addrs(port, ips);
        }
        discoverer.spawn(&Handle::current()).map(Some).map_err(|error| error.to_string())
    }
}

/// The name under which a node is heard: a DNS label has 63 characters at most, and no case.
fn name_of(node: NodeId) -> String {
    BASE32_NOPAD.encode(node.as_bytes()).to_lowercase()
}

fn node_of(name: &str) -> Option<NodeId> {
    let bytes = BASE32_NOPAD.decode(name.to_uppercase().as_bytes()).ok()?;
    bytes.try_into().ok().map(NodeId)
}

/// Whether a machine of a local network can have this address: private, shared or link-local; never this machine, nor one beyond it.
fn is_of_a_lan(address: SocketAddr) -> bool {
    let private = match address.ip() {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_link_local() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    private && address.port() != 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_is_one_label_that_can_be_read_back() {
        let node = NodeId(std::array::from_fn(|n| n as u8 * 7));
        assert!(
            name_of(node).len() <= 63 && name_of(node).chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
        assert_eq!((node_of(&name_of(node)), node_of(&name_of(node).to_uppercase())), (Some(node), Some(node)));
        for none in ["", "chatd", "1", &"a".repeat(63), "\u{1b}[2J"] {
            assert_eq!(node_of(none), None, "{none:?}");
        }
    }

    #[tokio::test]
    async fn what_is_made_up_is_not_dialled_and_a_crowd_is_bounded() {
        let neighbours = Neighbours::default();
        let mut seen = neighbours.seen();
        let one = NodeId([1; 32]);
        let made_up = ["127.0.0.1:22", "192.0.2.1:53", "[::1]:22", "0.0.0.0:5", "10.0.0.1:0", "[2001:db8::1]:9"];
        neighbours.hear(one, addresses(&made_up).into_iter());
        assert!(!neighbours.is_near(one));
        let real = addresses(&["10.0.0.1:4711", "192.168.1.2:1", "[fd00::1]:9"]);
        neighbours.hear(one, real.iter().copied().chain(addresses(&made_up)));
        assert_eq!(neighbours.addresses(one), real);
        // The same again is no news; another place is.
        neighbours.hear(one, real.iter().copied());
        neighbours.hear(one, addresses(&["10.0.0.2:4711"]).into_iter());
        assert_eq!((seen.try_recv().unwrap(), seen.try_recv().unwrap(), seen.try_recv().is_err()), (one, one, true));
        for number in 0..2 * MAX_NEIGHBOURS as u32 {
            let mut node = [2; 32];
            node[..4].copy_from_slice(&number.to_be_bytes());
            neighbours.hear(NodeId(node), (0..99).map(|port| SocketAddr::from(([10, 0, 0, 9], 1 + port))));
        }
        let known = neighbours.known();
        assert!(known.len() == MAX_NEIGHBOURS && known.values().all(|addresses| addresses.len() <= MAX_ADDRESSES));
        drop(known);
        neighbours.forget(one);
        assert!(!neighbours.is_near(one));
    }
}
