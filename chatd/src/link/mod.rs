//! Links: frames between two nodes, over iroh's QUIC or in process, behind the same halves.
//!
//! **The job.** [`Node`] owns the iroh endpoint: it dials, accepts under caps, and exchanges hellos. A [`Link`] moves
//! [`Frame`](proto::wire::frame::Frame)s both ways, in order, and ends with a reason. [`in_process_pair`] makes a link
//! between two accounts of one node (iroh refuses to dial itself).
//!
//! **Not the job.** Accounts, contacts, claims, redialling, rates per peer: the owner of the link knows those. The link
//! offers the [`exporter`](Link::exporter) that a claim is bound to, and takes
//! [`mark_authenticated`](LinkSender::mark_authenticated) back.
//!
//! **Invariants.**
//! - A link is handed out after both hellos, never before: QUIC may say "connected" to a peer that refuses us.
//! - Every queue is bounded, and a peer that does not read costs its own link only.
//! - A length is checked before memory is reserved for it; a frame that has begun must go on.
//! - A link ends once, with one [`CloseReason`], which both sides and all clones see.
//! - Early data of TLS (0-RTT, replayable) is refused.
//! - Nothing of a third party is contacted: no discovery service (multicast on the local network, where it is wanted, is none), no relay but those of own and of contacts' directories, no port
//!   mapper.

mod caps;
mod config;
mod connect;
mod error;
mod halves;
mod lan;
mod local;
mod moves;
mod node;
mod reader;
mod relay;
mod shared;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use proto::ids::NodeId;

pub use config::{INCOMING_QUEUE_LINKS, LinkCaps, LinkConfig, SEND_QUEUE_FRAMES};
pub use error::{CloseCode, CloseOrigin, CloseReason, LinkError};
pub use halves::{LinkReceiver, LinkSender};
pub use lan::Neighbours;
pub use local::in_process_pair;
pub use node::{Node, Whereabouts};
pub use relay::{Relay, Seen, SeenError, Socket};
pub use shared::{Path, PathKind};
pub use table::{AGAIN, PeerTable, Way};

/// Label of the TLS exporter (RFC 8446, section 7.5) that claims are bound to.
pub const EXPORTER_LABEL: &[u8] = b"chatd/claim/1";

/// An established connection between two nodes.
#[derive(Debug)]
pub struct Link {
    /// Different for every link of this process.
    pub id: u64,
    /// The node at the other end, proved by its TLS key; this node itself for an in-process link.
    pub peer: NodeId,
    /// Whether this side dialled.
    pub dialed: bool,
    /// The agreed link version.
    pub version: u8,
    /// The same 32 bytes on both sides, different for every link, known to nobody else.
    pub exporter: [u8; 32],
    /// Seconds that the peer's clock was ahead of ours at its hello.
    pub peer_time_offset: i64,
    /// Sends frames, and ends the link.
    pub sender: LinkSender,
    /// Receives frames.
    pub receiver: LinkReceiver,
}
