//! What both ends of a link say to each other before messages flow, as frames.

use proto::ids::DeviceId;
use proto::wire::envelope::AckEntry;
use proto::wire::frame::Frame;

use super::context::Context;
use super::open_link::OpenLink;
use crate::crypto::claim::{Session, sign_claim};
use crate::model::ids::PeerId;
use crate::store::log::told;
use crate::store::{StoreError, account};

/// "On this link I speak for this account's device, towards `to`."
pub(super) fn claim(context: &Context, link: &OpenLink, to: DeviceId) -> Frame {
    let session = Session { exporter: &link.exporter, dialer: link.dialer, acceptor: link.acceptor };
    let signature = sign_claim(&context.device_key, &session, to);
    Frame::Claim { from_device: context.device, to_device: to, signature }
}

/// What follows our claim: our record and reach, and what is here of the device's streams.
pub(super) fn greeting(context: &Context, peer: PeerId, device: DeviceId) -> Vec<Frame> {
    let own = context.device;
    let mut frames = Vec::new();
    if let Some(card) = read(context, account::own_card) {
        frames.push(Frame::Record { from_device: own, to_device: device, record: card.record });
        if !card.reach.is_empty() {
            frames.push(Frame::Reach { from_device: own, to_device: device, reach: card.reach });
        }
    }
    frames.push(marks(context, peer, device));
    frames
}

/// What is here of a device's streams.
pub(super) fn marks(context: &Context, peer: PeerId, device: DeviceId) -> Frame {
    let entries = read(context, |conn| told::resume_entries(conn, peer, device)).unwrap_or_default();
    Frame::Resume { from_device: context.device, to_device: device, entries }
}

/// Acknowledges on the link what came by mailbox, if anything is due.
pub(super) fn tell_mailed(context: &Context, peer: PeerId, device: DeviceId, link: &OpenLink) {
    if !read(context, |conn| told::ack_is_due(conn, peer)).unwrap_or(false) {
        return;
    }
    let (store, own, link) = (context.store.clone(), context.device, link.clone());
    tokio::spawn(async move {
        // First, lest what comes meanwhile, and is not read below, counts as told.
        let noted = store.write_for(peer, move |tx| told::set_ack_due(tx, peer, false)).await;
        let entries: Result<Vec<AckEntry>, StoreError> = store.read_blocking(|conn| told::acks_for(conn, peer, device));
        match (noted, entries) {
            // It came from another device of the contact's, which is told when it claims.
            (Ok(()), Ok(entries)) if entries.is_empty() => {}
            (Ok(()), Ok(entries)) if !link.sender.is_closed() => {
                link.answer(vec![Frame::Ack { from_device: own, to_device: device, entries, ids: Vec::new() }]);
            }
            _ => store.write_lazily(move |tx| told::set_ack_due(tx, peer, true)),
        }
    });
}

fn read<T>(context: &Context, query: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError>) -> Option<T> {
    context.store.read_blocking(query).inspect_err(|error| tracing::warn!(%error, "delivery cannot read")).ok()
}
