//! The accounts of this node.

use proto::advice::Advice;
use proto::ids::{AccountId, DeviceId, NodeId};
use proto::time::Timestamp;
use zeroize::Zeroizing;

use super::{ClientInfo, Suite, UserClients};

/// An account of this node, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Account id.
    pub id: AccountId,
    /// This node's device of it.
    pub device: DeviceId,
    /// The name, normalised.
    pub name: String,
    /// The directory's origin (its domain); empty without a directory.
    pub origin: String,
    /// The directory's URL; empty without one.
    pub directory: String,
    /// Owner.
    pub uid: u32,
    /// The owner's user name when the account was made: a uid that changes hands takes no account along.
    pub user: String,
    /// Wanted online.
    pub logged_in: bool,
    /// Above 0: the owner's default among several accounts; the highest counts.
    pub preferred: i64,
    /// Among copies of it.
    pub standing: Standing,
}

impl AccountRow {
    /// `name@origin`, or the name alone without a directory.
    pub fn address(&self) -> String {
        if self.origin.is_empty() { self.name.clone() } else { format!("{}@{}", self.name, self.origin) }
    }
}

/// Where this copy of an account stands, if there are several: a restored one beside the one that the backup was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// As far as it knows, there is no other.
    #[default]
    Alone,
    /// Its owner wants this one: its record is to go above whatever the directory has.
    TakesOver,
    /// Another one took its place. It stays offline until its owner says otherwise.
    Superseded,
}

impl Standing {
    /// In the database.
    pub fn number(self) -> i64 {
        match self {
            Self::Alone => 0,
            Self::TakesOver => 1,
            Self::Superseded => 2,
        }
    }

    /// The reverse of [`Standing::number`].
    pub fn of(number: i64) -> Self {
        match number {
            1 => Self::TakesOver,
            2 => Self::Superseded,
            _ => Self::Alone,
        }
    }
}

/// What of an account is damaged; such an account can only be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What, and where.
    pub text: String,
    /// What can be done about it.
    pub advice: Option<Advice>,
}

/// What is wrong with an account's directory, or with what that says of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub text: String,
    /// What can be done about it.
    pub advice: Option<Advice>,
}

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountInfo {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: String,
    /// See [`AccountRow::address`].
    pub address: String,
    /// The identity key, short; empty if it is not here.
    pub fingerprint: String,
    /// The directory's URL; empty without one.
    pub directory: String,
    /// The key that it pinned of its directory.
    pub directory_key: Option<[u8; 32]>,
    /// Wanted online.
    pub logged_in: bool,
    /// The directory session is up.
    pub online: bool,
    /// The owner's default among several.
    pub is_default: bool,
    /// What of it is damaged, if anything is.
    pub damage: Option<Damage>,
}

/// An account that was just made.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The account.
    pub account: AccountInfo,
    /// Its recovery key in hex, told this once.
    pub recovery_key: Zeroizing<String>,
}

/// An account that has another identity key since.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The account.
    pub account: AccountInfo,
    /// The new recovery key in hex, told this once, if the old one was used.
    pub recovery_key: Option<Zeroizing<String>>,
    /// Whether the directory has the new key.
    pub published: bool,
}

/// An account that was put back from a backup.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The account.
    pub account: AccountInfo,
    /// When the backup was made.
    pub made: Timestamp,
    /// Whether the directory knows the new device.
    pub published: bool,
}

/// How an account is.
#[derive(Debug, Clone)]
pub struct AccountStatus {
    /// Which.
    pub info: AccountInfo,
    /// What is wrong with its directory, if anything is.
    pub trouble: Option<Trouble>,
    /// Messages not yet acknowledged by their recipients.
    pub queued: u64,
    /// Unread messages.
    pub unread: u64,
    /// Contact requests that wait for an answer.
    pub requests: u64,
    /// Contacts.
    pub contacts: u64,
    /// The newest event's number.
    pub seq: u64,
    /// Why the store takes no writes, if it takes none.
    pub store_error: Option<String>,
    /// What messages to it are sealed with, at least.
    pub suite: Suite,
    /// This machine's clock and others' differ.
    pub clock: Option<ClockStatus>,
}

/// Clocks that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockStatus {
    /// Seconds that this machine's clock is ahead; negative if it is behind.
    pub ahead: i64,
    /// Of whose.
    pub of: ClockWitness,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Whose clock this machine's is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockWitness {
    /// The home directory's.
    Directory,
    /// Those of most contacts that were met of late.
    Contacts,
}

/// How the daemon is, for one of its users.
#[derive(Debug, Clone)]
pub struct DaemonStatus {
    /// The transport's key.
    pub node: NodeId,
    /// Addresses on which peers are accepted.
    pub addresses: Vec<std::net::SocketAddr>,
    /// The relay that it waits at.
    pub relay: Option<String>,
    /// Seconds since it was started.
    pub uptime: u64,
    /// Open links to other daemons.
    pub links: u64,
    /// Those of them that go through a relay now.
    pub relayed: u64,
    /// Bytes that the user's accounts store, and may; a token is told of neither.
    pub stored: Option<(u64, u64)>,
    /// Programs that are connected, of all users.
    pub clients: u64,
    /// Those of the user.
    pub own_clients: Vec<ClientInfo>,
    /// How many each user has, for root.
    pub user_clients: Vec<UserClients>,
    /// The user's accounts.
    pub accounts: Vec<AccountStatus>,
}
