//! The events that an operation makes.

use crate::model::ids::PeerId;
use crate::model::{ContactChange, Event, EventKind};
use crate::store::engine::event_row::{NewEvent, StoredEvent};
use crate::store::engine::tx::Tx;

/// Events that one row of `events` covers at most.
const EVENTS_PER_ROW: usize = 256;

/// One event for each message of `body`, in rows that a reader can expand one at a time; `built` are the same events, if
/// somebody listens.
pub(in crate::store) fn messages(tx: &mut Tx<'_>, kind: EventKind, body: StoredEvent, built: Option<Vec<Event>>) {
    let mut built = built.filter(|built| built.len() == body.messages.len()).map(Vec::into_iter);
    for ids in body.messages.chunks(EVENTS_PER_ROW) {
        let built = built.as_mut().map(|built| built.take(ids.len()).collect());
        let body = StoredEvent { messages: ids.to_vec(), reason: body.reason.clone(), ..body };
        tx.emit(NewEvent { kind, count: ids.len() as u64, body, built });
    }
}

fn one(tx: &mut Tx<'_>, kind: EventKind, body: StoredEvent) {
    tx.emit(NewEvent { kind, count: 1, body, built: None });
}

/// Something about a contact.
pub fn contact(tx: &mut Tx<'_>, change: ContactChange, contact: PeerId) {
    one(tx, EventKind::Contact(change), StoredEvent { contact, ..StoredEvent::default() });
}

/// Something about a contact, and why.
pub fn contact_because(tx: &mut Tx<'_>, change: ContactChange, contact: PeerId, reason: &str) {
    let body = StoredEvent { contact, reason: Some(reason.to_owned()), ..StoredEvent::default() };
    one(tx, EventKind::Contact(change), body);
}

/// Messages of a contact are missing, or (with a reason) something else is wrong with their sequence.
pub(in crate::store) fn gap(tx: &mut Tx<'_>, contact: PeerId, count: u64, reason: Option<&str>) {
    if contact == PeerId::SELF {
        // What another device of the account sent is nobody's to wait for here.
        return;
    }
    let reason = reason.map(str::to_owned);
    one(tx, EventKind::MessageGap, StoredEvent { contact, count: Some(count), reason, ..StoredEvent::default() });
}

/// A contact came online or went.
pub fn presence(tx: &mut Tx<'_>, contact: PeerId, online: bool) {
    one(tx, EventKind::Presence, StoredEvent { contact, online: Some(online), ..StoredEvent::default() });
}
