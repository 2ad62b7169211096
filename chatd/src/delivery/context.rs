//! What the jobs of an account's delivery work with.

use std::sync::Arc;

use proto::ids::{AccountId, DeviceId, NodeId};

use crate::crypto::keys::SigningKey;
use crate::directory::Directories;
use crate::link::PeerTable;
use crate::policy::clock::timekeeper::AccountClock;
use crate::store::Store;

/// What a delivery task needs.
#[derive(Debug, Clone)]
pub struct Context {
    /// The account.
    pub account: AccountId,
    /// Its device here.
    pub device: DeviceId,
    /// The device's key.
    pub device_key: Arc<SigningKey>,
    /// This node.
    pub node: NodeId,
    /// Its store.
    pub store: Store,
    /// Its clock: by it, whether keys may still be sealed to.
    pub clock: Arc<AccountClock>,
    /// The links.
    pub table: PeerTable,
    /// The directories that it may ask.
    pub directories: Directories,
    /// Whether its own directory is reached over loopback.
    pub directory_is_local: bool,
    /// Private addresses may be dialled whoever named them.
    pub allow_private: bool,
}
