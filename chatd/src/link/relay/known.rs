//! The list of relays, as the transport's resolver and as its judge of certificates.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use iroh::dns::{BoxIter, DnsError, Resolver, TxtRecordData};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::Relay;

/// Hosts that are remembered at most: those of own directories, and of contacts' directories (64 domains of an account).
const MAX_HOSTS: usize = 256;
/// Different certificates of one host that are believed at most: directories on several ports of one machine.
const MAX_TRUSTS: usize = 8;

/// See the module. Clones are the same list.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Hosts>>);

#[derive(Default)]
struct Hosts {
    uses: u64,
    hosts: HashMap<String, Host>,
}

struct Host {
    /// The machine that was told last.
    address: IpAddr,
    trusts: Vec<Arc<dyn ServerCertVerifier>>,
    used: u64,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl Known {
    /// From now on this relay may be used.
    pub fn learn(&self, relay: &Relay) {
        let Some(host) = relay.host() else { return };
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.uses += 1;
        let used = list.uses;
        if !list.hosts.contains_key(&host) && list.hosts.len() >= MAX_HOSTS {
            let oldest = list.hosts.iter().min_by_key(|(_, host)| host.used).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| list.hosts.remove(&oldest));
        }
        let host = list.hosts.entry(host).or_insert_with(|| Host { address: relay.address, trusts: Vec::new(), used });
        (host.address, host.used) = (relay.address, used);
        if !host.trusts.iter().any(|trust| Arc::ptr_eq(trust, &relay.trust)) {
            if host.trusts.len() >= MAX_TRUSTS {
                host.trusts.remove(0);
            }
            host.trusts.push(Arc::clone(&relay.trust));
        }
    }

    fn address(&self, host: &str) -> Option<IpAddr> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.hosts.get(host.trim_end_matches('.')).map(|host| host.address)
    }

    fn trusts(&self, host: &str) -> Vec<Arc<dyn ServerCertVerifier>> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.hosts.get(host).map(|host| host.trusts.clone()).unwrap_or_default()
    }

    /// The judge of certificates.
    pub fn judge(&self, provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Judge { known: self.clone(), provider })
    }
}

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<BoxIter<T>, DnsError>> + Send>>;

fn found<T: Send + 'static>(address: Option<T>) -> Answer<T> {
    let found: BoxIter<T> = Box::new(address.into_iter());
    Box::pin(std::future::ready(Ok(found)))
}

impl Resolver for Known {
    fn lookup_ipv4(&self, host: String) -> Answer<Ipv4Addr> {
        found(match self.address(&host) {
            Some(IpAddr::V4(v4)) => Some(v4),
            _ => None,
        })
    }

    fn lookup_ipv6(&self, host: String) -> Answer<Ipv6Addr> {
        found(match self.address(&host) {
            Some(IpAddr::V6(v6)) => Some(v6),
            _ => None,
        })
    }

    fn lookup_txt(&self, _host: String) -> Answer<TxtRecordData> {
        found(None)
    }

    fn clear_cache(&self) {}

    fn reset(&self) -> Box<dyn Resolver> {
        Box::new(self.clone())
    }
}

/// Believes a host if it shows what a relay on that host has to show.
#[derive(Debug)]
struct Judge {
    known: Known,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut why = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for trust in self.known.trusts(&name.to_str()) {
            match trust.verify_server_cert(leaf, chain, name, ocsp, now) {
                Ok(believed) => return Ok(believed),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Directories speak TLS 1.3.
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Says(bool);

    impl ServerCertVerifier for Says {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            if self.0 { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::Expired.into()) }
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            unreachable!()
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            unreachable!()
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Vec::new()
        }
    }

    fn relay(url: &str, address: &str, good: bool) -> Relay {
        let trust = Arc::new(Says(good));
        Relay { url: url.into(), address: address.parse().unwrap(), discovery_port: None, trust }
    }

    async fn looked_up(known: &Known, host: &str) -> Vec<IpAddr> {
        let v4 = known.lookup_ipv4(host.into()).await.unwrap().map(IpAddr::V4);
        let v6 = known.lookup_ipv6(host.into()).await.unwrap().map(IpAddr::V6);
        v4.chain(v6).collect()
    }

    fn believed(known: &Known, host: &str) -> bool {
        let judge = known.judge(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let name = ServerName::try_from(host).unwrap();
        judge.verify_server_cert(&CertificateDer::from(vec![1]), &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[tokio::test]
    async fn nobody_else_has_an_address_or_is_believed() {
        let known = Known::default();
        known.learn(&relay("https://dir.example.org:7470", "192.0.2.1", true));
        known.learn(&relay("https://192.0.2.9:7470", "192.0.2.9", false));
        assert_eq!(looked_up(&known, "dir.example.org").await, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert!(believed(&known, "dir.example.org") && !believed(&known, "192.0.2.9"));
        for other in ["example.org", "relay.of.somebody.else", "localhost"] {
            assert!(looked_up(&known, other).await.is_empty() && !believed(&known, other), "{other}");
        }
        // A second directory on the same machine, with a key of its own.
        known.learn(&relay("https://192.0.2.9:7471", "192.0.2.9", true));
        assert!(believed(&known, "192.0.2.9"));
        // The directory moved.
        known.learn(&relay("https://dir.example.org:7470", "2001:db8::1", true));
        assert_eq!(looked_up(&known, "dir.example.org").await, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn what_is_no_relay_of_a_directory_is_never_one() {
        for (url, usable) in [
            ("https://dir.example.org:7470", true),
            ("https://192.0.2.1", true),
            ("http://127.0.0.1:7470", false),
            ("http://dir.example.org", false),
            ("https://[2001:db8::1]:7470", false),
            ("ftp://dir.example.org", false),
            ("nonsense", false),
        ] {
            assert_eq!(relay(url, "192.0.2.1", true).url().is_some(), usable, "{url}");
        }
    }

    #[tokio::test]
    async fn many_domains_leave_a_bounded_number_behind() {
        let known = Known::default();
        for number in 0..2_000 {
            known.learn(&relay(&format!("https://d{number}.test"), "192.0.2.1", true));
            known.learn(&relay("https://home.test", "192.0.2.2", true));
        }
        assert_eq!(known.0.lock().unwrap().hosts.len(), MAX_HOSTS);
        assert!(believed(&known, "home.test") && !believed(&known, "d1.test"));
        assert!(known.trusts("home.test").len() <= MAX_TRUSTS);
    }
}
