//! What a peer says it has of our streams, at the beginning of a link: heeded on disk first, then by the route.

use std::time::Instant;

use proto::ids::DeviceId;
use proto::wire::envelope::AckEntry;

use super::engine::Engine;
use super::finished::Finished;
use super::route::Phase;
use crate::link::CloseCode;
use crate::model::ids::{PeerDevice, PeerId};
use crate::store::StoreError;
use crate::store::log::recovery::epochs;
use crate::store::log::{acks, told};

/// Resumes and acknowledgements of one contact that wait for the disk at most; an honest peer sends one resume for each claim.
const MOST: u32 = 4;

impl Engine {
    /// Writes it down, in the contact's own lane: whoever resumes again and again keeps nobody else waiting.
    pub(super) fn resume(&mut self, contact: PeerId, device: DeviceId, link: u64, mut entries: Vec<AckEntry>) {
        let own = self.context.device;
        entries.retain(|entry| entry.from_device == own);
        if self.acks.running(contact) >= MOST {
            tracing::warn!(often = "resume", %contact, "the contact resumes faster than that can be written down: its link is closed");
            // Left open, those that wait would take the link for one that works.
            if let Some(link) = self.links.get(&link) {
                link.sender.close(CloseCode::RateLimited, "more resumes than can be written down");
            }
            self.fail(contact, Instant::now());
            return;
        }
        let (before, stored) = self.acks.replace(contact);
        let (store, finished, said) = (self.context.store.clone(), self.finished.clone(), entries.clone());
        tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            // It may be of numbers that this store never gave: that is looked at before it counts as an acknowledgement. And it
            // counts at once, so that nothing of it is sent again.
            let result = store
                .write_for(contact, move |tx| {
                    epochs::peer_resumed(tx, contact, device, &said)?;
                    acks::acknowledged(tx, PeerDevice { peer: contact, device }, &said)
                })
                .await;
            let _ = stored.send(());
            let _ = finished.send(Finished::Resumed { contact, link, entries, result }).await;
        });
    }

    /// That is on disk: the route goes on from there.
    pub(super) fn resumed(&mut self, contact: PeerId, link: u64, entries: &[AckEntry], result: Result<(), StoreError>) {
        self.acks.done(contact);
        if let Err(error) = result {
            tracing::warn!(often = "resume", %contact, %error, "a resume was not heeded");
            self.fail(contact, Instant::now());
            self.store_acks(contact);
            return;
        }
        self.moves_on(contact, entries);
        self.store_acks(contact);
        let known = self.links.get(&link).cloned();
        let route = self.route(contact);
        if route.again.is_over(Instant::now()) {
            tracing::warn!(%contact, "the contact has everything sent again and again: its link is closed");
            if let Some(link) = &known {
                link.sender.close(CloseCode::RateLimited, "too much had to be sent again");
            }
            self.fail(contact, Instant::now());
            return;
        }
        // It answers a claim of ours: of several links, the one that works.
        if let Some(known) = known.filter(|_| !route.is_usable()) {
            route.attach(known);
        }
        if route.link.as_ref().is_some_and(|l| l.sender.link_id() == link) {
            (route.phase, route.asks) = (Phase::Ready, false);
            route.mailbox.absent = false;
            route.pending = true;
            route.retry_at = None;
            if !route.stumbled {
                route.backoff.succeeded();
            }
            route.rewind();
            // What came by mailbox is told by the marks that went along with the claim.
            self.context.store.note(move |tx| told::set_ack_due(tx, contact, false));
            self.advance(contact);
        }
    }
}
