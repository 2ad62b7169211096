//! Envelopes that name a newer record of their sender than is known here. They wait for that record: it may say that the
//! device is no longer the sender's, or that a device which nobody knows here is.
//!
//! Not its job: to fetch records; the caller of [`Inbox::take`] is told to.
//!
//! Invariants: what waits is bounded, and never acknowledged; whose device is known and proved its signature is not held up
//! for ever by a record that nobody can get: after [`JUDGE_AFTER`], or when fetching failed, the known record counts.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use proto::wire::payload::Kind;

use super::{Inbox, Judge, Reject, Taken, Verdict, Way};
use crate::crypto::envelope::Opened;
use crate::model::ids::PeerId;
use crate::store::ContactRow;

/// Envelopes that wait for one account at most (4 MiB at their largest); beyond, the oldest goes.
const MAX_WAITING: usize = 64;
/// And of one contact, so that nobody pushes out what others sent.
const MAX_OF_ONE: usize = 16;
/// A record is awaited so long.
const JUDGE_AFTER: Duration = Duration::from_secs(10);
/// After so long without it, it is awaited once more.
const AWAIT_AGAIN: Duration = Duration::from_secs(600);

/// What waits, and since when each contact's newer record is awaited.
#[derive(Debug, Default)]
pub(super) struct ParkingLot {
    waiting: VecDeque<(PeerId, Vec<u8>)>,
    /// One entry for each contact at most.
    since: HashMap<PeerId, Instant>,
}

impl ParkingLot {
    /// Whether the known record has to do for a contact at `now`.
    fn judges(&mut self, contact: PeerId, now: Instant) -> bool {
        match self.since.get(&contact).map(|since| now.saturating_duration_since(*since)) {
            Some(waited) if waited < AWAIT_AGAIN => waited >= JUDGE_AFTER,
            _ => {
                self.since.insert(contact, now);
                false
            }
        }
    }

    fn park(&mut self, contact: PeerId, outer: Vec<u8>) {
        if self.waiting.iter().filter(|(of, _)| *of == contact).count() >= MAX_OF_ONE {
            let oldest = self.waiting.iter().position(|(of, _)| *of == contact);
            oldest.map(|at| self.waiting.remove(at));
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((contact, outer));
    }

    fn take(&mut self, contact: PeerId, now: Instant) -> Vec<Vec<u8>> {
        // From here on the known record counts, whether it is the newer one or that could not be had.
        self.since.insert(contact, now.checked_sub(JUDGE_AFTER).unwrap_or(now));
        let (taken, left) = std::mem::take(&mut self.waiting).into_iter().partition(|(of, _)| *of == contact);
        self.waiting = left;
        let taken: VecDeque<(PeerId, Vec<u8>)> = taken;
        taken.into_iter().map(|(_, outer)| outer).collect()
    }
}

/// Whether an envelope carries something of the contact protocol: that brings its record along.
fn brings_record(opened: &Opened) -> Result<bool, Reject> {
    let contact =
        |kind| matches!(kind, Kind::ContactRequest | Kind::ContactAccept | Kind::ContactReject | Kind::ContactRemove);
    Ok(opened.unverified_cores()?.iter().any(|core| Kind::parse(core.kind).is_some_and(contact)))
}

impl Judge {
    /// Whether an envelope of a known person has to wait for a newer record of its sender. `proved`: its signature is that
    /// of a device which the known record names.
    pub(super) fn waits(&self, row: &ContactRow, opened: &Opened, proved: bool, now: Instant) -> Result<bool, Reject> {
        if !row.state.may_talk() || brings_record(opened)? {
            return Ok(false);
        }
        let judged = self.parked.lock().unwrap_or_else(PoisonError::into_inner).judges(row.id, now);
        Ok(!(judged && proved))
    }

    /// Whether an envelope that names another record than is known under its number is refused, or waits for a newer one first;
    /// `None`: it brings its own.
    pub(super) fn refuses(&self, row: &ContactRow, opened: &Opened, now: Instant) -> Result<Option<bool>, Reject> {
        if !row.state.may_talk() || brings_record(opened)? {
            return Ok(None);
        }
        let refused = self.parked.lock().unwrap_or_else(PoisonError::into_inner).judges(row.id, now);
        if refused {
            tracing::warn!(often = "record", from = %row.account, "two records of one number: its messages wait for a newer one");
        }
        Ok(Some(refused))
    }

    /// Keeps an envelope until its sender's record was fetched.
    pub(super) fn park(&self, contact: PeerId, outer: Vec<u8>, proved: bool) -> Verdict {
        tracing::info!(often = "parked", %contact, "an envelope names a record that is not known here: waiting for it");
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).park(contact, outer);
        Verdict::Parked { contact, proved }
    }

    /// Forgets what waits of a contact: its record was fetched.
    #[cfg(test)]
    pub(crate) fn unpark(&self, contact: PeerId, now: Instant) {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).take(contact, now);
    }

    /// Forgets all.
    #[cfg(test)]
    pub(crate) fn forget_parked(&self) {
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = ParkingLot::default();
    }
}

impl Inbox {
    /// Takes again what waits of a contact: its record came, or could not be had. What still cannot be judged is dropped
    /// without a word; its sender has it.
    pub async fn retry_parked(&self, contact: PeerId) -> Vec<Taken> {
        let waiting = self.judge.parked.lock().unwrap_or_else(PoisonError::into_inner).take(contact, Instant::now());
        let mut out = Vec::new();
        for outer in waiting {
            if let Verdict::Taken(taken) = self.take_once(outer, Way::Link, false).await {
                out.push(taken);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_for_all_and_for_each() {
        let mut lot = ParkingLot::default();
        for n in 0..100 {
            lot.park(PeerId(1), vec![n]);
        }
        assert_eq!(lot.waiting.len(), MAX_OF_ONE);
        for contact in 2..100 {
            lot.park(PeerId(contact), Vec::new());
        }
        assert_eq!(lot.waiting.len(), MAX_WAITING);
        assert_eq!(lot.take(PeerId(99), Instant::now()).len(), 1);
        assert_eq!(lot.waiting.len(), MAX_WAITING - 1);
    }

    #[test]
    fn the_known_record_counts_after_a_while_and_the_newer_is_awaited_again() {
        let mut lot = ParkingLot::default();
        let begin = Instant::now();
        assert!(!lot.judges(PeerId(1), begin) && !lot.judges(PeerId(1), begin + JUDGE_AFTER / 2));
        assert!(lot.judges(PeerId(1), begin + JUDGE_AFTER));
        assert!(!lot.judges(PeerId(1), begin + AWAIT_AGAIN), "a newer one may be there now");
        assert!(!lot.judges(PeerId(2), begin));
        lot.take(PeerId(2), begin + JUDGE_AFTER);
        assert!(lot.judges(PeerId(2), begin + JUDGE_AFTER), "it was fetched, or could not be");
    }
}
