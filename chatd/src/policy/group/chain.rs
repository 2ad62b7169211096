//! The fold: events in the order of the log, each judged in the state before it.
//!
//! An event that cannot be opened keeps its place and counts for nothing. When it can be opened after all, it counts from its
//! place on, and what came behind is judged again; unless somebody above its author has said meanwhile that he could not open
//! it ([`Event::unopened`](proto::group::Event)). So nobody commits now and reveals later.
//!
//! A word that something could not be opened is judged in the world without that: `y` lists `x`; if in the state without `x` the
//! author of `y` is owner, or is an admin and was above the author of `x` when `x` was made, then `x` never counts, for whoever
//! can open it as well. Otherwise an owner who hands over in a hidden event, and then openly to somebody else, would take the
//! group back by revealing the first. Nobody voids his own events by it, nor anything from before his own last one, nor votes.

use std::collections::{BTreeSet, HashMap};

use proto::group::{Act, GroupId, MAX_UNOPENED_BACK, Verified};
use proto::ids::{AccountId, DeviceId};

use super::apply::{self, Place};
use super::judge::{self, Refused};
use super::rules::{Rule, Rules};
use super::state::{Rank, State};

/// How often a list of unopened events is judged again without those that it may not name.
const ROUNDS: usize = 3;
/// A state is kept every so many events, so that judging anew begins near.
const KEPT_EVERY: u32 = 512;
/// So many of these: they reach back further than a list of unopened events may.
const KEPT: usize = 4;

/// An event in its place.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// What it says, if it can be opened.
    pub event: Option<Verified>,
    /// Whether it counts.
    pub verdict: Result<(), Refused>,
}

/// Who authors nothing that counts from some event on, because another branch of the log ended it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bars {
    /// The first event that the branches do not share.
    pub from: u32,
    /// The first entry of the log that they do not share.
    pub from_entry: u64,
    /// The first event that was not there when the branch was chosen: no older key is sealed to.
    pub chosen: u32,
    /// These accounts.
    pub accounts: BTreeSet<AccountId>,
    /// These devices.
    pub devices: BTreeSet<(AccountId, DeviceId)>,
}

impl Bars {
    fn names(&self, account: AccountId, device: DeviceId) -> bool {
        self.accounts.contains(&account) || self.devices.contains(&(account, device))
    }
}

/// A chain of events, and what it came to.
#[derive(Debug, Clone)]
pub struct Chain {
    entries: Vec<Entry>,
    numbers: HashMap<[u8; 32], u32>,
    state: State,
    hidden: BTreeSet<u32>,
    bars: Vec<Bars>,
    kept: Vec<State>,
}

impl Chain {
    /// Begins with a genesis, as it was verified.
    ///
    /// # Errors
    /// When it is none, or brings no key.
    pub fn begin(rules: Rules, group: GroupId, genesis: Verified, place: Place) -> Result<Self, Refused> {
        let Act::Genesis(body) = &genesis.event().act else { return Err(Refused::Genesis) };
        if genesis.event().key.is_none() {
            return Err(Refused::Key);
        }
        let state = apply::begin(rules, group, body, &genesis, place);
        let kept = vec![state.clone()];
        Ok(Self {
            entries: vec![Entry { place, event: Some(genesis), verdict: Ok(()) }],
            numbers: HashMap::from([(place.hash, 0)]),
            state,
            hidden: BTreeSet::new(),
            bars: Vec::new(),
            kept,
        })
    }

    /// What it came to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// All events, by number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of the event whose entry has this hash.
    pub fn number_of(&self, hash: &[u8; 32]) -> Option<u32> {
        self.numbers.get(hash).copied()
    }

    /// Numbers of events that cannot be opened here: what the next event of an owner or admin lists. What lies before its own last
    /// event is settled, and so is what is too old.
    pub fn unopened(&self, by: AccountId) -> Vec<u32> {
        let acted = self.state.members.get(&by).map_or(0, |member| member.acted);
        let first = self.state.next.saturating_sub(MAX_UNOPENED_BACK).max(acted + 1);
        let closed = self.entries.iter().zip(0..).filter(|(entry, number)| entry.event.is_none() && *number >= first);
        closed.map(|(_, number)| number).collect()
    }

    /// The next event of the log; `None` if it cannot be opened, or its content does not hold.
    ///
    /// # Errors
    /// Why it does not count. It has its place nevertheless.
    pub fn append(&mut self, place: Place, event: Option<Verified>) -> Result<(), Refused> {
        let number = self.state.next;
        self.numbers.entry(place.hash).or_insert(number);
        self.entries.push(Entry { place, event, verdict: Err(Refused::Unopened) });
        self.step();
        if !self.state.rules.hold(Rule::AtItsPlace) {
            self.judge_at_the_head();
        }
        self.entries.last().map_or(Err(Refused::Unopened), |entry| entry.verdict)
    }

    /// Events that can be opened now, by number. All that came behind the first of them is judged again.
    pub fn open(&mut self, opened: impl IntoIterator<Item = (u32, Verified)>) {
        let mut any = false;
        for (number, event) in opened {
            let entry = usize::try_from(number).ok().and_then(|at| self.entries.get_mut(at));
            if let Some(entry) = entry.filter(|entry| entry.event.is_none()) {
                entry.event = Some(event);
                any = true;
            }
        }
        if any {
            self.again();
        }
    }

    /// A branch was chosen: whoever was ended in another authors nothing more.
    pub fn bar(&mut self, bars: Bars) {
        self.bars.push(bars);
        self.again();
    }

    /// Whether what an account's device left at an entry of the log is behind a fork that ended it.
    pub(super) fn is_barred(&self, entry: u64, account: AccountId, device: DeviceId) -> bool {
        self.bars.iter().any(|bars| entry >= bars.from_entry && bars.names(account, device))
    }

    /// From the beginning.
    fn again(&mut self) {
        let (rules, group, judged_by) = (self.state.rules, self.state.group, self.state.judged_by.take());
        let Some(Entry { place, event: Some(genesis), .. }) = self.entries.first() else { return };
        let Act::Genesis(body) = &genesis.event().act else { return };
        self.state = apply::begin(rules, group, body, genesis, *place);
        self.state.judged_by = judged_by;
        chosen(&self.bars, &mut self.state);
        self.kept = vec![self.state.clone()];
        self.hidden.clear();
        while usize::try_from(self.state.next).is_ok_and(|next| next < self.entries.len()) {
            self.step();
        }
    }

    /// The control of a test: by the roles of the newest state.
    fn judge_at_the_head(&mut self) {
        self.state.judged_by = None;
        self.again();
        self.state.judged_by = Some((self.state.owner, self.state.admins.clone()));
        self.again();
    }

    /// Judges the event whose turn it is. What it says of others before it is looked at first: that may change the state that it is
    /// judged in.
    fn step(&mut self) {
        let number = self.state.next;
        let listed = self.listed(number);
        if self.state.rules.hold(Rule::Unopened) {
            self.settle(number, listed);
        }
        self.advance();
    }

    /// One event further.
    fn advance(&mut self) {
        let number = self.state.next;
        let Some(entry) = self.entries.get_mut(number as usize) else { return };
        entry.verdict = fold(&mut self.state, entry, self.hidden.contains(&number), &self.bars);
        if number.is_multiple_of(KEPT_EVERY) {
            if self.kept.len() == KEPT {
                self.kept.remove(0);
            }
            self.kept.push(self.state.clone());
        }
    }

    /// What an event says that its author could not open, as far back as it may.
    fn listed(&self, number: u32) -> BTreeSet<u32> {
        let event = self.entries.get(number as usize).and_then(|entry| entry.event.as_ref());
        let listed = event.map_or(&[][..], |event| &event.event().unopened);
        let near = |listed: &u32| *listed > 0 && *listed < number && *listed + MAX_UNOPENED_BACK >= number;
        listed.iter().copied().filter(|listed| near(listed) && !self.hidden.contains(listed)).collect()
    }

    /// Accepts or ignores what event `number` says of those before it.
    fn settle(&mut self, number: u32, mut listed: BTreeSet<u32>) {
        for _ in 0..ROUNDS {
            // What cannot be opened here counts for nothing anyway, and is looked at when it can be.
            let opened = |at: &u32| self.entries.get(*at as usize).is_some_and(|entry| entry.event.is_some());
            if !listed.iter().any(opened) {
                return;
            }
            let allowed = self.allowed(number, &listed);
            if allowed == listed {
                let first = listed.first().copied().unwrap_or(number);
                self.hidden.extend(listed);
                self.kept.retain(|kept| kept.next <= first);
                if let Some(state) = self.kept.last() {
                    self.state = state.clone();
                }
                // What lies between was judged with them.
                while self.state.next < number {
                    self.advance();
                }
                return;
            }
            listed = allowed;
        }
    }

    /// Which of some events before it the author of event `number` may void: judged in the state without any of them. None if the
    /// author is neither owner nor admin there, or the event does not count.
    fn allowed(&self, number: u32, listed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let Some(verified) = self.entries.get(number as usize).and_then(|entry| entry.event.as_ref()) else {
            return BTreeSet::new();
        };
        let by = verified.event().author;
        let first = listed.first().copied().unwrap_or(number);
        let Some(kept) = self.kept.iter().rev().find(|kept| kept.next <= first) else { return BTreeSet::new() };
        let mut state = kept.clone();
        let mut below = BTreeSet::new();
        while state.next < number {
            let at = state.next;
            let Some(entry) = self.entries.get(at as usize) else { return BTreeSet::new() };
            let skip = listed.contains(&at);
            if skip
                && state.rank(by) < entry.event.as_ref().map_or(Rank::NONE, |event| state.rank(event.event().author))
            {
                below.insert(at);
            }
            let _ = fold(&mut state, entry, skip || self.hidden.contains(&at), &self.bars);
        }
        let rank = state.rank(by);
        if !rank.is_boss() || judge::judge(&state, verified).is_err() {
            return BTreeSet::new();
        }
        let acted = state.members.get(&by).map_or(0, |member| member.acted);
        let confirms = matches!(verified.event().act, Act::Confirm { .. });
        let may = |at: &u32| {
            let Some(event) = self.entries.get(*at as usize).and_then(|entry| entry.event.as_ref()) else {
                return true;
            };
            let event = event.event();
            let above = event.author != by && (rank == Rank::OWNER || below.contains(at));
            let settled = match event.act {
                Act::Elect { .. } | Act::Confirm { .. } => true,
                Act::Reclaim => !confirms,
                _ => false,
            };
            *at > acted && above && !settled
        };
        listed.iter().copied().filter(may).collect()
    }
}

/// Judges one event and carries it out if it counts.
fn fold(state: &mut State, entry: &Entry, hidden: bool, bars: &[Bars]) -> Result<(), Refused> {
    let verdict = match &entry.event {
        None => Err(Refused::Unopened),
        Some(_) if hidden => Err(Refused::Hidden),
        Some(event) => {
            let ended = |bars: &Bars| state.next >= bars.from && bars.names(event.event().author, event.device());
            if bars.iter().any(ended) { Err(Refused::Barred) } else { judge::judge(state, event) }
        }
    };
    match (&verdict, &entry.event) {
        (Ok(()), Some(event)) => apply::apply(state, event, entry.place),
        _ => apply::pass(state, entry.place),
    }
    chosen(bars, state);
    verdict
}

/// After a choice between branches nothing is sealed to what was before it.
fn chosen(bars: &[Bars], state: &mut State) {
    if bars.iter().any(|bars| bars.chosen == state.next) {
        state.floor = state.next;
    }
}
