//! The relays that the node waits at: those of the directories of the accounts that are online, and no others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use proto::ids::AccountId;

use crate::delivery::relay_of;
use crate::directory::RelayPlace;
use crate::link::{Node, Relay};

/// See the module.
#[derive(Debug)]
pub struct Relays {
    node: Node,
    wanted: Mutex<HashMap<AccountId, Relay>>,
}

impl Relays {
    /// None yet.
    pub fn new(node: Node) -> Self {
        Self { node, wanted: Mutex::default() }
    }

    /// The directory of an account has this relay, or none; or the account is offline.
    pub async fn set(&self, account: AccountId, relay: Option<RelayPlace>) {
        let wanted: Vec<Relay> = {
            let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            match relay.map(relay_of) {
                Some(relay) => drop(wanted.insert(account, relay)),
                None => drop(wanted.remove(&account)),
            }
            wanted.values().cloned().collect()
        };
        self.node.wait_at(&wanted).await;
    }
}
