//! What authors do, as they may and as they may not.

use super::*;

impl World {
    /// What somebody does, and whether a key comes with it.
    pub(super) fn act(&mut self, who: usize, hostile: bool) -> (Act, bool) {
        let me = self.people[who].account;
        match self.rng.below(24) {
            0..=4 => (self.add(hostile), true),
            5 => (self.devices(who, hostile), false),
            6 => {
                let member = self.state().members.get(&me);
                let added = member.map_or([7; 32], |member| member.added);
                let successor =
                    if me == self.state().owner && self.rng.chance(50) { Some(self.member()) } else { None };
                (Act::Leave { added, successor }, false)
            }
            7..=9 => (Act::Remove(self.member()), true),
            10 => (Act::Ban(self.member()), true),
            11 => {
                let banned: Vec<_> = self.state().banned.iter().copied().collect();
                (Act::Unban(if banned.is_empty() { me } else { *self.rng.of(&banned) }), false)
            }
            12 | 13 => (Act::Promote(self.member()), false),
            14 => {
                let admins = self.state().admins.clone();
                (Act::Demote(if admins.is_empty() { me } else { *self.rng.of(&admins) }), false)
            }
            15 if self.rng.chance(50) => (Act::Handover(self.member()), false),
            16 => (Act::Key, true),
            17 | 18 => self.by_link(who),
            19 if self.rng.chance(50) => (Act::Set(Box::new(Set { topic: Some("t".into()), ..Set::default() })), false),
            19 => (Act::Set(Box::new(Set { settings: Some(vec![1]), ..Set::default() })), false),
            20 if self.rng.chance(10) => (Act::Close, false),
            20..=22 => (self.election(who), false),
            _ => (Act::Reclaim, false),
        }
    }

    pub(super) fn add(&mut self, hostile: bool) -> Act {
        let mut consents = Vec::new();
        for _ in 0..1 + self.rng.below(2) {
            let at = self.rng.below(self.people.len());
            let account = self.people[at].account;
            if self.state().members.contains_key(&account) && self.rng.chance(90) {
                continue;
            }
            let after = self.state().ended.get(&account).map_or([0; 32], |end| end.by);
            let again = self.consents.iter().filter(|consent| consent.list.account() == account).cloned();
            let again: Vec<_> = again.collect();
            if hostile && !again.is_empty() && self.rng.chance(40) {
                consents.push(self.rng.of(&again).clone());
            } else {
                let after = if hostile && self.rng.chance(10) { [3; 32] } else { after };
                let genuine = !hostile || self.rng.chance(90);
                consents.push(self.people[at].consent(&self.group, after, genuine));
            }
        }
        if consents.is_empty() { Act::Key } else { Act::Add(Add { consents, join: None }) }
    }

    pub(super) fn devices(&mut self, who: usize, hostile: bool) -> Act {
        let person = &mut self.people[who];
        if !hostile || self.rng.chance(70) {
            person.list += 1;
        }
        person.now = (0..4).filter(|_| self.rng.chance(45)).collect();
        if person.now.is_empty() {
            person.now = vec![0];
        }
        Act::Devices(person.devices())
    }

    pub(super) fn by_link(&mut self, who: usize) -> (Act, bool) {
        let me = self.people[who].account;
        if self.links.is_empty() || self.rng.chance(30) {
            let key = sha256(&[&self.rng.number().to_be_bytes()]);
            self.links.push(key);
            return (Act::Link(Link { key, limit: 1 + self.rng.below(2) as u32, expiry: 0 }), false);
        }
        let link = *self.rng.of(&self.links);
        if self.rng.chance(15) {
            return (Act::Unlink(link), false);
        }
        // Whoever has the secret of the link may come, at any time.
        let outside: Vec<usize> =
            (0..self.people.len()).filter(|at| !self.state().members.contains_key(&self.people[*at].account)).collect();
        let joiner = if outside.is_empty() { who } else { *self.rng.of(&outside) };
        let account = self.people[joiner].account;
        let after = self.state().ended.get(&account).map_or([0; 32], |end| end.by);
        let consent = self.people[joiner].consent(&self.group, after, true);
        let join = Join::sign(&self.group, link, account, &self.state().head, |message| fake(&link, message));
        let act = Act::Add(Add { consents: vec![consent], join: Some(join) });
        let hostile = self.hostile.contains(&account);
        let real = self.people[who].account == me && joiner != who;
        if real {
            // The joiner is the author.
            self.event(joiner, act, false, hostile);
            return (Act::Key, true);
        }
        (act, false)
    }

    pub(super) fn election(&mut self, who: usize) -> Act {
        let me = self.people[who].account;
        if let Some(open) = self.state().provisional.clone()
            && self.rng.chance(70)
        {
            let question = Question::Confirm { elect: open.elect };
            let votes = self.votes(&open.electors, &question);
            return if open.old == me { Act::Reclaim } else { Act::Confirm { elect: open.elect, votes } };
        }
        let electors = election::electorate(self.state());
        let newest = self.state().owner_event.1;
        let owner_event = if self.rng.chance(75) { newest } else { *self.rng.of(&self.owners_words) };
        let candidate = self.member();
        let votes = self.votes(&electors, &Question::Elect { owner_event, candidate });
        Act::Elect { owner_event, candidate, votes }
    }

    pub(super) fn votes(&mut self, electors: &[Elector], question: &Question) -> Vec<Vote> {
        let (mut votes, mut voters): (Vec<Vote>, Vec<AccountId>) = (Vec::new(), Vec::new());
        let likely = *self.rng.of(&[50, 80, 100]);
        voters.extend(electors.iter().map(|elector| elector.account).filter(|_| self.rng.chance(likely)));
        if self.rng.chance(30) {
            let other = self.somebody();
            voters.extend(Some(other).filter(|other| !voters.contains(other)));
        }
        for account in voters.into_iter().take(15) {
            let Some(at) = self.person(account) else { continue };
            let person = &self.people[at];
            let key =
                if self.rng.chance(90) { person.all[*self.rng.of(&person.now)] } else { *self.rng.of(&person.all) };
            votes.push(Vote::sign(&self.group, question, account, key, |message| fake(&key, message)));
        }
        votes
    }
}
