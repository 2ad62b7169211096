//! Relays that may be used, and nothing else: what the transport may look up and whom it may believe.
//!
//! The job: the one list ([`Known`]) of relays' machines and of what each has to show. The transport asks it for the address behind
//! a host, and whether to believe a certificate; a host that does not stand there has no address, and nobody is believed to be it.
//!
//! Not the job: which relays those are (the owner of the node tells: its own directories', and those of contacts' directories).
//!
//! Invariant: no name is asked of any DNS here, and no relay is contacted because a peer has named it.

mod known;
mod seen;

use std::net::IpAddr;
use std::sync::Arc;

use iroh::RelayUrl;
use rustls::client::danger::ServerCertVerifier;

pub(super) use self::known::Known;
pub use self::seen::{Seen, SeenError, Socket};

/// The relay of a directory.
#[derive(Debug, Clone)]
pub struct Relay {
    /// `https://HOST:PORT`, with a host that is no IPv6 address.
    pub url: String,
    /// The machine that answers there.
    pub address: IpAddr,
    /// The UDP port by which a node learns how it is seen from there, if there is one.
    pub discovery_port: Option<u16>,
    /// Judges what it shows.
    pub trust: Arc<dyn ServerCertVerifier>,
}

impl Relay {
    /// As the transport names it; `None` if it is none that may be used.
    pub(super) fn url(&self) -> Option<RelayUrl> {
        let url: RelayUrl = self.url.parse().ok()?;
        (url.scheme() == "https" && !matches!(url.host(), Some(url::Host::Ipv6(_)) | None)).then_some(url)
    }

    /// The host of its URL.
    pub(super) fn host(&self) -> Option<String> {
        self.url()?.host_str().map(str::to_owned)
    }
}

impl PartialEq for Relay {
    fn eq(&self, other: &Self) -> bool {
        let part = |relay: &Self| (relay.url.clone(), relay.address, relay.discovery_port);
        part(self) == part(other) && Arc::ptr_eq(&self.trust, &other.trust)
    }
}
