//! The one process there is: all of it in memory.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use proto::ids::{AccountId, DeviceId, LogId};
use proto::name::Name;

use super::followers::{Followed, Followers};
use super::index::{Change, Entry, Index};
use super::nonce::{NONCE_BYTES, Nonces};
use super::presence::{Joined, Presence, SessionId, Status};
use super::seam::Cluster;
use super::uptime::{Monotonic, Uptime};

/// See the module.
#[derive(Debug)]
pub struct Local {
    index: Index,
    nonces: Nonces,
    presence: Presence,
    followers: Followers,
    clock: Monotonic,
    uptime: OnceLock<Uptime>,
}

impl Local {
    /// One that knows nobody, and counts the time that it is up by `clock`.
    pub fn new(clock: Monotonic) -> Self {
        let (index, nonces, presence) = (Index::default(), Nonces::default(), Presence::default());
        Self { index, nonces, presence, followers: Followers::default(), clock, uptime: OnceLock::new() }
    }
}

impl Cluster for Local {
    fn by_name(&self, name: &Name) -> Option<Arc<Entry>> {
        self.index.by_name(name)
    }

    fn by_account(&self, account: AccountId) -> Option<Arc<Entry>> {
        self.index.by_account(account)
    }

    fn page(&self, after: Option<&Name>, limit: usize, keep: &dyn Fn(&Entry) -> bool) -> (Vec<Arc<Entry>>, bool) {
        self.index.page(after, limit, keep)
    }

    fn accounts(&self) -> usize {
        self.index.len()
    }

    fn committed(&self, changes: Vec<Change>) {
        self.index.apply(changes);
    }

    fn nonce(&self, address: IpAddr, now: i64) -> [u8; NONCE_BYTES] {
        self.nonces.issue(address, now)
    }

    fn nonce_holds(&self, nonce: &[u8], address: IpAddr, now: i64) -> bool {
        self.nonces.valid(nonce, address, now)
    }

    fn join(&self, account: AccountId, device: DeviceId, previous: Option<&str>, now: i64) -> Joined {
        self.presence.join(account, device, previous, now)
    }

    fn join_guest(&self) -> Joined {
        self.presence.join_guest()
    }

    fn leave(&self, id: SessionId, now: i64) {
        self.followers.leave(id);
        self.presence.leave(id, now);
    }

    fn member(&self, token: &str) -> Option<AccountId> {
        self.presence.member(token)
    }

    fn status(&self, account: AccountId) -> Status {
        self.presence.status(account)
    }

    fn connected(&self) -> HashSet<AccountId> {
        self.presence.live()
    }

    fn sessions(&self) -> usize {
        self.presence.sessions()
    }

    fn watch(&self, id: SessionId, allowed: &[(AccountId, [u8; 32])]) -> Vec<(AccountId, Status)> {
        self.presence.watch(id, allowed)
    }

    fn watches(&self, id: SessionId) -> usize {
        self.presence.watches(id)
    }

    fn unwatch(&self, id: SessionId, accounts: &[AccountId]) {
        self.presence.unwatch(id, accounts);
    }

    fn revoked(&self, account: AccountId, hashes: &[[u8; 32]]) {
        self.presence.revoke(account, hashes);
    }

    fn unregistered(&self, account: AccountId) {
        self.presence.unregistered(account);
    }

    fn keep_devices(&self, account: AccountId, devices: &[DeviceId]) {
        self.presence.keep_devices(account, devices);
    }

    fn mail_came(&self, device: DeviceId) {
        self.presence.mail(device);
    }

    fn follow(&self, id: SessionId, log: LogId, followed: &Arc<Followed>) -> bool {
        self.followers.follow(id, log, followed)
    }

    fn unfollow(&self, id: SessionId, log: LogId) {
        self.followers.unfollow(id, log);
    }

    fn log_came(&self, log: LogId) {
        self.followers.came(log);
    }

    fn resume(&self, saved: u64) {
        // Once: a clock that counts is not set.
        self.uptime.get_or_init(|| Uptime::resume(self.clock.clone(), saved));
    }

    fn uptime(&self) -> u64 {
        self.uptime.get().map_or(0, Uptime::now)
    }
}
