//! One event after the other, and what events say of others that their authors could not open.
//!
//! An event that cannot be opened keeps its place and counts for nothing. When it can be opened after all, it counts from its
//! place on, and what came behind is judged again; unless somebody above its author has said meanwhile that he could not open
//! it ([`Event::unopened`](proto::group::Event)). So nobody commits now and reveals later.
//!
//! That word is judged in the world without what it names (decisions/0060, 0053): `y` lists some `x`; all is folded to `y` as if no `x`
//! could be opened, and other such words in between are judged anew, each in a world of its own. If the author of `y` is owner there, or an admin who was above the author of `x`
//! when `x` was made, that world is the one that goes on, for whoever can open `x` as well. Otherwise an owner who hands over in
//! a hidden event, and then openly to somebody else, would take the group back by revealing the first.

use std::collections::{BTreeMap, BTreeSet};

use proto::group::{Act, MAX_UNOPENED_BACK, Verified};
use proto::ids::{AccountId, DeviceId};

use super::apply::{self, Place};
use super::judge::{self, Refused};
use super::rules::Rule;
use super::state::{Rank, State};

/// How often a list of unopened events is judged again without those that it may not name.
const ROUNDS: usize = 3;
/// Worlds that are made for what one event says, those within others among them, and events that are folded in them. If more are needed, all is heard in one world together ([`TURNS`]): a flood of such words must neither keep an honest one from
/// being heard, nor stop everybody.
pub(super) const WORLDS: [usize; 2] = [64, 4_096];
/// Words between a hidden event and what is said of it that are judged so.
pub(super) const DEEP: usize = 6;
/// How often words in between are heard otherwise, while one list is judged; then they stay as they are. Only who has the right to
/// void something can bring that about, once for each event.
const TURNS: usize = 64;
/// A state is kept every so many events, so that judging anew begins near.
const KEPT_EVERY: u32 = 512;
/// So many of these, and the first.
const KEPT: usize = 6;

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
    pub(super) fn names(&self, account: AccountId, device: DeviceId) -> bool {
        self.accounts.contains(&account) || self.devices.contains(&(account, device))
    }
}

/// What a chain, or a part of it, came to.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub state: State,
    /// Which events void which others, whether these can be opened or not.
    pub void: BTreeMap<u32, BTreeSet<u32>>,
    /// The event from which on it may differ from the world before.
    pub from: u32,
    /// Which events count from there on.
    pub verdicts: Vec<Result<(), Refused>>,
}

impl World {
    /// With nothing void.
    pub fn new(state: State) -> Self {
        let from = state.next;
        Self { state, void: BTreeMap::new(), from, verdicts: Vec::new() }
    }

    fn hides(&self, number: u32) -> bool {
        self.void.values().any(|void| void.contains(&number))
    }
}

/// Worlds from which judging anew begins, the first one among them.
#[derive(Debug, Clone)]
pub(super) struct Keeper(Vec<World>);

impl Keeper {
    pub fn new(first: World) -> Self {
        Self(vec![first])
    }

    /// Keeps a world from time to time. What was kept of the one before it is void where they part.
    pub fn keep(&mut self, world: &World) {
        self.0.retain(|kept| kept.state.next <= world.from || kept.state.next == 1);
        let last = self.0.last().map_or(0, |kept| kept.state.next);
        if world.state.next >= last + KEPT_EVERY {
            if self.0.len() > KEPT {
                self.0.remove(1);
            }
            let (state, void, from) = (world.state.clone(), world.void.clone(), world.state.next);
            self.0.push(World { state, void, from, verdicts: Vec::new() });
        }
    }

    /// The newest from before an event; the first one if they do not reach back so far.
    fn before(&self, number: u32) -> World {
        self.0.iter().rev().find(|kept| kept.state.next <= number).unwrap_or(&self.0[0]).clone()
    }
}

/// What is taken for void on the way into worlds within others, by whose word, and the first event of it.
#[derive(Debug, Clone)]
struct Assumed {
    void: BTreeMap<u32, BTreeSet<u32>>,
    low: u32,
}

/// More than [`WORLDS`] would be needed.
#[derive(Debug)]
struct TooMany;

/// Judges a chain.
pub(super) struct Judge<'a> {
    pub entries: &'a [Entry],
    pub bars: &'a [Bars],
    pub kept: &'a Keeper,
}

impl Judge<'_> {
    /// One event further: what it says of others is looked at first, which may change the world that it is judged in.
    pub fn step(&self, world: &mut World) {
        (world.from, world.verdicts) = (world.state.next, Vec::new());
        let nothing = Assumed { void: BTreeMap::new(), low: u32::MAX };
        let judged = self.settle(world, |listed| {
            let number = world.state.next;
            let apart = self.without(world, number, listed, &nothing, &mut [0, 0]);
            Ok(apart.unwrap_or_else(|TooMany| self.without_at_once(world, number, listed)))
        });
        if let Ok(Some(other)) = judged {
            *world = other;
        }
        self.one(world);
    }

    fn event(&self, number: u32) -> Option<&Verified> {
        self.entries.get(number as usize).and_then(|entry| entry.event.as_ref())
    }

    /// The next event, by what the state says.
    fn one(&self, world: &mut World) {
        let number = world.state.next;
        let Some(entry) = self.entries.get(number as usize) else { return };
        let hidden = world.hides(number);
        world.verdicts.push(fold(&mut world.state, entry, hidden, self.bars));
    }

    /// What the next event says of those before it, if that makes another world: without all that it names, and with such words in
    /// between judged anew.
    fn settle(
        &self,
        world: &World,
        mut without: impl FnMut(&BTreeSet<u32>) -> Result<World, TooMany>,
    ) -> Result<Option<World>, TooMany> {
        let number = world.state.next;
        let Some(mut listed) = self.listed(world, number) else { return Ok(None) };
        for _ in 0..ROUNDS {
            let other = without(&listed)?;
            let allowed = self.allowed(&other, number, &listed);
            if allowed == listed {
                return Ok(Some(other));
            }
            // What cannot be opened here counts for nothing anyway, and is looked at when it can be.
            if !allowed.iter().any(|at| self.event(*at).is_some()) {
                return Ok(None);
            }
            listed = allowed;
        }
        Ok(None)
    }

    /// Whether an event names any that can be opened.
    fn speaks(&self, number: u32) -> bool {
        self.event(number)
            .is_some_and(|event| event.event().unopened.iter().any(|at| *at < number && self.event(*at).is_some()))
    }

    /// What an event names that is not void yet, if any of it can be opened.
    fn listed(&self, world: &World, number: u32) -> Option<BTreeSet<u32>> {
        let event = self.event(number)?.event();
        if event.unopened.is_empty() || !world.state.rules.hold(Rule::Unopened) || world.hides(number) {
            return None;
        }
        let near = |at: &u32| *at > 0 && *at < number && *at + MAX_UNOPENED_BACK >= number;
        let listed: BTreeSet<u32> = event.unopened.iter().copied().filter(|at| near(at) && !world.hides(*at)).collect();
        listed.iter().any(|at| self.event(*at).is_some()).then_some(listed)
    }

    /// The world before event `number`, as if what it names could not be opened: the same that those come to who cannot open it.
    fn without(
        &self,
        world: &World,
        number: u32,
        listed: &BTreeSet<u32>,
        assumed: &Assumed,
        made: &mut [usize; 2],
    ) -> Result<World, TooMany> {
        let mut assumed = assumed.clone();
        assumed.low = assumed.low.min(listed.first().copied().unwrap_or(number));
        let begin = self.kept.before(assumed.low);
        *made = [made[0] + 1, made[1] + number.saturating_sub(begin.state.next) as usize];
        // Each word in between doubles the worlds: what cannot be done is not begun.
        let words = (assumed.low..number).filter(|at| self.speaks(*at)).take(DEEP + 1).count();
        if made[0] > WORLDS[0] || made[1] > WORLDS[1] || words > DEEP {
            return Err(TooMany);
        }
        assumed.void.insert(number, listed.clone());
        let mut again = begin;
        // What was settled before the first of them is settled there as well.
        again.void = world.void.range(..assumed.low).map(|(by, void)| (*by, void.clone())).collect();
        again.void.extend(assumed.void.clone());
        while again.state.next < number {
            if again.state.next >= assumed.low {
                let between = again.state.next;
                let judged = self.settle(&again, |listed| self.without(&again, between, listed, &assumed, made))?;
                again = judged.unwrap_or(again);
            }
            self.one(&mut again);
        }
        Ok(again)
    }

    /// The same in one world. Words in between that void something are dropped if their authors had no right to them there, and those
    /// that did not are heard if they have.
    fn without_at_once(&self, world: &World, number: u32, listed: &BTreeSet<u32>) -> World {
        let mut void = world.void.clone();
        void.insert(number, listed.clone());
        let mut low = listed.first().copied().unwrap_or(number);
        let mut dropped = BTreeSet::new();
        for turn in 0..=TURNS {
            let mut again = self.kept.before(low);
            again.void.clone_from(&void);
            let mut changed = None;
            while again.state.next < number {
                let at = again.state.next;
                if at >= low && turn < TURNS {
                    changed = self.heard_otherwise(&again, at, dropped.contains(&at));
                    if changed.is_some() {
                        break;
                    }
                }
                self.one(&mut again);
            }
            let Some((at, heard)) = changed else { return again };
            let first = heard.as_ref().or(void.get(&at)).and_then(|some| some.first().copied());
            low = low.min(first.unwrap_or(at));
            match heard {
                Some(heard) => drop(void.insert(at, heard)),
                None => {
                    void.remove(&at);
                    dropped.insert(at);
                }
            }
        }
        world.clone()
    }

    /// Whether what an event says of others is to be heard otherwise in a world than it is: what it voids there, or that it voids
    /// nothing. What owner or admin say is heard first, and judged in the world that this makes.
    fn heard_otherwise(&self, world: &World, at: u32, dropped: bool) -> Option<(u32, Option<BTreeSet<u32>>)> {
        if let Some(void) = world.void.get(&at) {
            let allowed = self.allowed(world, at, void);
            if allowed == *void && !world.hides(at) {
                return None;
            }
            let some = allowed.iter().any(|at| self.event(*at).is_some()) && !world.hides(at);
            return Some((at, some.then_some(allowed)));
        }
        let by = self.event(at)?.event().author;
        let heard = !dropped && world.state.rank(by).is_boss();
        heard.then(|| self.listed(world, at)).flatten().map(|listed| (at, Some(listed)))
    }

    /// Which of some events the author of the world's next event may void. None if the author is neither owner nor admin, or the
    /// event does not count.
    fn allowed(&self, world: &World, number: u32, listed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let Some(verified) = self.event(number) else { return BTreeSet::new() };
        let (state, by) = (&world.state, verified.event().author);
        let rank = state.rank(by);
        if !rank.is_boss() || judge::judge(state, verified).is_err() {
            return BTreeSet::new();
        }
        let below = if rank == Rank::OWNER { BTreeSet::new() } else { self.below(world, by, listed) };
        let acted = state.members.get(&by).map_or(0, |member| member.acted);
        let confirms = matches!(verified.event().act, Act::Confirm { .. });
        let may = |at: &u32| {
            let Some(event) = self.event(*at).map(Verified::event) else { return true };
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

    /// Which of some events had an author below `by` when they were made, in a world.
    fn below(&self, world: &World, by: AccountId, listed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut below = BTreeSet::new();
        let first = listed.first().copied().unwrap_or(0);
        let mut again = self.kept.before(world.from.min(first));
        again.void.clone_from(&world.void);
        while listed.last().is_some_and(|last| again.state.next <= *last) {
            let number = again.state.next;
            if listed.contains(&number) {
                let author = self.event(number).map(|event| event.event().author);
                let rank = author.map_or(Rank::NONE, |author| again.state.rank(author));
                below.extend((again.state.rank(by) < rank).then_some(number));
            }
            self.one(&mut again);
        }
        below
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
pub(super) fn chosen(bars: &[Bars], state: &mut State) {
    if bars.iter().any(|bars| bars.chosen == state.next) {
        state.floor = state.next;
    }
}
