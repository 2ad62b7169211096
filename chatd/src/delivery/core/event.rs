//! What the core is told.

use std::time::Duration;

use proto::ids::{DeviceId, Epoch, MessageId};
use proto::wire::envelope::AckEntry;
use proto::wire::frame::RefuseCode;

use crate::model::Outcome;
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::policy::suite::NoSuite;

/// A device of a peer: each has a way of its own to it, dialled, claimed, resumed and acknowledged apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Whose.
    pub peer: PeerId,
    /// Which; `None` until it was looked up.
    pub device: Option<DeviceId>,
}

impl RouteKey {
    /// The way to a device.
    pub fn new(peer: PeerId, device: DeviceId) -> Self {
        Self { peer, device: Some(device) }
    }

    /// The device, as the store calls it.
    pub fn of(self) -> Option<PeerDevice> {
        Some(PeerDevice { peer: self.peer, device: self.device? })
    }
}

/// An envelope without an acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct InFlight {
    /// Its number on the link.
    pub number: u64,
    /// Of the stream.
    pub epoch: Epoch,
    /// The last seq in it.
    pub high: u64,
    /// On the link.
    pub bytes: usize,
}

/// What the store knows of a peer, at the moment of the question.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The owner blocked it.
    pub blocked: bool,
    /// Both have agreed.
    pub may_talk: bool,
    /// Our acceptance waits still; `false` if that was not asked.
    pub accept_waits: bool,
}

/// What became of a dial.
#[derive(Debug)]
pub enum Dialled {
    /// The link of this number leads there.
    Reached(u64),
    /// Nothing waits any more: nobody was looked for.
    NothingWaits,
    /// Its directory knows no such account.
    Gone,
    /// Not reached.
    Failed {
        /// Its directory asks to be left alone for so long.
        wait: Option<Duration>,
        /// What `trace` says.
        outcome: Outcome,
    },
}

/// What a packing job did.
#[derive(Debug)]
pub struct Packed {
    /// The route.
    pub key: RouteKey,
    /// The life of the route that it worked for.
    pub life: u64,
    /// The last place in our streams that was put on the link.
    pub cursor: (OutStreamRow, u64),
    /// What went out.
    pub in_flight: Vec<InFlight>,
    /// Signals that went out.
    pub signalled: Vec<MessageId>,
    /// Signals that are done when the ping of this number is answered.
    pub pinged: Vec<(u64, MessageId)>,
    /// More waits than was sent.
    pub more: bool,
    /// Our acceptance went out.
    pub accepted: bool,
    /// The number of our request's envelope.
    pub requested: Option<u64>,
    /// Something waits that only a repeat can bring further, because nothing acknowledges it.
    pub unacknowledged: bool,
    /// What kept it from sending all.
    pub problem: Option<Problem>,
}

/// Why a job could not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No prekey of the recipient may be sealed to.
    NoPrekey(NoSuite),
    /// The link, the store or the seal.
    Other,
}

/// What became of a try to leave what waits in a mailbox.
#[derive(Debug)]
pub enum Deposited {
    /// All that may lie there does.
    Left {
        /// The mailbox took something.
        any: bool,
        /// Nothing at all waits for this peer any more.
        all: bool,
    },
    /// There is no such way.
    NoWay,
    /// Its directory knows no such account.
    Gone,
    /// Something was not left.
    Failed {
        /// Asking again soon would be answered the same.
        refusal: bool,
        /// Its directory asks to be left alone for so long.
        wait: Option<Duration>,
        /// What `trace` says.
        outcome: Outcome,
    },
}

/// What the core is told.
#[derive(Debug)]
pub enum Event {
    /// The first of all: links that are open, and peers for whom something waits (`true`: their account is gone).
    Begin {
        /// Numbers of links.
        links: Vec<u64>,
        /// Peers.
        waiting: Vec<(PeerId, bool)>,
    },
    /// Something new may wait for a peer.
    Wanted(PeerId),
    /// The devices that what waits for a peer is owed to.
    Devices {
        /// The peer.
        peer: PeerId,
        /// The first is the one that a route without a device becomes.
        devices: Vec<DeviceId>,
    },
    /// The answer to [`super::effect::Effect::Look`]; `None`: the store cannot be read.
    Facts {
        /// The route.
        key: RouteKey,
        /// What is known.
        facts: Option<Facts>,
    },
    /// A link is up, to the node of these peers.
    LinkUp {
        /// Its number.
        link: u64,
        /// Who is known to be there.
        peers: Vec<PeerId>,
    },
    /// A link has ended.
    LinkDown {
        /// Its number.
        link: u64,
        /// The other end found that it cost too much.
        too_much: bool,
    },
    /// The end of a dial.
    Dialled {
        /// The route.
        key: RouteKey,
        /// Which dial.
        attempt: u64,
        /// What became of it.
        result: Dialled,
    },
    /// A peer's device proved itself on a link.
    Claimed {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
    },
    /// What a peer's device has of our streams.
    Resume {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// Its marks.
        entries: Vec<AckEntry>,
    },
    /// That is on disk, or could not be written down.
    Resumed {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// The marks.
        entries: Vec<AckEntry>,
        /// It is on disk.
        stored: bool,
    },
    /// Something of a peer is missing before what is held: it is asked to send what is not acknowledged.
    Hole(PeerId),
    /// A peer's device committed something.
    Ack {
        /// The route.
        key: RouteKey,
        /// Marks of streams.
        entries: Vec<AckEntry>,
        /// Cores outside of any stream.
        ids: Vec<MessageId>,
    },
    /// Acknowledgements are on disk; these signals need not be sent again.
    AcksStored {
        /// The route.
        key: RouteKey,
        /// Signals.
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
    /// A request went out with work, under this number (none: no request waits); or why not.
    Worked {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// The number, or what `trace` says.
        result: Result<Option<u64>, Outcome>,
    },
    /// The end of a packing job.
    Packed(Packed),
    /// The end of a try by mailbox.
    Deposited {
        /// The route.
        key: RouteKey,
        /// What became of it.
        result: Deposited,
    },
    /// The peer came online: try now.
    Online(PeerId),
    /// The peer went offline: what waits goes to its mailbox.
    Offline(PeerId),
    /// Try everything now: the network changed.
    RetryAll,
    /// This machine's network is another one: links and dials may lead nowhere.
    Moved,
    /// The account has a directory session, or has it no longer.
    Session(bool),
    /// Time has passed: what is due is done.
    Tick,
}

impl Event {
    /// The peer that it is about, if it is about one.
    pub fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Wanted(peer) | Self::Hole(peer) | Self::Online(peer) | Self::Offline(peer) => Some(*peer),
            Self::Devices { peer, .. } => Some(*peer),
            Self::Facts { key, .. }
            | Self::Dialled { key, .. }
            | Self::Claimed { key, .. }
            | Self::Resume { key, .. }
            | Self::Resumed { key, .. }
            | Self::Ack { key, .. }
            | Self::AcksStored { key, .. }
            | Self::Worked { key, .. }
            | Self::Packed(Packed { key, .. })
            | Self::Deposited { key, .. } => Some(key.peer),
            Self::Begin { .. }
            | Self::LinkUp { .. }
            | Self::LinkDown { .. }
            | Self::Pong { .. }
            | Self::Refused { .. }
            | Self::Work { .. }
            | Self::RetryAll
            | Self::Moved
            | Self::Session(_)
            | Self::Tick => None,
        }
    }
}
