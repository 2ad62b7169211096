//! The relay: packets between nodes that do not reach each other, as iroh's relay protocol carries them, and address discovery, by
//! which they learn how others see them so that they soon need no relay.
//!
//! Not the job: what is in the packets. They are QUIC between two nodes, encrypted end to end; the relay sees who writes to whom,
//! when, and how much.
//!
//! Invariants: nobody gets in but nodes of members and of their contacts (`admission`), each proved by its key; a node holds a
//! bounded number of connections; what is read of one is bounded in bytes a second (`socket`), and so is what waits for one that
//! does not read: `QUEUE_FRAMES`, for two seconds, at the rates of those who send to it.

mod admission;
mod discovery;
mod guests;
mod socket;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::WebSocket;
use axum::http::request::Parts;
use iroh_relay::KeyCache;
use iroh_relay::http::{CLIENT_AUTH_HEADER, ProtocolVersion};
use iroh_relay::protos::handshake;
use iroh_relay::server::client::Config as ClientConfig;
use iroh_relay::server::clients::Clients;
use iroh_relay::server::streams::RelayedStream;
use iroh_relay::server::{ClientRequest, DynAccessControl, Metrics as Counters};
use proto::directory::api::RelayOffer;
use proto::ids::NodeId;
use tokio::time::timeout;

use self::admission::Admission;
use self::discovery::Discovery;
pub use self::discovery::DiscoveryError;
use self::guests::Guests;
pub use self::guests::Pass;
pub use self::socket::MAX_MESSAGE_BYTES;
use self::socket::Socket;
use crate::cluster::{Cluster, SessionId};
use crate::config::{Config, RelaySettings};
use crate::http::connection::Connection;
use crate::http::front::Front;
use crate::metrics::RelayMetrics;
use crate::store::Store;
use crate::tls::Tls;

/// From the upgrade to a node that has proved its key.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that wait for one node at most; further ones are dropped, as a network drops packets. A frame is 64 KiB at most, of
/// QUIC mostly some KB.
const QUEUE_FRAMES: usize = 128;
/// Keys of nodes that need not be checked to be ones again.
const KEY_CACHE: usize = 4_096;
/// For the connections to end when the directory stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub struct Relay {
    clients: Clients,
    admission: Arc<Admission>,
    access: Arc<dyn DynAccessControl>,
    guests: Arc<Guests>,
    discovery: Option<Discovery>,
    keys: KeyCache,
    counters: Arc<Counters>,
    metrics: Arc<RelayMetrics>,
}

impl Relay {
    /// The one that a configuration wants, if it wants any. Its discovery port is bound.
    ///
    /// # Errors
    /// When the port cannot be used.
    pub fn open(
        config: &Config,
        store: &Store,
        cluster: &Arc<dyn Cluster>,
        tls: Option<&Tls>,
        metrics: Arc<RelayMetrics>,
    ) -> Result<Option<Self>, DiscoveryError> {
        let settings = &config.relay;
        if !settings.enabled {
            return Ok(None);
        }
        // Who takes any port takes any two.
        let port = if config.listen.port() == 0 { 0 } else { settings.discovery_port };
        let address = (config.listen.ip(), port).into();
        let discovery = tls.map(|tls| Discovery::new(address, tls)).transpose()?;
        let (clients, guests) = (Clients::default(), Arc::new(Guests::new(Arc::clone(cluster))));
        let admission = Arc::new(Admission::new(
            settings.clone(),
            store.readers().clone(),
            Arc::clone(&guests),
            clients.clone(),
            Arc::clone(&metrics),
        ));
        let access: Arc<dyn DynAccessControl> = Arc::clone(&admission) as _;
        let (keys, counters) = (KeyCache::new(KEY_CACHE), Arc::default());
        Ok(Some(Self { clients, admission, access, guests, discovery, keys, counters, metrics }))
    }

    /// What a session is told of it.
    pub fn offer(&self) -> RelayOffer {
        RelayOffer { discovery_port: self.discovery.as_ref().and_then(Discovery::port) }
    }

    /// Lets a guest's node in for as long as the pass is kept and the guest may watch somebody.
    pub fn pass(&self, node: NodeId, session: SessionId) -> Option<Pass> {
        Guests::enter(&self.guests, node, session)
    }

    /// Another configuration, from the next connection on.
    pub fn reconfigure(&self, settings: &RelaySettings) {
        self.admission.reconfigure(settings);
    }

    /// Answers nodes that ask how they are seen, until the directory stops.
    pub async fn discover(&self, front: &Front) {
        if let Some(discovery) = &self.discovery {
            let most = self.admission.settings().connections;
            discovery.run(most, &self.metrics, &front.stop).await;
        }
    }

    /// Ends the connections of nodes that are nobody's any more.
    ///
    /// # Errors
    /// When the database does not answer; then they stay until the next time.
    pub async fn sweep(&self) -> Result<(), crate::store::StoreError> {
        self.admission.sweep().await
    }

    /// Ends all connections.
    pub async fn close(&self) {
        if timeout(STOP_TIMEOUT, self.clients.shutdown()).await.is_err() {
            tracing::debug!("nodes at the relay did not leave in time");
        }
    }

    /// Serves a node on a WebSocket. Returns once it is let in, and from then on lives by itself; `connection` goes with it.
    pub async fn serve(&self, socket: WebSocket, request: Parts, version: ProtocolVersion, connection: Connection) {
        let settings = self.admission.settings();
        let Some(mut socket) = Socket::new(socket, settings.bytes_per_second, connection, Arc::clone(&self.metrics))
        else {
            return;
        };
        let proof = request.headers.get(CLIENT_AUTH_HEADER).cloned();
        let begun = timeout(HANDSHAKE_TIMEOUT, async {
            let proved = handshake::serverside(&mut socket, proof).await?;
            let request = ClientRequest::new(proved.client_key, version, request);
            proved.authorize_with(&request, &self.access, &mut socket).await
        });
        let guard = match begun.await {
            Ok(Ok(guard)) => guard,
            Ok(Err(error)) => return tracing::debug!(%error, "a node was not let in"),
            Err(_) => return tracing::debug!("a node did not prove its key in time"),
        };
        let mut config = ClientConfig::new(guard, RelayedStream::new(socket, self.keys.clone()), version);
        config.channel_capacity = QUEUE_FRAMES;
        self.clients.register(config, Arc::clone(&self.counters));
    }

    /// Brings the numbers for `/metrics` up to date.
    pub fn count(&self) {
        let counters = &self.counters;
        self.metrics.bytes.store(counters.bytes_recv.get(), Ordering::Relaxed);
        self.metrics.packets.store(counters.send_packets_sent.get(), Ordering::Relaxed);
        self.metrics.dropped.store(counters.send_packets_dropped.get(), Ordering::Relaxed);
    }
}
