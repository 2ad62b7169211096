//! Whom to believe at the other end: who has the pinned key, or whom an authority of this machine certifies for the name that was asked
//! for.
//!
//! The authorities are those of the system: whoever runs the machine decides whom it believes, adds the authority of a house, and
//! removes one that is no good, in one place for all programs. There is no list of our own that would go on believing it. A machine
//! that has none (a bare container) uses a URL with a pin.
//!
//! Invariants: TLS 1.3 alone; every connection is judged anew, none goes on from an earlier one; what is wrong is told in words that
//! say what to do.

use std::sync::Arc;

use proto::directory::SpkiPin;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, PeerMisbehaved, RootCertStore, SignatureScheme};
use tokio::sync::OnceCell;

/// Why there is no believing whoever answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Another key than the pinned one.
    #[error(
        "it shows the key {shown}, and its URL says {pinned}. If its operator replaced the key, get the new URL from them; \
         otherwise somebody else answers in its place"
    )]
    Pin {
        /// Of the URL.
        pinned: SpkiPin,
        /// Of the certificate.
        shown: SpkiPin,
    },
    /// Nobody whom this machine believes has signed it.
    #[error(
        "nobody whom this machine trusts vouches for its certificate. If it shows a key of its own, use the URL that its operator \
         has from `directoryd --init`, which ends in #sha256-...; if the authority of a house signed it, add that to this system's"
    )]
    Unknown,
    /// It is for another name.
    #[error("its certificate is for {}, and not for {wanted}: its operator has to get one for {wanted}", listed(.names))]
    Name {
        /// Who was asked for.
        wanted: String,
        /// Whom it is for.
        names: Vec<String>,
    },
    /// It is over.
    #[error(
        "its certificate has expired: its operator has to renew it. If it has not, the clock of this machine is wrong"
    )]
    Expired,
    /// It has not begun.
    #[error("its certificate does not hold yet: the clock of this machine is wrong, or that of whoever made it")]
    NotYet,
    /// Anything else.
    #[error("its certificate is no good: {0}")]
    Bad(String),
    /// There is nobody to believe.
    #[error(
        "this machine trusts no authority at all: install its list of them (the package is called ca-certificates), or use a URL \
         that pins the directory's key"
    )]
    Nobody,
}

/// Names in a certificate that are told of.
const TOLD: usize = 3;

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names[..names.len().min(TOLD)].join(", ") }
}

impl TrustError {
    /// What a failed handshake says of who answered, if it says anything of that; `wanted`: who was asked for.
    pub(super) fn of(error: &rustls::Error, wanted: &str) -> Option<Self> {
        let rustls::Error::InvalidCertificate(error) = error else { return None };
        Some(match error {
            // Whoever signed it bears the name of somebody whom this machine trusts, and is not.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Unknown,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::NotValidForName => Self::Name { wanted: wanted.to_owned(), names: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                // `DnsName("dir.example.org")`: what is in the quotes, and nothing that a certificate could make up.
                let name = |text: &String| {
                    let name = text.split('"').nth(1).unwrap_or(text);
                    name.chars().filter(|c| c.is_ascii_graphic()).take(100).collect()
                };
                Self::Name { wanted: wanted.to_owned(), names: presented.iter().take(TOLD).map(name).collect() }
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<Self>() {
                Some(told) => told.clone(),
                None => Self::Bad(other.to_string()),
            },
            other => Self::Bad(format!("{other:?}").chars().take(100).collect()),
        })
    }
}

/// The authorities of this machine, read when they are needed first.
#[derive(Debug, Default)]
pub struct Authorities(OnceCell<Trust>);

/// Whom to believe, as the settings of a connection and by itself.
#[derive(Debug, Clone)]
pub struct Trust {
    /// For connections to the directory.
    pub config: Arc<ClientConfig>,
    /// The same judge.
    pub verifier: Arc<dyn ServerCertVerifier>,
}

impl Authorities {
    /// For a connection to whoever has a certificate for its name.
    pub(super) async fn trust(&self) -> Result<Trust, TrustError> {
        let read = || async {
            let made = tokio::task::spawn_blocking(of_authorities).await;
            made.map_err(|error| TrustError::Bad(error.to_string()))?
        };
        self.0.get_or_try_init(read).await.cloned()
    }
}

fn of_authorities() -> Result<Trust, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that cannot be read vouches for nobody; the others do.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(TrustError::Nobody);
    }
    let provider = provider();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| TrustError::Bad(error.to_string()))?;
    trust(provider, verifier)
}

/// For a connection to whoever has this key.
pub(in crate::directory) fn of_pin(pin: SpkiPin) -> Result<Trust, TrustError> {
    let provider = provider();
    trust(Arc::clone(&provider), Arc::new(Pinned { pin, provider }))
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![X25519MLKEM768, X25519];
    Arc::new(provider)
}

fn trust(provider: Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Result<Trust, TrustError> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TrustError::Bad(error.to_string()))?;
    let judge = Arc::clone(&verifier);
    let mut config = builder.dangerous().with_custom_certificate_verifier(judge).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Trust { config: Arc::new(config), verifier })
}

/// Believes who has the key of a certificate, whatever else stands in it.
#[derive(Debug)]
struct Pinned {
    pin: SpkiPin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = SpkiPin::of(&ParsedCertificate::try_from(leaf)?.subject_public_key_info());
        if shown == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let told = TrustError::Pin { pinned: self.pin, shown };
        Err(CertificateError::Other(rustls::OtherError(Arc::new(told))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 was not offered.
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
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
