//! Local ids: row numbers of the database, each of its own type, so that none is taken for another. They never leave the
//! daemon; what peers and programs see are the ids of `proto::ids`. A parameter of an SQL statement takes any of them.

use std::fmt;

use proto::ids::DeviceId;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                i64::column_result(value).map(Self)
            }
        }
    };
}

row_id! {
    /// Somebody whose key is known: `peers.id`.
    PeerId
}

row_id! {
    /// A conversation: `conversations.id`.
    ConversationRow
}

row_id! {
    /// A run of own sequence numbers: `streams_out.id`.
    OutStreamRow
}

impl PeerId {
    /// All whom nothing is known of: they share what else each peer has to itself.
    pub const STRANGERS: Self = Self(0);

    /// The account itself, as a member of its conversations and the owner of its other devices.
    pub const SELF: Self = Self(-1);
}

/// A device of a peer, or another device of the account ([`PeerId::SELF`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerDevice {
    /// Whose.
    pub peer: PeerId,
    /// Which.
    pub device: DeviceId,
}
