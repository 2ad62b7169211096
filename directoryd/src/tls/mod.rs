//! TLS: with which certificate a directory shows itself, and the handshakes of those who connect.
//!
//! Not the job: who may connect, and HTTP (`http`). There is no key for TLS but the operator's, or the directory's own.
//!
//! Invariants: a handshake takes [`HANDSHAKE_TIMEOUT`] and [`HANDSHAKE_BYTES`] at most, and no more than [`HANDSHAKES`] of them are
//! under way. A
//! certificate that cannot be used never takes the place of one that is in use.

pub mod certificate;
mod meter;
pub mod probe;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::certificate::{CertificateError, Source};
pub use self::meter::Metered;
use crate::live::Live;

/// For a handshake, the wait for a place among them included.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes that are under way at once. Who comes later waits in order.
pub const HANDSHAKES: usize = 4_096;
/// Bytes that a client may send before its handshake is over: one with a post-quantum key exchange takes some 2 KB. TLS itself would
/// keep 64 KiB of a message that never ends.
pub const HANDSHAKE_BYTES: usize = 16 * 1024;

/// Ends TLS for all connections of a directory.
#[derive(Debug)]
pub struct Tls {
    source: Source,
    acceptor: Acceptor,
    shown: Arc<Shown>,
    places: Semaphore,
    due: Notify,
}

/// Why a connection got no TLS.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long, or too many others were at it.
    #[error("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Slow,
    /// Nothing was said at all: somebody looked whether anybody is here.
    #[error("nothing was sent")]
    Silent,
    /// What the other side said.
    #[error("the handshake failed")]
    Failed(#[source] std::io::Error),
}

impl Tls {
    /// With a certificate from this source.
    ///
    /// # Errors
    /// When there is none that can be used.
    pub fn open(source: Source) -> Result<Self, CertificateError> {
        let shown = Arc::new(Shown(Live::new(source.load()?)));
        // What also a quantum computer does not open, or X25519 alone for those who have nothing else.
        let config = config(Arc::clone(&shown), vec![X25519MLKEM768, X25519])?;
        let acceptor = Acceptor(TlsAcceptor::from(Arc::new(config)));
        Ok(Self { source, acceptor, shown, places: Semaphore::new(HANDSHAKES), due: Notify::new() })
    }

    /// For QUIC, by a protocol that keeps nothing secret: the certificate is the one that is shown, and the key exchange the short one.
    ///
    /// # Errors
    /// When the library does not like the settings.
    pub fn for_open_quic(&self, protocol: &[u8]) -> Result<ServerConfig, CertificateError> {
        let mut config = config(Arc::clone(&self.shown), vec![X25519])?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    /// Where its certificate comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// When the certificate that is shown ends, in Unix seconds, if an end means something: nobody looks at the dates of one of the own
    /// key.
    pub fn ends(&self) -> Option<i64> {
        match &self.source {
            Source::Own(..) => None,
            Source::Files { .. } => proto::directory::certificate::ends(self.shown.0.get().cert.first()?),
        }
    }

    /// Has whoever waits for [`Tls::due`] look at once whether the certificate was replaced.
    pub fn look(&self) {
        self.due.notify_one();
    }

    /// Waits until somebody wants it to be looked.
    pub async fn due(&self) {
        self.due.notified().await;
    }

    /// Looks whether the certificate was replaced; from the next handshake on the new one is shown. Whether it was.
    ///
    /// # Errors
    /// What is wrong with the new one; then the old one stays.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let new = self.source.load()?;
        let old = self.shown.0.get();
        // Another key has another certificate.
        let changed = old.cert != new.cert;
        if changed {
            self.shown.0.set(new);
        }
        Ok(changed)
    }

    /// Makes TLS of a connection.
    ///
    /// # Errors
    /// See [`HandshakeError`]; the connection is closed then.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<TlsStream<Metered<S>>, HandshakeError> {
        let handshake = async {
            let _place = self.places.acquire().await;
            self.acceptor.0.accept(Metered::new(stream, HANDSHAKE_BYTES)).await
        };
        let done = timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| HandshakeError::Slow)?;
        let mut stream = done.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionAborted => HandshakeError::Silent,
            _ => HandshakeError::Failed(error),
        })?;
        stream.get_mut().0.lift();
        Ok(stream)
    }
}

/// Has no words for logs.
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// The certificate that is shown, to whoever asks and whatever name it asks for.
#[derive(Debug)]
struct Shown(Live<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

/// TLS 1.3. HTTP/1.1, for sessions are WebSockets. No data before the handshake is over, as these could be repeated by others.
fn config(shown: Arc<Shown>, groups: Vec<&'static dyn SupportedKxGroup>) -> Result<ServerConfig, CertificateError> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups;
    provider.cipher_suites.retain(|suite| {
        let known = [
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        known.contains(&suite.suite())
    });
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(CertificateError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
