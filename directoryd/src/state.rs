//! What all requests share, and whose a request is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use proto::directory::api::{ErrorCode, RelayOffer};
use tokio::sync::Semaphore;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::http::answer::Refusal;
use crate::http::extract::bearer;
use crate::http::front::Front;
use crate::http::limits::{Class, Peer, Source};
use crate::relay::Relay;
use crate::store::Store;
use crate::tls::Tls;

/// Sessions that hold a chunk of mail at the same time at most. When all places are taken, by many who fetch or by some who
/// are slow, a session reads one envelope at a time: it waits for nobody, and holds little.
pub const PUSHING: usize = 256;

/// As handlers get it.
pub type App = State<Arc<Directory>>;

/// Everything that requests share.
#[derive(Debug)]
pub struct Directory {
    /// As it was at the start.
    pub config: Config,
    /// What must survive.
    pub store: Store,
    /// What look-ups read, who is connected, and whatever else one process knows by itself.
    pub cluster: Arc<dyn Cluster>,
    /// What every request has passed.
    pub front: Arc<Front>,
    /// How connections are protected, if not by loopback or a proxy.
    pub tls: Option<Arc<Tls>>,
    /// What passes packets between nodes, if anything does.
    pub relay: Option<Arc<Relay>>,
    /// A place for each session that holds more than one envelope in memory.
    pub pushing: Semaphore,
}

impl Directory {
    /// What a session is told of the relay.
    pub fn relay_offer(&self) -> Option<RelayOffer> {
        self.relay.as_ref().map(|relay| relay.offer())
    }

    /// Who asks: a member by the token of a live session, else an address.
    ///
    /// # Errors
    /// A token that is not, or no longer, a session's, so that a client notices that it must reconnect.
    pub fn source(&self, peer: Peer, headers: &HeaderMap) -> Result<Source, Refusal> {
        let Some(token) = bearer(headers) else { return Ok(Source::Address(peer.address)) };
        token
            .and_then(|token| self.cluster.member(token))
            .map(Source::Member)
            .ok_or_else(|| Refusal::new(ErrorCode::NotAllowed, "the session of this token has ended; open a new one"))
    }

    /// Counts a request that is no registration; who asks.
    ///
    /// # Errors
    /// As [`Directory::source`], and when it is one too many.
    pub fn lookup_allowed(&self, peer: Peer, headers: &HeaderMap) -> Result<Source, Refusal> {
        let source = self.source(peer, headers)?;
        self.front.limiter.get().check(source, peer, Class::Lookup).map_err(Refusal::rate_limited)?;
        Ok(source)
    }
}
