//! The protocol of a link: each open link has a runner here, which proves who is at the other end, hands frames to whom they are
//! for, within what its peer may cost, and acknowledges what was committed.
//!
//! Not its job: bytes on the wire (`link`), what an envelope does (`receive`), which link is wanted and what goes out on it
//! (`delivery`), which accounts there are: [`Accounts`] tells that.
//!
//! Invariants: nothing of a device counts that has not proved itself on this link; an acknowledgement leaves after COMMIT; a peer
//! that costs too much is slowed down, then dropped.

mod acker;
mod handshake;
pub mod holes;
pub mod knock;
mod limits;
mod runner;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::ids::{DeviceId, NodeId};

use crate::delivery::{Delivery, OpenLink};
use crate::link::Link;
use crate::model::ids::PeerId;
use crate::policy::clock::timekeeper::AccountClock;
use crate::policy::rate::RateLimits;
use crate::receive::Inbox;
use crate::store::Store;

pub use knock::{Card, Knocks};
pub use runner::run;

/// A running account, as far as the protocol of a link goes.
#[derive(Debug, Clone)]
pub struct Local {
    /// Its device here.
    pub device: DeviceId,
    /// Its store.
    pub store: Store,
    /// What takes envelopes.
    pub inbox: Arc<Inbox>,
    /// What sends, and hears how far the other side is.
    pub delivery: Delivery,
    /// Its clock, which heeds what contacts say of the time.
    pub clock: Arc<AccountClock>,
}

/// What the protocol needs of whoever has the accounts.
pub trait Accounts: Clone + Send + Sync + 'static {
    /// The running account that owns a device.
    fn of_device(&self, device: DeviceId) -> Option<Local>;
    /// What sends for each running account.
    fn deliveries(&self) -> Vec<Delivery>;
    /// An envelope names a newer record of a peer than the account of `device` knows: it is fetched in the background.
    fn fetch_record(&self, device: DeviceId, peer: PeerId);
    /// The card of the account that has an invite out whose token has this hash.
    fn invited(&self, token_hash: &[u8; 32]) -> Option<Card>;
    /// What is in force now.
    fn limits(&self) -> Arc<RateLimits>;
    /// A link on which nothing is said for so long is closed.
    fn idle(&self) -> Duration;
    /// Runs a task that ends with the daemon.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// Every open link: an account that comes online finds those that are there. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Links {
    open: Arc<Mutex<HashMap<u64, OpenLink>>>,
    /// What was asked on them by whoever holds an invite.
    pub knocks: Knocks,
}

impl Links {
    /// Those that are open now.
    pub fn open(&self) -> Vec<OpenLink> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn insert(&self, link: OpenLink) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(link.sender.link_id(), link);
    }

    fn remove(&self, id: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// What delivery is told of a link of this node.
fn open_link(own: NodeId, link: &Link) -> OpenLink {
    let (dialer, acceptor) = if link.dialed { (own, link.peer) } else { (link.peer, own) };
    OpenLink {
        peer: link.peer,
        dialer,
        acceptor,
        exporter: link.exporter,
        sender: link.sender.clone(),
        claims: Arc::default(),
        doubt: Arc::default(),
    }
}
