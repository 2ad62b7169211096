//! An open account: its keys, its store, its inbox, and its published state.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto::advice::{Advice, Step};
use proto::ids::{AccountId, DeviceId};
use proto::time::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::clock::open_clock;
use super::keys::Keys;
use super::state::{Order, Published, SessionState};
use crate::delivery::{Delivery, News};
use crate::directory::session::SessionCommand;
use crate::directory::{Directories, DirectoryClient};
use crate::model::{AccountRow, Damage, Presence};
use crate::policy::clock::timekeeper::AccountClock;
use crate::policy::rate::SharedLimits;
use crate::receive::Inbox;
use crate::service::directory::fetch_plan::FetchPlan;
use crate::service::error::ServiceError;
use crate::service::feed::readers::Readers;
use crate::service::tokens::live::Tokens;
use crate::store::account::domains;
use crate::store::{PrekeyStore, Store, StoreError};

/// How long a call that brings an account online waits for its directory session.
const SETTLE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Account {
    pub(in crate::service) id: AccountId,
    pub(in crate::service) device: DeviceId,
    /// Where its files are.
    pub(in crate::service) folder: PathBuf,
    pub(in crate::service) keys: Keys,
    pub(in crate::service) store: Store,
    pub(in crate::service) prekeys: PrekeyStore,
    pub(in crate::service) clock: Arc<AccountClock>,
    pub(in crate::service) inbox: Arc<Inbox>,
    pub(in crate::service) directory: Option<DirectoryClient>,
    /// Its own and others that it may ask.
    pub(in crate::service) directories: Directories,
    /// Its one state.
    pub(in crate::service) state: Published,
    /// Orders of the state, until the supervisor takes them.
    orders: Mutex<Option<mpsc::Receiver<Order>>>,
    presence: Mutex<HashMap<AccountId, Presence>>,
    /// Held by what replaces the identity key.
    pub(in crate::service) rotating: Arc<tokio::sync::Mutex<()>>,
    pub(in crate::service) fetched: FetchPlan,
    /// Durable consumers of the feed that are being read.
    pub(in crate::service) readers: Readers,
    /// Tokens in force.
    pub(in crate::service) tokens: Tokens,
    /// What helps if the account was found damaged when it was opened; `None`: what helps against damaged files.
    pub(in crate::service) repair: Option<Option<Advice>>,
    /// The account is deleted, or the daemon stops: whatever waits for something of it waits no longer.
    pub(in crate::service) gone: CancellationToken,
}

/// What was opened of an account.
pub(in crate::service) struct Parts {
    /// Where its files are.
    pub folder: PathBuf,
    pub row: AccountRow,
    pub keys: Keys,
    pub store: Store,
    pub prekeys: PrekeyStore,
    /// See [`Account::repair`].
    pub repair: Option<Option<Advice>>,
}

/// What an account shares with others of the daemon.
pub(in crate::service) struct Shared<'a> {
    pub limits: &'a SharedLimits,
    pub directories: &'a Directories,
    /// Cancelled when the account is to end.
    pub gone: CancellationToken,
}

/// A lock of a value that no panic can leave half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Account {
    /// Puts an account together. It is offline.
    pub(in crate::service) fn assemble(parts: Parts, shared: Shared<'_>) -> Result<Arc<Self>, ServiceError> {
        let Parts { folder, row, keys, store, prekeys, repair } = parts;
        let clock = Arc::new(open_clock(&prekeys)?);
        let directory = match row.directory.as_str() {
            "" => None,
            url => {
                let pinned = store.read_blocking(|conn| domains::key_of(conn, &row.origin))?;
                Some(shared.directories.at(url, pinned)?.with_clock(Arc::clone(&clock)))
            }
        };
        let inbox =
            Inbox::new(row.id, row.device, store.clone(), prekeys.all()?, shared.limits.clone(), Arc::clone(&clock));
        let (id, device) = (row.id, row.device);
        let tokens = Tokens::open(&store, id);
        let directories = shared.directories.with_home(&row.origin, directory.clone());
        let (state, orders) = Published::new(row, shared.gone.clone());
        Ok(Arc::new(Self {
            id,
            device,
            folder,
            keys,
            store,
            prekeys,
            clock,
            inbox: Arc::new(inbox),
            directories,
            directory,
            state,
            orders: Mutex::new(Some(orders)),
            presence: Mutex::default(),
            rotating: Arc::default(),
            fetched: FetchPlan::default(),
            readers: Readers::default(),
            tokens,
            repair,
            gone: shared.gone,
        }))
    }

    /// The orders that the account's supervisor obeys: whoever asks first is the supervisor.
    pub(in crate::service) fn take_orders(&self) -> Option<mpsc::Receiver<Order>> {
        lock(&self.orders).take()
    }

    /// The account as it is stored.
    pub(in crate::service) fn row(&self) -> AccountRow {
        self.state.now().row.clone()
    }

    /// The delivery task, while the account is online.
    pub(in crate::service) fn delivery(&self) -> Option<Delivery> {
        self.state.now().online().map(|online| online.delivery.clone())
    }

    pub(in crate::service) fn is_running(&self) -> bool {
        self.state.now().online().is_some()
    }

    pub(in crate::service) fn session(&self) -> SessionState {
        self.state.now().session.clone()
    }

    /// Waits until the directory session is up or has failed once, a moment at most: who has just logged in wants to know.
    pub(in crate::service) async fn settled(&self) {
        if self.directory.is_none() {
            return;
        }
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| state.session.up || state.session.error.is_some());
        // Not settled in time is what the answer then says.
        let _ = tokio::time::timeout(SETTLE, settled).await;
    }

    /// The token of a session that began after the one with this token, or of none, ended; waits for it a moment at most.
    pub(in crate::service) async fn another_session(&self, before: Option<String>) -> Option<String> {
        let mut state = self.state.subscribe();
        let other = state.wait_for(|state| state.session.up && state.session.bearer != before);
        let other = tokio::time::timeout(SETTLE, other).await;
        other.ok()?.ok().and_then(|state| state.session.bearer.clone())
    }

    /// What is known of a contact's presence. Nothing is, while our own session is down.
    pub(in crate::service) fn presence(&self, contact: AccountId) -> Option<Presence> {
        if !self.state.now().session.up {
            return None;
        }
        lock(&self.presence).get(&contact).copied()
    }

    /// Keeps a presence; whether it is news.
    pub(in crate::service) fn set_presence(&self, contact: AccountId, online: bool) -> bool {
        let old = lock(&self.presence).insert(contact, Presence { online, since: Timestamp::now() });
        old.map(|was| was.online) != Some(online)
    }

    /// The account is watched no longer.
    pub(in crate::service) fn forget_presence(&self, contact: AccountId) {
        lock(&self.presence).remove(&contact);
    }

    /// Everything that lay in the mailbox is stored here.
    pub(in crate::service) fn mailbox_drained(&self) {
        self.keep_drained();
        self.state.change(|state| {
            state.drained.get_or_insert_with(Instant::now);
        });
    }

    /// Whether nothing can be in the mailbox that has not been stored here for so long: it was drained, or there is none.
    pub(in crate::service) fn is_drained_for(&self, time: Duration) -> bool {
        self.directory.is_none() || self.state.now().is_drained_for(time)
    }

    /// What of it is damaged, if anything is.
    pub(in crate::service) fn damage(&self) -> Option<Damage> {
        let text = self.store.damage()?;
        let advice = self.repair.clone().unwrap_or_else(|| Some(Step::Restore.of(self.folder.display().to_string())));
        Some(Damage { text, advice })
    }

    /// Tells the directory session something, if there is one.
    pub(in crate::service) async fn command(&self, command: SessionCommand) {
        let commands = self.state.now().online().map(|online| online.commands.clone());
        if let Some(commands) = commands {
            // A session that ended needs no command.
            let _ = commands.send(command).await;
        }
    }

    /// Tells delivery something, if it runs.
    pub(in crate::service) async fn tell(&self, news: News) {
        if let Some(delivery) = self.delivery() {
            delivery.tell(news).await;
        }
    }

    /// Commits the clock if it is time, or if the daemon stops.
    pub(in crate::service) fn save_clock(&self, even_if_young: bool) -> Result<(), StoreError> {
        let committed = if even_if_young { None } else { self.prekeys.checkpoint()? };
        match self.clock.checkpoint(committed.as_ref()) {
            Some(checkpoint) => self.prekeys.set_checkpoint(&checkpoint),
            None => Ok(()),
        }
    }

    /// Commits that everything that lay in the mailbox is stored here.
    fn keep_drained(&self) {
        let now = self.clock.snapshot();
        let kept = self.prekeys.drained().and_then(|last| {
            // Once an hour is enough for what is counted in days.
            if last.is_some_and(|last| (0..3_600).contains(&(now.counted - last.counted))) {
                return Ok(());
            }
            self.prekeys.set_drained(now)
        });
        match kept {
            Ok(()) => tracing::debug!(account = %self.id, "the mailbox is drained"),
            Err(error) => tracing::warn!(%error, account = %self.id, "it was not kept that the mailbox is drained"),
        }
    }

    /// Starts delivery and the directory session.
    pub(in crate::service) async fn go_online(&self) {
        self.state.order(Order::GoOnline).await;
    }

    /// Ends delivery and the directory session; waits until the directory has heard it.
    pub(in crate::service) async fn go_offline(&self) {
        self.state.order(Order::GoOffline).await;
    }
}
