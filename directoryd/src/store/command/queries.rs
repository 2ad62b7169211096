//! What there is, and the words for it.

use std::collections::HashSet;

use proto::ids::{AccountId, DeviceId, NodeId};

use crate::store::error::StoreError;

/// Why a command or a rule has no value: a rule's refusal is an answer like any other, and what failed below ends the
/// transaction.
#[derive(Debug)]
pub enum Failure<E> {
    /// A rule stands against it.
    Refused(StoreError),
    /// What keeps the data has failed.
    Engine(E),
}

impl<E> From<StoreError> for Failure<E> {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// What a command or a rule gives.
pub type Applied<T, E> = Result<T, Failure<E>>;

/// A name that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// By whom.
    pub account: AccountId,
    /// Which.
    pub name: String,
    /// What looks like it.
    pub skeleton: String,
    /// Of the record.
    pub seq: u64,
    /// Its exact bytes.
    pub record: Vec<u8>,
}

/// A name that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// Which.
    pub name: String,
    /// What looks like it.
    pub skeleton: String,
    /// Who had it.
    pub account: AccountId,
    /// The seq of the last record.
    pub seq: u64,
    /// The highest number in its mailbox.
    pub number: u64,
    /// When, by the mailbox's clock.
    pub since: u64,
    /// Whoever has the key of this hash has the name back at once.
    pub recovery: Option<[u8; 32]>,
}

/// Whom resting names stand against.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    /// The name that is wanted.
    pub name: &'a str,
    /// What looks like it.
    pub skeleton: &'a str,
    /// By whom: names that it gave up itself do not stand against it.
    pub account: AccountId,
    /// The recovery key that was shown: names with this one do not stand against it.
    pub recovery: Option<[u8; 32]>,
    /// Names that were given up by then rest no longer.
    pub rested: Option<u64>,
}

/// What is left of an account that had names here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Former {
    /// The highest seq of its records, if it had a name.
    pub seq: Option<u64>,
    /// The highest number of its mailboxes.
    pub number: u64,
    /// One of its names had the recovery key that was shown.
    pub recovers: bool,
}

/// A mailbox, all of whose envelopes are of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// The highest number that was ever given in it.
    pub number: u64,
    /// Envelopes of contacts.
    pub contacts: u64,
    /// Their bytes.
    pub contact_bytes: u64,
    /// Envelopes of strangers.
    pub strangers: u64,
    /// Envelopes of strangers who have shown work.
    pub worked: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// Whose room an envelope takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// That of contacts.
    Contacts,
    /// That of strangers.
    Strangers,
    /// That of strangers who have shown work.
    Worked,
}

/// An envelope that lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// For which device.
    pub device: DeviceId,
    /// Its number in the mailbox.
    pub number: u64,
    /// What its depositor was told.
    pub counted: u64,
    /// Until when, by the mailbox's clock.
    pub expires: u64,
    /// Its bytes.
    pub size: u64,
    /// Where.
    pub lane: Lane,
}

/// An envelope to keep.
#[derive(Debug, Clone, Copy)]
pub struct Keep<'a> {
    /// In whose mailbox.
    pub account: AccountId,
    /// For which device.
    pub device: DeviceId,
    /// Its number in the mailbox.
    pub number: u64,
    /// Where.
    pub lane: Lane,
    /// The hash of the token that was shown; empty of strangers.
    pub token: &'a [u8],
    /// What its depositor is told.
    pub counted: u64,
    /// Until when, by the mailbox's clock.
    pub expires: u64,
    /// SHA-256 of its bytes.
    pub hash: &'a [u8; 32],
    /// Where a stranger came from.
    pub site: &'a [u8],
    /// The same, more narrowly.
    pub host: &'a [u8],
    /// Its bytes.
    pub envelope: &'a [u8],
}

/// Mail, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What there is in the whole directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Accounts.
    pub accounts: u64,
    /// Names that rest.
    pub resting: u64,
    /// What lies in mailboxes.
    pub mail: Amount,
    /// Logs of groups.
    pub groups: u64,
    /// Entries that lie in them.
    pub entries: u64,
    /// Bytes of all that lies in them.
    pub group_bytes: u64,
}

/// Envelopes of a mailbox, in the order of their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Number and exact bytes.
    pub envelopes: Vec<(u64, Vec<u8>)>,
    /// Whether there was one that did not fit any more.
    pub more: bool,
}

/// What is asked of mail.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Whose.
    pub account: AccountId,
    /// For which device.
    pub device: DeviceId,
    /// Numbers above this one.
    pub after: u64,
    /// But for these.
    pub except: HashSet<u64>,
    /// Envelopes at most.
    pub count: usize,
    /// Bytes at most, unless it is one envelope.
    pub bytes: usize,
    /// What has expired by then is not there.
    pub now: u64,
}

/// What is there. Also asked outside of transactions that write.
pub trait Queries {
    /// What can fail.
    type Error;

    /// The exact bytes of an account's record.
    fn record(&self, account: AccountId) -> Applied<Option<Vec<u8>>, Self::Error>;
    /// The exact bytes of the reach of each of its devices, in the order of these.
    fn reach(&self, account: AccountId) -> Applied<Vec<Vec<u8>>, Self::Error>;
    /// Whether a node stands in the reach of a device.
    fn hosts_somebody(&self, node: NodeId) -> Applied<bool, Self::Error>;
    /// How many deposits were counted for a token, if the account honours it.
    fn counted(&self, account: AccountId, token: &[u8; 32]) -> Applied<Option<u64>, Self::Error>;
    /// The highest number that lies in the mailbox for a device.
    fn last_mail(&self, account: AccountId, device: DeviceId, now: u64) -> Applied<Option<u64>, Self::Error>;
    /// What lies there, in the order of numbers. What is not as it was deposited is left out.
    fn mail(&self, fetch: &Fetch) -> Applied<Mail, Self::Error>;
    /// What there is in the whole directory: the sum over the shards.
    fn sums(&self) -> Applied<Sums, Self::Error>;
    /// The mailbox's clock, as it was saved last.
    fn saved_uptime(&self) -> Applied<u64, Self::Error>;
}
