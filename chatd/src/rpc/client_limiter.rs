//! Who is connected, and what each user may take of the daemon: places, and memory.
//!
//! Places are given as long as there are any. When all are taken, who has more than a fair share gives one up for who has less:
//! the connection that was silent longest goes. Feeds may take three quarters of the places, so that short commands always find
//! one. Buffers of all clients together have a bound; when it is passed, the largest connection of the user with the most goes.
//!
//! Invariant: nobody who stays within the share of each user is refused or dropped for what others do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::rpc::methods::METHODS;
use proto::rpc::{ErrorCode, RpcError};
use proto::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use crate::model::{ClientInfo, Clients, UserClients};

/// Bytes that buffers of all clients may have together. 64 MiB are promised; what grows between two weighings is the rest.
pub(super) const BUFFER_BYTES: usize = 48 << 20;
/// Places of a user without an account here: enough to make one, in some windows.
pub(super) const WITHOUT_ACCOUNT: usize = 8;
/// Of all places, the part that users without an account may have together.
const WITHOUT_ACCOUNT_PART: usize = 4;
/// A connection that said nothing for so long, and waits for nothing, may lose its place to others of the same user.
const IDLE: Duration = Duration::from_secs(10);

/// What a connection does, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Doing {
    Idle,
    Working,
    Waiting,
    Following,
}

impl Doing {
    /// What it does, by the method that it asked for last.
    fn text(number: u8, asked: Option<&str>) -> String {
        match (number, asked) {
            (n, _) if n == Self::Waiting as u8 => "waits for a message's state".to_owned(),
            (n, _) if n == Self::Following as u8 => "follows events".to_owned(),
            (_, None) => "has asked nothing yet".to_owned(),
            (n, Some(method)) if n == Self::Working as u8 => format!("runs {method}"),
            (_, Some(method)) => format!("idle since {method}"),
        }
    }
}

/// One connected client, as the others see it.
#[derive(Debug)]
struct Client {
    uid: u32,
    pid: Option<i32>,
    program: String,
    since: Timestamp,
    has_account: bool,
    /// Milliseconds of the limiter's clock.
    touched: AtomicU64,
    doing: AtomicU8,
    /// Which of `METHODS` it asked for last; beyond them all, none.
    asked: AtomicUsize,
    follows: AtomicBool,
    weight: AtomicUsize,
    /// Given up: it counts no more, and ends as soon as it notices.
    doomed: AtomicBool,
    end: CancellationToken,
}

impl Client {
    fn counts(&self) -> bool {
        !self.doomed.load(Ordering::Acquire)
    }

    fn follows(&self) -> bool {
        self.follows.load(Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<u64, Arc<Client>>,
    next: u64,
    /// Bytes of all that count together: changed only with the table locked, as each client's own.
    weight: usize,
}

impl Table {
    fn counted(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.values().filter(|client| client.counts())
    }

    fn of(&self, uid: u32) -> usize {
        self.counted().filter(|client| client.uid == uid).count()
    }

    /// The user with the most clients of those that `which` admits, and how many these are.
    fn loudest(&self, which: impl Fn(&Client) -> bool) -> Option<(u32, usize)> {
        let mut by_uid = HashMap::new();
        for client in self.counted().filter(|client| which(client)) {
            *by_uid.entry(client.uid).or_insert(0_usize) += 1;
        }
        by_uid.into_iter().max_by_key(|(_, count)| *count)
    }

    /// Ends a client for the good of others.
    fn doom(&mut self, client: &Client) {
        if !client.doomed.swap(true, Ordering::AcqRel) {
            self.weight -= client.weight.swap(0, Ordering::AcqRel);
            client.end.cancel();
        }
    }

    /// Lets the largest connections of the users with the most bytes go until all are within the bound.
    fn relieve(&mut self) {
        while self.weight > BUFFER_BYTES {
            let mut by_uid = HashMap::new();
            for client in self.counted() {
                *by_uid.entry(client.uid).or_insert(0_usize) += client.weight.load(Ordering::Acquire);
            }
            let Some((heavy, _)) = by_uid.into_iter().max_by_key(|(_, weight)| *weight) else { return };
            let own = self.counted().filter(|client| client.uid == heavy);
            let Some(largest) = own.max_by_key(|client| client.weight.load(Ordering::Acquire)).map(Arc::clone) else {
                return;
            };
            tracing::info!(often = "memory", uid = heavy, "clients hold too much unread: the largest connection goes");
            self.doom(&largest);
        }
    }

    fn longest_silent(&self, which: impl Fn(&Client) -> bool) -> Option<&Arc<Client>> {
        self.counted().filter(|client| which(client)).min_by_key(|client| client.touched.load(Ordering::Relaxed))
    }
}

/// See the module.
pub(super) struct ClientLimiter {
    table: Mutex<Table>,
    /// Told with each change, in order.
    counted: Box<dyn Fn(u64) + Send + Sync>,
    started: Instant,
}

/// A place. Given back when dropped, whatever ends the connection.
pub(super) struct Permit {
    limiter: Arc<ClientLimiter>,
    client: Arc<Client>,
    number: u64,
}

impl ClientLimiter {
    pub(super) fn new(counted: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { table: Mutex::default(), counted: Box::new(counted), started: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A place for a client of this user.
    ///
    /// # Errors
    /// `limit_reached`, with what to do.
    pub(super) fn admit(
        self: &Arc<Self>,
        uid: u32,
        pid: Option<i32>,
        has_account: bool,
        limits: &Limits,
    ) -> Result<Permit, RpcError> {
        let mut table = self.lock();
        let (own, all) = (table.of(uid), table.counted().count());
        let refused = |text: String| Err(RpcError::new(ErrorCode::LimitReached, text));
        if !has_account {
            let strangers = table.counted().filter(|client| !client.has_account).count();
            if own >= WITHOUT_ACCOUNT.min(limits.clients_per_uid)
                || strangers >= limits.clients.div_ceil(WITHOUT_ACCOUNT_PART)
            {
                return refused(format!(
                    "user {uid} has no account here, and the places for clients of such users are taken (by this one: \
                     {own}); close one of them, or try again later"
                ));
            }
        }
        if all >= limits.clients {
            let victim = if own < limits.clients_per_uid {
                let loud = table.loudest(|_| true).filter(|(_, count)| *count > limits.clients_per_uid);
                loud.and_then(|(loud, _)| table.longest_silent(|client| client.uid == loud))
            } else {
                let before = self.now().saturating_sub(u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX));
                table.longest_silent(|client| {
                    let silent = client.touched.load(Ordering::Relaxed) < before;
                    client.uid == uid && silent && client.doing.load(Ordering::Relaxed) == Doing::Idle as u8
                })
            };
            let Some(victim) = victim.map(Arc::clone) else {
                return refused(format!(
                    "all places for clients are taken ({all}, of which user {uid} has {own}); close some of these, or try \
                     again later"
                ));
            };
            table.doom(&victim);
        }
        table.next += 1;
        let number = table.next;
        let client = Arc::new(Client {
            uid,
            pid,
            program: pid.map(program).unwrap_or_default(),
            since: Timestamp::now(),
            has_account,
            touched: AtomicU64::new(self.now()),
            doing: AtomicU8::new(Doing::Working as u8),
            asked: AtomicUsize::new(usize::MAX),
            follows: AtomicBool::new(false),
            weight: AtomicUsize::new(0),
            doomed: AtomicBool::new(false),
            end: CancellationToken::new(),
        });
        table.clients.insert(number, Arc::clone(&client));
        (self.counted)(table.clients.len() as u64);
        drop(table);
        Ok(Permit { limiter: Arc::clone(self), client, number })
    }
}

impl Clients for ClientLimiter {
    fn of_user(&self, uid: u32) -> Vec<ClientInfo> {
        let mut found: Vec<(u64, ClientInfo)> = Vec::new();
        for (number, client) in self.lock().clients.iter().filter(|(_, client)| client.uid == uid && client.counts()) {
            let asked = METHODS.get(client.asked.load(Ordering::Relaxed)).map(|method| method.name);
            let does = Doing::text(client.doing.load(Ordering::Relaxed), asked);
            let info = ClientInfo {
                program: client.program.clone(),
                pid: client.pid.and_then(|pid| u32::try_from(pid).ok()),
                since: client.since,
                does,
            };
            found.push((*number, info));
        }
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, info)| info).collect()
    }

    fn by_user(&self) -> Vec<UserClients> {
        let mut by_uid = std::collections::BTreeMap::new();
        for client in self.lock().counted() {
            *by_uid.entry(client.uid).or_insert(0) += 1;
        }
        by_uid.into_iter().map(|(uid, clients)| UserClients { uid, clients }).collect()
    }
}

impl Permit {
    /// The client said something.
    pub(super) fn touch(&self) {
        self.client.touched.store(self.limiter.now(), Ordering::Relaxed);
    }

    /// The client asks for a method. A word that is none is not remembered: it would be shown.
    pub(super) fn asks(&self, method: &str) {
        if let Some(at) = METHODS.iter().position(|known| known.name == method) {
            self.client.asked.store(at, Ordering::Relaxed);
            let (idle, working) = (Doing::Idle as u8, Doing::Working as u8);
            let _ = self.client.doing.compare_exchange(idle, working, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// What the connection holds in memory, and what it does.
    pub(super) fn weigh(&self, bytes: usize, doing: Doing) {
        self.client.doing.store(doing as u8, Ordering::Relaxed);
        if doing != Doing::Following {
            self.client.follows.store(false, Ordering::Release);
        }
        if self.client.weight.load(Ordering::Acquire) == bytes {
            return;
        }
        let mut table = self.limiter.lock();
        if self.client.counts() {
            table.weight -= self.client.weight.swap(bytes, Ordering::AcqRel);
            table.weight += bytes;
            table.relieve();
        }
    }

    /// The connection begins to follow events, and may stay for days.
    ///
    /// # Errors
    /// `limit_reached` when those who do already leave no place.
    pub(super) fn follow(&self, limits: &Limits) -> Result<(), RpcError> {
        if self.client.follows() {
            return Ok(());
        }
        let mut table = self.limiter.lock();
        let all = table.counted().filter(|client| client.follows()).count();
        let own = table.counted().filter(|client| client.follows() && client.uid == self.client.uid).count();
        // Without an account there is nothing to follow; with one place in all, that is the place.
        let most = (limits.clients * 3 / 4).max(1);
        if all >= most {
            let loud = table.loudest(Client::follows).filter(|(_, count)| *count > limits.clients_per_uid);
            let victim = loud.filter(|_| own < limits.clients_per_uid);
            let victim = victim.and_then(|(loud, _)| table.longest_silent(|c| c.follows() && c.uid == loud));
            let Some(victim) = victim.map(Arc::clone) else {
                let text = format!(
                    "all places to follow events are taken ({all}, of which you have {own}); close some of these"
                );
                return Err(RpcError::new(ErrorCode::LimitReached, text));
            };
            table.doom(&victim);
        }
        self.client.follows.store(true, Ordering::Release);
        Ok(())
    }

    /// Cancelled when the place is needed for others.
    pub(super) fn end(&self) -> CancellationToken {
        self.client.end.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut table = self.limiter.lock();
        table.clients.remove(&self.number);
        if !self.client.doomed.swap(true, Ordering::AcqRel) {
            table.weight -= self.client.weight.swap(0, Ordering::AcqRel);
        }
        (self.limiter.counted)(table.clients.len() as u64);
    }
}

/// What the kernel calls the program of a process: 15 bytes at most, chosen by its user, to whom alone it is shown.
fn program(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
#[path = "tests/client_limiter.rs"]
mod tests;
