//! Each event, and what it does.

use std::time::{Duration, Instant};

use proto::ids::DeviceId;
use rand::Rng;

use super::acks::Acks;
use super::effect::Effect;
use super::event::{Event, RouteKey};
use super::route::Phase;
use super::routes::Routes;
use super::state::{Core, Turn};
use super::{links, resume, sending};
use crate::model::ids::PeerId;

/// Where many are tried at once (after a start, or when the network changed), one in so long: thousands of look-ups in one moment
/// only run into limits.
const SPREAD: Duration = Duration::from_millis(20);
/// So few are tried without that.
const AT_ONCE: usize = 32;
/// A link that ends so soon after a move ended by it.
const REJOIN: Duration = Duration::from_secs(10);
/// A new message to somebody who could not be reached is tried after so long at most.
const RETRY_ON_DEMAND: Duration = Duration::from_secs(1);

impl Core {
    /// Delivery of the account with this device. `has_directory`: one that counts its sessions.
    pub fn new(own: DeviceId, has_directory: bool) -> Self {
        Self {
            own,
            routes: Routes::default(),
            links: std::collections::HashMap::new(),
            acks: Acks::default(),
            has_session: false,
            counted: !has_directory,
        }
    }

    /// Handles an event of the moment `now`; what is to be done is added to `effects`, in its order. Bounded by what the event
    /// concerns: a peer's routes, those of a link, those that are due, or all for [`Event::RetryAll`] and [`Event::Moved`].
    pub fn handle(&mut self, event: Event, now: Instant, rng: &mut dyn Rng, effects: &mut Vec<Effect>) {
        let turn = &mut Turn { core: self, now, rng, effects };
        match event {
            Event::Begin { links, waiting } => {
                turn.core.links.extend(links.into_iter().map(|link| (link, Default::default())));
                begin(turn, waiting);
            }
            Event::Wanted(peer) => wanted(turn, peer),
            Event::Devices { peer, devices } => sending::devices(turn, peer, &devices),
            Event::Facts { key, facts } => sending::looked(turn, key, facts),
            Event::LinkUp { link, peers } => links::up(turn, link, &peers),
            Event::LinkDown { link, too_much } => links::down(turn, link, too_much),
            Event::Dialled { key, attempt, result } => links::dialled(turn, key, attempt, result),
            Event::Claimed { key, link } => links::claimed(turn, key, link),
            Event::Resume { key, link, entries } => resume::resume(turn, key, link, entries),
            Event::Resumed { key, link, entries, stored } => resume::resumed(turn, key, link, &entries, stored),
            Event::Hole(peer) => {
                for key in turn.keys_of(peer) {
                    links::ask_for(turn, key);
                }
            }
            Event::Ack { key, entries, ids } => {
                resume::acknowledge(turn, key, entries, ids);
                turn.found(key);
                let route = turn.route(key);
                route.rejected = false;
                route.backoff.succeeded();
                sending::advance(turn, key);
            }
            Event::AcksStored { key, ids } => resume::acks_stored(turn, key, &ids),
            Event::Pong { link, nonce } => links::pong(turn, link, nonce),
            Event::Refused { link, code, envelope, device } => links::refused(turn, link, code, envelope, device),
            Event::Work { link, envelope, bits, window } => links::work_wanted(turn, link, envelope, (bits, window)),
            Event::Worked { key, link, result } => links::worked(turn, key, link, result),
            Event::Packed(packed) => {
                let key = packed.key;
                sending::packed(turn, packed);
                resume::release(turn, key);
            }
            Event::Deposited { key, result } => sending::deposited(turn, key, result),
            Event::Online(peer) => {
                for key in turn.keys_of(peer) {
                    online(turn, key);
                }
            }
            Event::Offline(peer) => {
                for key in turn.keys_of(peer) {
                    let route = turn.route(key);
                    route.mailbox.absent = !route.is_usable();
                    sending::advance(turn, key);
                }
            }
            Event::RetryAll => retry_all(turn),
            Event::Moved => moved(turn),
            Event::Session(up) => {
                let came = up && !turn.core.has_session;
                turn.core.counted |= came;
                turn.core.has_session = up;
                if came {
                    retry_all(turn);
                }
            }
            Event::Tick => tick(turn),
        }
    }

    /// When [`Event::Tick`] is due next.
    pub fn next(&mut self) -> Option<Instant> {
        self.routes.next()
    }

    /// Routes that are due.
    pub fn due(&mut self, now: Instant) -> Vec<RouteKey> {
        self.routes.due(now)
    }

    /// The links that routes to a peer use.
    pub fn links_of(&self, peer: PeerId) -> Vec<u64> {
        self.routes.of_peer(peer).into_iter().filter_map(|key| self.routes.get(key)?.link).collect()
    }
}

fn online(turn: &mut Turn<'_>, key: RouteKey) {
    turn.found(key);
    let route = turn.route(key);
    // Somebody who comes online was offline: what link there is may lead to the daemon's life before.
    let link = route.link;
    route.retry_at = None;
    route.rejected = false;
    route.mailbox.absent = false;
    route.backoff.succeeded();
    (route.ask_directory, route.ask_after) = (true, None);
    if route.phase == Phase::Connecting {
        // The dial under way goes to where they were.
        route.phase = Phase::Down;
    }
    if let Some(link) = link {
        turn.emit(Effect::Doubt { link, is_strong: true, all: true });
    }
    sending::advance(turn, key);
}

/// Takes up what waited when the life before this one ended; `true`: the peer's account is gone.
fn begin(turn: &mut Turn<'_>, waiting: Vec<(PeerId, bool)>) {
    let (now, within) = (turn.now, spread(waiting.len()));
    for (peer, gone) in waiting {
        let key = RouteKey { peer, device: None };
        let random = turn.random();
        let route = turn.want(key);
        if gone {
            route.known_gone = true;
            route.gone(now, random);
        } else if !within.is_zero() {
            route.retry_at = Some(now + within);
            route.hurry(now, within, random);
        }
        sending::advance(turn, key);
    }
}

/// Something new may wait for a peer.
fn wanted(turn: &mut Turn<'_>, peer: PeerId) {
    let soon = turn.now + RETRY_ON_DEMAND;
    for key in turn.keys_of(peer) {
        let route = turn.want(key);
        // Somebody wants something of this peer now: the wait is cut short, but not to nothing.
        route.retry_at = route.retry_at.map(|at| at.min(soon));
        sending::advance(turn, key);
    }
}

/// The network changed, or the directory is back: all are tried, but for those who are gone.
fn retry_all(turn: &mut Turn<'_>) {
    let (all, now) = (turn.core.routes.keys(), turn.now);
    // Spread by those who are tried, lest many who rest make the others wait.
    let waits =
        |key: &&RouteKey| turn.core.routes.get(**key).is_some_and(|r| !r.known_gone && (r.pending || r.mailbox.wanted));
    let within = spread(all.iter().filter(waits).count());
    for key in all {
        let random = turn.random();
        turn.route(key).hurry(now, within, random);
        sending::advance(turn, key);
    }
}

/// This machine's network is another one. Whoever had a link to us has none that leads here, and does not know where we are: a link
/// that ends now is followed by another one, whether something waits or not.
fn moved(turn: &mut Turn<'_>) {
    let now = turn.now;
    for key in turn.core.routes.keys() {
        let route = turn.route(key);
        if route.link.is_some() {
            route.rejoin_by = Some(now + REJOIN);
        }
        if route.phase == Phase::Connecting {
            // The dial under way may have begun where there was no network.
            route.phase = Phase::Down;
        }
        if !route.rejected {
            route.backoff.succeeded();
        }
    }
    retry_all(turn);
}

/// Does what is due.
fn tick(turn: &mut Turn<'_>) {
    let now = turn.now;
    for key in turn.core.routes.due(now) {
        let route = turn.route(key);
        if let Phase::Claiming { until } = route.phase
            && until <= now
        {
            turn.fail(key);
        } else if route.ack_by.is_some_and(|by| by <= now) && route.is_waiting() {
            route.pending = true;
            turn.fail(key);
        } else if route.doubt_by.is_some_and(|by| by <= now) && route.expects_an_answer() {
            route.doubt_by = None;
            if let Some(link) = route.link {
                turn.emit(Effect::Doubt { link, is_strong: false, all: true });
            }
        } else if route.claim_at.is_some_and(|at| at <= now) {
            route.claim_at = None;
            route.pending = true;
        } else if route.repeat_at.is_some_and(|at| at <= now) {
            route.repeat_at = None;
            route.signalled.clear();
            route.pending = true;
        }
        sending::advance(turn, key);
    }
}

/// Over how long so many routes are tried.
fn spread(count: usize) -> Duration {
    if count <= AT_ONCE { Duration::ZERO } else { SPREAD.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "core_tests.rs"]
mod tests;
