//! A group that has a log: its keys, its tokens, and the requests that its members make.

use ed25519_dalek::{Signer, SigningKey};
use proto::directory::groups::access::{read_token, token_hash, write_token};
use proto::directory::groups::{
    Append, EntryKind, Header, Root, Running, SignedHeader, SignedRoot, SignedSlot, entry_hash,
};
use proto::ids::{AccountId, LogId, sha256};

use super::Engine;
use super::house::{Answer, House, Person};
use crate::store::command::{Entries, EntriesFetch, Group, GroupQueries, Writer};
use crate::store::groups::{
    Appended, GroupAppend, GroupRequest, Keep, Kept, NewGroup, PutSlot, Staged, Stated, Statements,
};
use crate::store::request::Request;
use crate::store::rules::{self, GroupRead};

pub fn key(what: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(&[what.as_bytes()]))
}

pub fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

/// Keys follow from the name.
#[derive(Clone)]
pub struct Team {
    pub root: SigningKey,
    pub log_key: SigningKey,
    pub log: LogId,
    pub root_number: u64,
    pub number: u64,
    pub seed: [u8; 32],
}

pub fn team(name: &str) -> Team {
    let root = key(&format!("root of {name}"));
    let log = LogId::of_root_key(&public(&root));
    Team {
        root,
        log_key: key(&format!("log of {name}")),
        log,
        root_number: 0,
        number: 0,
        seed: sha256(&[name.as_bytes()]),
    }
}

/// An account that need not be there.
pub fn account(n: u8) -> Writer {
    Writer::Account(AccountId([n; 16]))
}

impl Team {
    pub fn read(&self) -> [u8; 32] {
        token_hash(&read_token(&self.seed))
    }

    pub fn write(&self) -> [u8; 32] {
        token_hash(&write_token(&self.seed))
    }

    pub fn root_by(&self, by: &SigningKey) -> Stated<Root> {
        let (root_key, log_key) = (public(&self.root), public(&self.log_key));
        let says = Root { log: self.log, number: self.root_number, root_key, log_key };
        let signed = SignedRoot::sign(says.clone(), |bytes| by.sign(bytes).to_bytes()).unwrap();
        Stated { says, by: public(by), bytes: signed.encode() }
    }

    pub fn header(&self) -> Stated<Header> {
        let (read, write) = (self.read(), self.write());
        let (log, root, number) = (self.log, self.root_number, self.number);
        let says = Header { log, root, number, read, write, room: None, successors: Vec::new() };
        let signed = SignedHeader::sign(says.clone(), |bytes| self.log_key.sign(bytes).to_bytes()).unwrap();
        Stated { says, by: public(&self.log_key), bytes: signed.encode() }
    }

    /// Other tokens, and the header that says so.
    pub fn turn(&mut self, seed: u8) -> Statements {
        self.number += 1;
        self.seed = [seed; 32];
        Statements { root: None, header: Some(self.header()) }
    }

    pub fn append(&self, writer: Writer, append: Append) -> GroupAppend {
        let hash = append.hash();
        let by = public(&self.log_key);
        let proved_by = append.is_proved_by(self.log, &by).then_some(by);
        let (log, token) = (self.log, self.write());
        let statements = Some(Statements::default());
        GroupAppend { log, token, writer, exempt: false, append, hash, proved_by, statements }
    }

    pub fn message(&self, writer: Writer, text: &[u8]) -> GroupAppend {
        self.append(writer, Append::new(EntryKind::Message, text.to_vec()))
    }

    pub fn event(&self, writer: Writer, after: u64, text: &[u8]) -> GroupAppend {
        self.append(writer, Append { after, ..Append::new(EntryKind::Event, text.to_vec()) })
    }

    pub fn keys(&self, writer: Writer, text: &[u8]) -> GroupAppend {
        self.append(writer, Append::new(EntryKind::Keys, text.to_vec()))
    }

    /// The same, wanted by the log key.
    pub fn proved(&self, mut new: GroupAppend, seen: u64) -> GroupAppend {
        new.append = new.append.proved(self.log, seen, |bytes| self.log_key.sign(bytes).to_bytes());
        self.append(new.writer, new.append)
    }

    pub fn slot(&self, writer: Writer, device: &SigningKey, counter: u64, content: &[u8]) -> PutSlot {
        let sign = |bytes: &[u8]| device.sign(bytes).to_bytes();
        let slot = SignedSlot::sign(self.log, public(device), counter, content, sign).unwrap();
        let bytes = slot.encode();
        PutSlot { token: self.write(), writer, slot, bytes }
    }

    pub fn keep(&self, drop: bool, numbers: &[u64], slots: &[[u8; 32]]) -> Keep {
        let (numbers, slots) = (numbers.to_vec(), slots.to_vec());
        Keep { log: self.log, by: public(&self.log_key), drop, numbers, slots }
    }

    pub fn fetch(&self, after: u64) -> EntriesFetch {
        let (count, bytes) = (usize::MAX, usize::MAX);
        EntriesFetch { log: self.log, after, messages: true, keys: true, count, bytes, now: 0 }
    }
}

impl<E: Engine> House<E> {
    pub fn create(&mut self, who: &Person, team: &Team) -> Answer<bool> {
        let (account, root, header) = (who.account(), team.root_by(&team.root), team.header());
        let new = NewGroup { account, root, header };
        self.one(|reply| Request::Group(GroupRequest::Create(Box::new(new), reply)))
    }

    pub fn state(&mut self, team: &Team, new: Statements) -> Answer<()> {
        self.one(|reply| Request::Group(GroupRequest::State(team.log, Box::new(new), reply)))
    }

    pub fn append(&mut self, new: GroupAppend) -> Answer<Appended> {
        self.one(|reply| Request::Group(GroupRequest::Append(Box::new(new), reply)))
    }

    pub fn stage(&mut self, new: GroupAppend) -> Answer<Staged> {
        self.one(|reply| Request::Group(GroupRequest::Stage(Box::new(new), reply)))
    }

    pub fn put_slot(&mut self, new: PutSlot) -> Answer<u64> {
        self.one(|reply| Request::Group(GroupRequest::Slot(Box::new(new), reply)))
    }

    pub fn keep(&mut self, asked: Keep) -> Answer<Kept> {
        self.one(|reply| Request::Group(GroupRequest::Keep(Box::new(asked), reply)))
    }

    pub fn group(&mut self, team: &Team) -> Option<Group> {
        self.look(|db| db.group(team.log).unwrap())
    }

    /// What a token reads.
    pub fn read_by(&mut self, team: &Team, token: &[u8; 32], after: u64) -> Option<GroupRead> {
        let fetch = EntriesFetch { now: self.now, ..team.fetch(after) };
        self.look(|db| rules::entries(db, token, fetch).ok())
    }

    /// Everything, checked by the running hash; texts, or `None` where the hash is all that is left.
    pub fn read_all(&mut self, team: &Team) -> Vec<(u64, EntryKind, Option<Vec<u8>>)> {
        let read = self.read_by(team, &team.read(), 0).unwrap();
        let mut running = Running::start(team.log);
        for entry in &read.entries.entries {
            running = running.with(&entry.hash);
            assert_eq!(running.number, entry.number);
            assert!(entry.entry.as_ref().is_none_or(|bytes| entry_hash(entry.kind, bytes) == entry.hash));
        }
        assert!(read.current && running == read.group.head, "{running:?}");
        let Entries { entries, more } = read.entries;
        assert!(!more);
        entries.into_iter().map(|entry| (entry.number, entry.kind, entry.entry)).collect()
    }
}
