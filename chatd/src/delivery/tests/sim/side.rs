//! One side: keys, what its directory has of it, its store, and what a daemon forgets when it ends.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use proto::directory::ContactPolicy;
use proto::ids::{AccountId, DeviceId, MessageId};
use proto::wire::envelope::AckEntry;
use proto::wire::{MAX_TTL_SECONDS, SUITE_HYBRID};

use super::world::BEGIN_MS;
use crate::crypto::keys::SigningKey;
use crate::crypto::prekey::{PREKEY_LIFETIME_SECONDS, PrekeySecret};
use crate::delivery::core::Core;
use crate::delivery::core::effect::Effect;
use crate::policy::clock::Reading;
use crate::policy::clock::timekeeper::AccountClock;
use crate::policy::limits::{Limits, SpaceLimits};
use crate::policy::rate::SharedLimits;
use crate::receive::Judge;
use crate::store::peers::NewContact;
use crate::store::tests::fixture::{HOME, account_row, sign_record};
use crate::store::tests::memory::Memory;

/// What each gave the other; it is never replaced here.
pub const TOKEN: [u8; 32] = [1; 32];

const DAY_SECONDS: i64 = 86_400;

pub struct Side {
    pub name: &'static str,
    pub account: AccountId,
    pub store: Memory,
    pub judge: Judge,
    identity: SigningKey,
    /// The device's.
    pub key: SigningKey,
    /// Whose secrets it has.
    pub prekeys: Vec<Rc<PrekeySecret>>,
    /// The newest, as its directory has it, and its seq.
    pub record: (Vec<u8>, u64),
    first: (SigningKey, Rc<PrekeySecret>, Vec<u8>),
    made: u16,
    pub life: Life,
}

/// What is in memory only.
pub struct Life {
    pub core: Core,
    /// What the core wants done, and takes its time.
    pub jobs: Vec<Effect>,
    /// The directory counted this session, and we heeded it.
    pub session: bool,
    /// The own mailbox was empty in this session.
    pub drained: bool,
    pub link: OnLink,
}

/// What both ends know of the link.
#[derive(Default)]
pub struct OnLink {
    /// Devices to which our claim went out.
    pub claims: HashSet<DeviceId>,
    /// Devices that have proved themselves.
    pub proved: HashSet<DeviceId>,
    /// What was committed and not acknowledged, for want of claims.
    pub due: HashMap<DeviceId, (Vec<AckEntry>, Vec<MessageId>)>,
}

impl Life {
    pub fn new(device: DeviceId) -> Self {
        Self {
            core: Core::new(device, true),
            jobs: Vec::new(),
            session: false,
            drained: false,
            link: OnLink::default(),
        }
    }
}

/// `created`: Unix seconds.
fn prekey(number: u16, side: u8, created: i64) -> Rc<PrekeySecret> {
    let [high, low] = number.to_be_bytes();
    let seed = [high, low, side, 7].repeat(8);
    Rc::new(PrekeySecret::from_stored(SUITE_HYBRID, &seed, created, created + PREKEY_LIFETIME_SECONDS).unwrap())
}

impl Side {
    /// Alice and bob, who are contacts.
    pub fn pair() -> [Self; 2] {
        let keys = |side: u8| (SigningKey::from_bytes(&[side; 32]), SigningKey::from_bytes(&[side + 100; 32]));
        let person = |name: &str, side: u8| {
            let ((identity, device), prekey) = (keys(side), prekey(0, side, BEGIN_MS / 1_000));
            let record = sign_record(&identity, name, 1, &[&device], Some(&prekey), ContactPolicy::Members);
            let account = AccountId::of_first_key(&identity.public());
            let contact = NewContact {
                account,
                name: name.to_owned(),
                origin: HOME.to_owned(),
                record,
                record_seq: 1,
                identity_key: identity.public(),
                reach: Vec::new(),
                reach_seq: 0,
            };
            (identity, device, prekey, contact)
        };
        let (alice, bob) = (person("alice", 1), person("bob", 2));
        let (for_alice, for_bob) = (bob.3.clone(), alice.3.clone());
        [Self::new("alice", alice, &for_alice), Self::new("bob", bob, &for_bob)]
    }

    fn new(
        name: &'static str,
        (identity, key, prekey, own): (SigningKey, SigningKey, Rc<PrekeySecret>, NewContact),
        other: &NewContact,
    ) -> Self {
        let device = DeviceId::of_key(&key.public());
        let row = account_row(name, own.account, device);
        let limits = Limits { pending_requests: NonZeroU32::new(4).unwrap(), ..Limits::default() };
        let clock = Arc::new(AccountClock::new(0, || Reading { wall: BEGIN_MS / 1_000, uptime: 0, asleep: 0 }));
        Self {
            name,
            account: own.account,
            store: Memory::new(row, own.record.clone(), other, TOKEN),
            judge: Judge::new(own.account, SharedLimits::new(&limits, &SpaceLimits::default()), clock),
            identity,
            key: key.clone(),
            prekeys: vec![Rc::clone(&prekey)],
            record: (own.record.clone(), 1),
            first: (key, prekey, own.record),
            made: 0,
            life: Life::new(device),
        }
    }

    /// Everything as in the beginning.
    pub fn reset(&mut self) {
        self.store.reset();
        let (key, prekey, record) = &self.first;
        (self.key, self.prekeys, self.record) = (key.clone(), vec![Rc::clone(prekey)], (record.clone(), 1));
        self.made = 0;
        self.judge.forget_parked();
        self.end();
    }

    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.key.public())
    }

    /// The process ends: what was not committed is gone.
    pub fn end(&mut self) {
        self.store.crash();
        self.life = Life::new(self.device());
    }

    /// Another prekey, and perhaps another device, in a record of their own: what was sealed before is opened no more.
    /// `now`: Unix seconds.
    pub fn renew(&mut self, device: Option<u8>, now: i64) {
        if let Some(number) = device {
            let side = self.first.0.to_bytes()[0];
            self.key = SigningKey::from_bytes(&[[number, side], [7, 7]].concat().repeat(8).try_into().unwrap());
        }
        self.prekeys.clear();
        self.offer(now);
    }

    /// The daily prekey; what was sealed to those before is opened until nothing can lie in a mailbox any more. `false`: it is not
    /// due.
    pub fn renew_daily(&mut self, now: i64) -> bool {
        if self.prekeys.last().is_some_and(|newest| now - newest.created() < DAY_SECONDS) {
            return false;
        }
        self.prekeys.retain(|prekey| prekey.not_after() + i64::from(MAX_TTL_SECONDS) > now);
        self.offer(now);
        true
    }

    fn offer(&mut self, now: i64) {
        self.made += 1;
        let prekey = prekey(self.made, self.first.0.to_bytes()[0], now);
        let seq = self.record.1 + 1;
        let policy = ContactPolicy::Members;
        let record = sign_record(&self.identity, self.name, seq, &[&self.key], Some(&prekey), policy);
        self.record = (record, seq);
        self.prekeys.push(prekey);
    }
}
