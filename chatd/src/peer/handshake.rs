//! Claims: which devices at the other end of a link have proved themselves to which of ours.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use proto::ids::DeviceId;

use super::Local;
use crate::crypto::claim::{Session, verify_claim};
use crate::delivery::OpenLink;
use crate::model::ids::PeerId;
use crate::store::StoreError;
use crate::store::peers::{self, devices};

/// Whose claims were proved on a link: (our device, theirs) -> peer.
#[derive(Debug, Default)]
pub(super) struct Proved(Mutex<HashMap<(DeviceId, DeviceId), PeerId>>);

impl Proved {
    pub fn insert(&self, own: DeviceId, theirs: DeviceId, peer: PeerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((own, theirs), peer);
    }

    /// Whose device it is, if it has proved itself to this one of ours.
    pub fn peer(&self, own: DeviceId, theirs: DeviceId) -> Option<PeerId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(own, theirs)).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Whom a claim may open the link for.
pub(super) struct Claimant {
    pub peer: PeerId,
    key: [u8; 32],
}

impl Claimant {
    /// The contact that a device is of; `None`: nobody, or none of ours, or it is blocked.
    pub fn find(local: &Local, from: DeviceId) -> Option<Self> {
        let read = local.store.read_blocking(|conn| -> Result<_, StoreError> {
            let Some((peer, key)) = devices::by_device(conn, from)? else { return Ok(None) };
            Ok(peers::load(conn, peer)?.state.may_talk().then_some(Self { peer, key }))
        });
        read.ok().flatten()
    }

    /// Whether the device has signed for this very link.
    pub fn proves(&self, link: &OpenLink, from: DeviceId, to: DeviceId, signature: &[u8; 64]) -> bool {
        let session = Session { exporter: &link.exporter, dialer: link.dialer, acceptor: link.acceptor };
        verify_claim(&self.key, &session, from, to, signature).is_ok()
    }
}
