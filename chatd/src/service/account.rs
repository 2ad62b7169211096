//! A running account: its keys, store, inbox, and, while it is logged in, its delivery and directory session.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use proto::directory::SignedRecord;
use proto::ids::{AccountId, DeviceId};
use proto::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::identity::Keys;
use super::prekeys::open_clock;
use super::{Service, ServiceError, consumers, gaps, records, session};
use crate::delivery::{Context, Delivery};
use crate::directory::session::SessionCommand;
use crate::directory::{Directories, DirectoryClient};
use crate::model::{AccountRow, Standing};
use crate::policy::timekeeper::AccountClock;
use crate::receive::Inbox;
use crate::store::account::{self, domains};
use crate::store::{PrekeyStore, Store};

/// How long a call that brings an account online waits for its directory session.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);

/// What is told when a second process has this device's key.
const CLONED: &str = "cloned: another machine or process ran a copy of this data directory. It was stopped for good, and this one goes on; delete the \
     copy, or make it one of its own with chatctl backup and restore";

/// What is told when another copy of the account has taken this one's place.
pub(super) const SUPERSEDED: &str = "this account also runs on another machine, where it was restored from a backup or its folder was copied to: that one \
     took its place in the directory, and this copy is stopped for good. Go on there. To go on here instead, with what is here: \
     chatctl login, which stops the other one. To be rid of this copy: stop chatd and delete the account's folder (not chatctl \
     unregister, which would give up the name of both)";

/// See the module.
pub(super) struct Account {
    pub id: AccountId,
    pub device: DeviceId,
    pub keys: Keys,
    pub store: Store,
    pub prekeys: PrekeyStore,
    pub clock: Arc<AccountClock>,
    pub inbox: Arc<Inbox>,
    pub directory: Option<DirectoryClient>,
    /// Its own and others that it may ask.
    pub directories: Directories,
    row: RwLock<AccountRow>,
    running: Mutex<Option<Running>>,
    session: watch::Sender<SessionState>,
    presence: Mutex<HashMap<AccountId, (bool, Timestamp)>>,
    /// Held by what replaces the identity key.
    pub rotating: Arc<tokio::sync::Mutex<()>>,
    cloned: std::sync::atomic::AtomicBool,
    /// Since when nothing lies in the mailbox, as far as this session knows.
    drained: Mutex<Option<Instant>>,
    pub fetched: records::Fetched,
    /// Durable consumers of the feed that are being read.
    pub readers: consumers::Readers,
    /// The account is deleted, or the daemon stops: whatever waits for something of it waits no longer.
    pub gone: CancellationToken,
}

/// What was opened of an account.
pub(super) struct Parts {
    pub row: AccountRow,
    pub keys: Keys,
    pub store: Store,
    pub prekeys: PrekeyStore,
}

struct Running {
    delivery: Delivery,
    commands: mpsc::Sender<SessionCommand>,
    stop: CancellationToken,
    /// Cancelled once the directory session has said goodbye.
    goodbye: CancellationToken,
}

/// How the directory session stands.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionState {
    pub up: bool,
    pub bearer: Option<String>,
    pub error: Option<String>,
}

/// A lock of a value that no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    /// Opens the account in a folder.
    pub fn open(service: &Service, folder: &Path) -> Result<Arc<Self>, ServiceError> {
        let inner = &service.inner;
        let store = Store::open_on(folder, &inner.indexer, Some(Arc::clone(&inner.space)))?;
        let card = store.read_blocking(account::own_card)?;
        let keys = Keys::load(folder, &SignedRecord::decode(&card.record)?.peek()?.identity_key)?;
        let prekeys = PrekeyStore::open(folder)?;
        let row = store.read_blocking(account::load)?;
        if row.device != keys.device_id() {
            return Err(ServiceError::DataDir(format!(
                "{}: device.key is not the key of the account in messages.db; restore both from one backup",
                folder.display()
            )));
        }
        Self::assemble(service, Parts { row, keys, store, prekeys })
    }

    /// Puts an account together.
    pub fn assemble(service: &Service, parts: Parts) -> Result<Arc<Self>, ServiceError> {
        let inner = &service.inner;
        let Parts { row, keys, store, prekeys } = parts;
        let clock = Arc::new(open_clock(&prekeys)?);
        let directory = match row.directory.as_str() {
            "" => None,
            url => {
                let pinned = store.read_blocking(|conn| domains::key_of(conn, &row.origin))?;
                Some(DirectoryClient::pinned(url, pinned)?.with_clock(Arc::clone(&clock)))
            }
        };
        let inbox = Inbox::new(
            row.id,
            row.device,
            store.clone(),
            prekeys.all()?,
            inner.limits.clone(),
            (service.config().limits.pending_requests.get(), service.config().limits.quotas()),
            Arc::clone(&clock),
        );
        Ok(Arc::new(Self {
            id: row.id,
            device: row.device,
            keys,
            store,
            prekeys,
            clock,
            inbox: Arc::new(inbox),
            directories: inner.directories.with_home(&row.origin, directory.clone()),
            directory,
            row: RwLock::new(row),
            running: Mutex::default(),
            session: watch::Sender::default(),
            presence: Mutex::default(),
            rotating: Arc::default(),
            cloned: std::sync::atomic::AtomicBool::new(false),
            drained: Mutex::default(),
            fetched: records::Fetched::default(),
            readers: consumers::Readers::default(),
            gone: inner.stop.child_token(),
        }))
    }

    /// The time in Unix seconds, if clocks agree on it.
    pub fn agreed(&self) -> Option<i64> {
        self.clock.agreed()
    }

    pub fn row(&self) -> AccountRow {
        self.row.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_logged_in(&self, logged_in: bool) {
        self.row.write().unwrap_or_else(PoisonError::into_inner).logged_in = logged_in;
    }

    pub fn set_standing(&self, standing: Standing) {
        self.row.write().unwrap_or_else(PoisonError::into_inner).standing = standing;
    }

    pub fn set_preferred(&self, preferred: i64) {
        self.row.write().unwrap_or_else(PoisonError::into_inner).preferred = preferred;
    }

    /// The delivery task, while the account is online.
    pub fn delivery(&self) -> Option<Delivery> {
        lock(&self.running).as_ref().map(|running| running.delivery.clone())
    }

    pub fn is_running(&self) -> bool {
        lock(&self.running).is_some()
    }

    pub fn session(&self) -> SessionState {
        self.session.borrow().clone()
    }

    pub fn set_session(&self, state: SessionState) {
        if !state.up {
            *lock(&self.drained) = None;
        }
        self.session.send_replace(state);
    }

    /// Two processes have this device's key. Told until this one ends: which of them is the copy, only people know.
    pub fn set_cloned(&self) {
        self.cloned.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// What is wrong with the session, or with what the directory says of it.
    pub fn session_error(&self) -> Option<String> {
        if self.row().standing == Standing::Superseded {
            return Some(SUPERSEDED.to_owned());
        }
        if self.cloned.load(std::sync::atomic::Ordering::Relaxed) {
            return Some(CLONED.to_owned());
        }
        self.session.borrow().error.clone()
    }

    /// Waits until the directory session is up or has failed once, a moment at most: who has just logged in wants to know.
    pub async fn settled(&self) {
        if self.directory.is_none() {
            return;
        }
        let mut session = self.session.subscribe();
        // Not settled in time is what the answer then says.
        let _ = tokio::time::timeout(SETTLE, session.wait_for(|state| state.up || state.error.is_some())).await;
    }

    pub fn bearer(&self) -> Option<String> {
        self.session.borrow().bearer.clone()
    }

    /// What is known of a contact's presence. Nothing is, while our own session is down.
    pub fn presence(&self, contact: AccountId) -> Option<(bool, Timestamp)> {
        if !self.session.borrow().up {
            return None;
        }
        lock(&self.presence).get(&contact).copied()
    }

    /// Keeps a presence; whether it is news.
    pub fn set_presence(&self, contact: AccountId, online: bool) -> bool {
        let old = lock(&self.presence).insert(contact, (online, Timestamp::now()));
        old.map(|(was, _)| was) != Some(online)
    }

    /// The account is watched no longer.
    pub fn forget_presence(&self, contact: AccountId) {
        lock(&self.presence).remove(&contact);
    }

    /// Everything that lay in the mailbox is stored here.
    pub fn mailbox_drained(&self) {
        self.keep_drained();
        lock(&self.drained).get_or_insert_with(Instant::now);
    }

    /// Whether nothing can be in the mailbox that has not been stored here for so long: it was drained, or there is none.
    pub fn is_drained_for(&self, time: Duration) -> bool {
        self.directory.is_none() || lock(&self.drained).is_some_and(|since| since.elapsed() >= time)
    }

    /// Tells the directory session something, if there is one.
    pub async fn command(&self, command: SessionCommand) {
        let commands = lock(&self.running).as_ref().map(|running| running.commands.clone());
        if let Some(commands) = commands {
            // A session that ended needs no command.
            let _ = commands.send(command).await;
        }
    }

    /// Starts delivery and the directory session.
    pub fn go_online(self: &Arc<Self>, service: &Service) {
        let mut running = lock(&self.running);
        if running.is_some() {
            return;
        }
        let stop = self.gone.child_token();
        let goodbye = CancellationToken::new();
        let row = self.row();
        let context = Context {
            account: self.id,
            device: self.device,
            device_key: Arc::new(self.keys.device.clone()),
            node: service.node_id(),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            table: service.inner.table.clone(),
            directories: self.directories.clone(),
            directory_is_local: session::is_local(&row.directory),
            allow_private: service.config().allow_private_addresses,
        };
        let links = service.open_links();
        for link in &links {
            // What was claimed in the account's life before counts no more; the other side must hear it again.
            link.claims.forget_device(self.device);
        }
        let delivery = Delivery::spawn(context, links, stop.clone());
        let (commands, queue) = mpsc::channel(session::COMMANDS);
        if self.directory.is_some() {
            let queue = (commands.clone(), queue);
            session::spawn(service.clone(), Arc::clone(self), queue, stop.clone(), goodbye.clone());
        } else {
            goodbye.cancel();
        }
        gaps::spawn(Arc::clone(self), stop.clone());
        *running = Some(Running { delivery, commands, stop, goodbye });
    }

    /// Ends delivery and the directory session; waits until the directory has heard it.
    pub async fn go_offline(&self) {
        let running = {
            let mut running = lock(&self.running);
            if let Some(running) = &*running {
                running.stop.cancel();
            }
            // Before anybody can log in again: what that session says must stand.
            self.set_session(SessionState::default());
            running.take()
        };
        if let Some(running) = running {
            // The session's own goodbye is bounded; this only guards against a hanging task.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), running.goodbye.cancelled()).await;
        }
    }
}
