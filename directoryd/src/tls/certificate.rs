//! The certificate and its key: from the operator's files, or made of the directory's identity key.
//!
//! A certificate of the identity key is nobody's word but the directory's own: clients know it by a pin in its URL
//! ([`SpkiPin`]) and look at neither its names nor its dates. It is made anew at each start and never stored.

use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::EncodePrivateKey;
use proto::directory::SpkiPin;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use crate::identity::Identity;

/// Bytes of a file with certificates or a key at most: chains have a few certificates of some KB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The day after the last one that a certificate can name (RFC 5280, section 4.1.2.5): it ends when its key is replaced.
const NO_END: (i32, u8, u8) = (9999, 12, 31);

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: is it there, and may this user read it?")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} holds no {what} in PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A certificate and a key that are no pair, or a key of a kind that is not known.
    #[error("{certificate} and {key} are no certificate and its key")]
    NoPair {
        /// The file of the certificates.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No certificate could be made of the identity key.
    #[error("cannot make a certificate of the identity key: {0}")]
    Own(String),
    /// The library did not like the settings.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The directory's own key, for a directory that is called so.
    Own(Identity, Vec<String>),
    /// The operator's files.
    Files {
        /// The certificate, and those that lead to a known authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

impl Source {
    /// By what clients know it, if no authority signed it.
    pub fn pin(&self) -> Option<SpkiPin> {
        match self {
            Self::Own(identity, _) => Some(SpkiPin::of_ed25519(identity.key().verifying_key().as_bytes())),
            Self::Files { .. } => None,
        }
    }

    /// A certificate that can be shown now.
    pub(super) fn load(&self) -> Result<CertifiedKey, CertificateError> {
        match self {
            Self::Own(identity, names) => own(identity, names),
            Self::Files { certificate, key } => files(certificate, key),
        }
    }

    /// Whether the certificate names a domain, as clients want that find the directory by it. One of the own key is found by its pin.
    ///
    /// # Errors
    /// As at a start.
    pub fn names(&self, domain: &str) -> Result<bool, CertificateError> {
        let Self::Files { .. } = self else { return Ok(true) };
        let shown = self.load()?;
        let leaf = shown.end_entity_cert().and_then(ParsedCertificate::try_from).map_err(CertificateError::Tls)?;
        Ok(ServerName::try_from(domain).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
    }
}

fn own(identity: &Identity, names: &[String]) -> Result<CertifiedKey, CertificateError> {
    let own = |error: rcgen::Error| CertificateError::Own(error.to_string());
    let key = identity.key().to_pkcs8_der().map_err(|error| CertificateError::Own(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(key.as_bytes());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519).map_err(own)?;
    let mut params = CertificateParams::new(names).map_err(own)?;
    let (year, month, day) = NO_END;
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "directoryd");
    let certificate = params.self_signed(&pair).map_err(own)?;
    let key = PrivateKeyDer::from(key.clone_key());
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &aws_lc_rs::default_provider())
        .map_err(CertificateError::Tls)
}

fn files(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let none = |path: &Path, what| CertificateError::Pem { path: path.to_owned(), what };
    let text = read(certificate)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| none(certificate, "certificates"))?;
    if chain.is_empty() {
        return Err(none(certificate, "certificates"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| none(key, "private key"))?;
    CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider()).map_err(|source| CertificateError::NoPair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read;
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text)).map_err(failed)?;
    Ok(text)
}
