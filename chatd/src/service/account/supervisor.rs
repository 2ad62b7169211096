//! The supervisor of an account: it owns all tasks of the account, starts them and ends them in order, and publishes its state.
//!
//! Some tasks run as long as the account is open, others while it is online. A task that ends with an error is told and started
//! again: one of the former by itself, the latter all together, for they depend on each other.
//!
//! Invariants: an account goes online and offline one at a time; when the supervisor has ended, so has every task; while damage is
//! known, the account is not online, for it must not say that it is there.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::state::{Online, Order, Phase, Published, SessionState, Stops};
use super::{Account, retention, settings};
use crate::delivery::{self, Delivery};
use crate::model::{AccountRow, Trouble};
use crate::peer::holes;
use crate::service::context::Service;
use crate::service::directory::{confirmations, guests, membership, prekeys, publisher, session};

/// How long tasks have to end, the goodbye to the directory included; what hangs is ended then.
const GOODBYE: Duration = Duration::from_secs(2);
/// What ended with an error is started again after so long: what made it fail is likely to be there still.
const AGAIN: Duration = Duration::from_secs(60);

/// What an account does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::service) enum Task {
    /// Ends messages whose time is over.
    Lifetimes,
    /// Renews prekeys, and destroys them.
    Prekeys,
    /// Prunes the database.
    Retention,
    /// Gets out what waits.
    Delivery,
    /// Asks for what is missing.
    Gaps,
    /// Empties the mailbox.
    Mailbox,
    /// Gets to know the directories of other domains, and hears of them who is there.
    Others,
    /// Follows the directory session, and tells it what it has to know.
    Session,
    /// Holds the connection of the directory session.
    Connection,
}

/// Those that run as long as the account is open.
const STANDING: [Task; 3] = [Task::Lifetimes, Task::Prekeys, Task::Retention];

/// A task that is to be run.
pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a supervisor runs.
pub(super) trait Work: Send + 'static {
    /// Something that runs as long as the account is open.
    fn standing(&self, task: Task) -> Job;

    /// What runs while the account is online. It is asked while the state changes, and must not look at the state.
    fn online(&self, row: &AccountRow, stops: &Stops) -> (Online, Vec<(Task, Job)>);
}

/// Starts the supervisor of an account, which runs until the account is gone.
pub(super) fn spawn(service: &Service, account: &Arc<Account>) {
    let Some(orders) = account.take_orders() else { return };
    let damage = account.store.damage_watch();
    let work = AccountWork { service: service.clone(), account: Arc::clone(account) };
    let account = Arc::clone(account);
    // Not `Service::spawn`: what it owns is ended in order.
    service.inner.tasks.spawn(async move { Supervisor::new(&account.state, work).run(orders, damage).await });
}

/// See the module.
pub(super) struct Supervisor<'a, W> {
    state: &'a Published,
    work: W,
    tasks: JoinSet<()>,
    /// Which they are.
    running: HashMap<Id, (Task, AbortHandle)>,
    /// While the account is online.
    stops: Option<Stops>,
    /// What is to be started again, and when; `None`: what runs while the account is online.
    again: Vec<(Instant, Option<Task>)>,
}

impl<'a, W: Work> Supervisor<'a, W> {
    pub fn new(state: &'a Published, work: W) -> Self {
        let (tasks, running, again) = (JoinSet::new(), HashMap::new(), Vec::new());
        Self { state, work, tasks, running, stops: None, again }
    }

    /// Runs until the account is gone.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut damage: watch::Receiver<Option<String>>) {
        for task in STANDING {
            self.start(task, self.work.standing(task));
        }
        let mut damaged = false;
        loop {
            let due = self.again.iter().map(|(at, _)| *at).min();
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.state.gone.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, damaged).await,
                    None => break,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended.map(|(id, ())| id)).await,
                found = wait_for_damage(&mut damage), if !damaged => {
                    damaged = true;
                    if found {
                        self.go_offline().await;
                    }
                }
                () = timer => self.start_again(damaged),
            }
        }
        self.go_offline().await;
        self.tasks.shutdown().await;
        self.state.change(|state| state.phase = Phase::Closed);
    }

    fn start(&mut self, task: Task, job: Job) {
        let handle = self.tasks.spawn(job);
        self.running.insert(handle.id(), (task, handle));
    }

    async fn obey(&mut self, order: Order, damaged: bool) {
        let done: oneshot::Sender<()> = match order {
            Order::GoOnline(done) => {
                self.go_online();
                done
            }
            Order::GoOffline(done) => {
                self.again.retain(|(_, task)| task.is_some());
                self.go_offline().await;
                done
            }
            Order::Restart(done) => {
                if self.stops.is_some() && !damaged {
                    self.go_offline().await;
                    if self.state.now().row.logged_in {
                        self.go_online();
                    }
                }
                done
            }
        };
        // Who gave the order may have gone away.
        let _ = done.send(());
    }

    fn go_online(&mut self) {
        if self.stops.is_some() {
            return;
        }
        self.again.retain(|(_, task)| task.is_some());
        let work = self.state.gone.child_token();
        let stops = Stops { work, connection: CancellationToken::new() };
        // In one change, so that no link that comes or goes meanwhile is missed: whoever tells of it looks at the state.
        let jobs = self.state.change(|state| {
            let (online, jobs) = self.work.online(&state.row, &stops);
            state.phase = Phase::Online(online);
            jobs
        });
        for (task, job) in jobs {
            self.start(task, job);
        }
        self.stops = Some(stops);
    }

    /// Ends what runs while the account is online; waits until the directory has heard it.
    async fn go_offline(&mut self) {
        let Some(stops) = self.stops.take() else { return };
        self.state.change(|state| {
            state.phase = Phase::GoingOffline;
            state.set_session(SessionState::default());
        });
        stops.work.cancel();
        let in_order = async {
            // What has to be known to the directory is told before the connection ends.
            self.wait_for(|task| !STANDING.contains(&task) && task != Task::Connection).await;
            stops.connection.cancel();
            self.wait_for(|task| !STANDING.contains(&task)).await;
        };
        if tokio::time::timeout(GOODBYE, in_order).await.is_err() {
            stops.connection.cancel();
            self.abort_what_is_late().await;
        }
        // Once more: a task that was just being ended may have said something of its session.
        self.state.change(|state| {
            state.phase = Phase::Offline;
            state.set_session(SessionState::default());
        });
    }

    /// Waits until all of these have ended; what others do meanwhile is noticed, too.
    async fn wait_for(&mut self, which: impl Fn(Task) -> bool) {
        while self.running.values().any(|(task, _)| which(*task)) {
            let Some(ended) = self.tasks.join_next_with_id().await else { return };
            self.note(ended.map(|(id, ())| id));
        }
    }

    /// Ends what should have ended by itself.
    async fn abort_what_is_late(&mut self) {
        for (task, handle) in self.running.values().filter(|(task, _)| !STANDING.contains(task)) {
            tracing::warn!(?task, "a task of an account did not end in its time");
            handle.abort();
        }
        self.wait_for(|task| !STANDING.contains(&task)).await;
    }

    /// A task has ended by itself.
    async fn ended(&mut self, ended: Result<Id, JoinError>) {
        let failed = self.note(ended);
        let Some(task) = failed.filter(|task| !STANDING.contains(task)) else { return };
        if self.stops.is_some() {
            self.go_offline().await;
            let text = format!("{task:?} ended with an error, which the log tells; it is tried again in a minute");
            self.state.change(|state| state.session.error = Some(Trouble { text, advice: None }));
            self.again.push((Instant::now() + AGAIN, None));
        }
    }

    /// Strikes a task off the list; which, if it ended with an error.
    fn note(&mut self, ended: Result<Id, JoinError>) -> Option<Task> {
        let (id, error) = match ended {
            Ok(id) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let (task, _) = self.running.remove(&id)?;
        let Some(error) = error.filter(|error| !error.is_cancelled()) else {
            tracing::debug!(?task, "a task of an account has ended");
            return None;
        };
        tracing::error!(?task, %error, "a task of an account ended with an error");
        if STANDING.contains(&task) {
            self.again.push((Instant::now() + AGAIN, Some(task)));
        }
        Some(task)
    }

    /// What failed a while ago.
    fn start_again(&mut self, damaged: bool) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now);
        self.again = later;
        for (_, task) in due {
            match task {
                Some(task) => self.start(task, self.work.standing(task)),
                None if !damaged && self.state.now().row.logged_in => self.go_online(),
                None => {}
            }
        }
    }
}

/// `false`: there will never be any.
async fn wait_for_damage(damage: &mut watch::Receiver<Option<String>>) -> bool {
    damage.wait_for(Option::is_some).await.is_ok()
}

/// The tasks of an account of this daemon.
struct AccountWork {
    service: Service,
    account: Arc<Account>,
}

impl Work for AccountWork {
    fn standing(&self, task: Task) -> Job {
        let account = Arc::clone(&self.account);
        match task {
            Task::Lifetimes => Box::pin(settings::watch_lifetimes(account)),
            Task::Prekeys => Box::pin(prekeys::watch(self.service.clone(), account)),
            Task::Retention => Box::pin(retention::watch(self.service.clone(), account)),
            Task::Delivery | Task::Gaps | Task::Mailbox | Task::Others | Task::Session | Task::Connection => {
                Box::pin(async {})
            }
        }
    }

    fn online(&self, row: &AccountRow, stops: &Stops) -> (Online, Vec<(Task, Job)>) {
        let (service, account) = (&self.service, &self.account);
        let context = delivery_context(service, account, row);
        let links = service.open_links();
        for link in &links {
            // What was claimed in the account's life before counts no more; the other side must hear it again.
            link.claims.forget_device(account.device);
        }
        let delivery = Delivery::spawn(context, links, stops.work.clone());
        let watched = delivery.clone();
        let of = Arc::clone(account);
        let is_drained_for = Box::new(move |time| of.is_drained_for(time));
        let holes = holes::Holes { store: account.store.clone(), delivery: delivery.clone(), is_drained_for };
        let mut jobs: Vec<(Task, Job)> = vec![
            (Task::Delivery, Box::pin(async move { watched.ended().await })),
            (Task::Gaps, until(&stops.work, holes::watch(holes))),
        ];
        let (commands, queue) = mpsc::channel(session::COMMANDS);
        if let Some(parts) = session::parts(service, account, &row.origin, (commands.clone(), queue), stops) {
            let [known, watched, named] = [(); 3].map(|()| Arc::clone(account));
            let node = service.node_id();
            let others = async move {
                tokio::join!(membership::watch_others(known), guests::run(watched, node), confirmations::run(named));
            };
            jobs.push((Task::Others, until(&stops.work, others)));
            jobs.push((Task::Mailbox, until(&stops.work, parts.mailbox)));
            jobs.push((Task::Session, Box::pin(parts.session)));
            jobs.push((Task::Connection, Box::pin(parts.connection)));
        } else {
            // Contacts hear where we are from ourselves, in requests and on links.
            let (service, account) = (service.clone(), Arc::clone(account));
            let told = async move {
                if let Err(error) = publisher::publish_reach(&service, &account, false).await {
                    tracing::warn!(%error, "no reach could be made");
                }
            };
            jobs.push((Task::Session, until(&stops.work, told)));
        }
        (Online { delivery, commands }, jobs)
    }
}

/// Runs something until it is to stop.
fn until(stop: &CancellationToken, job: impl Future<Output = ()> + Send + 'static) -> Job {
    let stop = stop.clone();
    Box::pin(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = job => {}
        }
    })
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;

/// What reaches an account's contacts.
pub(in crate::service) fn delivery_context(
    service: &Service,
    account: &Account,
    row: &AccountRow,
) -> delivery::Context {
    delivery::Context {
        account: account.id,
        device: account.device,
        device_key: Arc::new(account.keys.device.clone()),
        node: service.node_id(),
        store: account.store.clone(),
        clock: Arc::clone(&account.clock),
        table: service.inner.table.clone(),
        directories: account.directories.clone(),
        directory_is_local: session::is_local(&row.directory),
        allow_private: service.config().allow_private_addresses,
    }
}
