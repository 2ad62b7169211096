//! The daemon: who it is, how it is, and who uses it.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::{Encryption, Token};
use crate::advice::Advice;
use crate::ids::NodeId;
use crate::time::Timestamp;

/// `system.hello`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// The client's name and version, for the log.
    #[serde(default)]
    pub client: String,
    /// A token: from then on the connection acts for the account that made it, within its scope, and never again for its
    /// user. Only as long as nothing else was asked; what is no token in force ends the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// `system.hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloResult {
    /// `chatd` and its version.
    pub server: String,
    /// [`crate::rpc::API_VERSION`].
    pub api: u32,
    /// The caller's uid as the kernel told it.
    pub uid: u32,
    /// Names of the caller's accounts.
    pub accounts: Vec<String>,
    /// What the connection's token grants, if it presented one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
}

/// `system.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    /// `chatd` and its version.
    pub server: String,
    /// [`crate::rpc::API_VERSION`].
    pub api: u32,
    /// This daemon's transport key.
    pub node: NodeId,
    /// Addresses on which peers are accepted.
    pub addresses: Vec<String>,
    /// URL of the relay at which this daemon waits for those who do not reach it directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Seconds since start.
    pub uptime: u64,
    /// Open links to other daemons.
    pub links: u64,
    /// Those of them that go through a relay now.
    #[serde(default)]
    pub relayed: u64,
    /// What the accounts of the caller's user store; a token is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// RPC clients connected, this one included.
    pub clients: u64,
    /// Those of the caller's user, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_clients: Vec<ClientInfo>,
    /// How many each user has; root alone is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_clients: Vec<UserClients>,
    /// One for each of the caller's accounts.
    pub accounts: Vec<AccountStatus>,
}

/// What a user's accounts take of the disk, in [`StatusResult`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes at most; nothing more is taken then, of the user and of others.
    pub most: u64,
}

/// One client in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// What the kernel calls its program, at most 15 bytes; empty if it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since when it is connected.
    pub since: Timestamp,
    /// What it does, in words: `follows events`, `waits for a message's state`, `runs message.send`, `idle since message.send`.
    pub does: String,
}

/// A user's clients in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserClients {
    /// Who.
    pub uid: u32,
    /// How many.
    pub clients: u64,
}

/// One account in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Its name.
    pub name: String,
    /// `name@domain`.
    pub address: String,
    /// Logged in.
    pub logged_in: bool,
    /// URL of its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The directory session is up.
    pub online: bool,
    /// See [`AccountInfo::default`](super::AccountInfo::default).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What is wrong with the directory session, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_error: Option<String>,
    /// What can be done about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_advice: Option<Advice>,
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
    /// Whether the store takes writes; the reason if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
    /// See [`AccountInfo::damaged`](super::AccountInfo::damaged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// See [`AccountInfo::repair`](super::AccountInfo::repair).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Advice>,
    /// How messages to it are sealed, at least.
    pub encryption: Encryption,
    /// This machine's clock and others' differ by more than 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStatus>,
}

/// Clocks that differ, in [`AccountStatus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Seconds that this machine's clock is ahead; negative if it is behind.
    pub ahead: i64,
    /// Of whose.
    pub of: ClockWitness,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Whose clock this machine's is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockWitness {
    /// The home directory's.
    Directory,
    /// Those of most contacts that were met of late; only while the directory's is not known.
    Contacts,
}

/// `system.doctor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoctorResult {
    /// What was looked at: the daemon, then account by account.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What, in a word: `disk`, `clients`, `permissions`, `store`, `keys`, `directory`, `certificate`, `clock`, `consumers`,
    /// `tokens`; there may be others.
    pub what: String,
    /// Of which account: `name@domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How bad it is.
    pub level: CheckLevel,
    /// What was found.
    pub text: String,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// `system.netcheck`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetcheckResult {
    /// The daemon's network, then account by account.
    pub checks: Vec<NetCheck>,
}

/// One thing that was looked at in the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetCheck {
    /// What: `udp`, `ipv4`, `ipv6`, `nat`; of an account `directory`, `relay`, `srv`; there may be others.
    pub what: String,
    /// Of which account: `name@domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How bad it is.
    pub level: CheckLevel,
    /// In a word: `yes`, `no` or `unknown`; of `nat`: `none`, `easy` (whoever looks sees the same port), `hard` or `unknown`.
    pub value: String,
    /// What was found.
    pub text: String,
    /// Microseconds until the answer; of an answer that did not come, how long it was waited for.
    pub took_us: u64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// Nothing is wrong.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// Something does not work.
    Error,
}
