//! A chain of events: they come one after the other, and what they came to is asked here.
//!
//! Not the job: to judge them ([`super::fold`]).

use std::collections::HashMap;

use proto::group::{Act, GroupId, MAX_UNOPENED_BACK, Verified};
use proto::ids::{AccountId, DeviceId};

use super::apply::{self, Place};
use super::fold::{Bars, Entry, Judge, Keeper, World, chosen};
use super::judge::Refused;
use super::rules::{Rule, Rules};
use super::state::State;

/// A chain of events, and what it came to.
#[derive(Debug, Clone)]
pub struct Chain {
    entries: Vec<Entry>,
    numbers: HashMap<[u8; 32], u32>,
    world: World,
    kept: Keeper,
    bars: Vec<Bars>,
    distrusted: u32,
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
        let world = World::new(apply::begin(rules, group, body, &genesis, place));
        let kept = Keeper::new(world.clone());
        let entries = vec![Entry { place, event: Some(genesis), verdict: Ok(()) }];
        let numbers = HashMap::from([(place.hash, 0)]);
        Ok(Self { entries, numbers, world, kept, bars: Vec::new(), distrusted: 0 })
    }

    /// What it came to.
    pub fn state(&self) -> &State {
        &self.world.state
    }

    /// All events, by number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of the event whose entry has this hash.
    pub fn number_of(&self, hash: &[u8; 32]) -> Option<u32> {
        self.numbers.get(hash).copied()
    }

    /// No older key is sealed to: the newest end of a membership or device, and where it turned out that somebody who may have a
    /// seed never was a member.
    pub fn oldest_key(&self) -> u32 {
        self.world.state.floor.max(self.distrusted)
    }

    /// Keys from before an event are sealed to no more: for whoever stored [`Chain::oldest_key`], and reads the chain anew.
    pub fn distrust(&mut self, number: u32) {
        self.distrusted = self.distrusted.max(number);
    }

    /// Numbers of events that cannot be opened here: what the next event of an owner or admin lists. What lies before its own last
    /// event is settled, and so is what is too old.
    pub fn unopened(&self, by: AccountId) -> Vec<u32> {
        let state = &self.world.state;
        let acted = state.members.get(&by).map_or(0, |member| member.acted);
        let first = state.next.saturating_sub(MAX_UNOPENED_BACK).max(acted + 1);
        let closed = self.entries.iter().zip(0..).filter(|(entry, number)| entry.event.is_none() && *number >= first);
        closed.map(|(_, number)| number).collect()
    }

    /// The next event of the log; `None` if it cannot be opened, or its content does not hold.
    ///
    /// # Errors
    /// Why it does not count. It has its place nevertheless.
    pub fn append(&mut self, place: Place, event: Option<Verified>) -> Result<(), Refused> {
        let number = self.world.state.next;
        self.numbers.entry(place.hash).or_insert(number);
        self.entries.push(Entry { place, event, verdict: Err(Refused::Unopened) });
        self.step();
        if !self.world.state.rules.hold(Rule::AtItsPlace) {
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
            let before = self.world.state.spans.clone();
            self.again();
            // Who is no member now, and looked like one when a key was made that may be sealed to, may have its seed.
            let state = &self.world.state;
            if before.lasted_beyond(state.floor).any(|(account, device)| !state.has(account, device)) {
                self.distrusted = state.next;
            }
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

    fn step(&mut self) {
        let judge = Judge { entries: &self.entries, bars: &self.bars, kept: &self.kept };
        judge.step(&mut self.world);
        for (verdict, number) in self.world.verdicts.iter().zip(self.world.from as usize..) {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.verdict = *verdict;
            }
        }
        self.kept.keep(&self.world);
    }

    /// From the beginning.
    fn again(&mut self) {
        let State { rules, group, .. } = self.world.state;
        let judged_by = self.world.state.judged_by.take();
        let Some(Entry { place, event: Some(genesis), .. }) = self.entries.first() else { return };
        let Act::Genesis(body) = &genesis.event().act else { return };
        let mut state = apply::begin(rules, group, body, genesis, *place);
        state.judged_by = judged_by;
        chosen(&self.bars, &mut state);
        self.world = World::new(state);
        self.kept = Keeper::new(self.world.clone());
        while usize::try_from(self.world.state.next).is_ok_and(|next| next < self.entries.len()) {
            self.step();
        }
    }

    /// The control of a test: by the roles of the newest state.
    fn judge_at_the_head(&mut self) {
        self.world.state.judged_by = None;
        self.again();
        self.world.state.judged_by = Some((self.world.state.owner, self.world.state.admins.clone()));
        self.again();
    }
}
