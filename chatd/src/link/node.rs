//! The node: one iroh endpoint that dials, accepts under caps, and watches its own addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::dns::DnsResolver;
use iroh::endpoint::{
    BindOpts, ConnectOptions, ConnectWithOptsError, ConnectingError, Incoming, PortmapperConfig, QuicTransportConfig,
    QuicTransportConfigBuilder, VarInt, presets,
};
use iroh::tls::CaTlsConfig;
use iroh::{
    Endpoint, EndpointAddr, EndpointId, NetReportConfig, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey,
    TransportAddr, Watcher,
};
use iroh_relay::RelayQuicConfig;
use proto::ids::NodeId;
use proto::wire::ALPN;
use rustls::crypto::aws_lc_rs;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use super::caps::{InboundCaps, Origin, Slot};
use super::config::{
    ADDRESS_SETTLE, CLOSE_WAIT, FIRST_ADDRESS_WAIT, IDLE_TIMEOUT, INCOMING_QUEUE_LINKS, INITIAL_RTT, KEEP_ALIVE,
    MAX_DIAL_ADDRESSES, RECEIVE_WINDOW, RECEIVE_WINDOW_UNAUTHENTICATED, SEND_WINDOW,
};
use super::connect::Handshaker;
use super::error::{CloseCode, CloseReason};
use super::moves::watch_moves;
use super::relay::{Known, Relay};
use super::{Link, LinkCaps, LinkConfig, LinkError, Neighbours};

/// A bound node; clones are the same node. Dropping the last clone closes its links without waiting for the peers:
/// call [`Node::close`].
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    id: NodeId,
    dialing: QuicTransportConfig,
    dial_timeout: Duration,
    handshaker: Handshaker,
    whereabouts: watch::Receiver<Whereabouts>,
    caps: Arc<InboundCaps>,
    known: Known,
    /// Relays that one of which this node waits at, with their discovery ports.
    relays: Mutex<BTreeMap<RelayUrl, Option<u16>>>,
    neighbours: Neighbours,
    moves: watch::Receiver<u64>,
}

/// Where a node may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whereabouts {
    /// Directly, as far as it knows itself; sorted.
    pub addresses: Vec<SocketAddr>,
    /// The URL of the relay that it waits at.
    pub relay: Option<String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handshaker.shutdown.cancel();
    }
}

impl Node {
    /// Binds the sockets and starts to accept. Inbound links come out of the receiver, hello done; while nobody takes
    /// them they wait, within the caps.
    ///
    /// # Errors
    /// [`LinkError::Config`], [`LinkError::Bind`].
    pub async fn bind(config: LinkConfig) -> Result<(Self, mpsc::Receiver<Link>), LinkError> {
        let known = Known::default();
        let endpoint = endpoint(&config, &known).await?;
        let handshaker = Handshaker::new(&config.caps);
        let caps = InboundCaps::new(&config.caps);
        let whereabouts = watch_addresses(&endpoint, &handshaker).await;
        let (neighbours, id) = (Neighbours::default(), NodeId(*endpoint.id().as_bytes()));
        if config.lan {
            let listen = neighbours.clone().run(id, whereabouts.clone());
            handshaker.tasks.spawn(handshaker.shutdown.clone().run_until_cancelled_owned(listen));
        }
        let (move_counter, moves) = watch::channel(0);
        handshaker.tasks.spawn(handshaker.shutdown.clone().run_until_cancelled_owned(watch_moves(move_counter)));
        let (to_owner, incoming) = mpsc::channel(INCOMING_QUEUE_LINKS);
        let acceptor = Acceptor {
            endpoint: endpoint.clone(),
            handshaker: handshaker.clone(),
            caps: Arc::clone(&caps),
            limits: config.caps.clone(),
            to_owner,
        };
        handshaker.tasks.spawn(acceptor.run());
        let inner = Inner {
            id,
            endpoint,
            dialing: transport(0).build(),
            dial_timeout: config.dial_timeout,
            handshaker,
            whereabouts,
            caps,
            known,
            relays: Mutex::default(),
            neighbours,
            moves,
        };
        Ok((Self { inner: Arc::new(inner) }, incoming))
    }

    /// The public half of the node's key.
    pub fn node_id(&self) -> NodeId {
        self.inner.id
    }

    /// Who is heard on the local network; nobody, unless that is wanted.
    pub fn neighbours(&self) -> &Neighbours {
        &self.inner.neighbours
    }

    /// Where peers may dial this node, as far as it knows itself.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.inner.whereabouts.borrow().addresses.clone()
    }

    /// Where it may be reached, and every change of that, once it has settled.
    pub fn whereabouts(&self) -> watch::Receiver<Whereabouts> {
        self.inner.whereabouts.clone()
    }

    /// The relays to wait at from now on: the transport chooses the nearest one.
    pub async fn wait_at(&self, wanted: &[Relay]) {
        wanted.iter().for_each(|relay| self.inner.known.learn(relay));
        let wanted: BTreeMap<RelayUrl, Option<u16>> =
            wanted.iter().filter_map(|relay| Some((relay.url()?, relay.discovery_port))).collect();
        let mut relays = self.inner.relays.lock().await;
        for (url, port) in wanted.iter().filter(|(url, port)| relays.get(*url) != Some(*port)) {
            let config = RelayConfig::new(url.clone(), port.map(RelayQuicConfig::new));
            self.inner.endpoint.insert_relay(url.clone(), Arc::new(config)).await;
        }
        for gone in relays.keys().filter(|url| !wanted.contains_key(*url)) {
            self.inner.endpoint.remove_relay(gone).await;
        }
        *relays = wanted;
    }

    /// The URLs of those at which it waits now.
    pub fn relays(&self) -> Vec<String> {
        let status = self.inner.endpoint.home_relay_status().get();
        status.iter().filter(|relay| relay.is_connected()).map(|relay| relay.url().to_string()).collect()
    }

    /// Connects to a node at these addresses (the first 16 are tried, all at once) and waits for its hello.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when the peer said no, [`LinkError::Version`], [`LinkError::DialTimeout`] when nobody
    /// answered in time, [`LinkError::Dial`] and [`LinkError::Closed`] for the rest.
    pub async fn dial(&self, peer: NodeId, addresses: &[SocketAddr]) -> Result<Link, LinkError> {
        self.dial_by(peer, addresses, None).await
    }

    /// The same, and through a relay at once: the first way that works is used, and the better one later.
    ///
    /// # Errors
    /// As [`Node::dial`].
    pub async fn dial_by(
        &self,
        peer: NodeId,
        addresses: &[SocketAddr],
        relay: Option<&Relay>,
    ) -> Result<Link, LinkError> {
        if peer == self.inner.id {
            return Err(LinkError::OwnNode);
        }
        let id = EndpointId::from_bytes(&peer.0).map_err(|_| LinkError::NoSuchNode(peer))?;
        let relay_url = relay.and_then(Relay::url);
        if addresses.is_empty() && relay_url.is_none() {
            return Err(LinkError::NoAddress(peer));
        }
        relay.iter().for_each(|relay| self.inner.known.learn(relay));
        let addresses = addresses.iter().take(MAX_DIAL_ADDRESSES).copied().map(TransportAddr::Ip);
        let target = EndpointAddr::from_parts(id, addresses.chain(relay_url.map(TransportAddr::Relay)));
        let dial = async {
            let options = ConnectOptions::new().with_transport_config(self.inner.dialing.clone());
            let connecting = self.inner.endpoint.connect_with_opts(target, ALPN, options).await;
            let connecting = connecting.map_err(|error| below(peer, error))?;
            let connection = connecting.await.map_err(|error| at_handshake(peer, error))?;
            self.inner.handshaker.link(connection, true, None).await
        };
        tokio::select! {
            biased;
            () = self.inner.handshaker.shutdown.cancelled() => {
                Err(LinkError::Closed(CloseReason::local(CloseCode::ShuttingDown, "the node stops")))
            }
            dialed = timeout(self.inner.dial_timeout, dial) => dialed.unwrap_or(Err(LinkError::DialTimeout(peer))),
        }
    }

    /// Counts how often this machine's network became another one: what stood before may lead nowhere.
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.inner.moves.clone()
    }

    /// Tells the transport that routes may have changed. Costs little when they have not.
    pub async fn network_change(&self) {
        self.inner.endpoint.network_change().await;
    }

    /// Inbound links now: in all, and those without an authenticated account.
    pub fn inbound(&self) -> (usize, usize) {
        self.inner.caps.totals()
    }

    /// Closes every link with [`CloseCode::ShuttingDown`] and the sockets after them; takes 4 s at most.
    pub async fn close(&self) {
        let handshaker = &self.inner.handshaker;
        handshaker.shutdown.cancel();
        handshaker.tasks.close();
        if timeout(CLOSE_WAIT, handshaker.tasks.wait()).await.is_err() {
            debug!(links = handshaker.tasks.len(), "links did not close in time");
        }
        if timeout(CLOSE_WAIT, self.inner.endpoint.close()).await.is_err() {
            debug!("the endpoint did not close in time");
        }
    }
}

fn below(peer: NodeId, error: ConnectWithOptsError) -> LinkError {
    LinkError::Dial { peer, source: Box::new(error) }
}

fn at_handshake(peer: NodeId, error: ConnectingError) -> LinkError {
    if let ConnectingError::ConnectionError { source, .. } = &error
        && let refused @ LinkError::Refused(_) = LinkError::from_end(source.clone().into())
    {
        return refused;
    }
    LinkError::Dial { peer, source: Box::new(error) }
}

/// What both roles share; `streams` is how many the peer may open.
fn transport(streams: u32) -> QuicTransportConfigBuilder {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_UNAUTHENTICATED))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IDLE_TIMEOUT.try_into().ok())
        .keep_alive_interval(KEEP_ALIVE)
        .initial_rtt(INITIAL_RTT)
}

async fn endpoint(config: &LinkConfig, known: &Known) -> Result<Endpoint, LinkError> {
    let bind = |source| LinkError::Bind { listen: config.listen.clone(), source };
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519];
    let judge = {
        let known = known.clone();
        CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| Ok(known.judge(provider))))
    };
    // Its probe by plain HTTP would go to another port than any that somebody named.
    let mut probes = NetReportConfig::default();
    probes.captive_portal_check = false;
    let mut builder = Endpoint::builder(presets::Minimal)
        .crypto_provider(Arc::new(provider))
        .secret_key(SecretKey::from_bytes(&config.secret_key))
        .alpns(vec![ALPN.to_vec()])
        // None yet: they come with the sessions of the accounts.
        .relay_mode(RelayMode::Custom(RelayMap::empty()))
        .dns_resolver(DnsResolver::custom(known.clone()))
        .ca_tls_config(judge)
        .net_report_config(probes)
        .portmapper_config(PortmapperConfig::Disabled)
        .clear_address_lookup()
        .transport_config(transport(1).build())
        .clear_ip_transports();
    for address in &config.listen {
        // Many machines have no IPv6; whoever names an address of theirs wants that one.
        let required = !(address.is_ipv6() && address.ip().is_unspecified());
        let options = BindOpts::default().set_is_required(required);
        builder = builder.bind_addr_with_opts(*address, options).map_err(|error| bind(error.to_string().into()))?;
    }
    if config.listen.is_empty() {
        return Err(LinkError::Config("no address to listen on".into()));
    }
    builder.bind().await.map_err(|error| bind(Box::new(error)))
}

/// Publishes where the endpoint is, settled and sorted, until the node stops.
async fn watch_addresses(endpoint: &Endpoint, handshaker: &Handshaker) -> watch::Receiver<Whereabouts> {
    let mut watcher = endpoint.watch_addr();
    let first_by = Instant::now() + FIRST_ADDRESS_WAIT;
    let mut first = whereabouts(&watcher.get());
    while first.addresses.is_empty() {
        match timeout_at(first_by, watcher.updated()).await {
            Ok(Ok(address)) => first = whereabouts(&address),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let (publish, addresses) = watch::channel(first);
    let shutdown = handshaker.shutdown.clone();
    handshaker.tasks.spawn(shutdown.run_until_cancelled_owned(async move {
        while watcher.updated().await.is_ok() {
            sleep(ADDRESS_SETTLE).await;
            let now = whereabouts(&watcher.get());
            publish.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    }));
    addresses
}

fn whereabouts(address: &EndpointAddr) -> Whereabouts {
    let mut addresses: Vec<_> = address.ip_addrs().copied().collect();
    addresses.sort_unstable();
    addresses.dedup();
    Whereabouts { addresses, relay: address.relay_urls().next().map(ToString::to_string) }
}

/// Takes connections as they come. Never waits for a peer: each handshake is a task of its own, and there are never
/// more of them than the caps allow.
struct Acceptor {
    endpoint: Endpoint,
    handshaker: Handshaker,
    caps: Arc<InboundCaps>,
    limits: LinkCaps,
    to_owner: mpsc::Sender<Link>,
}

impl Acceptor {
    async fn run(self) {
        loop {
            let incoming = tokio::select! {
                biased;
                () = self.handshaker.shutdown.cancelled() => return,
                incoming = self.endpoint.accept() => incoming,
            };
            let Some(incoming) = incoming else { return };
            let origin = Origin::of(&incoming.remote_addr());
            let trusted = incoming.remote_addr_validated() || self.caps.is_exempt(origin);
            if !trusted && self.caps.is_crowded() {
                // Costs us no state: whoever forged the address never comes back.
                let _ = incoming.retry();
                continue;
            }
            match self.caps.admit(origin) {
                Ok(slot) => {
                    self.handshaker.tasks.spawn(self.handshake(incoming, slot));
                }
                Err(cap) => {
                    debug!(?cap, ?origin, "inbound connection refused");
                    incoming.refuse();
                }
            }
        }
    }

    fn handshake(&self, incoming: Incoming, slot: Slot) -> impl Future<Output = ()> + use<> {
        let (handshaker, to_owner) = (self.handshaker.clone(), self.to_owner.clone());
        let (handshake, first_frame) = (self.limits.handshake, self.limits.first_frame);
        async move {
            let work = async {
                let connection = match timeout(handshake, async { incoming.accept()?.await }).await {
                    Ok(Ok(connection)) => connection,
                    Ok(Err(error)) => return debug!(%error, "inbound handshake failed"),
                    Err(_) => return debug!("inbound handshake timed out"),
                };
                // Closes the connection when the future below is dropped at the timeout.
                let close = connection.clone();
                match timeout(first_frame, handshaker.link(connection, false, Some(slot))).await {
                    // An owner that is gone drops the link, which closes it.
                    Ok(Ok(link)) => drop(to_owner.send(link).await),
                    Ok(Err(error)) => debug!(%error, "inbound link refused"),
                    Err(_) => close.close(VarInt::from_u32(CloseCode::TooSlow.to_wire()), b"no hello in time"),
                }
            };
            handshaker.shutdown.run_until_cancelled(work).await;
        }
    }
}
