//! What the store is asked for, and what it answers.

use bytes::Bytes;
use proto::directory::{Record, SignedRecord};
use proto::ids::{AccountId, DeviceId, NodeId};
use proto::name::Name;

use super::groups::{GroupRequest, Reply};

/// Tokens that an account may have at most; one for each contact.
pub const MAX_TOKENS: usize = 16_384;
/// Seconds for which a released name is kept for the account that had it: 30 days that the directory is up, by no clock
/// that can be set.
pub const RESERVED_SECONDS: i64 = 30 * 86_400;

/// A verified record on its way in.
#[derive(Debug)]
pub struct Publish {
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The same, taken apart.
    pub signed: SignedRecord,
    /// What it says.
    pub record: Record,
    /// The hash of a recovery key that whoever asks has shown to have.
    pub recovery: Option<[u8; 32]>,
    /// The directory's clock.
    pub now: i64,
}

/// What a publish did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether the name is new here.
    pub created: bool,
    /// The seq that is stored now.
    pub seq: u64,
}

/// A verified reach on its way in.
#[derive(Debug)]
pub struct StoreReach {
    /// Whose.
    pub account: AccountId,
    /// Of which device.
    pub device: DeviceId,
    /// The node that it names.
    pub node: NodeId,
    /// Its number.
    pub seq: u64,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

/// Who leaves an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depositor {
    /// A contact, who has presented the token with this hash.
    Contact([u8; 32]),
    /// One of those who may send a request.
    Stranger(Stranger),
}

/// Whoever leaves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The network that it comes from, hashed with a key of this directory.
    pub site: [u8; 8],
    /// The part of that network that one host has.
    pub host: [u8; 8],
    /// It is on this machine, and such are not limited.
    pub exempt: bool,
    /// Proof of work, in bits.
    pub work: u8,
}

/// An envelope on its way in.
#[derive(Debug)]
pub struct Deposit {
    /// Whose mailbox.
    pub account: AccountId,
    /// The device that can open it.
    pub device: DeviceId,
    /// Who leaves it.
    pub from: Depositor,
    /// Seconds to keep it.
    pub ttl: u32,
    /// SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its exact bytes.
    pub envelope: Bytes,
}

/// What a deposit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposited {
    /// Whether it was not there before.
    pub created: bool,
    /// Counted for the token that was shown, from 1 on; 0 for a stranger, who shows none.
    pub number: u64,
    /// Seconds that it is kept.
    pub expires_in: u64,
}

/// A session that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its number.
    pub number: u64,
    /// The highest number before it.
    pub before: u64,
}

#[derive(Debug)]
pub(crate) enum Request {
    Publish(Box<Publish>, Reply<Published>),
    Release { account: AccountId, reply: Reply<Name> },
    Reach(StoreReach, Reply<u64>),
    Tokens { account: AccountId, add: Vec<[u8; 32]>, remove: Vec<[u8; 32]>, reply: Reply<u64> },
    Session { account: AccountId, device: DeviceId, number: Option<u64>, reply: Reply<Counted> },
    Deposit(Box<Deposit>, Reply<Deposited>),
    Delete { account: AccountId, device: DeviceId, numbers: Vec<u64>, reply: Reply<u64> },
    Group(GroupRequest),
    Sweep(Reply<bool>),
}
