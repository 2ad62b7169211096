//! The relay of a directory, as its sessions find it: at the directory's own URL, on the machine that answers there, with the
//! directory's own certificate. Nothing that a directory or a peer says leads anywhere else.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use proto::directory::api::RelayOffer;
use rustls::client::danger::ServerCertVerifier;
use url::Host;

use super::net::place::Place;

/// See the module.
#[derive(Debug, Clone)]
pub struct RelayPlace {
    /// `https://HOST:PORT`, without a pin.
    pub url: String,
    /// Where the session that found it leads.
    pub address: IpAddr,
    /// The UDP port of address discovery, if there is one.
    pub discovery_port: Option<u16>,
    /// Whom the directory itself is believed by.
    pub trust: Arc<dyn ServerCertVerifier>,
}

impl RelayPlace {
    /// Whether a URL, however it is spelled, leads there.
    pub fn is_at(&self, url: &str) -> bool {
        url::Url::parse(url).is_ok_and(|url| url.as_str().trim_end_matches('/') == self.url)
    }

    /// By what a session with the directory at `place` was told, on a connection to `peer`. There is none on this machine: who is
    /// here reaches each other without. An IPv6 address in the place of a name cannot be a relay: the transport has no way to say it
    /// in TLS.
    pub(super) fn of(
        place: &Place,
        peer: SocketAddr,
        offer: RelayOffer,
        trust: Arc<dyn ServerCertVerifier>,
    ) -> Option<Self> {
        let url = match place {
            Place::Near(_) => return None,
            Place::Host { url, .. } if matches!(url.host(), Some(Host::Ipv6(_))) => return None,
            Place::Host { url, .. } => url.as_str().trim_end_matches('/').to_owned(),
            Place::Domain { domain, .. } => format!("https://{domain}:{}", peer.port()),
        };
        Some(Self { url, address: peer.ip().to_canonical(), discovery_port: offer.discovery_port, trust })
    }
}

/// What is known of it now; for all clones of a client.
#[derive(Debug, Default)]
pub(super) struct Found(RwLock<Option<RelayPlace>>);

impl Found {
    pub fn set(&self, relay: Option<RelayPlace>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = relay;
    }

    pub fn get(&self) -> Option<RelayPlace> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::directory::net::trust::of_pin;

    #[test]
    fn it_is_where_the_directory_is_and_nowhere_else() {
        let pin = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let trust = of_pin(pin.parse().unwrap()).unwrap().verifier;
        for (place, peer, url) in [
            ("http://127.0.0.1:7470", "127.0.0.1:7470", None),
            ("https://[2001:db8::1]:7470", "[2001:db8::1]:7470", None),
            ("https://dir.example.org:7470", "192.0.2.1:7470", Some("https://dir.example.org:7470")),
            (&format!("https://192.0.2.1:7470#{pin}"), "192.0.2.1:7470", Some("https://192.0.2.1:7470")),
            // The machine that the DNS names has another name; its certificate is for the domain.
            ("example.org", "[::ffff:192.0.2.1]:8443", Some("https://example.org:8443")),
        ] {
            let place = Place::parse(place).unwrap();
            let offer = RelayOffer { discovery_port: Some(7842) };
            let found = RelayPlace::of(&place, peer.parse().unwrap(), offer, Arc::clone(&trust));
            assert_eq!(found.as_ref().map(|found| found.url.as_str()), url, "{place}");
            assert!(found.is_none_or(|found| found.address == "192.0.2.1".parse::<IpAddr>().unwrap()));
        }
    }
}
