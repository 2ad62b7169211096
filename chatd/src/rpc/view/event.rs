//! Events. On the RPC they are flat: which fields are there depends on the type.

use proto::rpc::event::{Event, EventType};

use crate::model::{self, ContactChange, EventBody, EventKind};

impl From<EventKind> for EventType {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::MessageReceived => Self::MessageReceived,
            EventKind::MessageState => Self::MessageState,
            EventKind::MessageGap => Self::MessageGap,
            EventKind::Contact(ContactChange::Requested) => Self::ContactRequest,
            EventKind::Contact(ContactChange::Accepted) => Self::ContactAccepted,
            EventKind::Contact(ContactChange::Rejected) => Self::ContactRejected,
            EventKind::Contact(ContactChange::Removed) => Self::ContactRemoved,
            EventKind::Contact(ContactChange::KeyChanged) => Self::ContactKeyChanged,
            EventKind::Contact(ContactChange::Profile) => Self::ContactProfile,
            EventKind::Contact(ContactChange::GivenUp) => Self::ContactGivenUp,
            EventKind::Presence => Self::Presence,
            EventKind::FeedLagged => Self::FeedLagged,
        }
    }
}

impl From<EventType> for EventKind {
    fn from(kind: EventType) -> Self {
        match kind {
            EventType::MessageReceived => Self::MessageReceived,
            EventType::MessageState => Self::MessageState,
            EventType::MessageGap => Self::MessageGap,
            EventType::ContactRequest => Self::Contact(ContactChange::Requested),
            EventType::ContactAccepted => Self::Contact(ContactChange::Accepted),
            EventType::ContactRejected => Self::Contact(ContactChange::Rejected),
            EventType::ContactRemoved => Self::Contact(ContactChange::Removed),
            EventType::ContactKeyChanged => Self::Contact(ContactChange::KeyChanged),
            EventType::ContactProfile => Self::Contact(ContactChange::Profile),
            EventType::ContactGivenUp => Self::Contact(ContactChange::GivenUp),
            EventType::Presence => Self::Presence,
            EventType::FeedLagged => Self::FeedLagged,
        }
    }
}

impl From<model::Event> for Event {
    fn from(event: model::Event) -> Self {
        let kind = event.kind().into();
        let model::Event { seq, at, account, about, body } = event;
        let mut out = Self::new(seq, kind, at, account);
        if let Some(model::Called { account, who, label }) = about {
            (out.who, out.peer, out.label) = (Some(who), Some(account), label);
        }
        match body {
            EventBody::Received { message, muted } => {
                (out.message, out.muted) = (Some((*message).into()), muted);
            }
            EventBody::State { id, state, reason } => {
                (out.id, out.state, out.reason) = (Some(id), Some(state.into()), reason);
            }
            EventBody::Gap { count, reason } => (out.count, out.reason) = (Some(count), reason),
            // Its type says what changed.
            EventBody::Contact { change: _, contact, reason } => {
                (out.contact, out.reason) = (contact.map(|contact| (*contact).into()), reason);
            }
            EventBody::Presence { online } => out.online = Some(online),
            EventBody::Lagged { upto } => out.upto = Some(upto),
        }
        out
    }
}
