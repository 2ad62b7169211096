//! A group that a test leads by the hand.

use proto::group::vote::Question;
use proto::group::{Act, Add, Event, Genesis, GroupType, KeyOffer, SignedEvent, Verified, Vote};
use proto::ids::{AccountId, ConversationId, sha256};

use super::super::{Chain, Place, Refused, Rules};
use super::people::{Fake, Person, fake};

/// A group of people by number, of which 0 founds it.
pub struct Team {
    pub people: Vec<Person>,
    pub chain: Chain,
    pub entry: u64,
    pub last: Option<(u32, Verified)>,
}

impl Team {
    pub fn new(kind: GroupType, size: usize) -> Self {
        let mut people: Vec<Person> = (0..30).map(Person::new).collect();
        for n in 30..size {
            let key = sha256(&[&(n as u64).to_be_bytes()]);
            let all = (0..4u8).map(|device| sha256(&[&key, &[device]])).collect();
            people.push(Person { key, account: AccountId::of_first_key(&key), all, now: vec![0], list: 1 });
        }
        let founder = people[0].devices();
        let logs = vec!["a".to_owned(), "b".to_owned()];
        let (name, topic, settings) = ("team".to_owned(), String::new(), Vec::new());
        let genesis = Genesis { kind, name, topic, settings, nonce: [1; 32], logs, founder };
        let (author, device_key) = (people[0].account, people[0].all[0]);
        let (group, act) = (ConversationId([0; 16]), Act::Genesis(Box::new(genesis)));
        let key = Some(KeyOffer { suite: 2, previous: vec![], recipient: vec![1] });
        let event = Event { group, prev: [0; 32], number: 0, author, device_key, time: 0, unopened: vec![], act, key };
        let signed = SignedEvent::sign(&event, |message| fake(&device_key, message)).unwrap();
        let (group, verified) = signed.verify_genesis(&Fake).unwrap();
        let chain = Chain::begin(Rules::ALL, group, verified, Place { entry: 0, hash: [1; 32] }).unwrap();
        Self { people, chain, entry: 1, last: None }
    }

    pub fn account(&self, who: usize) -> AccountId {
        self.people[who].account
    }

    pub fn say(&mut self, who: usize, act: Act) -> Result<(), Refused> {
        self.append(who, act, vec![], false)
    }

    pub fn append(&mut self, who: usize, act: Act, unopened: Vec<u32>, hidden: bool) -> Result<(), Refused> {
        let verified = self.made(who, act, unopened);
        let place = self.place();
        self.last = Some((self.chain.state().next, verified.clone()));
        self.chain.append(place, Some(verified).filter(|_| !hidden))
    }

    pub fn place(&mut self) -> Place {
        self.entry += 1;
        Place { entry: self.entry, hash: sha256(&[&self.entry.to_be_bytes()]) }
    }

    pub fn made(&self, who: usize, act: Act, unopened: Vec<u32>) -> Verified {
        let state = self.chain.state();
        let person = &self.people[who];
        let bare = state.kind == GroupType::Room && matches!(act, Act::Add(_));
        let needs = matches!(act, Act::Add(_) | Act::Remove(_) | Act::Ban(_) | Act::Key | Act::Move(_)) && !bare;
        let key = needs.then(|| KeyOffer { suite: 2, previous: vec![], recipient: state.next.to_be_bytes().to_vec() });
        let (group, prev, number, author) = (state.group.id, state.head, state.next, person.account);
        let device_key = person.all[person.now[0]];
        let event = Event { group, prev, number, author, device_key, time: 0, unopened, act, key };
        let signed = SignedEvent::sign(&event, |message| fake(&device_key, message)).unwrap();
        signed.verify(&state.group, &Fake).unwrap()
    }

    pub fn add(&mut self, by: usize, who: &[usize]) -> Result<(), Refused> {
        let state = self.chain.state();
        let consent = |who: &usize| {
            let after = state.ended.get(&self.account(*who)).map_or([0; 32], |end| end.by);
            self.people[*who].consent(&state.group, after, true)
        };
        let consents = who.iter().map(consent).collect();
        self.say(by, Act::Add(Add { consents, join: None }))
    }

    pub fn elect(&mut self, who: &[usize], candidate: usize) -> Result<(), Refused> {
        let (owner_event, candidate) = (self.chain.state().owner_event.1, self.account(candidate));
        let question = Question::Elect { owner_event, candidate };
        let votes = self.votes(who, &question);
        self.say(who[0], Act::Elect { owner_event, candidate, votes })
    }

    pub fn votes(&self, who: &[usize], question: &Question) -> Vec<Vote> {
        let vote = |who: &usize| {
            let person = &self.people[*who];
            let key = person.all[0];
            Vote::sign(&self.chain.state().group, question, person.account, key, |message| fake(&key, message))
        };
        who.iter().map(vote).collect()
    }

    pub fn leave(&mut self, who: usize) -> Result<(), Refused> {
        let added = self.chain.state().members[&self.account(who)].added;
        self.say(who, Act::Leave { added, successor: None })
    }
}
