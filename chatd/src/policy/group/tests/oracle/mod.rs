//! What should have come of a chain, worked out in another way: nothing is kept, everything is looked for in the events before.

mod judge;

use std::collections::{BTreeMap, BTreeSet};

use proto::directory::Device;
use proto::group::{Act, Event, GroupType};
use proto::ids::{AccountId, DeviceId};

use super::super::apply::Place;
use super::super::fold::{DEEP, WORLDS};
use super::super::messages::Sent;
use super::super::rules::Limits;

/// An event as the one who made the chain knows it; `None` if it is a forgery.
#[derive(Clone)]
pub struct Fact {
    pub place: Place,
    pub event: Option<Event>,
}

pub struct Oracle<'f> {
    facts: &'f [Fact],
    limits: Limits,
    skip: BTreeSet<usize>,
    pub counted: Vec<bool>,
    /// Before each event.
    owners: Vec<Option<AccountId>>,
    bosses: Vec<Vec<AccountId>>,
}

/// Who may vote.
type Electors = Vec<(AccountId, Vec<Device>)>;

type Void = BTreeMap<usize, BTreeSet<usize>>;

fn all(void: &Void) -> BTreeSet<usize> {
    void.values().flatten().copied().collect()
}

/// What an event names that is not void, if any of it can be opened.
fn names(facts: &[Fact], void: &Void, at: usize) -> Option<BTreeSet<usize>> {
    let event = facts[at].event.as_ref()?;
    let void = all(void);
    let open = |n: &usize| *n > 0 && *n < at && !void.contains(n);
    let named: BTreeSet<usize> = event.unopened.iter().map(|n| *n as usize).filter(open).collect();
    (!void.contains(&at) && named.iter().any(|n| facts[*n].event.is_some())).then_some(named)
}

impl<'f> Oracle<'f> {
    /// With what events say of others before them.
    pub fn of(facts: &'f [Fact], limits: Limits) -> Self {
        let void = Self::void(facts, limits, facts.len());
        Self::plain(facts, limits, all(&void))
    }

    fn void(facts: &'f [Fact], limits: Limits, end: usize) -> Void {
        let mut void = Void::new();
        for at in 1..end {
            let nothing = Void::new();
            let other = Self::hear(facts, &void, at, |listed| {
                let apart = Self::apart(facts, limits, &void, at, listed, (&nothing, usize::MAX), &mut [0, 0]);
                Some(apart.unwrap_or_else(|| Self::without(facts, limits, &void, at, listed)))
            });
            void = other.flatten().unwrap_or(void);
        }
        void
    }

    /// The world without some events, and those of other words in it; `None`: there are too many.
    fn apart(
        facts: &'f [Fact],
        limits: Limits,
        void: &Void,
        at: usize,
        listed: &BTreeSet<usize>,
        (given, low): (&Void, usize),
        made: &mut [usize; 2],
    ) -> Option<(Void, Self)> {
        let low = low.min(*listed.first().unwrap());
        *made = [made[0] + 1, made[1] + at - 1];
        let words = (low..at).filter(|at| names(facts, &Void::new(), *at).is_some()).count();
        if made[0] > WORLDS[0] || made[1] > WORLDS[1] || words > DEEP {
            return None;
        }
        let mut given = given.clone();
        given.insert(at, listed.clone());
        let mut other: Void = void.clone().into_iter().filter(|(by, _)| *by < low).collect();
        other.extend(given.clone());
        for between in low..at {
            let next = Self::hear(facts, &other, between, |listed| {
                Self::apart(facts, limits, &other, between, listed, (&given, low), made)
            })?;
            other = next.unwrap_or(other);
        }
        let trial = Self::plain(&facts[..=at], limits, all(&other));
        Some((other, trial))
    }

    /// What is void after event `at`, if that is something else; `None`: it takes too many worlds.
    fn hear(
        facts: &'f [Fact],
        void: &Void,
        at: usize,
        mut without: impl FnMut(&BTreeSet<usize>) -> Option<(Void, Self)>,
    ) -> Option<Option<Void>> {
        let Some(mut listed) = names(facts, void, at) else { return Some(None) };
        for _ in 0..3 {
            let (other, trial) = without(&listed)?;
            let good: BTreeSet<usize> = listed.iter().copied().filter(|n| trial.may_hide(at, *n)).collect();
            if good == listed {
                return Some(Some(other));
            }
            if good.iter().all(|n| facts[*n].event.is_none()) {
                return Some(None);
            }
            listed = good;
        }
        Some(None)
    }

    /// Until nothing changes: the first word in between that is to be heard otherwise is.
    fn without(facts: &'f [Fact], limits: Limits, void: &Void, at: usize, listed: &BTreeSet<usize>) -> (Void, Self) {
        let mut other = void.clone();
        other.insert(at, listed.clone());
        let mut low = *listed.first().unwrap();
        let mut dropped = BTreeSet::new();
        loop {
            let trial = Self::plain(&facts[..=at], limits, all(&other));
            let mut change = None;
            for between in low..at {
                // In the world up to there, as it is heard so far.
                let hidden = all(&other).contains(&between);
                if let Some(void) = other.get(&between) {
                    let good: BTreeSet<_> = void.iter().copied().filter(|n| trial.may_hide(between, *n)).collect();
                    let first = *void.first().unwrap();
                    if hidden || good.iter().all(|n| facts[*n].event.is_none()) {
                        change = Some((between, None, first));
                    } else if good != *void {
                        change = Some((between, Some(good), first));
                    }
                } else if !dropped.contains(&between)
                    && trial.author(between).is_some_and(|by| trial.bosses[between].contains(&by))
                    && let Some(named) = names(facts, &other, between)
                {
                    let first = *named.first().unwrap();
                    change = Some((between, Some(named), first));
                }
                if change.is_some() {
                    break;
                }
            }
            match change {
                None => return (other, trial),
                Some((between, Some(good), first)) => {
                    low = low.min(first);
                    other.insert(between, good);
                }
                Some((between, None, first)) => {
                    low = low.min(first);
                    other.remove(&between);
                    dropped.insert(between);
                }
            }
        }
    }

    fn may_hide(&self, at: usize, other: usize) -> bool {
        let Some(event) = &self.facts[at].event else { return false };
        let by = event.author;
        if !self.counted[at] || !self.bosses[at].contains(&by) {
            return false;
        }
        let Some(hidden) = &self.facts[other].event else { return true };
        let votes = matches!(hidden.act, Act::Elect { .. } | Act::Confirm { .. });
        let reclaim = matches!(hidden.act, Act::Reclaim) && !matches!(event.act, Act::Confirm { .. });
        let place = |who: AccountId| self.bosses[other].iter().position(|boss| *boss == who).unwrap_or(99);
        let above = self.owners[at] == Some(by) || place(by) < place(hidden.author);
        let came = self.last_add(by, at).unwrap_or(0);
        let said = (0..at).rev().find(|n| self.counted[*n] && self.author(*n) == Some(by)).unwrap_or(0).max(came);
        other > said && hidden.author != by && above && !votes && !reclaim
    }

    /// With some events left out.
    pub fn plain(facts: &'f [Fact], limits: Limits, skip: BTreeSet<usize>) -> Self {
        let mut oracle = Self { facts, limits, skip, counted: vec![], owners: vec![], bosses: vec![] };
        for at in 0..facts.len() {
            let owner = oracle.find_owner(at);
            oracle.owners.push(owner);
            let admins = oracle.find_admins(at);
            oracle.bosses.push(owner.into_iter().chain(admins).collect());
            let counts = at == 0 || !oracle.skip.contains(&at) && oracle.judge(at);
            oracle.counted.push(counts);
        }
        let owner = oracle.find_owner(facts.len());
        oracle.owners.push(owner);
        let admins = oracle.find_admins(facts.len());
        oracle.bosses.push(owner.into_iter().chain(admins).collect());
        oracle
    }

    fn act(&self, at: usize) -> Option<&'f Act> {
        self.facts[at].event.as_ref().map(|event| &event.act)
    }

    fn author(&self, at: usize) -> Option<AccountId> {
        self.facts[at].event.as_ref().map(|event| event.author)
    }

    /// Events that counted, the newest before `at` first.
    fn back(&self, at: usize) -> impl Iterator<Item = (usize, AccountId, &'f Act)> {
        let counted = (0..at).rev().filter(|n| self.counted[*n]);
        counted.filter_map(|n| self.facts[n].event.as_ref().map(|event| (n, event.author, &event.act)))
    }

    fn kind(&self) -> GroupType {
        match self.act(0) {
            Some(Act::Genesis(genesis)) => genesis.kind,
            _ => GroupType::Group,
        }
    }

    fn last_add(&self, who: AccountId, at: usize) -> Option<usize> {
        self.back(at).find(|(_, author, act)| adds(*author, act).contains(&who)).map(|(n, ..)| n)
    }

    fn is_member(&self, who: AccountId, at: usize) -> bool {
        for (_, author, act) in self.back(at) {
            if adds(author, act).contains(&who) {
                return true;
            }
            if matches!(act, Act::Remove(gone) | Act::Ban(gone) if *gone == who)
                || matches!(act, Act::Leave { .. }) && author == who
            {
                return false;
            }
        }
        false
    }

    /// By seniority.
    pub fn members(&self, at: usize) -> Vec<AccountId> {
        let mut members = Vec::new();
        for n in (0..at).filter(|n| self.counted[*n]) {
            let (Some(author), Some(act)) = (self.author(n), self.act(n)) else { continue };
            let new = adds(author, act).into_iter();
            members.extend(new.filter(|who| self.last_add(*who, at) == Some(n) && self.is_member(*who, at)));
        }
        members
    }

    fn find_owner(&self, at: usize) -> Option<AccountId> {
        for (n, author, act) in self.back(at) {
            match act {
                Act::Genesis(_) | Act::Reclaim => return Some(author),
                Act::Handover(next) | Act::Elect { candidate: next, .. } => return Some(*next),
                Act::Leave { successor, .. } if self.owners[n] == Some(author) => {
                    let admin = || self.bosses[n].get(1).copied();
                    let member = || self.members(n).into_iter().find(|who| *who != author);
                    return successor.or_else(admin).or_else(member);
                }
                _ => {}
            }
        }
        None
    }

    pub fn owner(&self, at: usize) -> Option<AccountId> {
        self.owners[at]
    }

    fn find_admins(&self, at: usize) -> Vec<AccountId> {
        let mut admins = Vec::new();
        for n in (0..at).filter(|n| self.counted[*n]) {
            match self.act(n) {
                Some(Act::Promote(who)) => admins.push(*who),
                Some(Act::Demote(who) | Act::Remove(who) | Act::Ban(who)) => admins.retain(|admin| admin != who),
                Some(Act::Leave { .. }) => admins.retain(|admin| Some(*admin) != self.author(n)),
                _ => {}
            }
            let owner = if n + 1 == at { self.find_owner(at) } else { self.owners[n + 1] };
            admins.retain(|admin| Some(*admin) != owner);
        }
        admins
    }

    pub fn admins(&self, at: usize) -> &[AccountId] {
        self.bosses[at].get(1..).unwrap_or(&[])
    }

    pub fn is_banned(&self, who: AccountId, at: usize) -> bool {
        let word = self.back(at).find(|(_, _, act)| matches!(act, Act::Ban(x) | Act::Unban(x) if *x == who));
        matches!(word, Some((_, _, Act::Ban(_))))
    }

    /// The event that last ended a membership.
    fn end(&self, who: AccountId, at: usize) -> Option<usize> {
        let ends = |n: usize, author: AccountId, act: &Act| match act {
            Act::Leave { .. } => author == who,
            Act::Remove(gone) | Act::Ban(gone) => *gone == who && self.is_member(who, n),
            _ => false,
        };
        self.back(at).find(|(n, author, act)| ends(*n, *author, act)).map(|(n, ..)| n)
    }

    fn list(&self, who: AccountId, at: usize) -> (u64, Vec<Device>) {
        for (_, author, act) in self.back(at) {
            let list = match act {
                Act::Devices(devices) if author == who => Some(&devices.list),
                Act::Genesis(genesis) if author == who => Some(&genesis.founder.list),
                Act::Add(add) => add.consents.iter().map(|consent| &consent.list).find(|list| list.account() == who),
                _ => None,
            };
            if let Some(list) = list {
                return (list.number, list.devices.clone());
            }
        }
        (0, Vec::new())
    }

    fn has(&self, who: AccountId, device: DeviceId, at: usize) -> bool {
        self.is_member(who, at) && self.list(who, at).1.iter().any(|own| own.id == device)
    }

    pub fn devices(&self, who: AccountId, at: usize) -> Vec<Device> {
        self.list(who, at).1
    }

    fn link_is_open(&self, key: &[u8; 32], at: usize) -> bool {
        for (n, author, act) in self.back(at) {
            match act {
                Act::Unlink(gone) if gone == key => return false,
                Act::Link(link) if link.key == *key => {
                    let used = self.back(at).filter(|(_, _, act)| joins_by(act) == Some(key)).count();
                    let stood = (n + 1..=at).all(|later| self.bosses[later].contains(&author));
                    return used < link.limit as usize && stood;
                }
                _ => {}
            }
        }
        false
    }

    fn links(&self, at: usize) -> usize {
        let stands = |(n, author, key): (usize, AccountId, &[u8; 32])| {
            let gone = self.back(at).any(|(_, _, act)| matches!(act, Act::Unlink(other) if other == key));
            !gone && (n + 1..=at).all(|later| self.bosses[later].contains(&author))
        };
        let links = self.back(at).filter_map(|(n, author, act)| match act {
            Act::Link(link) => Some((n, author, &link.key)),
            _ => None,
        });
        links.filter(|link| stands(*link)).count()
    }

    /// The owner's newest event, or the one that made it owner.
    fn owners_word(&self, at: usize) -> usize {
        let own = |n: &usize| {
            self.counted[*n] && (self.author(*n) == self.owners[*n] || self.owners[*n] != self.owners[*n + 1])
        };
        (0..at).rev().find(own).unwrap_or(0)
    }

    pub fn is_closed(&self, at: usize) -> bool {
        self.back(at).any(|(_, _, act)| matches!(act, Act::Close)) || self.members(at).is_empty() && at > 0
    }

    /// The newest event that ended a member or a device.
    pub fn floor(&self, at: usize) -> usize {
        let ends = |n: usize, author: AccountId, act: &Act| match act {
            Act::Leave { .. } => true,
            Act::Remove(_) => true,
            Act::Ban(who) => self.is_member(*who, n),
            Act::Devices(devices) => self.list(author, n).1.iter().any(|old| !devices.list.devices.contains(old)),
            _ => false,
        };
        let lists = |n: usize, author: AccountId| {
            self.bosses[n].contains(&author)
                && self.facts[n].event.as_ref().is_some_and(|event| !event.unopened.is_empty())
        };
        let last = self.back(at).find(|(n, author, act)| ends(*n, *author, act) || lists(*n, *author));
        last.map_or(0, |(n, ..)| n)
    }
}

fn adds(author: AccountId, act: &Act) -> Vec<AccountId> {
    match act {
        Act::Genesis(_) => vec![author],
        Act::Add(add) => add.consents.iter().map(|consent| consent.list.account()).collect(),
        _ => Vec::new(),
    }
}

fn joins_by(act: &Act) -> Option<&[u8; 32]> {
    match act {
        Act::Add(add) => add.join.as_ref().map(|join| &join.link),
        _ => None,
    }
}
