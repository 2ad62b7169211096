//! Who may use the relay, and how many connections at once.
//!
//! A node that stands in the reach of a device here, which device and node have both signed; and the node of a guest, while the
//! guest holds the token of somebody here. That the node is the one that it says it is was proved before: by a signature of its key.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use iroh_base::EndpointId;
use iroh_relay::server::clients::Clients;
use iroh_relay::server::{Access, AccessControl, ClientRequest, ConnectionId};
use proto::ids::NodeId;

use super::guests::Guests;
use crate::config::RelaySettings;
use crate::live::Live;
use crate::metrics::RelayMetrics;
use crate::store::{Readers, StoreError};

/// Nodes that are looked up in one query of the sweep.
const SWEEP_CHUNK: usize = 256;

/// A node's id in our words.
fn node_of(id: EndpointId) -> NodeId {
    NodeId(*id.as_bytes())
}

/// See the module.
#[derive(Debug)]
pub struct Admission {
    settings: Live<RelaySettings>,
    readers: Readers,
    guests: Arc<Guests>,
    clients: Clients,
    /// The connections of each node, the oldest first.
    open: Mutex<HashMap<EndpointId, VecDeque<ConnectionId>>>,
    metrics: Arc<RelayMetrics>,
}

impl Admission {
    /// Of nobody yet.
    pub fn new(
        settings: RelaySettings,
        readers: Readers,
        guests: Arc<Guests>,
        clients: Clients,
        metrics: Arc<RelayMetrics>,
    ) -> Self {
        Self { settings: Live::new(settings), readers, guests, clients, open: Mutex::default(), metrics }
    }

    /// What is in force.
    pub fn settings(&self) -> Arc<RelaySettings> {
        self.settings.get()
    }

    /// Another configuration.
    pub fn reconfigure(&self, settings: &RelaySettings) {
        self.settings.set(settings.clone());
    }

    async fn knows(&self, nodes: Vec<EndpointId>) -> Result<Vec<bool>, StoreError> {
        let stored = self.readers.host_somebody(nodes.iter().copied().map(node_of).collect()).await?;
        let known = nodes.into_iter().zip(stored);
        Ok(known.map(|(node, stored)| stored || self.guests.knows(node_of(node))).collect())
    }

    /// Counts a connection in, and ends the oldest of its node if that has too many.
    fn enter(&self, node: EndpointId, connection: ConnectionId) -> bool {
        let settings = self.settings.get();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(&node) && open.len() >= settings.connections {
            return false;
        }
        let of_node = open.entry(node).or_default();
        let mut ended = None;
        if of_node.len() >= settings.connections_per_node {
            ended = of_node.pop_front();
        }
        of_node.push_back(connection);
        let nodes = open.len();
        drop(open);
        self.metrics.nodes.store(nodes, Ordering::Relaxed);
        if ended.is_some() {
            self.clients.disconnect(node, ended);
        }
        true
    }

    fn leave(&self, node: EndpointId, connection: ConnectionId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_node) = open.get_mut(&node) {
            of_node.retain(|other| *other != connection);
            if of_node.is_empty() {
                open.remove(&node);
            }
        }
        self.metrics.nodes.store(open.len(), Ordering::Relaxed);
    }

    /// Ends the connections of nodes that are nobody's any more: unregistered, moved to another device, revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let nodes: Vec<EndpointId> = self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for some in nodes.chunks(SWEEP_CHUNK) {
            let known = self.knows(some.to_vec()).await?;
            for (node, _) in some.iter().zip(known).filter(|(_, known)| !known) {
                tracing::debug!(node = %node_of(*node), "the node is nobody's any more");
                self.clients.disconnect(*node, None);
            }
        }
        Ok(())
    }

    fn refuse(&self, reason: &str) -> Access {
        self.metrics.refused.fetch_add(1, Ordering::Relaxed);
        Access::Deny { reason: Some(reason.to_owned()) }
    }
}

impl AccessControl for Admission {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let node = request.endpoint_id();
        match self.knows(vec![node]).await.as_deref() {
            Ok([true]) => {}
            Ok(_) => return self.refuse("this relay is for nodes of its directory's members"),
            Err(_) => return self.refuse("the directory cannot tell now who you are"),
        }
        if self.enter(node, request.connection_id()) {
            self.metrics.connections.fetch_add(1, Ordering::Relaxed);
            Access::Allow
        } else {
            self.refuse("the relay is full")
        }
    }

    fn on_disconnect(&self, node: EndpointId, connection: ConnectionId) {
        self.leave(node, connection);
    }
}
