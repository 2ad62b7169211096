//! The message ids of the contact protocol, which say two things that [`super::contact`] needs: in which order one side
//! sent its messages, and which request an answer is about. Without the first, a removal that lay in a mailbox would
//! undo a later accept; without the second, an accept that was long under way would answer a request made since.
//!
//! The ids are valid UUIDv7. The first 8 bytes (milliseconds and 12 bits more) strictly increase over what one side sends
//! to one contact, even when its clock goes back. In accept, reject and remove, the last 8 bytes are
//! `SHA-256("chatd/answer/1\0" || id of the newest request heard)[..8]`, with the variant bits of a UUID.

use proto::ids::{MessageId, sha256};

use super::contact::Event;

const DOMAIN: &[u8] = b"chatd/answer/1\0";

/// A message of the contact protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactMessage {
    /// `contact.request`
    Request,
    /// `contact.accept`
    Accept,
    /// `contact.reject`
    Reject,
    /// `contact.remove`
    Remove,
}

/// What one side remembers of the ids that went both ways with one other account. Stored with the contact's state, in
/// the same transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContactIds {
    own_newest: Option<MessageId>,
    own_request: Option<MessageId>,
    their_newest: Option<MessageId>,
    their_request: Option<MessageId>,
}

impl ContactIds {
    /// Bytes of the stored form.
    pub const BYTES: usize = 64;

    /// The stored form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let ids = [self.own_newest, self.own_request, self.their_newest, self.their_request];
        for (slot, id) in out.chunks_exact_mut(16).zip(ids) {
            slot.copy_from_slice(&id.map_or([0; 16], |id| id.0));
        }
        out
    }

    /// Reads the stored form. All zeros is a contact with whom nothing was exchanged.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let id = |at: usize| MessageId::from_slice(&bytes[at..at + 16]).filter(|id| id.0 != [0; 16]);
        Self { own_newest: id(0), own_request: id(16), their_newest: id(32), their_request: id(48) }
    }

    /// The id under which to send a message, made from a fresh one.
    pub fn send(&mut self, message: ContactMessage, fresh: MessageId) -> MessageId {
        let mut order = order(fresh);
        if let Some(newest) = self.own_newest {
            order = order.max(self::order(newest).saturating_add(1));
        }
        let mut id = with_order(fresh, order);
        match (message, self.their_request) {
            (ContactMessage::Request, _) => self.own_request = Some(id),
            (_, Some(request)) => id.0[8..].copy_from_slice(&answer_tag(request)),
            (_, None) => {}
        }
        self.own_newest = Some(id);
        id
    }

    /// What the arrival of a message means; `None` when it is out of date. Call it for what comes from an account that
    /// is not blocked, and store the result even if the event changes nothing.
    pub fn hear(&mut self, message: ContactMessage, id: MessageId) -> Option<Event> {
        let current = self.own_request.is_some_and(|request| id.0[8..] == answer_tag(request));
        if message == ContactMessage::Reject {
            return Some(Event::RejectArrives { current });
        }
        let age = self.their_newest.map(|newest| order(id).cmp(&order(newest)));
        if age == Some(std::cmp::Ordering::Less) {
            // What they removed before their newest word is settled by that word, but for our request, if they had it.
            return (message == ContactMessage::Remove).then_some(Event::RejectArrives { current });
        }
        self.their_newest = Some(id);
        match message {
            ContactMessage::Request => {
                let repeated = self.their_request.replace(id) == Some(id);
                Some(Event::RequestArrives { repeated })
            }
            ContactMessage::Accept => Some(Event::AcceptArrives { current }),
            ContactMessage::Remove if age.is_some_and(std::cmp::Ordering::is_eq) => None,
            ContactMessage::Remove | ContactMessage::Reject => Some(Event::RemoveArrives),
        }
    }
}

/// Milliseconds and the 12 bits after the version: what ids of one sender are ordered by.
fn order(id: MessageId) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&id.0[..8]);
    let head = u64::from_be_bytes(head);
    (head >> 16) << 12 | head & 0xfff
}

fn with_order(mut id: MessageId, order: u64) -> MessageId {
    let head = (order >> 12) << 16 | 0x7000 | order & 0xfff;
    id.0[..8].copy_from_slice(&head.to_be_bytes());
    id
}

fn answer_tag(request: MessageId) -> [u8; 8] {
    let mut tag = [0; 8];
    tag.copy_from_slice(&sha256(&[DOMAIN, request.as_bytes()])[..8]);
    tag[0] = tag[0] & 0x3f | 0x80;
    tag
}

#[cfg(test)]
mod tests {
    use super::ContactMessage::{Accept, Reject, Remove, Request};
    use super::*;

    #[test]
    fn ids_increase_and_stay_uuids_even_when_the_clock_goes_back() {
        let mut ids = ContactIds::default();
        let later = MessageId::now();
        let mut earlier = later;
        earlier.0[0] = 0;
        let mut last = ids.send(Request, later);
        assert_eq!(last, later);
        for message in [Remove, Request, Accept, Reject].into_iter().cycle().take(5_000) {
            let next = ids.send(message, earlier);
            assert!(next > last && order(next) == order(last) + 1);
            assert_eq!((next.0[6] >> 4, next.0[8] >> 6), (7, 2), "version and variant");
            last = next;
        }
    }

    #[test]
    fn an_answer_is_about_one_request() {
        let (mut alice, mut bob) = (ContactIds::default(), ContactIds::default());
        let first = alice.send(Request, MessageId::now());
        assert_eq!(bob.hear(Request, first), Some(Event::RequestArrives { repeated: false }));
        assert_eq!(bob.hear(Request, first), Some(Event::RequestArrives { repeated: true }));
        let accept = bob.send(Accept, MessageId::now());
        assert_eq!(alice.clone().hear(Accept, accept), Some(Event::AcceptArrives { current: true }));
        let removed = alice.send(Remove, MessageId::now());
        let second = alice.send(Request, MessageId::now());
        assert_eq!(alice.hear(Accept, accept), Some(Event::AcceptArrives { current: false }));
        assert_eq!(bob.hear(Request, second), Some(Event::RequestArrives { repeated: false }));
        assert_eq!(bob.hear(Remove, removed), Some(Event::RejectArrives { current: false }), "out of date");
        assert_eq!(bob.hear(Request, first), None, "out of date");
        let reject = bob.send(Reject, MessageId::now());
        assert_eq!(alice.hear(Reject, reject), Some(Event::RejectArrives { current: true }));
    }

    #[test]
    fn a_removal_counts_once() {
        let (mut alice, mut bob) = (ContactIds::default(), ContactIds::default());
        let removed = alice.send(Remove, MessageId::now());
        assert_eq!(bob.hear(Remove, removed), Some(Event::RemoveArrives));
        assert_eq!(bob.hear(Remove, removed), None);
    }

    #[test]
    fn stored_and_loaded() {
        assert_eq!(ContactIds::from_bytes(&[0; 64]), ContactIds::default());
        let mut ids = ContactIds::default();
        ids.send(Request, MessageId::now());
        ids.hear(Request, MessageId::now());
        assert_eq!(ContactIds::from_bytes(&ids.to_bytes()), ids);
    }
}
