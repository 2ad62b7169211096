//! What frames of a peer that are no envelopes may cost, by their kind. Each costs us more than it costs to send: a signature to
//! check, an answer, a look at a database. No IO.
//!
//! Invariant: an honest peer is far below all of these, on the busiest link that there is; whoever is above is no such peer.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use proto::ids::{DeviceId, NodeId};
use proto::wire::frame::Frame;

use super::keyed::{KeyedLimiter, TooFast};

const MINUTE: Duration = Duration::from_secs(60);

const fn n(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

/// Hellos, pings and their answers a minute: a peer is pinged when it is silent, or behind a rejection.
const CONTROL: NonZeroU32 = n(256);
/// Claims a minute: one for each pair of accounts when a link is made. Each is a signature, and is answered.
const CLAIMS: NonZeroU32 = n(512);
/// Claims of one pair a minute that was proved on the link before: it is claimed anew when it became contacts, and a few times
/// whenever an account logs in.
const CLAIMS_AGAIN: NonZeroU32 = n(64);
/// Records and reaches a minute: one of each behind a claim. Each is a signature and perhaps a commit.
const CARDS: NonZeroU32 = n(512);
/// Knocks and their answers a minute: whoever has an invite knocks once. Each is a look into every account.
const KNOCKS: NonZeroU32 = n(16);
/// Resumes a minute: one behind a claim, and ever more rarely while something is missing. Each may have much sent again.
const RESUMES: NonZeroU32 = n(256);
/// Refusals a minute, of either side: an honest peer that is refused waits before it tries again.
const REFUSALS: NonZeroU32 = n(1_024);
/// Acknowledgements of streams and of single cores in a second; what is beyond is read later.
const ACKS: NonZeroU32 = n(8_192);

/// See the module.
#[derive(Debug)]
pub struct FrameLimits<C: Clock = DefaultClock> {
    control: KeyedLimiter<NodeId, C>,
    claims: KeyedLimiter<NodeId, C>,
    claims_again: KeyedLimiter<(NodeId, DeviceId, DeviceId), C>,
    cards: KeyedLimiter<NodeId, C>,
    knocks: KeyedLimiter<NodeId, C>,
    resumes: KeyedLimiter<NodeId, C>,
    refusals: KeyedLimiter<NodeId, C>,
    acks: KeyedLimiter<NodeId, C>,
}

impl<C: Clock + Clone> FrameLimits<C> {
    pub(super) fn new(keys: NonZeroU32, clock: &C) -> Self {
        let a_minute = |count| KeyedLimiter::new(count, MINUTE, keys, clock.clone());
        Self {
            control: a_minute(CONTROL),
            claims: a_minute(CLAIMS),
            claims_again: KeyedLimiter::new(CLAIMS_AGAIN, MINUTE, keys, clock.clone()),
            cards: a_minute(CARDS),
            knocks: a_minute(KNOCKS),
            resumes: a_minute(RESUMES),
            refusals: a_minute(REFUSALS),
            acks: KeyedLimiter::new(ACKS, Duration::from_secs(1), keys, clock.clone()),
        }
    }

    /// Takes one frame of a peer. Envelopes are counted elsewhere, acknowledgements by [`FrameLimits::acks`].
    ///
    /// # Errors
    /// [`TooFast`]: the peer is to blame.
    pub fn check(&self, node: &NodeId, frame: &Frame) -> Result<(), TooFast> {
        match frame {
            Frame::Hello { .. } | Frame::Ping { .. } => self.control.check(node),
            Frame::Claim { .. } => self.claims.check(node),
            Frame::Record { .. } | Frame::Reach { .. } => self.cards.check(node),
            Frame::Knock { .. } | Frame::Welcome { .. } => self.knocks.check(node),
            Frame::Resume { .. } => self.resumes.check(node),
            Frame::Refuse { .. } | Frame::Work { .. } => self.refusals.check(node),
            Frame::Envelope { .. } | Frame::Ack { .. } => Ok(()),
        }
    }

    /// Takes a claim of what the link has proved already. The pair must be one that was: others would fill the table.
    ///
    /// # Errors
    /// [`TooFast`]: the peer is to blame.
    pub fn claim_again(&self, node: &NodeId, from: DeviceId, to: DeviceId) -> Result<(), TooFast> {
        self.claims_again.check(&(*node, from, to))
    }

    /// Takes one envelope that is answered with a refusal.
    ///
    /// # Errors
    /// [`TooFast`]: the peer is to blame.
    pub fn refused(&self, node: &NodeId) -> Result<(), TooFast> {
        self.refusals.check(node)
    }

    /// Takes what one frame acknowledges.
    ///
    /// # Errors
    /// [`TooFast`]: the link is read no further for so long.
    pub fn acks(&self, node: &NodeId, count: usize) -> Result<(), TooFast> {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        self.acks.check_n(node, count)
    }

    pub(super) fn sweep(&self) {
        for limiter in [&self.control, &self.claims, &self.cards, &self.resumes, &self.refusals, &self.acks] {
            limiter.sweep();
        }
        self.claims_again.sweep();
    }
}

/// What a frame weighs against the limits of bytes, roughly.
pub fn weight(frame: &Frame) -> usize {
    match frame {
        Frame::Envelope { outer, .. } => outer.len(),
        Frame::Record { record: bytes, .. } | Frame::Reach { reach: bytes, .. } => bytes.len(),
        Frame::Ack { entries, ids, .. } => entries.len() * 64 + ids.len() * 18,
        Frame::Resume { entries, .. } => entries.len() * 64,
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn the_same_claim_again_and_again_is_the_peers_fault() {
        let clock = FakeRelativeClock::default();
        let limits = FrameLimits::new(n(64), &clock);
        let (node, device) = (NodeId([1; 32]), |n: u8| DeviceId([n; 16]));
        let taken = |from: u8| (0..100).filter(|_| limits.claim_again(&node, device(from), device(0)).is_ok()).count();
        assert_eq!(taken(1), 64);
        assert_eq!(taken(2), 64, "another pair has its own");
        clock.advance(MINUTE);
        assert_eq!(taken(1), 64, "and a minute later");
        // Whatever it claims, there is a bound for the node.
        let claim = |n: u8| Frame::Claim { from_device: device(n), to_device: device(0), signature: [0; 64] };
        let taken = (0..1_000).filter(|n| limits.check(&node, &claim(*n as u8)).is_ok()).count();
        assert_eq!(taken, 512);
    }
}
