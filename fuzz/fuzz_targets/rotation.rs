//! Chains of identity keys. The bytes are a script of links, sound and unsound, by the rightful keys and by a thief who
//! has stolen identity keys; a model that only counts who signed says which chains hold.
//!
//! Properties: a chain holds exactly when the model says so; of two records at most one takes the other's place; and a
//! thief who has every identity key, but no recovery key, never takes the place of a record that was recovered.
#![no_main]

use fuzz::{key, public, record};
use libfuzzer_sys::fuzz_target;
use proto::directory::rotation::{MAX_ROTATIONS, Statement};
use proto::directory::{Record, Rotation, SignedRecord, recovery_hash, supersedes};
use proto::ids::AccountId;

/// A chain as its links were made, and whether it should hold.
struct Chain {
    links: Vec<Rotation>,
    holds: bool,
    identity: u8,
    recovery: Option<u8>,
    next: u32,
    recovered: bool,
}

/// Where the two chains of one input part.
const FORK: u8 = 0xff;

impl Chain {
    fn new() -> Self {
        Self { links: vec![], holds: true, identity: 1, recovery: None, next: 1, recovered: false }
    }

    /// Adds the link that two bytes describe: what kind of link, and its new keys.
    fn add(&mut self, what: u8, keys: u8) {
        let (new_identity, new_recovery) = (2 + (keys & 0x0f), 100 + (keys >> 4));
        let account = AccountId::of_first_key(&public(1));
        let mut statement = Statement {
            account,
            number: self.next,
            identity_key: public(new_identity),
            recovery_hash: recovery_hash(&public(new_recovery)),
        };
        let in_force = self.recovery;
        match what % 8 {
            // The genesis, in its place or not.
            0 => {
                self.holds &= self.links.is_empty();
                self.links.push(Rotation::genesis(&key(1), statement.recovery_hash));
                (self.identity, self.recovery) = (1, Some(new_recovery));
                return;
            }
            1 | 2 => self.links.push(Rotation::by_identity(&statement, &key(self.identity))),
            3 | 4 => {
                self.holds &= in_force.is_some();
                self.links.push(Rotation::by_recovery(&statement, &key(in_force.unwrap_or(100))));
                self.recovered = true;
            }
            // Signed by a key that has no say.
            5 => {
                let by = 2 + (what >> 4);
                self.holds &= by == self.identity;
                self.links.push(Rotation::by_identity(&statement, &key(by)));
            }
            6 => {
                let by = 100 + (what >> 4);
                self.holds &= in_force == Some(by);
                self.links.push(Rotation::by_recovery(&statement, &key(by)));
                self.recovered = true;
            }
            // A number out of turn, another account, a flipped bit.
            _ => {
                self.holds = false;
                match what >> 6 {
                    0 => statement.number += 1 + u32::from(keys),
                    1 => statement.account = AccountId([keys; 16]),
                    _ => {}
                }
                let mut link = Rotation::by_identity(&statement, &key(self.identity));
                if what >> 6 >= 2 {
                    let bytes = if what >> 6 == 2 { &mut link.signature[..] } else { &mut link.statement[..] };
                    let at = usize::from(keys) % bytes.len();
                    bytes[at] ^= 1 << (what >> 3 & 7);
                }
                self.links.push(link);
            }
        }
        (self.identity, self.recovery) = (new_identity, Some(new_recovery));
        self.next += 1;
    }

    fn record(&self, seq: u64) -> Option<Record> {
        let mut made = record(seq);
        made.rotations.clone_from(&self.links);
        made.identity_key = public(self.identity);
        if let Some(recovery) = self.recovery {
            made.recovery_hash = recovery_hash(&public(recovery));
        }
        let signed = SignedRecord::sign(&made, &key(self.identity));
        let should = self.holds && self.links.len() <= MAX_ROTATIONS;
        assert_eq!(signed.is_ok(), should, "{signed:?}: {} links", self.links.len());
        let read = signed.ok()?.verify().expect("what was signed verifies");
        assert_eq!(read, made);
        Some(read)
    }
}

impl Clone for Chain {
    fn clone(&self) -> Self {
        Self { links: self.links.clone(), ..*self }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut one = Chain::new();
    let mut other: Option<Chain> = None;
    // Whether the links of each after the fork are such as a thief of identity keys can make, and one of the owner's.
    let (mut thief_only, mut recovered_after) = (true, false);
    for pair in data.chunks_exact(2).take(2 * MAX_ROTATIONS + 4) {
        let (what, keys) = (pair[0], pair[1]);
        match &mut other {
            None if what == FORK => other = Some(one.clone()),
            None => one.add(what, keys),
            // Behind the fork the bytes go to the two in turn: those with the highest bit to the owner's.
            Some(owner) if keys & 0x80 != 0 => {
                let before = owner.recovered;
                owner.recovered = false;
                owner.add(what, keys & 0x7f);
                recovered_after |= owner.recovered;
                owner.recovered |= before;
            }
            Some(_) => {
                thief_only &= !matches!(what % 8, 3 | 4 | 6);
                one.add(what, keys);
            }
        }
    }
    let a = one.record(5);
    let Some(owner) = other else { return };
    let first_own = owner.links.get(one.links.iter().zip(&owner.links).take_while(|(a, b)| a == b).count());
    let b = owner.record(4);
    let (Some(a), Some(b)) = (a, b) else { return };
    if thief_only && recovered_after && first_own.is_some_and(|link| link.recovery_key.is_some()) {
        assert!(supersedes(&b, &a).is_err(), "a thief of identity keys took the place of a recovered record");
    }
    let forth = supersedes(&b, &a).is_ok();
    let back = supersedes(&a, &b).is_ok();
    assert!(!(forth && back), "each takes the other's place");
});
