//! What the coming and going of links, claims, and refusals on them, do to routes.

use std::time::Duration;

use proto::ids::DeviceId;
use proto::reason::Reason;
use proto::wire::frame::RefuseCode;

use super::effect::{Effect, Note};
use super::event::{Dialled, RouteKey};
use super::route::{Phase, Route};
use super::sending::advance;
use super::state::Turn;
use crate::model::Outcome;
use crate::model::ids::PeerId;

/// Stamps that are made for a contact while its link lasts: it asks for more each time only if it is hostile, or its lane
/// is filling up.
const MAX_STAMPS: u32 = 3;
/// A link that was dialled and is not known yet is looked for again after so long.
const LINK_SOON: Duration = Duration::from_millis(500);

/// A link is up, to a node where these peers are.
pub(super) fn up(turn: &mut Turn<'_>, link: u64, peers: &[PeerId]) {
    turn.core.links.entry(link).or_default();
    let now = turn.now;
    for key in peers.iter().flat_map(|peer| turn.core.routes.of_peer(*peer)).collect::<Vec<_>>() {
        let route = turn.route(key);
        if route.pending && route.link.is_none() {
            route.attach(link, now);
            route.retry_at = None;
            advance(turn, key);
        }
    }
}

pub(super) fn down(turn: &mut Turn<'_>, link: u64, too_much: bool) {
    turn.core.links.remove(&link);
    for key in turn.core.routes.of_link(link) {
        lost(turn, key, too_much);
        advance(turn, key);
    }
}

/// The link of a route ended. The first redial is at once; only failures wait. Until something is acknowledged, another link
/// that stands is no success: a peer that takes claims and then closes its links for too much would be dialled for ever.
fn lost(turn: &mut Turn<'_>, key: RouteKey, too_much: bool) {
    let now = turn.now;
    let route = turn.route(key);
    // One that ends when nothing was under way has failed at nothing.
    let unheard = route.is_unheard();
    route.detach(now);
    route.ask_directory = true;
    route.rejected |= too_much || unheard;
    if route.rejoin_by.take().is_some_and(|by| now < by) && !too_much {
        // Our own move ended it: that it did says nothing of the peer.
        (route.pending, route.asks, route.rejected) = (true, true, false);
    }
    if too_much || route.backoff.failures() > 0 {
        turn.fail(key);
    } else {
        route.backoff.failed(0);
    }
}

/// A dial has ended.
pub(super) fn dialled(turn: &mut Turn<'_>, key: RouteKey, attempt: u64, result: Dialled) {
    let now = turn.now;
    // Its device is none of the peer's any more.
    if turn.core.routes.get(key).is_none() {
        return;
    }
    match result {
        Dialled::Reached(link) => {
            turn.found(key);
            let known = turn.core.links.contains_key(&link);
            let route = turn.route(key);
            route.refresh_record = false;
            route.ask_directory = false;
            if route.phase == Phase::Connecting {
                route.phase = Phase::Down;
            }
            // The link's own news may be under way still; it attaches the route then.
            if known {
                if route.link.is_none() {
                    route.attach(link, now);
                }
                advance(turn, key);
            } else {
                route.retry_at = Some(now + LINK_SOON);
            }
        }
        _ if turn.route(key).attempt != attempt => {}
        // Somebody came in another way meanwhile.
        _ if turn.route(key).phase != Phase::Connecting => {}
        Dialled::NothingWaits => {
            let route = turn.route(key);
            (route.phase, route.pending) = (Phase::Down, false);
        }
        Dialled::Gone => turn.gone(key, "direct"),
        Dialled::Failed { wait, outcome } => {
            turn.unreached(key);
            let random = turn.random();
            let route = turn.route(key);
            route.not_gone();
            if let Some(pause) = wait {
                route.wait(now, pause, random);
            }
            turn.note(key.peer, Note::Failed("direct", outcome));
        }
    }
}

/// A peer's device proved itself on a link.
pub(super) fn claimed(turn: &mut Turn<'_>, key: RouteKey, link: u64) {
    let now = turn.now;
    let Some(device) = key.device else { return };
    turn.core.routes.name(key.peer, device);
    turn.found(key);
    let route = turn.route(key);
    if !route.is_usable() || route.link == Some(link) {
        route.attach(link, now);
    }
    let uses = route.link == Some(link);
    if let Some(other) = route.link.filter(|_| !uses) {
        // Who makes a second one may know of no first: it was lost with the peer's network.
        turn.emit(Effect::Doubt { link: other, is_strong: true, all: false });
    }
    let claim = turn.claims(link, device);
    if claim && uses {
        turn.route(key).claiming(now);
    }
    turn.emit(Effect::Greet { key, link, claim });
}

/// Shows a device what is here of its streams: it sends what lies above. Without a link, one is made; the marks go along
/// with its claim.
pub(super) fn ask_for(turn: &mut Turn<'_>, key: RouteKey) {
    let route = turn.route(key);
    match route.link.filter(|_| route.is_usable()) {
        Some(link) => turn.emit(Effect::ShowMarks { key, link }),
        None => {
            (route.pending, route.asks) = (true, true);
            advance(turn, key);
        }
    }
}

/// A ping was answered: what was sent before it was read.
pub(super) fn pong(turn: &mut Turn<'_>, link: u64, nonce: u64) {
    for key in turn.core.routes.of_link(link) {
        let route = turn.route(key);
        if let Some(at) = route.pinged.iter().position(|(number, _)| *number == nonce) {
            let (_, id) = route.pinged.swap_remove(at);
            return turn.note(key.peer, Note::SignalDone(id));
        }
    }
}

pub(super) fn refused(
    turn: &mut Turn<'_>,
    link: u64,
    code: RefuseCode,
    envelope: Option<u64>,
    device: Option<DeviceId>,
) {
    let meant = |key: &RouteKey, route: &Route| match (envelope, device) {
        (_, Some(device)) => key.device == Some(device),
        (Some(number), None) => route.in_flight.iter().any(|e| e.number == number),
        (None, None) => true,
    };
    for key in turn.core.routes.of_link(link) {
        if !turn.core.routes.get(key).is_some_and(|route| meant(&key, route)) {
            continue;
        }
        tracing::info!(often = code.as_str(), contact = %key.peer, code = code.as_str(), "the peer refused");
        let route = turn.route(key);
        // A stranger is told "offline" for a prekey that is gone, too.
        route.refresh_record |= code == RefuseCode::PrekeyGone || envelope.is_some();
        route.rejected = true;
        route.pending = true;
        turn.fail(key);
        if code == RefuseCode::Quota {
            // Its mailbox would only keep what is not wanted.
            let route = turn.route(key);
            (route.mailbox.absent, route.mailbox.wanted) = (false, false);
            turn.note(key.peer, Note::failed("direct", Reason::RecipientQuota));
        }
    }
}

/// A peer takes our request with work only.
pub(super) fn work_wanted(turn: &mut Turn<'_>, link: u64, envelope: u64, (bits, window): (u8, u64)) {
    let here = turn.core.routes.of_link(link);
    let asked = here.into_iter().find(|key| turn.core.routes.get(*key).is_some_and(|r| r.requested == Some(envelope)));
    let Some(key) = asked else { return };
    let route = turn.route(key);
    // Each refusal is answered once, and a link so often.
    route.requested = None;
    if route.stamps >= MAX_STAMPS {
        return;
    }
    route.stamps += 1;
    turn.emit(Effect::Work { key, link, bits, window });
}

/// A request went out with work, or did not.
pub(super) fn worked(turn: &mut Turn<'_>, key: RouteKey, link: u64, result: Result<Option<u64>, Outcome>) {
    let now = turn.now;
    match result {
        Ok(number) => {
            let route = turn.route(key);
            if route.link == Some(link) {
                route.requested = number;
            }
            route.repeat_later(now);
        }
        Err(outcome) => turn.note(key.peer, Note::Failed("direct", outcome)),
    }
}
