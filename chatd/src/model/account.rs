//! The accounts of this node.

use proto::ids::{AccountId, DeviceId};

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
