//! The delivery task of one account: turns news into steps of routes.

use crate::model::Outcome;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use proto::directory::SignedReach;
use proto::ids::Epoch;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::acks::Acks;
pub(super) use super::finished::Finished;
use super::pack::{self, Done, Job, Problem};
use super::route::{AFTER_ACCEPT, Phase, Route};
use super::routes::Routes;
use super::{Context, News, OpenLink};
use crate::model::ids::{OutStreamRow, PeerDevice, PeerId};
use crate::store::delivery::{attempts, control};
use crate::store::log::recovery::{self, epochs};
use crate::store::{StoreError, account, peers};

/// Results of its own jobs that wait at most. A job that finds no room waits: none holds anything that others need.
const RESULTS: usize = 256;
/// How often deposits are looked for whose time in the mailbox is over without an answer.
const DEPOSITS_CHECK: Duration = Duration::from_secs(3_600);
/// A new message to somebody who could not be reached is tried after so long at most.
const WISH: Duration = Duration::from_secs(1);

pub(super) struct Engine {
    pub(super) context: Context,
    pub(super) routes: Routes,
    pub(super) links: HashMap<u64, OpenLink>,
    pub(super) streams: HashMap<(PeerId, Epoch), OutStreamRow>,
    pub(super) acks: Acks,
    pub(super) bearer: Option<String>,
    /// This life's session was counted, or there is nobody who counts. Before, a store that went back in time does not know
    /// it, and what it left in a mailbox could use numbers again. On a link, `resume` tells.
    pub(super) counted: bool,
    results: mpsc::Receiver<Finished>,
    pub(super) finished: mpsc::Sender<Finished>,
    stop: CancellationToken,
}

impl Engine {
    pub(super) fn new(context: Context, links: Vec<OpenLink>, stop: CancellationToken) -> Self {
        let (finished, results) = mpsc::channel(RESULTS);
        Self {
            counted: context.directories.home().is_none(),
            context,
            routes: Routes::default(),
            links: links.into_iter().map(|link| (link.sender.link_id(), link)).collect(),
            streams: HashMap::new(),
            acks: Acks::default(),
            bearer: None,
            results,
            finished,
            stop,
        }
    }

    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>) {
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
            let wake = self.routes.next();
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
                    let soon = Instant::now() + WISH;
                    for contact in self.context.store.take_dirty() {
                        let route = self.want(contact);
                        // Somebody wants something of this contact now: the wait is cut short, but not to nothing.
                        route.retry_at = route.retry_at.map(|at| at.min(soon));
                        self.advance(contact);
                    }
                }
                item = news.recv() => match item {
                    Some(item) => self.news(item),
                    None => break,
                },
                Some(result) = self.results.recv() => self.job_ended(result),
                () = timer => self.tick(),
                _ = ended.tick() => self.deposits_ended(),
            }
        }
    }

    pub(super) fn read<T>(&self, query: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError>) -> Option<T> {
        self.context.store.read_blocking(query).inspect_err(|error| tracing::warn!(%error, "delivery cannot read")).ok()
    }

    pub(super) fn route(&mut self, contact: PeerId) -> &mut Route {
        self.routes.at(contact)
    }

    /// Something waits for a contact, by whatever way.
    pub(super) fn want(&mut self, contact: PeerId) -> &mut Route {
        let route = self.route(contact);
        (route.pending, route.mailbox.wanted) = (true, true);
        route
    }

    fn job_ended(&mut self, result: Finished) {
        match result {
            Finished::Connected { contact, attempt, result } => self.connected(contact, attempt, result),
            Finished::Packed(done) => self.packed(done),
            Finished::Deposited { contact, result } => self.deposited(contact, result),
            Finished::Worked { contact, link, result } => self.worked(contact, link, result),
            Finished::Acknowledged { contact, ids } => self.acks_stored(contact, &ids),
            Finished::Resumed { contact, link, entries, result } => self.resumed(contact, link, &entries, result),
        }
    }

    fn news(&mut self, news: News) {
        // What was sent is known before the answer to it, or the answer would be to nothing.
        if matches!(news, News::Ack { .. } | News::Pong { .. } | News::Refused { .. } | News::Work { .. }) {
            while let Ok(result) = self.results.try_recv() {
                self.job_ended(result);
            }
        }
        match news {
            News::LinkUp(link) => self.link_up(link),
            News::LinkDown(id) => self.link_down(id),
            News::Claimed { contact, device, link } => self.claimed(contact, device, link),
            News::Resume { contact, device, link, entries } => self.resume(contact, device, link, entries),
            News::Hole(contact) => self.ask_for(contact),
            News::Ack { contact, device, entries, ids } => {
                self.acknowledge(PeerDevice { peer: contact, device }, entries, ids);
                self.found(contact);
                let route = self.route(contact);
                route.stumbled = false;
                route.backoff.succeeded();
                self.advance(contact);
            }
            News::Pong { link, nonce } => self.pong(link, nonce),
            News::Refused { link, code, envelope, device } => self.refused(link, code, envelope, device),
            News::Work { link, envelope, bits, window } => self.work_wanted(link, envelope, bits, window),
            News::Online(contact) => {
                self.found(contact);
                let route = self.route(contact);
                // Somebody who comes online was offline: what link there is may lead to the daemon's life before.
                if let Some(link) = &route.link {
                    link.doubt.notify_one();
                }
                route.retry_at = None;
                route.stumbled = false;
                route.mailbox.absent = false;
                route.backoff.succeeded();
                route.ask_directory = true;
                if route.phase == Phase::Connecting {
                    // The dial under way goes to where they were.
                    route.phase = Phase::Down;
                }
                self.advance(contact);
            }
            News::Offline(contact) => {
                let route = self.route(contact);
                route.mailbox.absent = !route.is_usable();
                self.advance(contact);
            }
            News::TryAll => self.try_all(),
            News::Bearer(bearer) => {
                let came = bearer.is_some() && self.bearer.is_none();
                self.counted |= came;
                self.bearer = bearer;
                if came {
                    self.try_all();
                }
            }
        }
    }

    fn packed(&mut self, done: Done) {
        let contact = done.contact;
        let now = Instant::now();
        let route = self.route(contact);
        if !route.job_ended(done.life) {
            route.again.spend(done.in_flight.iter().map(|envelope| envelope.bytes).sum(), now);
            self.advance(contact);
            return;
        }
        route.cursor = done.cursor;
        if !route.is_waiting() {
            route.await_ack(now);
        }
        route.sent(done.in_flight);
        route.signalled.extend(done.signalled);
        route.pinged.extend(done.pinged);
        route.requested = done.requested.or(route.requested);
        if done.accepted {
            route.accepted = true;
            route.claim_at = Some(now + AFTER_ACCEPT);
        }
        match done.problem {
            None => {
                route.pending |= done.more;
                if done.unacknowledged {
                    route.repeat_later(now);
                }
            }
            Some(Problem::NoPrekey(why)) => {
                tracing::warn!(often = "prekey", %contact, %why, "nothing can be sealed");
                let outcome = Outcome::failed(why.reason());
                self.context.store.note(move |tx| attempts::attempt_failed(tx, contact, "direct", outcome));
                let route = self.route(contact);
                route.refresh_record = true;
                route.stumbled = true;
                route.pending = true;
                self.fail(contact, now);
                return;
            }
            Some(problem) => {
                tracing::warn!(often = "send", %contact, %problem, "could not send");
                route.stumbled = true;
                route.pending = true;
                self.fail(contact, now);
                return;
            }
        }
        self.advance(contact);
    }

    /// Does the next thing that can be done for a contact.
    pub(super) fn advance(&mut self, contact: PeerId) {
        let now = Instant::now();
        self.deposit(contact, now);
        let closed = |route: &Route| route.link.as_ref().is_some_and(|link| link.sender.is_closed());
        if self.routes.get(contact).is_some_and(closed) {
            self.lost(contact, now);
        }
        let Some(route) = self.routes.get_mut(contact) else { return };
        tracing::trace!(%contact, ?route.phase, route.pending, route.packing, link = route.link.is_some(), "advance");
        if !route.pending || route.packing || route.phase == Phase::Connecting {
            return;
        }
        let Some(link) = route.link.clone() else {
            if route.retry_at.is_none_or(|at| at <= now) {
                self.dial(contact);
            }
            return;
        };
        let Some(row) = self.read(|conn| peers::load(conn, contact)) else {
            // Out of descriptors, for one: nothing else would ever come back to it.
            self.fail(contact, now);
            return;
        };
        let Some(route) = self.routes.get_mut(contact) else { return };
        if row.state.blocked {
            route.pending = false;
            return;
        }
        let ready = route.phase == Phase::Ready;
        // Until our acceptance has arrived, the other side refuses a claim of ours; it claims when it has.
        let unheard = !route.accepted;
        let unheard = unheard && self.read(|conn| control::accept_waits(conn, contact)).unwrap_or(false);
        let Some(route) = self.routes.get_mut(contact) else { return };
        if row.state.may_talk() && !unheard && !ready && route.claimed_on.is_none() {
            let device = route.device.or_else(|| {
                SignedReach::decode(&row.reach).and_then(|signed| signed.peek()).ok().map(|reach| reach.device)
            });
            let device = device.or_else(|| pack::target(&row, i64::MIN).ok().map(|to| to.device));
            if let Some(device) = device {
                route.device = Some(device);
                route.claiming(now);
                // Again if one went out before: its answer came while the route used another link.
                link.claims.note(self.context.device, device);
                link.answer(vec![self.claim(&link, device)]);
            }
        }
        let Some(route) = self.routes.get_mut(contact) else { return };
        if route.device.is_none() {
            route.device = pack::target(&row, i64::MIN).ok().map(|to| to.device);
        }
        if ready && route.room() == 0 {
            // The next acknowledgement comes back here.
            return;
        }
        if ready {
            self.tell_what_came_by_mailbox(contact, &link);
        }
        let Some(route) = self.routes.get_mut(contact) else { return };
        route.pending = false;
        route.packing = true;
        let job = Job {
            context: self.context.clone(),
            contact,
            link,
            life: route.life,
            device: route.device,
            cursor: route.cursor,
            room: route.room(),
            ready,
            signalled: route.signalled.clone(),
        };
        let finished = self.finished.clone();
        tokio::spawn(async move {
            let done = job.run().await;
            let _ = finished.send(Finished::Packed(done)).await;
        });
    }
}
