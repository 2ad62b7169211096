//! Certificates of all sorts, and connections that trust whom a test wants them to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use proto::directory::SpkiPin;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Now.
    Now,
    /// It ended years ago.
    Ended,
    /// For another week.
    AWeek,
    /// Not for years to come.
    Later,
}

/// Whoever signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// A certificate with those that lead to its authority, and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificates.
    pub chain: String,
    /// The key.
    pub key: String,
    /// By what it may be pinned.
    pub pin: SpkiPin,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When the library fails.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A file that holds its certificate: for programs that take the system's authorities from `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("authority.pem");
        std::fs::write(&path, self.pem()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A certificate for these names.
    ///
    /// # Errors
    /// When a name is none.
    pub fn certify(&self, names: &[&str], holds: Holds) -> Result<Certificate> {
        let (params, key) = (params(names, holds)?, KeyPair::generate()?);
        Ok(Certificate::of(&params.signed_by(&key, &self.0)?, &key))
    }
}

/// A certificate that nobody but itself signed.
///
/// # Errors
/// When a name is none.
pub fn self_signed(names: &[&str]) -> Result<Certificate> {
    let (params, key) = (params(names, Holds::Now)?, KeyPair::generate()?);
    Ok(Certificate::of(&params.self_signed(&key)?, &key))
}

fn params(names: &[&str], holds: Holds) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    (params.not_before, params.not_after) = match holds {
        Holds::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1)),
        Holds::Ended => (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1)),
        Holds::AWeek => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            (date_time_ymd(2020, 1, 1), date_time_ymd(1970, 1, 1) + now + std::time::Duration::from_secs(7 * 86_400))
        }
        Holds::Later => (date_time_ymd(2099, 1, 1), date_time_ymd(2100, 1, 1)),
    };
    Ok(params)
}

impl Certificate {
    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        let pin = SpkiPin::of(&key.subject_public_key_info());
        Self { chain: certificate.pem(), key: key.serialize_pem(), pin }
    }

    /// Writes both into files of a folder, as an operator does; the paths of the certificate and of the key.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (chain, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&chain, &self.chain)?;
        std::fs::write(&key, &self.key)?;
        Ok((chain, key))
    }

    /// For a server that shows it.
    ///
    /// # Errors
    /// When it is none.
    pub fn server(&self) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
    }
}

/// Whom a connection of a test trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Whoever answers.
    Anybody,
    /// Whom the authorities of this system certify.
    System,
    /// Who has this key.
    Pin(SpkiPin),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// For [`connect`].
///
/// # Errors
/// When the library fails.
pub fn client(trust: Trust) -> Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    if trust == Trust::System {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
    }
    let verifier = Arc::new(Verifier { trust, provider: provider() });
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// TLS with `host:port`, asked for by `name`.
///
/// # Errors
/// When nobody listens, or it is not whom the configuration trusts.
pub async fn connect(address: &str, name: &str, config: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned())?;
    Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = SpkiPin::of(&ParsedCertificate::try_from(leaf)?.subject_public_key_info());
        match self.trust {
            Trust::Pin(pin) if pin != shown => Err(rustls::Error::General(format!("it shows {shown}, not {pin}"))),
            Trust::Pin(_) | Trust::Anybody | Trust::System => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
