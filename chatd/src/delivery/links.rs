//! Dialling, and what the coming and going of links, and refusals on them, do to routes.

use crate::model::Outcome;
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, NodeId};
use proto::reason::Reason;
use proto::wire::frame::RefuseCode;

use super::OpenLink;
use super::engine::{Engine, Finished};
use super::reach::{self, ReachError, Refresh};
use super::route::{Phase, Route};
use crate::link::{CloseCode, LinkSender};
use crate::model::ids::PeerId;
use crate::store::contacts::giveup;
use crate::store::delivery::{attempts, outbox};
use crate::store::peers::devices;

impl Engine {
    pub(super) fn link_up(&mut self, link: OpenLink) {
        self.links.insert(link.sender.link_id(), link.clone());
        let node = link.peer;
        for contact in self.read(|conn| devices::by_node(conn, node)).unwrap_or_default() {
            let Some(route) = self.routes.get_mut(contact) else { continue };
            if route.pending && route.link.is_none() {
                route.attach(link.clone());
                route.retry_at = None;
                self.advance(contact);
            }
        }
    }

    pub(super) fn link_down(&mut self, id: u64) {
        self.links.remove(&id);
        let now = Instant::now();
        for contact in self.routes.of_link(id) {
            self.lost(contact, now);
            self.advance(contact);
        }
    }

    /// The link of a route ended. The first redial is at once; only failures wait. Until something is acknowledged, another link
    /// that stands is no success: a peer that takes claims and then closes its links for too much would be dialled for ever.
    pub(super) fn lost(&mut self, contact: PeerId, now: Instant) {
        let route = self.route(contact);
        let ended = route.link.as_ref().and_then(|link| link.sender.ended());
        let too_much = ended.is_some_and(|reason| reason.code == CloseCode::RateLimited);
        // One that ends when nothing was under way has failed at nothing.
        let unheard = route.is_unheard();
        route.detach();
        route.ask_directory = true;
        route.stumbled |= too_much || unheard;
        if too_much || route.backoff.failures() > 0 {
            self.fail(contact, now);
        } else {
            route.backoff.failed(0);
        }
    }

    /// The way to a contact failed: it is tried anew after a while, with a new claim even if the link is the same.
    pub(super) fn fail(&mut self, contact: PeerId, now: Instant) {
        let own = self.context.device;
        let route = self.route(contact);
        if let (Some(link), Some(theirs)) = (&route.link, route.device) {
            link.claims.forget(own, theirs);
        }
        route.failed(now, rand::random());
    }

    pub(super) fn refused(&mut self, link: u64, code: RefuseCode, envelope: Option<u64>, device: Option<DeviceId>) {
        let now = Instant::now();
        let meant = |route: &Route| match (envelope, device) {
            (_, Some(device)) => route.device == Some(device),
            (Some(number), None) => route.in_flight.iter().any(|e| e.number == number),
            (None, None) => true,
        };
        for contact in self.routes.of_link(link) {
            if !self.routes.get(contact).is_some_and(meant) {
                continue;
            }
            tracing::info!(often = code.as_str(), %contact, code = code.as_str(), "the peer refused");
            let route = self.route(contact);
            // A stranger is told "offline" for a prekey that is gone, too.
            route.refresh_record |= code == RefuseCode::PrekeyGone || envelope.is_some();
            route.stumbled = true;
            route.pending = true;
            self.fail(contact, now);
            if code == RefuseCode::Quota {
                // Its mailbox would only keep what is not wanted.
                let route = self.route(contact);
                (route.mailbox.absent, route.mailbox.wanted) = (false, false);
                let outcome = Outcome::failed(Reason::RecipientQuota);
                self.context.store.note(move |tx| attempts::attempt_failed(tx, contact, "direct", outcome));
            }
        }
    }

    pub(super) fn connected(
        &mut self,
        contact: PeerId,
        attempt: u64,
        result: Result<(NodeId, LinkSender), ReachError>,
    ) {
        match result {
            Ok((_, sender)) => {
                self.found(contact);
                let known = self.links.get(&sender.link_id()).cloned();
                let route = self.route(contact);
                route.refresh_record = false;
                route.ask_directory = false;
                if route.phase == Phase::Connecting {
                    route.phase = Phase::Down;
                }
                // The link's own news may be under way still; it attaches the route then.
                if let Some(link) = known {
                    if route.link.is_none() {
                        route.attach(link);
                    }
                    self.advance(contact);
                } else {
                    route.retry_at = Some(Instant::now() + Duration::from_millis(500));
                }
            }
            Err(_) if self.route(contact).attempt != attempt => {}
            // Somebody came in another way meanwhile.
            Err(_) if self.route(contact).phase != Phase::Connecting => {}
            Err(ReachError::Gone) => self.gone(contact, "direct", Instant::now()),
            Err(error) => {
                tracing::debug!(%contact, %error, "not reached");
                let now = Instant::now();
                self.fail(contact, now);
                self.route(contact).not_gone();
                if let ReachError::Asked(pause) = &error {
                    self.route(contact).wait(now, *pause, rand::random());
                }
                let outcome = Outcome::failed_with(Reason::PeerUnreachable, &error);
                self.context.store.note(move |tx| attempts::attempt_failed(tx, contact, "direct", outcome));
            }
        }
    }

    /// The directory of a contact knows no such account.
    pub(super) fn gone(&mut self, contact: PeerId, path: &'static str, now: Instant) {
        let route = self.route(contact);
        let sure = route.gone(now, rand::random());
        route.known_gone |= sure;
        tracing::debug!(%contact, sure, "its directory knows no such account");
        self.context.store.note(move |tx| giveup::account_gone(tx, contact, path, sure));
    }

    /// Something was heard of a contact.
    pub(super) fn found(&mut self, contact: PeerId) {
        if self.routes.get_mut(contact).is_some_and(Route::found) {
            self.context.store.note(move |tx| giveup::account_found(tx, contact));
        }
    }

    pub(super) fn dial(&mut self, contact: PeerId) {
        // What waited may have ended meanwhile: then nobody is looked for.
        let waits = self.read(|conn| outbox::anything_waits(conn, contact)).unwrap_or(true);
        let bearer = self.bearer.clone();
        let route = self.route(contact);
        if !waits && !route.asks {
            route.pending = false;
            return;
        }
        route.phase = Phase::Connecting;
        route.retry_at = None;
        route.attempt += 1;
        let attempt = route.attempt;
        let refresh = Refresh { reach: route.ask_directory, record: route.refresh_record };
        let (context, finished) = (self.context.clone(), self.finished.clone());
        tokio::spawn(async move {
            let result = reach::connect(&context, contact, bearer, refresh).await;
            let _ = finished.send(Finished::Connected { contact, attempt, result }).await;
        });
    }
}
