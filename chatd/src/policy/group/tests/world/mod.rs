//! A chain that honest and hostile authors make, from a seed.

mod acts;

use std::collections::BTreeSet;

use proto::directory::Device;
use proto::group::vote::Question;
use proto::group::{
    Act, Add, Consent, Event, Genesis, GroupId, GroupType, Join, KeyOffer, Link, Set, SignedEvent, Verified, Vote,
};
use proto::ids::{AccountId, ConversationId, DeviceId, sha256};

use super::super::messages::Sent;
use super::super::state::Elector;
use super::super::{Chain, Place, Rules, State, election, keys};
use super::oracle::Fact;
use super::people::{Fake, Person, fake};
use crate::policy::seeded::Random;

/// A device with its account.
type Whose = (AccountId, DeviceId);

#[derive(Clone)]
pub struct World {
    pub rng: Random,
    pub rules: Rules,
    pub people: Vec<Person>,
    pub hostile: BTreeSet<AccountId>,
    pub group: GroupId,
    /// Who can open everything.
    pub chain: Chain,
    /// Who cannot open what hostile members hide.
    pub blind: Chain,
    pub facts: Vec<Fact>,
    pub hidden: Vec<(u32, Verified)>,
    pub sent: Vec<Sent>,
    /// The next entry of the log.
    entry: u64,
    old: Vec<SignedEvent>,
    consents: Vec<Consent>,
    owners_words: Vec<[u8; 32]>,
    links: Vec<[u8; 32]>,
    /// Keys whose seed honest members took, and to whom an honest author gave it.
    seeds: BTreeSet<u32>,
    handed: Vec<(u32, Vec<Whose>)>,
    pub violations: Vec<String>,
}

/// What the public bytes of a key are made of in tests.
fn recipient(_: u8, seed: &[u8; 32], context: &[u8; 32]) -> Vec<u8> {
    sha256(&[seed, context]).to_vec()
}

impl World {
    pub fn new(seed: u64, rules: Rules) -> Self {
        let mut rng = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut people: Vec<Person> = (0..5 + rng.below(5) as u8).map(Person::new).collect();
        for person in &mut people {
            person.now = if rng.chance(30) { vec![0, 1] } else { vec![0] };
        }
        let hostile = people.iter().skip(1).map(|person| person.account).filter(|_| rng.chance(30)).collect();
        let kind = *rng.of(&[GroupType::Group, GroupType::Room, GroupType::Room, GroupType::Channel]);
        let founder = &people[0];
        let genesis = Genesis {
            kind,
            name: "team".into(),
            topic: String::new(),
            settings: Vec::new(),
            nonce: sha256(&[&seed.to_be_bytes()]),
            logs: vec!["https://example.org/1".into(), "https://example.net/2".into()],
            founder: founder.devices(),
        };
        let (author, device_key) = (founder.account, founder.all[founder.now[0]]);
        let key = Some(KeyOffer { suite: 2, previous: Vec::new(), recipient: vec![0; 32] });
        let (group, act) = (ConversationId([0; 16]), Act::Genesis(Box::new(genesis)));
        let mut event =
            Event { group, prev: [0; 32], number: 0, author, device_key, time: 0, unopened: vec![], act, key };
        let made = recipient(2, &[0; 32], &event.key_context());
        event.key.as_mut().unwrap().recipient = made;
        let signed = SignedEvent::sign(&event, |message| fake(&device_key, message)).unwrap();
        let (group, verified) = signed.verify_genesis(&Fake).unwrap();
        let place = Place { entry: 0, hash: sha256(&[&signed.encode()]) };
        let chain = Chain::begin(rules, group, verified, place).unwrap();
        Self {
            rng,
            rules,
            people,
            hostile,
            group,
            blind: chain.clone(),
            handed: vec![(0, keys::heirs(chain.state()))],
            chain,
            facts: vec![Fact { place, event: Some(event) }],
            hidden: Vec::new(),
            sent: Vec::new(),
            entry: 1,
            old: Vec::new(),
            consents: Vec::new(),
            owners_words: vec![place.hash],
            links: Vec::new(),
            seeds: BTreeSet::from([0]),
            violations: Vec::new(),
        }
    }

    /// Entries of the log so far.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    fn state(&self) -> &State {
        self.blind.state()
    }

    fn person(&self, account: AccountId) -> Option<usize> {
        self.people.iter().position(|person| person.account == account)
    }

    /// Somebody does something.
    pub fn step(&mut self) {
        if self.rng.chance(20) {
            return self.message();
        }
        let members: Vec<_> = self.state().members.keys().copied().collect();
        let mut bosses = self.state().admins.clone();
        bosses.push(self.state().owner);
        let who = match self.rng.below(10) {
            0 => self.rng.below(self.people.len()),
            1..=3 if !members.is_empty() => {
                let account = *self.rng.of(&members);
                self.person(account).unwrap_or(0)
            }
            _ => {
                let account = *self.rng.of(&bosses);
                self.person(account).unwrap_or(0)
            }
        };
        let hostile = self.hostile.contains(&self.people[who].account);
        if hostile && self.rng.chance(8) && !self.old.is_empty() {
            let again = self.rng.of(&self.old).clone();
            return self.append(&again, who, None);
        }
        if who > 0 && self.state().rank(self.people[who].account).is_boss() && self.rng.chance(8) {
            return self.coup(who, hostile);
        }
        let (act, key) = self.act(who, hostile);
        self.event(who, act, key, hostile);
    }

    /// An admin puts out whoever stands in the way, and lets the rest elect.
    fn coup(&mut self, who: usize, hostile: bool) {
        for _ in 0..1 + self.rng.below(2) {
            let account = self.member();
            self.event(who, Act::Remove(account), true, hostile);
        }
        let owner_event = self.state().owner_event.1;
        let candidate = if self.rng.chance(50) { self.people[who].account } else { self.member() };
        let electors = election::electorate(self.state());
        let some: Vec<_> = electors.into_iter().take(2 + self.rng.below(2)).collect();
        let votes = self.votes(&some, &Question::Elect { owner_event, candidate });
        self.event(who, Act::Elect { owner_event, candidate, votes }, false, false);
    }

    /// The owner says something, and what could not be opened.
    pub fn last_word(&mut self) -> bool {
        let owner = self.state().owner;
        let Some(who) = self.person(owner).filter(|_| !self.hostile.contains(&owner)) else { return false };
        let acted = self.state().members.get(&owner).map_or(u32::MAX, |member| member.acted);
        let set = Set { name: Some("end".into()), ..Set::default() };
        self.event(who, Act::Set(Box::new(set)), false, false);
        let fresh = self.hidden.iter().all(|(number, event)| {
            let exempt = matches!(event.event().act, Act::Elect { .. } | Act::Confirm { .. } | Act::Reclaim);
            *number > acted && event.event().author != owner && !exempt
        });
        fresh && self.blind.entries().last().is_some_and(|entry| entry.verdict.is_ok())
    }

    fn message(&mut self) {
        let who = self.rng.below(self.people.len());
        let person = &self.people[who];
        let known = self.facts.len().saturating_sub(1 + self.rng.below(4).min(self.rng.below(8)));
        let device = if self.rng.chance(90) { *self.rng.of(&person.now) } else { self.rng.below(4) };
        let (author, device, knew) = (person.account, person.device(device), self.facts[known].place.hash);
        self.sent.push(Sent { author, device, knew, entry: Some(self.entry) });
        self.entry += 1;
    }

    fn event(&mut self, who: usize, act: Act, key: bool, hostile: bool) {
        let (author, head) = (self.people[who].account, self.state().head);
        let mut number = self.state().next;
        let mut prev = head;
        if self.rng.chance(if hostile { 15 } else { 4 }) && number > 2 {
            // Made behind an older event: who lost a race.
            number -= 1 + self.rng.below(2) as u32;
            prev = self.facts[number as usize - 1].place.hash;
        }
        let person = &self.people[who];
        let mut device_key = person.all[*self.rng.of(&person.now)];
        if hostile && self.rng.chance(10) {
            device_key = if self.rng.chance(50) { self.rng.of(&self.people).all[0] } else { *self.rng.of(&person.all) };
        }
        let boss = self.state().rank(author).is_boss();
        let mut unopened = if boss && !hostile { self.blind.unopened(author) } else { Vec::new() };
        if hostile && number > 1 && self.rng.chance(20) {
            unopened = (1..number).rev().take(4).filter(|_| self.rng.chance(50)).collect();
        }
        unopened.retain(|at| *at < number);
        unopened.sort_unstable();
        let has_key = key != (hostile && self.rng.chance(8));
        let offer = KeyOffer { suite: 2, previous: Vec::new(), recipient: vec![0; 32] };
        let group = if hostile && self.rng.chance(2) { ConversationId([9; 16]) } else { self.group.id };
        let time = self.rng.below(1_000_000) as i64;
        let key = has_key.then_some(offer);
        let mut event = Event { group, prev, number, author, device_key, time, unopened, act, key };
        let seed = sha256(&[&self.rng.number().to_be_bytes()]);
        let foreign = hostile && self.rng.chance(25);
        let context = if event.key.is_some() { event.key_context() } else { [0; 32] };
        if let Some(key) = &mut event.key {
            key.recipient = if foreign { sha256(&[b"stolen", &seed]).to_vec() } else { recipient(2, &seed, &context) };
        }
        let signer = if hostile && self.rng.chance(5) { [254; 32] } else { device_key };
        let Ok(signed) = SignedEvent::sign(&event, |message| fake(&signer, message)) else { return };
        self.append(&signed, who, Some((seed, foreign)));
    }

    fn append(&mut self, signed: &SignedEvent, who: usize, made: Option<([u8; 32], bool)>) {
        let account = self.people[who].account;
        let hostile = self.hostile.contains(&account);
        let verified = signed.verify(&self.group, &Fake).ok();
        let place = Place { entry: self.entry, hash: sha256(&[&self.entry.to_be_bytes(), &signed.signature]) };
        self.entry += 1;
        let number = self.state().next;
        self.facts.push(Fact { place, event: verified.as_ref().map(|verified| verified.event().clone()) });
        let _ = self.chain.append(place, verified.clone());
        let hide = hostile && verified.is_some() && self.rng.chance(15);
        if let Some(verified) = verified.clone().filter(|_| hide) {
            self.hidden.push((number, verified));
        }
        let owner = self.state().owner;
        let counts = self.blind.append(place, verified.clone().filter(|_| !hide)).is_ok();
        if let Some(verified) = verified {
            let event = verified.event();
            if counts && (event.author == owner || owner != self.state().owner) {
                self.owners_words.push(place.hash);
            }
            if counts
                && event.key.is_some()
                && let Some((seed, foreign)) = made
            {
                self.take_seed(number, &verified, &seed, foreign, hostile);
            }
            if let Act::Add(add) = &event.act {
                self.consents.extend(add.consents.iter().cloned());
            }
            self.old.push(signed.clone());
        }
        self.seal();
    }

    /// Honest members look at the seed that they are handed.
    fn take_seed(&mut self, number: u32, event: &Verified, seed: &[u8; 32], foreign: bool, hostile: bool) {
        if keys::is_seed_of(self.rules, event, seed, recipient) {
            self.seeds.insert(number);
            if foreign {
                self.violations.push(format!("G5: the key of event {number} has a secret that somebody else made"));
            }
        }
        if !hostile {
            let heirs = keys::heirs(self.state());
            self.handed.push((number, heirs));
        }
    }

    /// What an honest member would seal now opens for members only, as far as honest authors gave seeds away.
    pub fn seal(&mut self) {
        let state = self.blind.state();
        let Ok(key) = keys::to_seal(&self.blind, |key| self.seeds.contains(&key.number)) else { return };
        let Some((_, handed)) = self.handed.iter().find(|(number, _)| *number == key.number) else { return };
        let open = handed.iter().find(|(account, device)| !state.has(*account, *device));
        if let Some((account, _)) = open {
            let text = format!("G5: before event {} the key of {} opens for {account}", state.next, key.number);
            self.violations.push(text);
        }
    }

    fn somebody(&mut self) -> AccountId {
        self.rng.of(&self.people).account
    }

    fn member(&mut self) -> AccountId {
        let members: Vec<_> = self.state().members.keys().copied().collect();
        if members.is_empty() || self.rng.chance(10) { self.somebody() } else { *self.rng.of(&members) }
    }

    /// All devices of a member, for whoever compares.
    pub fn devices_of(state: &State, account: AccountId) -> Vec<Device> {
        state.members.get(&account).map_or_else(Vec::new, |member| member.devices.clone())
    }
}
