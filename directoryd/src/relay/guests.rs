//! Nodes of people of other domains who have contacts here: to reach these they need this relay, as its own members do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use proto::ids::NodeId;

use crate::cluster::{Cluster, SessionId};

/// Sessions that may name one node at most: a node has as many as accounts with contacts here.
const SESSIONS_OF_A_NODE: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Guests {
    cluster: Arc<dyn Cluster>,
    /// Which sessions have named a node. One session names one node: there are no more of these than connections.
    sessions: Mutex<HashMap<NodeId, Vec<SessionId>>>,
}

impl Guests {
    /// Nobody yet.
    pub fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self { cluster, sessions: Mutex::default() }
    }

    /// A guest's session has named its node.
    pub fn enter(guests: &Arc<Self>, node: NodeId, session: SessionId) -> Option<Pass> {
        let mut sessions = guests.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = sessions.entry(node).or_default();
        if of_node.len() >= SESSIONS_OF_A_NODE {
            return None;
        }
        of_node.push(session);
        Some(Pass { guests: Arc::clone(guests), node, session })
    }

    /// Whether a guest is here now whose node this is, and who holds the token of somebody here.
    pub fn knows(&self, node: NodeId) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let of_node = sessions.get(&node).cloned().unwrap_or_default();
        drop(sessions);
        // A token that was revoked ended its watch.
        of_node.into_iter().any(|session| self.cluster.watches(session) > 0)
    }
}

/// Lets a guest's node in until it is dropped.
#[derive(Debug)]
pub struct Pass {
    guests: Arc<Guests>,
    node: NodeId,
    session: SessionId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut sessions = self.guests.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut of_node) = sessions.entry(self.node) else { return };
        of_node.get_mut().retain(|session| *session != self.session);
        if of_node.get().is_empty() {
            of_node.remove();
        }
    }
}
