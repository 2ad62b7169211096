//! The route to one device of a peer: what link it uses, how far it has sent, when it tries again. No IO.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use proto::ids::{Epoch, MessageId};
use proto::wire::MAX_ACK_ENTRIES;

use super::event::InFlight;
use super::resend_budget::ResendBudget;
use crate::model::ids::OutStreamRow;
use crate::policy::backoff::Backoff;

/// Envelopes on the way to one device without an acknowledgement at most: 64 of 64 KiB are 4 MiB, more than any
/// bandwidth-delay product that matters here.
pub const WINDOW: usize = 64;
/// A claim that is not answered for so long is given up, and the way tried anew.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
/// A contact request is repeated after so long while its peer is reached but silent, for nothing tells that it arrived; and after
/// twice as long each time, up to `REQUEST_REPEAT_MOST`.
const REQUEST_REPEAT: Duration = Duration::from_secs(60);
const REQUEST_REPEAT_MOST: Duration = Duration::from_secs(4 * 3_600);
/// An account that its directory did not know for so long is gone: see `policy::backoff::GONE_AGAIN`.
const GONE_FOR: Duration = Duration::from_secs(15);

/// Of somebody who is looked for all the time the directory is asked so often: when they come online it says so by itself.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// An envelope that is not acknowledged for so long on a live link is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Who accepts lets the other side claim first, which it does as soon as it has stored the acceptance.
pub const AFTER_ACCEPT: Duration = Duration::from_millis(300);
/// Without an acknowledgement for so long, the peer is asked whether it is still there.
const DOUBT: Duration = Duration::from_secs(3);

/// How far a route is with its link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// No link.
    #[default]
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

/// See the module.
#[derive(Debug, Default)]
pub struct Route {
    pub phase: Phase,
    pub link: Option<u64>,
    /// Our claim went out on this link.
    pub claimed_on: Option<u64>,
    /// Last place in our streams that was put on the link.
    pub cursor: (OutStreamRow, u64),
    pub in_flight: VecDeque<InFlight>,
    /// What was acknowledged while a job was sending: the acknowledgement may come before the job tells what it sent.
    early: Vec<(Epoch, u64)>,
    /// Signals that went out on this link.
    pub signalled: HashSet<MessageId>,
    /// Signals that end with the answer to a ping on this link.
    pub pinged: Vec<(u64, MessageId)>,
    /// The number of our request's envelope on this link, until it is refused.
    pub requested: Option<u64>,
    /// Stamps that were made for it on this link.
    pub stamps: u32,
    /// Something may wait.
    pub pending: bool,
    /// The store is being asked.
    pub looking: bool,
    /// A packing job runs.
    pub packing: bool,
    /// Counts how often sending began anew: what a job from before did says nothing about now.
    pub life: u64,
    pub backoff: Backoff,
    /// What was sent was refused, or could not be sent: that the peer answers claims is no reason to try sooner.
    pub rejected: bool,
    /// Not before this.
    pub retry_at: Option<Instant>,
    /// Which connecting job counts; an older one's failure says nothing.
    pub attempt: u64,
    /// The stored reach failed: ask the directory before the next dial.
    pub ask_directory: bool,
    /// And not before this: while it is dialled all the time, its directory is asked now and then.
    pub ask_after: Option<Instant>,
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
    /// A link is wanted though nothing waits: something is asked for.
    pub asks: bool,
    /// Until then, a link that ends is followed by another.
    pub rejoin_by: Option<Instant>,
    /// Since when the peer's directory knows no such account.
    pub gone_since: Option<Instant>,
    /// That is on disk.
    pub known_gone: bool,
    /// What it may have sent again.
    pub resend_budget: ResendBudget,
    /// What waits for this contact goes to its mailbox.
    pub mailbox: ByMailbox,
}

/// The other way: by the peer's mailbox, while it is not there itself.
#[derive(Debug, Default)]
pub struct ByMailbox {
    /// The peer is offline, or the last try to reach it failed.
    pub absent: bool,
    /// Something may wait that does not lie there.
    pub wanted: bool,
    /// A job runs.
    pub running: bool,
    /// Not before this.
    pub retry_at: Option<Instant>,
    pub backoff: Backoff,
}

/// A mailbox that is full, or takes nothing from us, is asked again after so long at least.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

impl ByMailbox {
    /// Whether a job may begin now.
    pub fn may_begin(&self, now: Instant) -> bool {
        self.absent && self.wanted && !self.running && self.retry_at.is_none_or(|at| at <= now)
    }

    pub fn begin(&mut self) {
        (self.wanted, self.running, self.retry_at) = (false, true, None);
    }

    pub fn succeeded(&mut self) {
        self.running = false;
        self.backoff.succeeded();
    }

    /// It is tried again after a while.
    pub fn failed(&mut self, now: Instant, random: u64, refused: bool) {
        (self.running, self.wanted) = (false, true);
        let pause = self.backoff.failed(random);
        self.retry_at = Some(now + if refused { pause.max(AFTER_REFUSAL) } else { pause });
    }

    /// Its directory asks to be left alone for a while: not before that, and not all at once.
    pub fn wait(&mut self, now: Instant, pause: Duration, random: u64) {
        self.retry_at = Some(later(self.retry_at, now, pause, random));
    }

    /// The account is gone: its mailbox is looked for again then.
    pub fn gone(&mut self, at: Instant) {
        self.retry_at = Some(at);
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.absent && self.wanted && !self.running { self.retry_at } else { None }
    }
}

impl Route {
    /// Takes a link; everything that was on another is unknown again.
    pub fn attach(&mut self, link: u64, now: Instant) {
        if self.link == Some(link) {
            return;
        }
        self.link = Some(link);
        (self.claimed_on, self.requested, self.stamps) = (None, None, 0);
        self.rewind(now);
        // A dial that is under way is of no interest any more, and a claim on another link does not count here.
        self.phase = Phase::Down;
    }

    /// Both claims stand, on a link that is not known to have ended.
    pub fn is_usable(&self) -> bool {
        self.phase == Phase::Ready && self.link.is_some()
    }

    /// The link is gone, or of no use.
    pub fn detach(&mut self, now: Instant) {
        self.link = None;
        (self.claimed_on, self.requested) = (None, None);
        self.rewind(now);
        self.phase = Phase::Down;
    }

    /// Sends again from the first that is not acknowledged: the store no longer holds what is.
    pub fn rewind(&mut self, now: Instant) {
        // What is on its way is pending again, whoever drops it here; and what waits behind a claim was not looked at yet.
        self.pending |= self.expects_an_answer() || !self.signalled.is_empty();
        self.life += 1;
        self.cursor = (OutStreamRow(0), 0);
        self.resend_budget.spend(self.in_flight.iter().map(|envelope| envelope.bytes).sum(), now);
        self.in_flight.clear();
        self.signalled.clear();
        self.pinged.clear();
        self.early.clear();
        self.accepted = false;
    }

    /// Our claim went out now.
    pub fn claiming(&mut self, now: Instant) {
        self.claimed_on = self.link;
        self.phase = Phase::Claiming { until: now + CLAIM_TIMEOUT };
        (self.doubt_by, self.ack_by) = (Some(now + DOUBT), Some(now + CLAIM_TIMEOUT));
    }

    /// A job has ended. `false`: sending began anew meanwhile, and what the job did has to be done again.
    pub fn job_ended(&mut self, life: u64) -> bool {
        self.packing = false;
        self.pending |= self.life != life;
        self.life == life
    }

    /// A way failed: wait.
    pub fn failed(&mut self, now: Instant, random: u64) {
        let pause = self.backoff.failed(random);
        self.rest(now, pause);
    }

    /// Nobody answered, as one of `waiting` who are looked for: that may be different in a moment.
    pub fn unreached(&mut self, now: Instant, waiting: usize, random: u64) {
        let pause = self.backoff.unreached(now, waiting, random);
        self.rest(now, pause);
    }

    fn rest(&mut self, now: Instant, pause: Duration) {
        self.detach(now);
        self.ask_directory = true;
        self.retry_at = Some(now + pause);
        (self.mailbox.absent, self.mailbox.wanted) = (true, true);
    }

    /// The peer's directory knows no such account. `true`: it said so before, and long enough ago.
    pub fn gone(&mut self, now: Instant, random: u64) -> bool {
        let since = *self.gone_since.get_or_insert(now);
        let sure = self.known_gone || now.saturating_duration_since(since) >= GONE_FOR;
        self.failed(now, 0);
        let at = now + self.backoff.gone(sure, random);
        self.retry_at = Some(at);
        // Whichever way looks first looks for both.
        self.mailbox.gone(at);
        sure
    }

    /// Something was heard of it. `true`: it counted as gone on disk.
    pub fn found(&mut self) -> bool {
        self.not_gone();
        std::mem::take(&mut self.known_gone)
    }

    /// Its directory did not say that it is gone: what waited for that does not wait any longer.
    pub fn not_gone(&mut self) {
        if self.gone_since.take().is_some() {
            self.mailbox.retry_at = None;
        }
    }

    /// It asks to be left alone for a while, or its directory does: not before that, and not all at once.
    pub fn wait(&mut self, now: Instant, pause: Duration, random: u64) {
        self.retry_at = Some(later(self.retry_at, now, pause, random));
    }

    /// Tried anew within `within`, if it was to be later; who is gone is not tried sooner for a network that changed.
    pub fn hurry(&mut self, now: Instant, within: Duration, random: u64) {
        let at = now + within.mul_f64(random as f64 / u64::MAX as f64);
        if self.known_gone {
            return;
        }
        self.ask_after = None;
        for planned in [&mut self.retry_at, &mut self.mailbox.retry_at] {
            *planned = planned.map(|planned| planned.min(at));
        }
    }

    /// Whether the dial that begins now asks the directory first.
    pub fn asks_now(&mut self, now: Instant) -> bool {
        let asks = self.ask_directory && self.ask_after.is_none_or(|after| after <= now);
        if asks {
            self.ask_after = Some(now + ASK_AGAIN);
        }
        asks
    }

    /// A request went out that nobody acknowledges.
    pub fn repeat_later(&mut self, now: Instant) {
        let pause = REQUEST_REPEAT.saturating_mul(2u32.saturating_pow(self.repeats)).min(REQUEST_REPEAT_MOST);
        self.repeat_at = Some(now + pause);
        self.repeats = self.repeats.saturating_add(1);
    }

    /// Envelopes that fit the window.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.in_flight.len())
    }

    /// Something is on the way of which nothing was heard.
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty() || !self.pinged.is_empty()
    }

    /// Who is at the other end owes an answer: to what was sent, or to our claim.
    pub fn expects_an_answer(&self) -> bool {
        self.is_waiting() || matches!(self.phase, Phase::Claiming { .. })
    }

    /// Nothing of it lives: no link, no job.
    pub fn is_idle(&self) -> bool {
        self.link.is_none() && !self.packing && !self.mailbox.running
    }

    /// The same as [`Route::is_waiting`], or a job is sending something, or a signal was sent.
    pub fn is_unheard(&self) -> bool {
        self.packing || self.is_waiting() || !self.signalled.is_empty()
    }

    /// Something is in flight, or was just acknowledged: the clock starts again.
    pub fn await_ack(&mut self, now: Instant) {
        self.doubt_by = Some(now + DOUBT);
        self.ack_by = Some(now + ACK_TIMEOUT);
    }

    /// A job has told what it put on the link.
    pub fn sent(&mut self, envelopes: impl IntoIterator<Item = InFlight>, now: Instant) {
        self.in_flight.extend(envelopes);
        for (epoch, contiguous) in std::mem::take(&mut self.early) {
            self.acknowledged(epoch, contiguous, now);
        }
    }

    /// Forgets envelopes that are acknowledged up to a seq; whether there were any.
    pub fn acknowledged(&mut self, epoch: Epoch, contiguous: u64, now: Instant) -> bool {
        if self.packing {
            self.early.retain(|(of, _)| *of != epoch);
            self.early.truncate(MAX_ACK_ENTRIES);
            self.early.push((epoch, contiguous));
        }
        let before = self.in_flight.len();
        self.in_flight.retain(|envelope| envelope.epoch != epoch || envelope.high > contiguous);
        if self.in_flight.len() < before {
            self.await_ack(now);
            // A full window stopped the packing; there is room now.
            self.pending |= before >= WINDOW;
        }
        self.in_flight.len() < before
    }

    /// Signals that are acknowledged on disk. Kept, they would grow as long as the link lives.
    pub fn signals_done(&mut self, ids: &[MessageId]) {
        for id in ids {
            self.signalled.remove(id);
        }
    }

    /// When the route wants to be looked at again by itself.
    pub fn wake_at(&self) -> Option<Instant> {
        let claim = if let Phase::Claiming { until } = self.phase { Some(until) } else { None };
        // Nothing else than a dial waits for this; where none can be begun, its time would be in the past for ever.
        let can_dial = self.link.is_none() && !self.packing && self.phase != Phase::Connecting;
        let retry = if self.pending && can_dial { self.retry_at } else { None };
        let ack = if self.expects_an_answer() { self.doubt_by.or(self.ack_by) } else { None };
        [claim, retry, ack, self.claim_at, self.repeat_at, self.mailbox.wake_at()].into_iter().flatten().min()
    }
}

/// What was planned, or after a pause and up to half of it more.
fn later(planned: Option<Instant>, now: Instant, pause: Duration, random: u64) -> Instant {
    let at = now + pause + pause.mul_f64(random as f64 / u64::MAX as f64 / 2.0);
    planned.map_or(at, |planned| planned.max(at))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
