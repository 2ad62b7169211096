//! Words of the domain that every room shares: callers, accounts, profiles. No IO, no policy.

use proto::ids::{AccountId, DeviceId};
use proto::rpc::types::{ClientInfo, UserClients};

/// Who is at the other end of an RPC connection, as the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Effective uid of the connecting process.
    pub uid: u32,
    /// Its user name, if the system knows one.
    pub user: Option<String>,
    /// Its process id, for the log.
    pub pid: Option<i32>,
}

/// Who is connected by RPC, for those who may know.
pub trait Clients: Send + Sync {
    /// Those of a user.
    fn of_user(&self, uid: u32) -> Vec<ClientInfo>;
    /// How many each user has.
    fn by_user(&self) -> Vec<UserClients>;
}

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
}

impl AccountRow {
    /// `name@origin`, or the name alone without a directory.
    pub fn address(&self) -> String {
        if self.origin.is_empty() { self.name.clone() } else { format!("{}@{}", self.name, self.origin) }
    }
}

/// A profile as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileRow {
    /// Counts changes; 0 when none was ever told.
    pub version: u64,
    /// Display name.
    pub display_name: String,
    /// Status.
    pub status: String,
    /// Bio.
    pub bio: String,
}
