//! QUIC address discovery: a node connects by UDP and is told by which address it was seen.
//!
//! Anybody may ask, as nobody is known before a handshake; so what an asker costs is bounded: no streams, a small number of
//! connections in all and of one address, and an address that proves itself first when places run short.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh_relay::quic::{ALPN_QUIC_ADDR_DISC, QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON};
use noq::crypto::rustls::QuicServerConfig;
use noq::{Endpoint, Incoming, ServerConfig, TransportConfig, VarInt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::RelayMetrics;
use crate::tls::Tls;

/// A connection without any packet for so long is over. Nodes say something every 25 s.
const IDLE: Duration = Duration::from_secs(40);
/// Connections of one address (of IPv6, one /64) at once: so many nodes behind one NAT.
const PER_ADDRESS: usize = 64;
/// Datagrams of connections that nobody has looked at yet, in bytes.
const WAITING_BYTES: u64 = 1 << 20;
/// For a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the goodbye at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why nothing is discovered.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The port is not to be had.
    #[error(
        "cannot listen on UDP {address} for address discovery; is another program there? relay.discovery_port names another port, and \
         --no-relay does without"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The library did not like the settings.
    #[error("QUIC cannot be set up: {0}")]
    Setup(String),
}

/// See the module.
#[derive(Debug)]
pub struct Discovery {
    socket: Mutex<Option<std::net::UdpSocket>>,
    port: Option<u16>,
    config: ServerConfig,
}

impl Discovery {
    /// Binds the port; nobody is answered yet.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn new(address: SocketAddr, tls: &Tls) -> Result<Self, DiscoveryError> {
        let socket = std::net::UdpSocket::bind(address);
        let socket = socket.map_err(|source| DiscoveryError::Bind { address, source })?;
        let port = socket.local_addr().ok().map(|address| address.port());
        // An address, to whoever has it: nothing that a quantum computer would be built for.
        let config =
            tls.for_open_quic(ALPN_QUIC_ADDR_DISC).map_err(|error| DiscoveryError::Setup(error.to_string()))?;
        let crypto = QuicServerConfig::try_from(config).map_err(|error| DiscoveryError::Setup(error.to_string()))?;
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(IDLE.try_into().ok())
            // Nothing larger than a handshake is ever sent, and probes for it would be half of what a look costs.
            .mtu_discovery_config(None)
            .send_observed_address_reports(true);
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport)).incoming_buffer_size_total(WAITING_BYTES);
        Ok(Self { socket: Mutex::new(Some(socket)), port, config })
    }

    /// Where it listens.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Answers until `stop`; once.
    pub async fn run(&self, most: usize, metrics: &Arc<RelayMetrics>, stop: &CancellationToken) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(socket) = socket else { return };
        let runtime = Arc::new(noq::TokioRuntime);
        let endpoint = match Endpoint::new(noq::EndpointConfig::default(), Some(self.config.clone()), socket, runtime) {
            Ok(endpoint) => endpoint,
            Err(error) => return tracing::error!(%error, "no address discovery: nodes behind NATs stay at the relay"),
        };
        let (places, mut asking) = (Arc::new(Places::default()), JoinSet::new());
        loop {
            let incoming = tokio::select! {
                incoming = endpoint.accept() => incoming,
                Some(_) = asking.join_next() => continue,
                () = stop.cancelled() => break,
            };
            let Some(incoming) = incoming else { break };
            metrics.discoveries.fetch_add(1, Ordering::Relaxed);
            // A forged address never answers, and has cost nothing.
            if asking.len() >= most / 4 && !incoming.remote_address_validated() && incoming.may_retry() {
                let _ = incoming.retry();
                continue;
            }
            let place = (asking.len() < most).then(|| places.enter(incoming.remote_address().ip())).flatten();
            match place {
                Some(place) => drop(asking.spawn(answer(incoming, place))),
                None => incoming.refuse(),
            }
        }
        endpoint.close(QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON);
        let _ = timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
    }
}

/// The transport itself tells the address; here is only waited for the end.
async fn answer(incoming: Incoming, _place: Place) {
    let Ok(connecting) = incoming.accept() else { return };
    if let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, connecting).await {
        connection.closed().await;
    }
}

/// How many connections each address holds.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_insert(0);
        if *count >= PER_ADDRESS && !network.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), network })
    }
}

/// What is one to whoever hands out addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// One of the connections of an address.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    network: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_gives_it_back() {
        let places = Arc::new(Places::default());
        let all: Vec<_> = (0..PER_ADDRESS).map(|_| places.enter("192.0.2.1".parse().unwrap()).unwrap()).collect();
        assert!(places.enter("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same in another dress");
        assert!(places.enter("192.0.2.2".parse().unwrap()).is_some());
        drop(all);
        assert!(places.enter("192.0.2.1".parse().unwrap()).is_some());
        let many: Vec<_> =
            (0..PER_ADDRESS).map(|n| places.enter(format!("2001:db8::{n:x}").parse().unwrap()).unwrap()).collect();
        assert!(places.enter("2001:db8::1:0:0:1".parse().unwrap()).is_none(), "one /64 is one address");
        drop(many);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
