//! What the core wants done.

use std::collections::HashSet;

use proto::ids::{DeviceId, MessageId};
use proto::reason::Reason;
use proto::wire::envelope::AckEntry;

use super::event::{Packed, RouteKey};
use crate::model::Outcome;
use crate::model::ids::{OutStreamRow, PeerId};

/// What a dial asks the peer's directory for first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refresh {
    /// A newer reach.
    pub reach: bool,
    /// A newer record.
    pub record: bool,
}

/// What waits is to be sealed and put on a link.
#[derive(Debug)]
pub struct Pack {
    /// The route.
    pub key: RouteKey,
    /// The link.
    pub link: u64,
    /// The route's life: counts how often sending began anew.
    pub life: u64,
    /// The last place in our streams that was put on the link.
    pub cursor: (OutStreamRow, u64),
    /// Envelopes that may go.
    pub room: usize,
    /// Both claims stand: chain cores may go.
    pub ready: bool,
    /// Signals that went out on this link.
    pub signalled: HashSet<MessageId>,
}

impl Pack {
    /// What is told of a job that has done nothing.
    pub fn nothing(&self) -> Packed {
        Packed {
            key: self.key,
            life: self.life,
            cursor: self.cursor,
            in_flight: Vec::new(),
            signalled: Vec::new(),
            pinged: Vec::new(),
            more: false,
            accepted: false,
            requested: None,
            unacknowledged: false,
            problem: None,
        }
    }
}

/// What one operation acknowledges.
#[derive(Debug, Default)]
pub struct AckBatch {
    /// The last word of each stream.
    pub entries: Vec<AckEntry>,
    /// Cores outside of any stream.
    pub ids: Vec<MessageId>,
    /// Something of it was in flight: it need not be looked up whether it waits.
    pub sure: bool,
    /// Something of it was not in flight. If it waits and was never tried, it is not what the device has: the disk went back, and a
    /// number was given again.
    pub doubted: bool,
}

/// Why a link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// More resumes than can be written down.
    Resumes,
    /// Too much had to be sent again.
    Resent,
}

/// What is written down with the next commit, and may be lost in a crash.
#[derive(Debug, PartialEq, Eq)]
pub enum Note {
    /// A try failed: by which way, and what `trace` says.
    Failed(&'static str, Outcome),
    /// The peer's directory knows no such account, found by this way; `true`: that is sure.
    Gone(&'static str, bool),
    /// Something was heard of it after all.
    Found,
    /// Signals that need not be sent again.
    SignalDone(MessageId),
    /// What came by mailbox was told by the marks that went along with a claim.
    AckNotDue,
}

impl Note {
    pub(super) fn failed(path: &'static str, reason: Reason) -> Self {
        Self::Failed(path, Outcome::failed(reason))
    }
}

/// What the core wants done. Answers come as the event that each names.
#[derive(Debug)]
pub enum Effect {
    /// Ask the store, and answer at once: [`super::event::Event::Facts`], and before it [`super::event::Event::Devices`] if the route has none.
    Look {
        /// The route.
        key: RouteKey,
        /// Also whether our acceptance waits.
        accept: bool,
    },
    /// Find the device's node and get a link to it: [`super::event::Event::Dialled`].
    Dial {
        /// The route.
        key: RouteKey,
        /// Which dial.
        attempt: u64,
        /// What to ask the directory for first.
        refresh: Refresh,
        /// A link is wanted though nothing waits.
        asks: bool,
    },
    /// [`super::event::Event::Packed`].
    Pack(Pack),
    /// Leave what waits in the peer's mailbox: [`super::event::Event::Deposited`].
    Deposit(RouteKey),
    /// Our claim goes out.
    Claim {
        /// On it.
        link: u64,
        /// To it.
        device: DeviceId,
    },
    /// Our claim counts no longer: it may go out again.
    Unclaim {
        /// On it.
        link: u64,
        /// To it.
        device: DeviceId,
    },
    /// A claim is answered: with ours if `claim`, our record and reach, and what is here of its streams.
    Greet {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// Our claim did not go out before.
        claim: bool,
    },
    /// A device is shown what is here of its streams: it sends what lies above.
    ShowMarks {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
    },
    /// What came by mailbox while the link stands is acknowledged on it, if anything is due: no claim follows with which that would
    /// go along.
    TellMailed {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
    },
    /// Write down what a device says to have: [`super::event::Event::Resumed`].
    StoreResume {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// The marks.
        entries: Vec<AckEntry>,
    },
    /// Write down acknowledgements, if they change anything: [`super::event::Event::AcksStored`].
    StoreAcks {
        /// The route.
        key: RouteKey,
        /// What.
        batch: AckBatch,
    },
    /// Send the waiting request with work: [`super::event::Event::Worked`].
    Work {
        /// The route.
        key: RouteKey,
        /// The link.
        link: u64,
        /// How much.
        bits: u8,
        /// The window that it is there.
        window: u64,
    },
    /// It is doubtful whether the other end of a link lives: ask it.
    Doubt {
        /// Its number.
        link: u64,
        /// Something was seen that ends links.
        is_strong: bool,
        /// Ask on every link to the same node: two that were dialled at once lead to the same place.
        all: bool,
    },
    /// Close a link.
    Close {
        /// Which.
        link: u64,
        /// Why.
        excess: Excess,
    },
    /// Write something down when it is convenient.
    Note {
        /// Of whom.
        peer: PeerId,
        /// What.
        note: Note,
    },
}
