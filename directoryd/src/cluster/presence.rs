//! Who is connected, and who is told about it.
//!
//! The registry knows sessions, their tokens and their watches; a session's own task does the talking (`session`).
//! All queues are bounded: a session that does not take what it is told is closed, and learns everything anew when it
//! comes back.
//!
//! Not the job: whether a watch is allowed (`session` asks the store), or what lists show (routes/users.rs).
//!
//! Invariant: the lock is held for map operations and `try_send` only, never across an await.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::directory::api::{Base64, ServerFrame};
use proto::ids::{AccountId, DeviceId};
use tokio::sync::{Notify, mpsc};

/// Frames that wait for a session at most. A session that is told of 4,096 watched contacts at once is sent those by
/// its own task; what waits here are changes.
const QUEUE: usize = 256;
/// Accounts that a session may watch.
pub const MAX_WATCHES: usize = 4_096;

/// The number of a session within this process.
pub type SessionId = u64;

/// What a session's task is told.
#[derive(Debug)]
pub enum ToSession {
    /// To be passed on.
    Frame(ServerFrame),
    /// Another session has begun with this device's key.
    Superseded {
        /// To reach the newer one.
        newer: mpsc::Sender<ToSession>,
        /// It presented this session's token: the same process has reconnected, and nothing is cloned.
        same_process: bool,
    },
    /// The account gave its name up, or its record names this device no more.
    Unregistered,
}

/// Whether an account is connected, and since when, if this process has seen it change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// A device is connected.
    pub online: bool,
    /// Unix seconds.
    pub since: Option<i64>,
}

#[derive(Debug)]
struct Live {
    /// Whose it is, and by what token; of a guest nobody's.
    member: Option<(AccountId, DeviceId, [u8; 32])>,
    queue: mpsc::Sender<ToSession>,
    /// With the hash of the token that allows it.
    watches: HashMap<AccountId, [u8; 32]>,
    mail: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Maps {
    sessions: HashMap<SessionId, Live>,
    by_token: HashMap<[u8; 32], SessionId>,
    by_device: HashMap<DeviceId, SessionId>,
    /// How many sessions each connected account has.
    live: HashMap<AccountId, usize>,
    /// When each account came or went last.
    since: HashMap<AccountId, i64>,
    watchers: HashMap<AccountId, HashMap<SessionId, [u8; 32]>>,
    next: SessionId,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Presence {
    maps: Mutex<Maps>,
}

/// What a session's task holds of itself.
#[derive(Debug)]
pub struct Joined {
    /// Its number.
    pub id: SessionId,
    /// The bearer token for REST requests.
    pub token: String,
    /// What it is told. Closed when it was too slow to take it.
    pub queue: mpsc::Receiver<ToSession>,
    /// Woken when mail came for the device: once for any number, for the task reads the store.
    pub mail: Arc<Notify>,
}

impl Presence {
    /// Begins a session. `previous` is the token of the same client's session before.
    pub fn join(&self, account: AccountId, device: DeviceId, previous: Option<&str>, now: i64) -> Joined {
        let token: [u8; 32] = rand::random();
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut maps = self.lock();
        let id = maps.next;
        maps.next += 1;
        if let Some(older) = maps.by_device.insert(device, id).and_then(|older| maps.sessions.get(&older)) {
            let known = older.member.map(|(_, _, token)| Base64::text(&token));
            let same_process = previous.is_some() && previous == known.as_deref();
            // A full queue means that it is being closed anyway.
            let _ = older.queue.try_send(ToSession::Superseded { newer: sender.clone(), same_process });
        }
        maps.by_token.insert(token, id);
        let mail = Arc::new(Notify::new());
        let member = Some((account, device, token));
        let live = Live { member, queue: sender, watches: HashMap::new(), mail: Arc::clone(&mail) };
        maps.sessions.insert(id, live);
        let count = maps.live.entry(account).or_insert(0);
        *count += 1;
        if *count == 1 {
            maps.change(account, true, now);
        }
        Joined { id, token: Base64::text(&token), queue, mail }
    }

    /// Begins a session of somebody who is no member: it may watch, and is nobody.
    pub fn join_guest(&self) -> Joined {
        let (queue_in, queue) = mpsc::channel(QUEUE);
        let mail = Arc::new(Notify::new());
        let mut maps = self.lock();
        let id = maps.next;
        maps.next += 1;
        let live = Live { member: None, queue: queue_in, watches: HashMap::new(), mail: Arc::clone(&mail) };
        maps.sessions.insert(id, live);
        Joined { id, token: String::new(), queue, mail }
    }

    /// Ends a session.
    pub fn leave(&self, id: SessionId, now: i64) {
        self.lock().leave(id, now);
    }

    /// The account and device of the session with this bearer token.
    pub fn member(&self, token: &str) -> Option<AccountId> {
        let token = Base64::parse(token)?;
        let token = <[u8; 32]>::try_from(token.0).ok()?;
        let maps = self.lock();
        maps.by_token.get(&token).and_then(|id| maps.sessions.get(id)?.member).map(|(account, ..)| account)
    }

    /// Wakes the newest session of a device: mail was committed for it.
    pub fn mail(&self, device: DeviceId) {
        let maps = self.lock();
        if let Some(live) = maps.by_device.get(&device).and_then(|id| maps.sessions.get(id)) {
            live.mail.notify_one();
        }
    }

    /// Whether somebody is connected.
    pub fn status(&self, account: AccountId) -> Status {
        self.lock().status(account)
    }

    /// Everybody who is connected.
    pub fn live(&self) -> HashSet<AccountId> {
        self.lock().live.keys().copied().collect()
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Adds watches that were found to be allowed; the present status of each. Those above [`MAX_WATCHES`] are left out.
    pub fn watch(&self, id: SessionId, allowed: &[(AccountId, [u8; 32])]) -> Vec<(AccountId, Status)> {
        let mut maps = self.lock();
        let mut told = Vec::with_capacity(allowed.len());
        for (account, hash) in allowed {
            let Some(live) = maps.sessions.get_mut(&id) else { break };
            if live.watches.len() >= MAX_WATCHES && !live.watches.contains_key(account) {
                break;
            }
            live.watches.insert(*account, *hash);
            maps.watchers.entry(*account).or_default().insert(id, *hash);
            told.push((*account, maps.status(*account)));
        }
        told
    }

    /// How many accounts a session watches.
    pub fn watches(&self, id: SessionId) -> usize {
        self.lock().sessions.get(&id).map_or(0, |live| live.watches.len())
    }

    /// Ends watches of a session.
    pub fn unwatch(&self, id: SessionId, accounts: &[AccountId]) {
        let mut maps = self.lock();
        for account in accounts {
            if let Some(live) = maps.sessions.get_mut(&id) {
                live.watches.remove(account);
            }
            maps.remove_watcher(*account, id);
        }
    }

    /// Ends the watches on `account` that rest on tokens which no longer hold. To those who watched, the account looks
    /// like one that went offline.
    pub fn revoke(&self, account: AccountId, hashes: &[[u8; 32]]) {
        let mut maps = self.lock();
        let gone: Vec<SessionId> = maps
            .watchers
            .get(&account)
            .map(|all| all.iter().filter(|(_, hash)| hashes.contains(hash)).map(|(id, _)| *id).collect())
            .unwrap_or_default();
        for id in gone {
            maps.remove_watcher(account, id);
            if let Some(live) = maps.sessions.get_mut(&id) {
                live.watches.remove(&account);
                let _ = live.queue.try_send(ToSession::Frame(presence(account, Status::default())));
            }
        }
    }

    /// Ends the sessions of an account that gave its name up.
    pub fn unregistered(&self, account: AccountId) {
        self.keep_devices(account, &[]);
        self.lock().since.remove(&account);
    }

    /// Ends the sessions of an account's devices that its record does not name any more: a key that was taken out of use
    /// speaks for nobody. Looks at every session: for records that drop a device, which are few.
    pub fn keep_devices(&self, account: AccountId, devices: &[DeviceId]) {
        let maps = self.lock();
        if !maps.live.contains_key(&account) {
            return;
        }
        let gone =
            |live: &&Live| live.member.is_some_and(|(own, device, _)| own == account && !devices.contains(&device));
        for live in maps.sessions.values().filter(gone) {
            let _ = live.queue.try_send(ToSession::Unregistered);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        // The maps are changed by short code that does not panic half-way.
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn status(&self, account: AccountId) -> Status {
        Status { online: self.live.contains_key(&account), since: self.since.get(&account).copied() }
    }

    fn leave(&mut self, id: SessionId, now: i64) {
        let Some(live) = self.sessions.remove(&id) else { return };
        for account in live.watches.keys() {
            self.remove_watcher(*account, id);
        }
        let Some((account, device, token)) = live.member else { return };
        self.by_token.remove(&token);
        if self.by_device.get(&device) == Some(&id) {
            self.by_device.remove(&device);
        }
        if let Some(count) = self.live.get_mut(&account) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&account);
                self.change(account, false, now);
            }
        }
    }

    fn remove_watcher(&mut self, account: AccountId, id: SessionId) {
        if let Some(all) = self.watchers.get_mut(&account) {
            all.remove(&id);
            if all.is_empty() {
                self.watchers.remove(&account);
            }
        }
    }

    fn change(&mut self, account: AccountId, online: bool, now: i64) {
        self.since.insert(account, now);
        let Some(watchers) = self.watchers.get(&account) else { return };
        let frame = presence(account, Status { online, since: Some(now) });
        let slow: Vec<SessionId> = watchers
            .keys()
            .filter(|id| {
                let queue = self.sessions.get(id).map(|live| &live.queue);
                queue.is_some_and(|queue| queue.try_send(ToSession::Frame(frame.clone())).is_err())
            })
            .copied()
            .collect();
        // Ending its queue ends its task. What follows from that (others are told) ends: each step removes a session.
        for id in slow {
            self.leave(id, now);
        }
    }
}

/// The frame that tells a status.
pub fn presence(account: AccountId, status: Status) -> ServerFrame {
    ServerFrame::Presence { account, online: status.online, since: status.since }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALICE: (AccountId, DeviceId) = (AccountId([1; 16]), DeviceId([1; 16]));
    const BOB: (AccountId, DeviceId) = (AccountId([2; 16]), DeviceId([2; 16]));

    fn next_presence(joined: &mut Joined) -> Option<(AccountId, bool)> {
        match joined.queue.try_recv() {
            Ok(ToSession::Frame(ServerFrame::Presence { account, online, .. })) => Some((account, online)),
            _ => None,
        }
    }

    #[test]
    fn watchers_are_told_of_the_first_and_the_last_device() {
        let presence = Presence::default();
        let mut alice = presence.join(ALICE.0, ALICE.1, None, 1);
        assert_eq!(presence.watch(alice.id, &[(BOB.0, [9; 32])])[0].1, Status { online: false, since: None });
        let phone = presence.join(BOB.0, BOB.1, None, 2);
        let laptop = presence.join(BOB.0, DeviceId([3; 16]), None, 3);
        assert_eq!(next_presence(&mut alice), Some((BOB.0, true)));
        presence.leave(phone.id, 4);
        assert_eq!(next_presence(&mut alice), None, "one device is left");
        presence.leave(laptop.id, 5);
        assert_eq!(next_presence(&mut alice), Some((BOB.0, false)));
        assert_eq!(presence.status(BOB.0), Status { online: false, since: Some(5) });
        assert_eq!(presence.member(&alice.token), Some(ALICE.0));
        presence.leave(alice.id, 6);
        assert_eq!(presence.member(&alice.token), None, "the token ends with the session");
        assert!(presence.lock().watchers.is_empty());
    }

    #[test]
    fn a_revoked_token_ends_the_watch() {
        let presence = Presence::default();
        let mut alice = presence.join(ALICE.0, ALICE.1, None, 1);
        let _bob = presence.join(BOB.0, BOB.1, None, 1);
        presence.watch(alice.id, &[(BOB.0, [9; 32])]);
        presence.revoke(BOB.0, &[[8; 32]]);
        assert_eq!(next_presence(&mut alice), None);
        presence.revoke(BOB.0, &[[9; 32]]);
        assert_eq!(next_presence(&mut alice), Some((BOB.0, false)));
        presence.leave(_bob.id, 2);
        assert_eq!(next_presence(&mut alice), None);
    }

    #[test]
    fn a_guest_is_told_and_is_nobody() {
        let presence = Presence::default();
        let mut guest = presence.join_guest();
        presence.watch(guest.id, &[(BOB.0, [9; 32])]);
        let bob = presence.join(BOB.0, BOB.1, None, 1);
        assert_eq!(next_presence(&mut guest), Some((BOB.0, true)));
        assert_eq!(presence.member(&guest.token), None);
        assert_eq!(presence.live(), HashSet::from([BOB.0]));
        presence.leave(bob.id, 2);
        assert_eq!(next_presence(&mut guest), Some((BOB.0, false)));
        presence.leave(guest.id, 3);
        assert!(presence.lock().watchers.is_empty() && presence.sessions() == 0);
    }

    #[test]
    fn a_second_session_of_a_device_is_told_to_the_first() {
        let presence = Presence::default();
        let mut first = presence.join(ALICE.0, ALICE.1, None, 1);
        let mut second = presence.join(ALICE.0, ALICE.1, Some(&first.token), 2);
        assert!(matches!(first.queue.try_recv(), Ok(ToSession::Superseded { same_process: true, .. })));
        let _third = presence.join(ALICE.0, ALICE.1, None, 3);
        assert!(matches!(second.queue.try_recv(), Ok(ToSession::Superseded { same_process: false, .. })));
    }

    #[test]
    fn a_session_that_takes_nothing_is_closed() {
        let presence = Presence::default();
        let alice = presence.join(ALICE.0, ALICE.1, None, 1);
        presence.watch(alice.id, &[(BOB.0, [9; 32])]);
        for turn in 0..QUEUE as i64 {
            let bob = presence.join(BOB.0, BOB.1, None, turn);
            presence.leave(bob.id, turn);
        }
        assert!(!presence.status(ALICE.0).online);
        assert_eq!(presence.sessions(), 0);
    }
}
