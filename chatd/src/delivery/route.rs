//! One contact's route: what link it uses, how far it has sent, when it tries again. No IO.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, MessageId};

use super::OpenLink;
use crate::policy::backoff::Backoff;

/// Envelopes on the way to one contact without an acknowledgement at most: 64 of 64 KiB are 4 MiB, more than any
/// bandwidth-delay product that matters here.
pub(super) const WINDOW: usize = 64;
/// A claim that is not answered for so long is given up, and the way tried anew.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
/// A contact request is repeated so often at most while its peer is reached but silent: nothing tells that it arrived.
pub(super) const REQUEST_REPEAT: Duration = Duration::from_secs(600);

/// An envelope that is not acknowledged for so long on a live link is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Who accepts lets the other side claim first, which it does as soon as it has stored the acceptance.
pub(super) const AFTER_ACCEPT: Duration = Duration::from_millis(300);
/// Without an acknowledgement for so long, the peer is asked whether it is still there.
const DOUBT: Duration = Duration::from_secs(3);

/// How far a route is with its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No link.
    Down,
    /// Looking for an address or dialling.
    Connecting,
    /// There is a link; our claim is out, theirs is awaited.
    Claiming {
        /// Given up after this.
        until: Instant,
    },
    /// Both claims stand, and the peer's resume told where to begin.
    Ready,
}

/// An envelope without an acknowledgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub number: u64,
    pub stream: i64,
    pub high: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Route {
    pub phase: Phase,
    pub link: Option<OpenLink>,
    /// Our claim went out on this link.
    pub claimed_on: Option<u64>,
    pub device: Option<DeviceId>,
    /// Last place in our streams that was put on the link.
    pub cursor: (i64, u64),
    pub in_flight: VecDeque<InFlight>,
    /// Signals that went out on this link.
    pub signalled: HashSet<MessageId>,
    /// Signals that end with the answer to a ping on this link.
    pub pinged: Vec<(u64, MessageId)>,
    /// Something may wait.
    pub pending: bool,
    /// A packing job runs.
    pub packing: bool,
    pub backoff: Backoff,
    /// Not before this.
    pub retry_at: Option<Instant>,
    /// Which connecting job counts; an older one's failure says nothing.
    pub attempt: u64,
    /// The stored reach failed: ask the directory before the next dial.
    pub ask_directory: bool,
    /// The stored record has no live prekey, or the peer said so.
    pub refresh_record: bool,
    /// What is in flight is given up then.
    pub ack_by: Option<Instant>,
    /// Before that, the peer is asked whether it lives.
    pub doubt_by: Option<Instant>,
    /// Our acceptance went out on this link.
    pub accepted: bool,
    /// Claim then, if the other side has not by itself: both may be waiting for each other.
    pub claim_at: Option<Instant>,
    /// A request is repeated then.
    pub repeat_at: Option<Instant>,
    /// How often it was.
    pub repeats: u32,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            phase: Phase::Down,
            link: None,
            claimed_on: None,
            device: None,
            cursor: (0, 0),
            in_flight: VecDeque::new(),
            signalled: HashSet::new(),
            pinged: Vec::new(),
            pending: false,
            packing: false,
            backoff: Backoff::new(),
            retry_at: None,
            attempt: 0,
            ask_directory: false,
            refresh_record: false,
            ack_by: None,
            doubt_by: None,
            accepted: false,
            claim_at: None,
            repeat_at: None,
            repeats: 0,
        }
    }
}

impl Route {
    /// Takes a link; everything that was on another is unknown again.
    pub fn attach(&mut self, link: OpenLink) {
        if self.link.as_ref().is_some_and(|old| old.sender.link_id() == link.sender.link_id()) {
            return;
        }
        self.link = Some(link);
        self.claimed_on = None;
        self.rewind();
    }

    /// The link is gone, or of no use.
    pub fn detach(&mut self) {
        self.link = None;
        self.claimed_on = None;
        self.phase = Phase::Down;
        self.rewind();
    }

    /// Sends again from the first that is not acknowledged: the store no longer holds what is.
    pub fn rewind(&mut self) {
        self.cursor = (0, 0);
        self.in_flight.clear();
        self.signalled.clear();
        self.pinged.clear();
        self.accepted = false;
    }

    /// Our claim went out now.
    pub fn claiming(&mut self, now: Instant) {
        self.claimed_on = self.link.as_ref().map(|link| link.sender.link_id());
        self.phase = Phase::Claiming { until: now + CLAIM_TIMEOUT };
    }

    /// A way failed: wait.
    pub fn failed(&mut self, now: Instant, random: u64) {
        self.detach();
        self.ask_directory = true;
        self.retry_at = Some(now + self.backoff.failed(random));
    }

    /// Envelopes that fit the window.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.in_flight.len())
    }

    /// Something is on the way of which nothing was heard.
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty() || !self.pinged.is_empty()
    }

    /// Something is in flight, or was just acknowledged: the clock starts again.
    pub fn await_ack(&mut self, now: Instant) {
        self.doubt_by = Some(now + DOUBT);
        self.ack_by = Some(now + ACK_TIMEOUT);
    }

    /// Forgets envelopes that are acknowledged up to a seq.
    pub fn acknowledged(&mut self, stream: i64, contiguous: u64) {
        let before = self.in_flight.len();
        self.in_flight.retain(|envelope| envelope.stream != stream || envelope.high > contiguous);
        if self.in_flight.len() < before {
            self.await_ack(Instant::now());
            // A full window stopped the packing; there is room now.
            self.pending |= before >= WINDOW;
        }
    }

    /// When the route wants to be looked at again by itself.
    pub fn wake_at(&self) -> Option<Instant> {
        let claim = match self.phase {
            Phase::Claiming { until } => Some(until),
            _ => None,
        };
        let retry = if self.pending { self.retry_at } else { None };
        let ack = if self.is_waiting() { self.doubt_by.or(self.ack_by) } else { None };
        [claim, retry, ack, self.claim_at, self.repeat_at].into_iter().flatten().min()
    }
}
