//! What both ends of a link say to each other before messages flow.

use std::time::Instant;

use proto::ids::DeviceId;
use proto::wire::frame::Frame;

use super::OpenLink;
use super::engine::Engine;
use crate::crypto::claim::{Session, sign_claim};
use crate::model::ids::PeerId;
use crate::store::account;
use crate::store::delivery::control;
use crate::store::log::told;

impl Engine {
    pub(super) fn claimed(&mut self, contact: PeerId, device: DeviceId, link: OpenLink) {
        let id = link.sender.link_id();
        self.found(contact);
        self.links.entry(id).or_insert_with(|| link.clone());
        let route = self.route(contact);
        if !route.is_usable() || route.link.as_ref().is_some_and(|old| old.sender.link_id() == id) {
            route.attach(link.clone());
        }
        route.device = Some(device);
        let own = self.context.device;
        let mut frames = Vec::new();
        if link.claims.note(own, device) {
            let route = self.route(contact);
            if route.link.as_ref().is_some_and(|l| l.sender.link_id() == id) {
                route.claiming(Instant::now());
            }
            frames.push(self.claim(&link, device));
        }
        if let Some(card) = self.read(account::own_card) {
            frames.push(Frame::Record { from_device: own, to_device: device, record: card.record });
            if !card.reach.is_empty() {
                frames.push(Frame::Reach { from_device: own, to_device: device, reach: card.reach });
            }
        }
        let entries = self.read(|conn| told::resume_entries(conn, contact, device)).unwrap_or_default();
        frames.push(Frame::Resume { from_device: own, to_device: device, entries });
        link.answer(frames);
    }

    /// Shows a contact what is here of its streams: it sends what lies above. Without a link, one is made; the marks go along
    /// with its claim.
    pub(super) fn ask_for(&mut self, contact: PeerId) {
        let own = self.context.device;
        let route = self.route(contact);
        let usable = route.link.clone().filter(|_| route.is_usable());
        let (Some(link), Some(device)) = (usable, route.device) else {
            (route.pending, route.asks) = (true, true);
            self.advance(contact);
            return;
        };
        let entries = self.read(|conn| told::resume_entries(conn, contact, device)).unwrap_or_default();
        link.answer(vec![Frame::Resume { from_device: own, to_device: device, entries }]);
    }

    /// What came by mailbox while the link stands is acknowledged on it: no claim follows with which that would go along.
    pub(super) fn tell_what_came_by_mailbox(&mut self, contact: PeerId, link: &OpenLink) {
        let Some(device) = self.route(contact).device else { return };
        if !self.read(|conn| told::ack_is_due(conn, contact)).unwrap_or(false) {
            return;
        }
        let (store, own, link) = (self.context.store.clone(), self.context.device, link.clone());
        tokio::spawn(async move {
            // First, lest what comes meanwhile, and is not read below, counts as told.
            let noted = store.write_for(contact, move |tx| told::set_ack_due(tx, contact, false)).await;
            let entries = store.read_blocking(|conn| told::acks_for(conn, contact, device));
            match (noted, entries) {
                // It came from another device of the contact's, which is told when it claims.
                (Ok(()), Ok(entries)) if entries.is_empty() => {}
                (Ok(()), Ok(entries)) if !link.sender.is_closed() => {
                    link.answer(vec![Frame::Ack { from_device: own, to_device: device, entries, ids: Vec::new() }]);
                }
                _ => store.note(move |tx| told::set_ack_due(tx, contact, true)),
            }
        });
    }

    pub(super) fn claim(&self, link: &OpenLink, to: DeviceId) -> Frame {
        let session = Session { exporter: &link.exporter, dialer: link.dialer, acceptor: link.acceptor };
        let signature = sign_claim(&self.context.device_key, &session, to);
        Frame::Claim { from_device: self.context.device, to_device: to, signature }
    }

    /// A ping was answered: what was sent before it was read.
    pub(super) fn pong(&mut self, link: u64, nonce: u64) {
        for contact in self.routes.of_link(link) {
            let route = self.route(contact);
            if let Some(at) = route.pinged.iter().position(|(number, _)| *number == nonce) {
                let (_, id) = route.pinged.swap_remove(at);
                self.context.store.note(move |tx| control::signals_done(tx, contact, &[id]));
                return;
            }
        }
    }
}
