//! The seam itself.

use std::collections::HashSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use proto::ids::{AccountId, DeviceId, LogId};
use proto::name::Name;

use super::followers::Followed;
use super::index::{Change, Entry};
use super::nonce::NONCE_BYTES;
use super::presence::{Joined, SessionId, Status};

/// See the module.
pub trait Cluster: Debug + Send + Sync {
    /// Who has this name.
    fn by_name(&self, name: &Name) -> Option<Arc<Entry>>;
    /// Who has this id.
    fn by_account(&self, account: AccountId) -> Option<Arc<Entry>>;
    /// Calls `keep` for each account in the order of names, beginning after `after`, until it has kept `limit`; those,
    /// and whether there may be more. `keep` runs under a lock: it must be quick and take no other lock.
    fn page(&self, after: Option<&Name>, limit: usize, keep: &dyn Fn(&Entry) -> bool) -> (Vec<Arc<Entry>>, bool);
    /// Accounts that are registered.
    fn accounts(&self) -> usize;
    /// Puts the changes of one committed transaction in force, all at once.
    fn committed(&self, changes: Vec<Change>);

    /// A challenge for a client at `address`.
    fn nonce(&self, address: IpAddr, now: i64) -> [u8; NONCE_BYTES];
    /// Whether it was issued to `address` lately enough.
    fn nonce_holds(&self, nonce: &[u8], address: IpAddr, now: i64) -> bool;

    /// Begins a session. `previous` is the token of the same client's session before.
    fn join(&self, account: AccountId, device: DeviceId, previous: Option<&str>, now: i64) -> Joined;
    /// Begins a session of somebody who is no member: it may watch, and is nobody.
    fn join_guest(&self) -> Joined;
    /// Ends a session.
    fn leave(&self, id: SessionId, now: i64);
    /// The account of the session with this bearer token.
    fn member(&self, token: &str) -> Option<AccountId>;
    /// Whether somebody is connected.
    fn status(&self, account: AccountId) -> Status;
    /// Everybody who is connected.
    fn connected(&self) -> HashSet<AccountId>;
    /// Sessions that are open.
    fn sessions(&self) -> usize;
    /// Adds watches that were found to be allowed; the present status of each. Those above
    /// [`MAX_WATCHES`](super::MAX_WATCHES) are left out.
    fn watch(&self, id: SessionId, allowed: &[(AccountId, [u8; 32])]) -> Vec<(AccountId, Status)>;
    /// How many accounts a session watches.
    fn watches(&self, id: SessionId) -> usize;
    /// Ends watches of a session.
    fn unwatch(&self, id: SessionId, accounts: &[AccountId]);
    /// Ends the watches on `account` that rest on tokens which no longer hold.
    fn revoked(&self, account: AccountId, hashes: &[[u8; 32]]);
    /// Ends the sessions of an account that gave its name up.
    fn unregistered(&self, account: AccountId);
    /// Ends the sessions of an account's devices that its record does not name any more.
    fn keep_devices(&self, account: AccountId, devices: &[DeviceId]);
    /// Wakes the newest session of a device: mail was committed for it.
    fn mail_came(&self, device: DeviceId);

    /// Tells a session of a log from now on; not if it follows [`MAX_FOLLOWED`](super::MAX_FOLLOWED).
    fn follow(&self, id: SessionId, log: LogId, followed: &Arc<Followed>) -> bool;
    /// No longer.
    fn unfollow(&self, id: SessionId, log: LogId);
    /// Wakes whoever follows a log: something in it was committed.
    fn log_came(&self, log: LogId);

    /// The mailbox's clock goes on from what the store has saved. Before anything else is asked, and once.
    fn resume(&self, saved: u64);
    /// Seconds that the directory was up, from its first start on.
    fn uptime(&self) -> u64;
}
