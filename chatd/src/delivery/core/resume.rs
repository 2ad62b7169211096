//! What a peer's device says it has of our streams: the route goes on at once behind what is acknowledged, the store when it can.
//! What a resume says, at the beginning of a link, is on disk before the route goes on.

use proto::ids::MessageId;
use proto::wire::envelope::AckEntry;

use super::acks::{Flight, Next};
use super::effect::{Effect, Excess, Note};
use super::event::RouteKey;
use super::route::Phase;
use super::sending::advance;
use super::state::Turn;

/// Resumes and acknowledgements of one device that wait for the disk at most; an honest peer sends one resume for each claim.
const MAX_WAITING: usize = 4;

/// Has it written down: whoever resumes again and again keeps nobody else waiting.
pub(super) fn resume(turn: &mut Turn<'_>, key: RouteKey, link: u64, mut entries: Vec<AckEntry>) {
    let own = turn.core.own;
    entries.retain(|entry| entry.from_device == own);
    if turn.core.acks.running(key) >= MAX_WAITING {
        tracing::warn!(often = "resume", contact = %key.peer, "the contact resumes faster than that can be written down: its link is closed");
        // Left open, those that wait would take the link for one that works.
        turn.emit(Effect::Close { link, excess: Excess::Resumes });
        return turn.fail(key);
    }
    turn.core.acks.resume(key, link, entries);
    store(turn, key);
}

/// That is on disk: the route goes on from there.
pub(super) fn resumed(turn: &mut Turn<'_>, key: RouteKey, link: u64, entries: &[AckEntry], stored: bool) {
    let now = turn.now;
    turn.core.acks.done(key);
    if !stored {
        turn.fail(key);
        return store(turn, key);
    }
    moves_on(turn, key, entries);
    store(turn, key);
    let known = turn.core.links.contains_key(&link);
    let route = turn.route(key);
    if route.resend_budget.is_over(now) {
        tracing::warn!(contact = %key.peer, "the contact has everything sent again and again: its link is closed");
        if known {
            turn.emit(Effect::Close { link, excess: Excess::Resent });
        }
        return turn.fail(key);
    }
    // It answers a claim of ours: of several links, the one that works.
    if known && !route.is_usable() {
        route.attach(link, now);
    }
    if route.link == Some(link) {
        (route.phase, route.asks) = (Phase::Ready, false);
        route.mailbox.absent = false;
        route.pending = true;
        route.retry_at = None;
        if !route.rejected {
            route.backoff.succeeded();
        }
        route.rewind(now);
        // What came by mailbox is told by the marks that went along with the claim.
        turn.note(key.peer, Note::AckNotDue);
        advance(turn, key);
    }
}

/// Takes what a device acknowledges.
pub(super) fn acknowledge(turn: &mut Turn<'_>, key: RouteKey, entries: Vec<AckEntry>, ids: Vec<MessageId>) {
    let own = turn.core.own;
    let entries: Vec<AckEntry> = entries.into_iter().filter(|entry| entry.from_device == own).collect();
    if entries.is_empty() && ids.is_empty() {
        return;
    }
    let route = turn.route(key);
    let (packing, ends) = (route.packing, ids.iter().any(|id| route.signalled.contains(id)));
    let moved = moves_on(turn, key, &entries);
    if packing && !moved && !entries.is_empty() {
        // Of what is being sent, perhaps: when that is told, it is known.
        turn.core.acks.hold(key, entries);
        turn.core.acks.add(key, Vec::new(), ids, Flight { sure: ends, doubted: false });
    } else {
        let doubted = !entries.is_empty() && !moved;
        turn.core.acks.add(key, entries, ids, Flight { sure: moved || ends, doubted });
    }
    store(turn, key);
}

/// A job has ended, and told what is in flight: on with what was acknowledged meanwhile.
pub(super) fn release(turn: &mut Turn<'_>, key: RouteKey) {
    let held = turn.core.acks.release(key);
    if held.is_empty() {
        return;
    }
    let moved = moves_on(turn, key, &held);
    turn.core.acks.add(key, held, Vec::new(), Flight { sure: moved, doubted: !moved });
    store(turn, key);
}

/// The route goes on behind what is acknowledged; whether that is anything. What is in flight, or being sent, is all that can move it.
fn moves_on(turn: &mut Turn<'_>, key: RouteKey, entries: &[AckEntry]) -> bool {
    let now = turn.now;
    let route = turn.route(key);
    if route.in_flight.is_empty() && !route.packing {
        return false;
    }
    entries.iter().fold(false, |moved, entry| route.acknowledged(entry.epoch, entry.contiguous, now) | moved)
}

/// Acknowledgements of a device were written down: on with what came meanwhile.
pub(super) fn acks_stored(turn: &mut Turn<'_>, key: RouteKey, ids: &[MessageId]) {
    if let Some(route) = turn.core.routes.get_mut(key) {
        route.signals_done(ids);
    }
    turn.core.acks.done(key);
    store(turn, key);
}

/// Begins to write down what waits, unless something is being written.
fn store(turn: &mut Turn<'_>, key: RouteKey) {
    match turn.core.acks.next(key) {
        Some(Next::Resume(link, entries)) => turn.emit(Effect::StoreResume { key, link, entries }),
        Some(Next::Acks(batch)) => turn.emit(Effect::StoreAcks { key, batch }),
        None => {}
    }
}
