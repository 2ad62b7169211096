//! A directory's store without a directory: requests and answers, and people who make them.

use std::collections::HashSet;

use ed25519_dalek::SigningKey;
use proto::directory::{ContactPolicy, Device, Record, Rotation, SignedRecord, recovery_hash};
use proto::ids::{AccountId, DeviceId, sha256};
use proto::name::Name;
use tokio::sync::oneshot;

use super::Engine;
use crate::store::command::{Fetch, Mail, Queries, Sums};
use crate::store::error::StoreError;
use crate::store::groups::Reply;
use crate::store::options::{Bounds, GroupBounds, Quotas};
use crate::store::request::{Deposit, Deposited, Depositor, Publish, Published, Request, Stranger};
use crate::store::rules::{self, Batch};

pub type Answer<T> = Result<T, StoreError>;

/// An engine, the bounds in force and the mailbox's clock.
pub struct House<E> {
    pub engine: E,
    pub bounds: Bounds,
    pub now: u64,
}

impl<E: Default> Default for House<E> {
    fn default() -> Self {
        let quotas = Quotas { envelopes: 100, bytes: 100_000, strangers: 8, work_bits: 4, total_bytes: 1_000_000 };
        let groups =
            GroupBounds { per_account: 2, entries: 80, bytes: 400_000, total_bytes: 1_000_000, appends_per_minute: 30 };
        Self { engine: E::default(), bounds: Bounds { max_accounts: 100, quotas, groups }, now: 1_000 }
    }
}

/// What waits for its answer.
pub struct Asked<T>(oneshot::Receiver<Answer<T>>);

impl<T> Asked<T> {
    pub fn answer(mut self) -> Answer<T> {
        self.0.try_recv().unwrap()
    }
}

/// A request, and where its answer comes.
pub fn ask<T>(request: impl FnOnce(Reply<T>) -> Request) -> (Request, Asked<T>) {
    let (reply, answer) = oneshot::channel();
    (request(reply), Asked(answer))
}

impl<E: Engine> House<E> {
    /// Serves requests in one transaction, as the writer does.
    pub fn serve(&mut self, requests: Vec<Request>) {
        let mut batch = Batch::new(self.bounds, self.now, false);
        let mut transaction = self.engine.begin();
        let mut answers = Vec::new();
        for request in requests {
            let (result, answer) = rules::apply(Some(&mut transaction), request, &mut batch);
            result.unwrap();
            answers.push(answer);
        }
        rules::conclude(&mut transaction, &batch).unwrap();
        E::end(transaction, true);
        answers.into_iter().for_each(|answer| answer(Ok(())));
    }

    /// One request in a transaction of its own.
    pub fn one<T>(&mut self, request: impl FnOnce(Reply<T>) -> Request) -> Answer<T> {
        let (request, asked) = ask(request);
        self.serve(vec![request]);
        asked.answer()
    }

    /// Looks without changing anything.
    pub fn look<T>(&mut self, look: impl FnOnce(&E::Transaction<'_>) -> T) -> T {
        let transaction = self.engine.begin();
        let seen = look(&transaction);
        E::end(transaction, false);
        seen
    }

    pub fn publish(&mut self, who: &Person, seq: u64) -> Answer<Published> {
        self.one(|reply| Request::Publish(Box::new(who.publish(seq)), reply))
    }

    pub fn release(&mut self, who: &Person) -> Answer<Name> {
        self.one(|reply| Request::Release { account: who.account(), reply })
    }

    /// Registers somebody who honours these tokens.
    pub fn member(&mut self, who: &Person, tokens: &[[u8; 32]]) {
        assert!(self.publish(who, 1).unwrap().created);
        self.tokens(who, tokens, &[]).unwrap();
    }

    pub fn tokens(&mut self, who: &Person, add: &[[u8; 32]], remove: &[[u8; 32]]) -> Answer<u64> {
        let (account, add, remove) = (who.account(), add.to_vec(), remove.to_vec());
        self.one(|reply| Request::Tokens { account, add, remove, reply })
    }

    pub fn deposit(&mut self, deposit: Deposit) -> Answer<Deposited> {
        self.one(|reply| Request::Deposit(Box::new(deposit), reply))
    }

    pub fn delete(&mut self, who: &Person, numbers: &[u64]) -> u64 {
        let (account, device, numbers) = (who.account(), who.device(), numbers.to_vec());
        self.one(|reply| Request::Delete { account, device, numbers, reply }).unwrap()
    }

    pub fn sweep(&mut self) {
        while self.one(Request::Sweep).unwrap() {}
    }

    pub fn mail(&mut self, who: &Person) -> Mail {
        let fetch = who.fetch(self.now);
        self.look(|db| db.mail(&fetch).unwrap())
    }

    /// The numbers of what lies there.
    pub fn numbers(&mut self, who: &Person) -> Vec<u64> {
        self.mail(who).envelopes.into_iter().map(|(number, _)| number).collect()
    }

    pub fn sums(&mut self) -> Sums {
        self.look(|db| db.sums().unwrap())
    }
}

/// Somebody with keys that follow from the name.
#[derive(Clone)]
pub struct Person {
    pub name: String,
    identity: SigningKey,
    pub devices: Vec<SigningKey>,
    pub recovery: [u8; 32],
    /// Shown with records.
    pub shows: Option<[u8; 32]>,
}

fn key(what: &str, of: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(&[what.as_bytes(), of.as_bytes()]))
}

pub fn person(name: &str) -> Person {
    let devices = vec![key("device", name)];
    Person {
        name: name.into(),
        identity: key("identity", name),
        devices,
        recovery: recovery_hash(&[7; 32]),
        shows: None,
    }
}

impl Person {
    /// The same account under another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity.verifying_key().to_bytes())
    }

    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.devices[0].verifying_key().to_bytes())
    }

    pub fn publish(&self, seq: u64) -> Publish {
        let identity_key = self.identity.verifying_key().to_bytes();
        let device = |key: &SigningKey| Device::of_key(key.verifying_key().to_bytes());
        let record = Record {
            origin: "example.org".into(),
            name: Name::parse(&self.name).unwrap(),
            first_key: identity_key,
            rotations: vec![Rotation::genesis(&self.identity, self.recovery)],
            identity_key,
            recovery_hash: self.recovery,
            seq,
            prev: [0; 32],
            issued: 0,
            expires: 1,
            devices: self.devices.iter().map(device).collect(),
            prekeys: Vec::new(),
            mailbox: None,
            policy: ContactPolicy::Open,
            min_suite: 2,
            list_address: false,
            show_online: true,
        };
        let signed = SignedRecord::sign(&record, &self.identity).unwrap();
        Publish { bytes: signed.encode(), signed, record, recovery: self.shows, now: 0 }
    }

    /// An envelope for the first device, of a contact with this token.
    pub fn by_contact(&self, token: [u8; 32], envelope: &[u8]) -> Deposit {
        self.letter(Depositor::Contact(token), envelope)
    }

    /// One of a stranger from a place, who has done so much work.
    pub fn by_stranger(&self, site: u8, work: u8, envelope: &[u8]) -> Deposit {
        self.letter(Depositor::Stranger(Stranger { site: [site; 8], host: [site; 8], exempt: false, work }), envelope)
    }

    fn letter(&self, from: Depositor, envelope: &[u8]) -> Deposit {
        let (hash, envelope) = (sha256(&[envelope]), envelope.to_vec().into());
        Deposit { account: self.account(), device: self.device(), from, ttl: 100, hash, envelope }
    }

    pub fn fetch(&self, now: u64) -> Fetch {
        let (account, device) = (self.account(), self.device());
        let (except, count, bytes) = (HashSet::new(), usize::MAX, usize::MAX);
        Fetch { account, device, after: 0, except, count, bytes, now }
    }
}
