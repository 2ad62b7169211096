//! How a socket of this machine is seen from where a relay is: by QUIC address discovery (draft-ietf-quic-address-discovery).
//!
//! Not the job: the node's own socket, which the transport looks after. This one is made for a look, and gone after it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use iroh_relay::quic::{QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON, QuicClient};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use tokio::time::timeout;

use super::Relay;

/// For the answer: a first packet that is lost is repeated after a third of a second, and then some more.
const PATIENCE: Duration = Duration::from_secs(3);

/// A socket that is looked at.
#[derive(Debug)]
pub struct Socket {
    endpoint: noq::Endpoint,
    port: u16,
}

/// What was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// From where it seems to send.
    pub address: SocketAddr,
    /// From which port it does.
    pub port: u16,
    /// Until the answer, the handshake included.
    pub took: Duration,
}

/// Why nothing was seen.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// It says by no port how nodes are seen.
    #[error("it does not tell how nodes are seen")]
    NoPort,
    /// Its URL is of no use.
    #[error("its URL is none of a relay")]
    Url,
    /// No answer in time.
    #[error("UDP packets to {0} are not answered")]
    Silence(SocketAddr),
    /// Something else is there.
    #[error("no address discovery at {0}: {1}")]
    Failed(SocketAddr, String),
}

impl Socket {
    /// For looks by IPv4 or IPv6.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn new(is_v6: bool) -> io::Result<Self> {
        let any = if is_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        let port = socket.local_addr()?.port();
        let runtime = Arc::new(noq::TokioRuntime);
        Ok(Self { endpoint: noq::Endpoint::new(noq::EndpointConfig::default(), None, socket, runtime)?, port })
    }

    /// Asks where a relay is.
    ///
    /// # Errors
    /// When it does not answer within three seconds.
    pub async fn seen_from(&self, relay: &Relay) -> Result<Seen, SeenError> {
        let port = relay.discovery_port.ok_or(SeenError::NoPort)?;
        let host = relay.host().ok_or(SeenError::Url)?;
        let address = SocketAddr::new(relay.address, port);
        let failed = |reason: String| SeenError::Failed(address, reason);
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&relay.trust))
            .with_no_client_auth();
        let client = QuicClient::new(self.endpoint.clone(), config);
        let begun = Instant::now();
        let asked = async {
            let connection = client.create_conn(address, &host).await.map_err(|error| failed(error.to_string()))?;
            let seen = connection.observed_external_addr().next().await;
            connection.close(QUIC_ADDR_DISC_CLOSE_CODE, QUIC_ADDR_DISC_CLOSE_REASON);
            let seen = seen.ok_or_else(|| failed("the connection ended before it told anything".to_owned()))?;
            let address = SocketAddr::new(seen.ip().to_canonical(), seen.port());
            Ok(Seen { address, port: self.port, took: begun.elapsed() })
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(SeenError::Silence(address)))
    }
}
