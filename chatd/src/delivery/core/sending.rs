//! The next thing that can be done for a device: look, dial, claim, pack, leave in a mailbox; and what came of it.

use proto::ids::DeviceId;

use super::effect::{Effect, Note, Pack, Refresh};
use super::event::{Deposited, Facts, Packed, Problem, RouteKey};
use super::route::{AFTER_ACCEPT, Phase, Route};
use super::state::Turn;
use crate::model::ids::PeerId;

/// Does the next thing that can be done for a device.
pub(super) fn advance(turn: &mut Turn<'_>, key: RouteKey) {
    deposit(turn, key);
    let now = turn.now;
    let Some(route) = turn.core.routes.get_mut(key) else { return };
    if !route.pending || route.packing || route.looking || route.phase == Phase::Connecting {
        return;
    }
    if route.link.is_some() {
        route.looking = true;
        // Until our acceptance has arrived, the other side refuses a claim of ours; it claims when it has.
        let accept = !route.accepted;
        turn.emit(Effect::Look { key, accept });
    } else if route.retry_at.is_none_or(|at| at <= now) {
        dial(turn, key);
    }
}

fn dial(turn: &mut Turn<'_>, key: RouteKey) {
    let now = turn.now;
    let route = turn.route(key);
    route.phase = Phase::Connecting;
    route.retry_at = None;
    route.attempt += 1;
    let (attempt, asks) = (route.attempt, route.asks);
    let refresh = Refresh { reach: route.asks_now(now), record: route.refresh_record };
    turn.emit(Effect::Dial { key, attempt, refresh, asks });
}

/// The answer to a look: claims, and packs.
pub(super) fn looked(turn: &mut Turn<'_>, key: RouteKey, facts: Option<Facts>) {
    let now = turn.now;
    let Some(route) = turn.core.routes.get_mut(key) else { return };
    route.looking = false;
    if !route.pending || route.packing || route.phase == Phase::Connecting {
        return;
    }
    let Some(link) = route.link else { return advance(turn, key) };
    let Some(facts) = facts else {
        // Out of descriptors, for one: nothing else would ever come back to it.
        return turn.fail(key);
    };
    if facts.blocked {
        route.pending = false;
        return;
    }
    let ready = route.phase == Phase::Ready;
    let unheard = !route.accepted && facts.accept_waits;
    if facts.may_talk
        && !unheard
        && !ready
        && route.claimed_on.is_none()
        && let Some(device) = key.device
    {
        route.claiming(now);
        // Again if one went out before: its answer came while the route used another link.
        turn.claims(link, device);
        turn.emit(Effect::Claim { link, device });
    }
    let route = turn.route(key);
    if ready && route.room() == 0 {
        // The next acknowledgement comes back here.
        return;
    }
    route.pending = false;
    route.packing = true;
    let (life, cursor, room, signalled) = (route.life, route.cursor, route.room(), route.signalled.clone());
    if ready {
        turn.emit(Effect::TellMailed { key, link });
    }
    turn.emit(Effect::Pack(Pack { key, link, life, cursor, room, ready, signalled }));
}

/// A packing job has ended.
pub(super) fn packed(turn: &mut Turn<'_>, done: Packed) {
    let (key, now) = (done.key, turn.now);
    let Some(route) = turn.core.routes.get_mut(key) else { return };
    if !route.job_ended(done.life) {
        route.resend_budget.spend(done.in_flight.iter().map(|envelope| envelope.bytes).sum(), now);
        return advance(turn, key);
    }
    route.cursor = done.cursor;
    if !route.is_waiting() {
        route.await_ack(now);
    }
    route.sent(done.in_flight, now);
    route.signalled.extend(done.signalled);
    route.pinged.extend(done.pinged);
    route.requested = done.requested.or(route.requested);
    if done.accepted {
        route.accepted = true;
        route.claim_at = Some(now + AFTER_ACCEPT);
    }
    let Some(problem) = done.problem else {
        route.pending |= done.more;
        if done.unacknowledged {
            route.repeat_later(now);
        }
        return advance(turn, key);
    };
    route.refresh_record |= matches!(problem, Problem::NoPrekey(_));
    (route.rejected, route.pending) = (true, true);
    if let Problem::NoPrekey(why) = problem {
        turn.note(key.peer, Note::failed("direct", why.reason()));
    }
    turn.fail(key);
}

/// Begins a try by mailbox, if what waits for a device should go there now.
fn deposit(turn: &mut Turn<'_>, key: RouteKey) {
    let (now, counted) = (turn.now, turn.core.counted);
    let Some(route) = turn.core.routes.get_mut(key).filter(|_| counted) else { return };
    if route.is_usable() || !route.mailbox.may_begin(now) {
        return;
    }
    route.mailbox.begin();
    turn.emit(Effect::Deposit(key));
}

pub(super) fn deposited(turn: &mut Turn<'_>, key: RouteKey, result: Deposited) {
    let now = turn.now;
    if matches!(result, Deposited::Left { any: true, .. }) {
        turn.found(key);
    }
    let Some(route) = turn.core.routes.get_mut(key) else { return };
    match result {
        Deposited::Left { all, .. } => {
            route.mailbox.succeeded();
            // Unless something came meanwhile: there is nobody to dial for any more.
            if all && !route.mailbox.wanted && route.link.is_none() {
                route.pending = false;
            }
        }
        // There is no such way, and nothing to tell of it.
        Deposited::NoWay => route.mailbox.succeeded(),
        Deposited::Gone => {
            route.mailbox.running = false;
            turn.gone(key, "mailbox");
        }
        Deposited::Failed { refusal, wait, outcome } => {
            let (random, spread) = (turn.random(), turn.random());
            let route = turn.route(key);
            route.mailbox.failed(now, random, refusal);
            if let Some(pause) = wait {
                route.mailbox.wait(now, pause, spread);
            }
            turn.note(key.peer, Note::Failed("mailbox", outcome));
        }
    }
    advance(turn, key);
}

/// What waits for a peer is owed to these devices: each gets a route, and those that are not among them lose theirs, unless a link
/// or a job of it lives.
pub(super) fn devices(turn: &mut Turn<'_>, peer: PeerId, devices: &[DeviceId]) {
    let Some(first) = devices.first() else { return };
    let routes = &mut turn.core.routes;
    routes.name(peer, *first);
    let like = routes.of_peer(peer).into_iter().find_map(|key| routes.get(key)).map(|route| route.mailbox.absent);
    let mut new = Vec::new();
    for device in devices {
        let key = RouteKey::new(peer, *device);
        if routes.get(key).is_none() {
            let route = routes.at(key);
            (route.pending, route.mailbox.wanted, route.mailbox.absent) = (true, true, like.unwrap_or(false));
            new.push(key);
        }
    }
    for key in routes.of_peer(peer) {
        let is_owed = key.device.is_some_and(|device| devices.contains(&device));
        if !is_owed && routes.get(key).is_some_and(Route::is_idle) {
            routes.remove(key);
        }
    }
    for key in new {
        advance(turn, key);
    }
}
