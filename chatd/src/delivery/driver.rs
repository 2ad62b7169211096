//! The delivery task of one account: tells the core what happens, and carries out what it wants.
//!
//! Not its job: to decide anything. What takes long is done by jobs beside the task, which report what came of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::core::Core;
use super::core::effect::{Effect, Excess, Note};
use super::core::event::{Dialled, Event, Facts, RouteKey};
use super::news::News;
use super::open_link::OpenLink;
use super::sealer::named;
use super::{acks, dialer, handshake, mailbox, sealer, work};
use crate::link::CloseCode;
use crate::model::ids::PeerId;
use crate::store::contacts::giveup;
use crate::store::delivery::{attempts, control, deposits, outbox};
use crate::store::log::recovery::{self, epochs};
use crate::store::log::told;
use crate::store::peers::devices;
use crate::store::{StoreError, Tx, account, peers};

/// News that wait for the task at most. Links wait for room: that is backpressure on the peer.
const QUEUE: usize = 512;
/// Reports of its own jobs that wait at most. A job that finds no room waits: none holds anything that others need.
const REPORTS: usize = 256;
/// How often deposits are looked for whose time in the mailbox is over without an answer.
const DEPOSITS_CHECK: Duration = Duration::from_secs(3_600);

/// A handle to an account's delivery; cheap to clone.
#[derive(Debug, Clone)]
pub struct Delivery {
    news: mpsc::Sender<News>,
}

impl Delivery {
    /// Starts the task with the links that are open already; it ends with `stop`.
    pub fn spawn(context: Context, links: Vec<OpenLink>, stop: CancellationToken) -> Self {
        let (news, queue) = mpsc::channel(QUEUE);
        tokio::spawn(Driver::new(context, links, stop).run(queue));
        Self { news }
    }

    /// One that nobody runs, with what it is told: for tests of others.
    #[cfg(test)]
    pub fn unattended() -> (Self, mpsc::Receiver<News>) {
        let (news, queue) = mpsc::channel(QUEUE);
        (Self { news }, queue)
    }

    /// Waits until the task has ended.
    pub async fn ended(&self) {
        self.news.closed().await;
    }

    /// Tells it something, waiting for room.
    pub async fn tell(&self, news: News) {
        // A task that ended needs no news.
        let _ = self.news.send(news).await;
    }
}

struct Driver {
    context: Context,
    core: Core,
    links: HashMap<u64, OpenLink>,
    /// The token of the session at the home directory.
    bearer: Option<String>,
    reports: mpsc::Receiver<Event>,
    report: mpsc::Sender<Event>,
    stop: CancellationToken,
    /// Kept for its room.
    effects: Vec<Effect>,
}

impl Driver {
    fn new(context: Context, links: Vec<OpenLink>, stop: CancellationToken) -> Self {
        let (report, reports) = mpsc::channel(REPORTS);
        Self {
            core: Core::new(context.device, context.directories.home().is_some()),
            context,
            links: links.into_iter().map(|link| (link.sender.link_id(), link)).collect(),
            bearer: None,
            reports,
            report,
            stop,
            effects: Vec::new(),
        }
    }

    async fn run(mut self, mut news: mpsc::Receiver<News>) {
        let mut outbox = self.context.store.outbox_watch();
        let stop = self.stop.clone();
        if self.read(account::is_restored).unwrap_or(false) {
            // Killed between a restore and this: what waits names a device that is lost.
            let begun = self.context.store.write(|tx| epochs::begin_epochs(tx, recovery::RESTORED)).await;
            if let Err(error) = begun {
                tracing::error!(%error, "a restored account cannot begin anew, and sends nothing");
                return;
            }
        }
        self.begin();
        let mut ended = tokio::time::interval(DEPOSITS_CHECK);
        loop {
            let wake = self.core.next();
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = outbox.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    // Ways to the account's own other devices are not looked for yet.
                    for peer in self.context.store.take_dirty().into_iter().filter(|peer| *peer != PeerId::SELF) {
                        self.feed(Event::Wanted(peer));
                    }
                }
                item = news.recv() => match item {
                    Some(item) => self.news(item),
                    None => break,
                },
                Some(event) = self.reports.recv() => self.feed(event),
                () = timer => {
                    for key in self.core.due(Instant::now()) {
                        self.notice_closed(key.peer);
                    }
                    self.feed(Event::Tick);
                }
                _ = ended.tick() => {
                    // What lay in a mailbox for its whole time there without an answer is put there again.
                    let now = self.context.clock.trusted_or_local_now() * 1_000;
                    self.context.store.write_lazily(move |tx| deposits::end_deposits(tx, now));
                }
            }
        }
    }

    /// Takes up what waited when the task before this one ended.
    fn begin(&mut self) {
        let gone: HashSet<PeerId> = self.read(giveup::gone).unwrap_or_default().into_iter().collect();
        let pending = self.read(peers::with_pending).unwrap_or_default();
        let waiting = pending.into_iter().map(|peer| (peer, gone.contains(&peer))).collect();
        let links = self.links.keys().copied().collect();
        self.feed(Event::Begin { links, waiting });
    }

    fn read<T>(&self, query: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError>) -> Option<T> {
        self.context.store.read_blocking(query).inspect_err(|error| tracing::warn!(%error, "delivery cannot read")).ok()
    }

    fn write_lazily(&self, op: impl FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static) {
        self.context.store.write_lazily(op);
    }

    fn news(&mut self, news: News) {
        // What was sent is known before the answer to it, or the answer would be to nothing.
        if matches!(news, News::Ack { .. } | News::Pong { .. } | News::Refused { .. } | News::Work { .. }) {
            while let Ok(event) = self.reports.try_recv() {
                self.feed(event);
            }
        }
        let event = match news {
            // News of its end follow.
            News::LinkUp(link) | News::Claimed { link, .. } if link.sender.is_closed() => return,
            News::LinkUp(open) => {
                let (link, node) = (open.sender.link_id(), open.peer);
                self.links.insert(link, open);
                let peers = self.read(|conn| devices::by_node(conn, node)).unwrap_or_default();
                Event::LinkUp { link, peers }
            }
            News::LinkDown(link) => return self.link_down(link),
            News::Claimed { contact, device, link: open } => {
                let link = open.sender.link_id();
                self.links.entry(link).or_insert(open);
                Event::Claimed { key: RouteKey::new(contact, device), link }
            }
            News::Resume { contact, device, link, entries } => {
                Event::Resume { key: RouteKey::new(contact, device), link, entries }
            }
            News::Hole(peer) => Event::Hole(peer),
            News::Ack { contact, device, entries, ids } => {
                Event::Ack { key: RouteKey::new(contact, device), entries, ids }
            }
            News::Pong { link, nonce } => Event::Pong { link, nonce },
            News::Refused { link, code, envelope, device } => Event::Refused { link, code, envelope, device },
            News::Work { link, envelope, bits, window } => Event::Work { link, envelope, bits, window },
            News::Online(peer) => Event::Online(peer),
            News::Offline(peer) => Event::Offline(peer),
            News::RetryAll => Event::RetryAll,
            News::Moved => Event::Moved,
            News::Bearer(bearer) => {
                self.bearer = bearer;
                Event::Session(self.bearer.is_some())
            }
        };
        self.feed(event);
    }

    /// A link has ended: what the core hears of it.
    fn link_down(&mut self, link: u64) {
        let ended = self.links.remove(&link).and_then(|open| open.sender.ended());
        let too_much = ended.is_some_and(|reason| reason.code == CloseCode::RateLimited);
        self.handle(Event::LinkDown { link, too_much });
    }

    /// Links of a peer's routes that have ended, of which the news are under way still.
    fn notice_closed(&mut self, peer: PeerId) {
        for link in self.core.links_of(peer) {
            if self.links.get(&link).is_none_or(|open| open.sender.is_closed()) {
                self.link_down(link);
            }
        }
    }

    fn feed(&mut self, event: Event) {
        if let Some(peer) = event.peer() {
            self.notice_closed(peer);
        }
        self.handle(event);
    }

    /// Has the core handle an event, and carries out what it wants, until it wants nothing more at once.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        let mut effects = std::mem::take(&mut self.effects);
        while let Some(event) = events.pop_front() {
            self.core.handle(event, Instant::now(), &mut rand::rng(), &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect, &mut events);
            }
        }
        self.effects = effects;
    }

    /// Runs a job beside the task, which reports what came of it.
    fn job(&self, job: impl Future<Output = Event> + Send + 'static) {
        let report = self.report.clone();
        tokio::spawn(async move {
            let event = job.await;
            let _ = report.send(event).await;
        });
    }

    fn carry_out(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        let context = &self.context;
        let open = |link: u64| self.links.get(&link).cloned();
        match effect {
            Effect::Look { key, accept } => self.look(key, accept, events),
            Effect::Dial { key, attempt, refresh, asks } => {
                // What waited may have ended meanwhile: then nobody is looked for.
                let waits = asks || self.read(|conn| outbox::anything_waits(conn, key.peer)).unwrap_or(true);
                if !waits {
                    events.push_back(Event::Dialled { key, attempt, result: Dialled::NothingWaits });
                    return;
                }
                let (context, bearer, report) = (context.clone(), self.bearer.clone(), self.report.clone());
                self.job(async move {
                    let (devices, result) = dialer::run(&context, key, bearer, refresh).await;
                    let key = named(key, &devices);
                    let _ = report.send(Event::Devices { peer: key.peer, devices }).await;
                    Event::Dialled { key, attempt, result }
                });
            }
            Effect::Pack(pack) => match open(pack.link) {
                Some(link) => {
                    let context = context.clone();
                    self.job(async move { Event::Packed(sealer::run(context, link, pack).await) });
                }
                None => events.push_back(Event::Packed(pack.nothing())),
            },
            Effect::Deposit(key) => {
                let (context, bearer, report) = (context.clone(), self.bearer.clone(), self.report.clone());
                self.job(async move {
                    let (devices, result) = mailbox::run(context, key, bearer).await;
                    let key = named(key, &devices);
                    let _ = report.send(Event::Devices { peer: key.peer, devices }).await;
                    Event::Deposited { key, result }
                });
            }
            Effect::Claim { link, device } => {
                if let Some(open) = open(link) {
                    open.claims.note(context.device, device);
                    open.answer(vec![handshake::claim(context, &open, device)]);
                }
            }
            Effect::Unclaim { link, device } => {
                if let Some(open) = open(link) {
                    open.claims.forget(context.device, device);
                }
            }
            Effect::Greet { key, link, claim } => {
                let (Some(open), Some(device)) = (open(link), key.device) else { return };
                let mut frames = Vec::new();
                if claim {
                    open.claims.note(context.device, device);
                    frames.push(handshake::claim(context, &open, device));
                }
                frames.extend(handshake::greeting(context, key.peer, device));
                open.answer(frames);
            }
            Effect::ShowMarks { key, link } => {
                if let (Some(open), Some(device)) = (open(link), key.device) {
                    open.answer(vec![handshake::marks(context, key.peer, device)]);
                }
            }
            Effect::TellMailed { key, link } => {
                if let (Some(open), Some(device)) = (open(link), key.device) {
                    handshake::tell_mailed(context, key.peer, device, &open);
                }
            }
            Effect::StoreResume { key, link, entries } => {
                let store = context.store.clone();
                self.job(async move {
                    let stored = acks::store_resume(&store, key, entries.clone()).await;
                    Event::Resumed { key, link, entries, stored }
                });
            }
            Effect::StoreAcks { key, batch } => {
                let (store, own) = (context.store.clone(), context.device);
                self.job(
                    async move { Event::AcksStored { key, ids: acks::store_acks(&store, key, own, batch).await } },
                );
            }
            Effect::Work { key, link, bits, window } => {
                let Some(open) = open(link) else { return };
                let context = context.clone();
                self.job(async move {
                    let result = work::run(context, key, open, (bits, window)).await.map_err(|error| {
                        tracing::info!(often = "work", contact = %key.peer, %error, "the request was not sent with work");
                        error.outcome()
                    });
                    Event::Worked { key, link, result }
                });
            }
            Effect::Doubt { link, is_strong, all } => {
                if let Some(doubted) = open(link) {
                    let beside = |open: &&OpenLink| all && open.peer == doubted.peer;
                    self.links.values().filter(beside).for_each(|open| open.doubt.raise(is_strong));
                    doubted.doubt.raise(is_strong);
                }
            }
            Effect::Close { link, excess } => {
                let text = match excess {
                    Excess::Resumes => "more resumes than can be written down",
                    Excess::Resent => "too much had to be sent again",
                };
                if let Some(open) = open(link) {
                    open.sender.close(CloseCode::RateLimited, text);
                }
            }
            Effect::Note { peer, note } => self.write_lazily(move |tx| write_note(tx, peer, note)),
        }
    }

    fn look(&self, key: RouteKey, accept: bool, events: &mut VecDeque<Event>) {
        let peer = key.peer;
        let Some(row) = self.read(|conn| peers::load(conn, peer)) else {
            return events.push_back(Event::Facts { key, facts: None });
        };
        let accept_waits = accept && self.read(|conn| control::accept_waits(conn, peer)).unwrap_or(false);
        let facts = Facts { blocked: row.state.blocked, may_talk: row.state.may_talk(), accept_waits };
        let mut of = key;
        if key.device.is_none() {
            let devices = sealer::devices_of(&row, self.context.clock.trusted_or_local_now());
            of = named(key, &devices);
            events.push_back(Event::Devices { peer, devices });
        }
        events.push_back(Event::Facts { key: of, facts: Some(facts) });
    }
}

/// Writes down a note of the core's.
pub(super) fn write_note(tx: &mut Tx<'_>, peer: PeerId, note: Note) -> Result<(), StoreError> {
    match note {
        Note::Failed(path, outcome) => attempts::attempt_failed(tx, peer, path, outcome),
        Note::Gone(path, sure) => giveup::account_gone(tx, peer, path, sure),
        Note::Found => giveup::account_found(tx, peer),
        Note::SignalDone(id) => control::signals_done(tx, peer, &[id]),
        Note::AckNotDue => told::set_ack_due(tx, peer, false),
    }
}
