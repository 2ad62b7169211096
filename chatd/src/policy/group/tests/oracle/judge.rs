//! Whether an event counts, and who elects.

use super::*;

impl<'f> Oracle<'f> {
    pub(super) fn electorate(&self, at: usize) -> Electors {
        let (owner, word) = (self.owners[at], self.owners_word(at));
        let left = |who: AccountId| {
            self.back(at).any(|(n, author, act)| n > word && author == who && matches!(act, Act::Leave { .. }))
        };
        let mut all = self.members(word + 1);
        all.retain(|who| Some(*who) != owner && !left(*who));
        let added_by = |who: AccountId| self.last_add(who, word + 1).and_then(|n| self.author(n));
        let promoted_by = |who: AccountId| {
            let promoted = |(_, author, act): (usize, AccountId, &Act)| {
                matches!(act, Act::Promote(x) if *x == who).then_some(author)
            };
            self.bosses[at].contains(&who).then(|| self.back(at).find_map(promoted)).flatten()
        };
        let own = |who: &AccountId| added_by(*who) == owner || promoted_by(*who) == owner;
        let chosen: Vec<_> = all.iter().copied().filter(own).collect();
        let electors = if chosen.len() < 3 { all } else { chosen };
        let with = |who: AccountId| {
            let until = if self.is_member(who, at) { at } else { self.end_of_stay(who, word + 1, at) };
            (who, self.list(who, until).1)
        };
        electors.into_iter().take(15).map(with).collect()
    }

    /// When the stay that lasted at `from` ended.
    pub(super) fn end_of_stay(&self, who: AccountId, from: usize, at: usize) -> usize {
        (from..at).find(|n| !self.is_member(who, n + 1)).unwrap_or(at)
    }

    pub(super) fn vote(&self, electors: &Electors, votes: &[proto::group::Vote], at: usize) -> bool {
        let mut yes = 0;
        for (who, devices) in electors {
            let devices = if self.is_member(*who, at) { self.list(*who, at).1 } else { devices.clone() };
            let voted = |vote: &&proto::group::Vote| {
                vote.account == *who && devices.iter().any(|device| device.key == vote.device_key)
            };
            yes += usize::from(votes.iter().any(|vote| voted(&vote)));
        }
        yes >= 2 && 2 * yes > electors.len()
    }

    /// The election that is not confirmed: who was owner, and the event.
    pub(super) fn open_election(&self, at: usize) -> Option<(AccountId, usize)> {
        let mut open: Option<(AccountId, usize)> = None;
        for n in (1..at).filter(|n| self.counted[*n]) {
            match self.act(n) {
                Some(Act::Elect { .. }) => {
                    let old = open.map(|(old, _)| old).or(self.owners[n]);
                    open = old.map(|old| (old, n));
                }
                Some(Act::Confirm { .. } | Act::Reclaim) => open = None,
                Some(Act::Leave { .. }) if open.map(|(old, _)| old) == self.author(n) => open = None,
                _ => {}
            }
            open = open.filter(|(old, _)| {
                self.owners.get(n + 1).copied().flatten().or_else(|| self.find_owner(n + 1)) != Some(*old)
            });
        }
        open
    }

    pub(super) fn judge(&self, at: usize) -> bool {
        let Some(event) = &self.facts[at].event else { return false };
        let (by, device, members) = (event.author, event.device(), self.members(at));
        let (owner, boss) = (self.owners[at] == Some(by), self.bosses[at].contains(&by));
        let behind = event.number as usize == at && event.prev == self.facts[at - 1].place.hash;
        let open = self.open_election(at);
        let last = at as u32 >= self.limits.events - self.limits.owners;
        let slow = matches!(event.act, Act::Leave { .. } | Act::Elect { .. } | Act::Confirm { .. } | Act::Reclaim);
        if !behind || self.is_closed(at) || at as u32 >= self.limits.events || last && !owner && !slow {
            return false;
        }
        let new_device =
            matches!(&event.act, Act::Devices(devices) if devices.list.devices.iter().any(|d| d.id == device));
        let by_link = joins_by(&event.act).is_some();
        if !by_link && !(members.contains(&by) && (self.has(by, device, at) || new_device)) {
            return false;
        }
        let bosses = &self.bosses[at];
        let ends = |who: AccountId| {
            let allowed = owner && who != by || boss && !bosses.contains(&who);
            allowed && open.map(|(old, _)| old) != Some(who)
        };
        let (key, none) = (event.key.is_some(), event.key.is_none());
        let stands = |who: &AccountId| members.contains(who);
        match &event.act {
            Act::Genesis(_) => false,
            Act::Add(add) => {
                let whose: Vec<_> = add.consents.iter().map(|consent| consent.list.account()).collect();
                let distinct = whose.iter().collect::<BTreeSet<_>>().len() == whose.len();
                let right = match &add.join {
                    Some(join) => {
                        let own = add.consents[0].list.devices.iter().any(|d| d.id == device);
                        none && self.link_is_open(&join.link, at) && whose == [by] && own
                    }
                    None => boss && (key || self.kind() == GroupType::Room),
                };
                let fresh = add.consents.iter().all(|consent| {
                    let who = consent.list.account();
                    let end = self.end(who, at);
                    let after = end.map_or([0; 32], |n| self.facts[n].place.hash);
                    let list = end.map_or(0, |n| self.list(who, n).0);
                    !stands(&who) && !self.is_banned(who, at) && consent.after == after && consent.list.number >= list
                });
                right && distinct && fresh && members.len() + whose.len() <= self.limits.members(self.kind())
            }
            Act::Devices(devices) => none && devices.list.account() == by && devices.list.number > self.list(by, at).0,
            Act::Leave { added, successor } => {
                let own = self.last_add(by, at).is_some_and(|n| self.facts[n].place.hash == *added);
                none && own && successor.is_none_or(|next| owner && next != by && stands(&next))
            }
            Act::Remove(who) => key && ends(*who) && stands(who),
            Act::Ban(who) => (key || !stands(who)) && ends(*who) && !self.is_banned(*who, at),
            Act::Unban(who) => none && boss && self.is_banned(*who, at),
            Act::Promote(who) => {
                none && owner && stands(who) && !bosses.contains(who) && bosses.len() <= self.limits.admins
            }
            Act::Demote(who) => none && owner && bosses[1..].contains(who),
            Act::Handover(who) => none && owner && *who != by && stands(who) && open.is_none(),
            Act::Key => {
                let made = self.back(at).filter(|(_, author, act)| *author == by && matches!(act, Act::Key)).count();
                key && made < self.limits.keys as usize
            }
            Act::Link(link) => {
                let known = self.back(at).any(|(_, _, act)| matches!(act, Act::Link(other) if other.key == link.key));
                none && boss && self.kind() == GroupType::Room && !known && self.links(at) < self.limits.links
            }
            Act::Unlink(link) => {
                let made = self.back(at).find_map(|(n, author, act)| {
                    matches!(act, Act::Link(other) if other.key == *link).then_some((n, author))
                });
                let gone = self.back(at).any(|(_, _, act)| matches!(act, Act::Unlink(other) if other == link));
                let stood =
                    made.is_some_and(|(n, maker)| (n + 1..=at).all(|later| self.bosses[later].contains(&maker)));
                none && boss && stood && !gone
            }
            Act::Set(set) => none && if set.settings.is_some() || set.logs.is_some() { owner } else { boss },
            Act::Move(_) => false,
            Act::Close => none && owner && open.is_none(),
            Act::Elect { owner_event, candidate, votes } => {
                let word = self.owners_word(at);
                let stood = stands(candidate) && self.last_add(*candidate, at).is_some_and(|n| n <= word);
                let newest = self.facts[word].place.hash == *owner_event;
                none && newest
                    && stood
                    && self.owners[at] != Some(*candidate)
                    && self.vote(&self.electorate(at), votes, at)
            }
            Act::Confirm { elect, votes } => {
                let named = open.filter(|(_, n)| self.facts[*n].place.hash == *elect);
                none && named.is_some_and(|(_, n)| self.vote(&self.electorate(n), votes, at))
            }
            Act::Reclaim => none && open.map(|(old, _)| old) == Some(by),
        }
    }

    /// Whether a message counts.
    pub fn message(&self, sent: &Sent) -> bool {
        let (Some(entry), Some(named)) = (sent.entry, self.facts.iter().position(|f| f.place.hash == sent.knew)) else {
            return false;
        };
        let before = self.facts.iter().filter(|fact| fact.place.entry < entry).count();
        named < before
            && (named + 1..=before).all(|at| self.has(sent.author, sent.device, at))
            && (named + 1..before).all(|n| !self.counted[n] || self.end(sent.author, n + 1) != Some(n))
    }
}
