//! What the rooms around delivery tell it.

use proto::ids::{DeviceId, MessageId};
use proto::wire::envelope::AckEntry;
use proto::wire::frame::RefuseCode;

use super::open_link::OpenLink;
use crate::model::ids::PeerId;

/// What delivery is told.
#[derive(Debug)]
pub enum News {
    /// A link to some node is up.
    LinkUp(OpenLink),
    /// It is down.
    LinkDown(u64),
    /// A contact's device proved itself on a link.
    Claimed {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// The link.
        link: OpenLink,
    },
    /// What a contact's device has of our streams.
    Resume {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// The link.
        link: u64,
        /// Its marks.
        entries: Vec<AckEntry>,
    },
    /// Something of a contact is missing before what is held: it is asked to send what is not acknowledged.
    Hole(PeerId),
    /// A contact's device committed something.
    Ack {
        /// The contact.
        contact: PeerId,
        /// Its device.
        device: DeviceId,
        /// Marks of streams.
        entries: Vec<AckEntry>,
        /// Cores outside of any stream.
        ids: Vec<MessageId>,
    },
    /// A peer answered a ping: it has read what was sent before it.
    Pong {
        /// The link.
        link: u64,
        /// The ping's number.
        nonce: u64,
    },
    /// A peer refused a claim or an envelope.
    Refused {
        /// The link.
        link: u64,
        /// Why.
        code: RefuseCode,
        /// Number of the refused envelope.
        envelope: Option<u64>,
        /// The device that the refusal is about.
        device: Option<DeviceId>,
    },
    /// A peer takes our request with work only.
    Work {
        /// The link.
        link: u64,
        /// Number of the refused envelope.
        envelope: u64,
        /// How much.
        bits: u8,
        /// The window that it is there.
        window: u64,
    },
    /// The contact came online: try now.
    Online(PeerId),
    /// The contact went offline: what waits goes to its mailbox.
    Offline(PeerId),
    /// Try everything now: the network changed.
    RetryAll,
    /// This machine's network is another one: links and dials may lead nowhere.
    Moved,
    /// The account's directory session has this bearer token (none when it is down).
    Bearer(Option<String>),
}
