//! A link within one process, for two accounts of one node.
//!
//! Frames are encoded and decoded as on the network: what one carrier refuses, the other refuses too.

use std::sync::{Arc, OnceLock};

use proto::ids::NodeId;
use tokio::sync::mpsc;

use super::config::SEND_QUEUE_FRAMES;
use super::connect::VERSIONS;
use super::halves::Source;
use super::shared::{Carrier, Shared};
use super::{Link, LinkCaps, LinkReceiver, LinkSender};

/// The two ends of a link of `node` to itself: the dialling one first. They share a random exporter.
pub fn in_process_pair(node: NodeId) -> (Link, Link) {
    let (to_second, from_first) = mpsc::channel(SEND_QUEUE_FRAMES);
    let (to_first, from_second) = mpsc::channel(SEND_QUEUE_FRAMES);
    let first = Shared::new(Carrier::Local(OnceLock::new()), None);
    let second = Shared::new(Carrier::Local(OnceLock::new()), None);
    for (one, other) in [(&first, &second), (&second, &first)] {
        if let Carrier::Local(slot) = &one.carrier {
            // Set once, here.
            let _ = slot.set(Arc::downgrade(other));
        }
    }
    let exporter = rand::random();
    let stall = Some(LinkCaps::default().write_stall);
    let link = |shared: Arc<Shared>, dialed, to, from| Link {
        id: shared.id,
        peer: node,
        dialed,
        version: VERSIONS[0],
        exporter,
        peer_time_offset: 0,
        sender: LinkSender::new(to, Arc::clone(&shared), stall),
        receiver: LinkReceiver::new(Source::Local(from), shared),
    };
    (link(first, true, to_second, from_second), link(second, false, to_first, from_first))
}
