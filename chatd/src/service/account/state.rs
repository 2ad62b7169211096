//! The state of an account: one value, published by one watch. Whoever wants to know how an account is reads it here.
//!
//! The supervisor writes the phase; the tasks that it owns write what they learn of the directory. A reader never sees half of a
//! change.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::delivery::Delivery;
use crate::directory::session::SessionCommand;
use crate::model::{AccountRow, Trouble};

/// Orders that wait for the supervisor at most.
pub(super) const ORDERS: usize = 16;

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::service) struct State {
    /// As it is stored.
    pub row: AccountRow,
    /// How far it is brought up.
    pub phase: Phase,
    /// How its directory session stands.
    pub session: SessionState,
    /// Since when nothing lies in its mailbox, as far as this session knows.
    pub drained: Option<Instant>,
    /// A second process has this device's key. Told until this one ends: which of them is the copy, only people know.
    pub cloned: bool,
}

/// How far an account is brought up.
#[derive(Debug, Clone)]
pub(in crate::service) enum Phase {
    /// Neither delivery nor a directory session.
    Offline,
    /// Both run.
    Online(Online),
    /// They are being ended: the directory still hears a goodbye.
    GoingOffline,
    /// Nothing runs any more, nor will it: the account is deleted, or the daemon stops.
    Closed,
}

/// The way to what runs while an account is online.
#[derive(Debug, Clone)]
pub(in crate::service) struct Online {
    pub delivery: Delivery,
    pub commands: mpsc::Sender<SessionCommand>,
}

/// What ends the tasks of an account that is online.
#[derive(Debug, Clone)]
pub(in crate::service) struct Stops {
    /// All of them but the connection.
    pub work: CancellationToken,
    /// The connection: last, so that the directory still hears what it has to know, and a goodbye.
    pub connection: CancellationToken,
}

/// How the directory session stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::service) struct SessionState {
    pub up: bool,
    /// The token of its requests.
    pub bearer: Option<String>,
    /// Why it is down, if that is known.
    pub error: Option<Trouble>,
}

/// What the supervisor is told to do; it answers when that is done.
#[derive(Debug)]
pub(in crate::service) enum Order {
    GoOnline(oneshot::Sender<()>),
    GoOffline(oneshot::Sender<()>),
    /// Offline, and online again if the account is logged in: whoever was refused meanwhile tries again at once.
    Restart(oneshot::Sender<()>),
}

impl State {
    pub fn new(row: AccountRow) -> Self {
        Self { row, phase: Phase::Offline, session: SessionState::default(), drained: None, cloned: false }
    }

    /// The way to what runs, while the account is online.
    pub fn online(&self) -> Option<&Online> {
        match &self.phase {
            Phase::Online(online) => Some(online),
            Phase::Offline | Phase::GoingOffline | Phase::Closed => None,
        }
    }

    /// How the directory session stands now. While it is down, nothing is known of the mailbox.
    pub fn set_session(&mut self, session: SessionState) {
        if !session.up {
            self.drained = None;
        }
        self.session = session;
    }

    /// Whether nothing lay in the mailbox for so long.
    pub fn is_drained_for(&self, time: Duration) -> bool {
        self.drained.is_some_and(|since| since.elapsed() >= time)
    }
}

/// The one watch of a [`State`], and the way to whoever brings the account up and down.
#[derive(Debug)]
pub(in crate::service) struct Published {
    state: watch::Sender<State>,
    orders: mpsc::Sender<Order>,
    /// Cancelled when the account is to end.
    pub gone: CancellationToken,
}

impl Published {
    /// Of an account that is offline; with the orders that its supervisor takes.
    pub fn new(row: AccountRow, gone: CancellationToken) -> (Self, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(ORDERS);
        (Self { state: watch::Sender::new(State::new(row)), orders, gone }, queue)
    }

    /// As it is now. Held for a moment only: whoever writes waits.
    pub fn now(&self) -> watch::Ref<'_, State> {
        self.state.borrow()
    }

    /// All changes from now on.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Changes it.
    pub fn change<T: Default>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut out = T::default();
        self.state.send_modify(|state| out = change(state));
        out
    }

    /// Has something done, and waits until it is. An account that ended obeys no more, and is done with everything.
    pub async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, told) = oneshot::channel();
        if self.orders.send(order(done)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Has something done without waiting: for tasks that the order ends. `false`: there is no room for it.
    pub fn order_soon(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) -> bool {
        self.orders.try_send(order(oneshot::channel().0)).is_ok()
    }

    /// Waits until nothing of the account runs any more.
    pub async fn closed(&self) {
        let mut state = self.subscribe();
        // The sender is our own.
        let _ = state.wait_for(|state| matches!(state.phase, Phase::Closed)).await;
    }
}
