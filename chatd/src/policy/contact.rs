//! Who is a contact: one side's view of one other account.
//!
//! The protocol has four messages: request, accept, reject, remove. Consent is mutual: a side becomes a contact when it
//! has asked and was accepted, or was asked and accepts. Asking is consent, so when both have asked, an accept on either
//! side is enough.
//!
//! Not its job: storing, sending, rate limits, or reading cards. Which request an answer is about, and whether a message
//! is out of date, say the message ids: [`super::contact_ids`] makes the events of what arrives.
//!
//! Nothing that arrives from a blocked account is acknowledged: its sender repeats it, and it takes effect if the block
//! is lifted in time.
//!
//! Invariants: [`Relation::Accepted`] is only reached by this side's own consent (add or accept) together with the other
//! side's; while blocked, no effect sends anything. Every message may arrive any number of times.

/// What became of our request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Outgoing {
    /// There is none.
    #[default]
    None,
    /// It waits for an answer.
    Requested,
    /// They said no, or ended it.
    RejectedByThem,
    /// Nobody answered, or there is nobody: it is not repeated any more.
    GivenUp,
}

/// What became of their request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Incoming {
    /// There is none.
    #[default]
    None,
    /// It waits for our user.
    Pending,
    /// Our user said no.
    RejectedByMe,
}

/// How the two stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// No contact (yet, or any more), with a request either way or none.
    Apart {
        /// Ours.
        outgoing: Outgoing,
        /// Theirs.
        incoming: Incoming,
    },
    /// A contact.
    Accepted,
}

impl Relation {
    /// Nothing between the two.
    pub const NONE: Self = Self::Apart { outgoing: Outgoing::None, incoming: Incoming::None };
}

/// One side's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContactState {
    /// How the two stand.
    pub relation: Relation,
    /// Our user wants to hear nothing. Independent of the relation, which the block outlasts or not.
    pub blocked: bool,
}

impl Default for ContactState {
    fn default() -> Self {
        Self { relation: Relation::NONE, blocked: false }
    }
}

impl ContactState {
    /// Whether messages may flow, in either direction.
    pub fn may_talk(self) -> bool {
        self.relation == Relation::Accepted && !self.blocked
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Our user asks.
    UserAdds,
    /// Our user says yes.
    UserAccepts,
    /// Our user says no.
    UserRejects,
    /// Our user ends it, or takes the request back.
    UserRemoves,
    /// Our user wants to hear nothing.
    UserBlocks,
    /// Our user wants to hear again.
    UserUnblocks,
    /// Our request is repeated no more: its time is over, or its account is gone.
    RequestEnds {
        /// Its directory knows no such account.
        gone: bool,
    },
    /// Their request.
    RequestArrives {
        /// It is the newest one that arrived already (the same message id).
        repeated: bool,
    },
    /// Their yes.
    AcceptArrives {
        /// It answers our newest request.
        current: bool,
    },
    /// Their no.
    RejectArrives {
        /// It answers our newest request.
        current: bool,
    },
    /// They ended it, or took the request back.
    RemoveArrives,
}

/// What is to be done, in this order, with the new state stored in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Ask: a card with a new deposit token.
    SendRequest,
    /// Say yes to their newest request: a card with a new deposit token.
    SendAccept,
    /// Say no to their newest request.
    SendReject,
    /// Tell that it is over.
    SendRemove,
    /// Tell our user's frontends of a request.
    AnnounceRequest,
    /// Tell them that the other is a contact now.
    AnnounceAccepted,
    /// Tell them that the other said no, or ended it.
    AnnounceRejected,
    /// Tell them that our request was given up.
    AnnounceGivenUp,
    /// Messages that waited for acceptance go out.
    ReleaseQueued,
    /// Messages that waited become `rejected`.
    RejectQueued,
    /// Make the deposit token that they have worthless.
    RevokeToken,
}

/// Why a user's wish cannot be done. What arrives never fails: it is ignored when it does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// Blocked, and so nothing is sent.
    #[error("the account is blocked; unblock it first")]
    Blocked,
    /// Nothing to add.
    #[error("already a contact")]
    AlreadyContact,
    /// Nothing to accept or reject.
    #[error("there is no request from this account")]
    NoRequest,
    /// Nothing to remove.
    #[error("not a contact")]
    NotAContact,
}

/// One step. Pure.
///
/// # Errors
/// [`ContactError`], for events of the user only; the state then stays.
pub fn step(state: ContactState, event: Event) -> Result<(ContactState, Vec<Effect>), ContactError> {
    use Effect::*;
    use Relation::{Accepted, Apart};

    let to = |relation, effects: &[Effect]| Ok((ContactState { relation, ..state }, effects.to_vec()));
    let stay = |effects: &[Effect]| Ok((state, effects.to_vec()));
    let apart = |outgoing, incoming| Apart { outgoing, incoming };

    match event {
        Event::UserBlocks => {
            let effects: &[Effect] = if state.blocked { &[] } else { &[RejectQueued, RevokeToken] };
            return Ok((ContactState { blocked: true, ..state }, effects.to_vec()));
        }
        Event::UserUnblocks => {
            let effects: &[Effect] = match (state.blocked, state.relation) {
                // The block revoked their token: a new one goes out with the card.
                (true, Accepted) => &[SendAccept],
                // They may have been removed while nothing could be sent.
                (true, Relation::NONE) => &[SendRemove],
                _ => &[],
            };
            return Ok((ContactState { blocked: false, ..state }, effects.to_vec()));
        }
        Event::UserRemoves if state.blocked => {
            return match state.relation {
                Relation::NONE => Err(ContactError::NotAContact),
                _ => to(Relation::NONE, &[]),
            };
        }
        Event::UserAdds | Event::UserAccepts | Event::UserRejects if state.blocked => {
            return Err(ContactError::Blocked);
        }
        Event::RequestEnds { .. } => {}
        _ if state.blocked => return stay(&[]),
        _ => {}
    }

    match (event, state.relation) {
        (Event::UserAdds, Accepted) => Err(ContactError::AlreadyContact),
        // They have asked and ours wants it too.
        (Event::UserAdds | Event::UserAccepts, Apart { incoming: Incoming::Pending, .. }) => {
            to(Accepted, &[SendAccept, AnnounceAccepted, ReleaseQueued])
        }
        (Event::UserAdds, Apart { outgoing: Outgoing::Requested, .. }) => stay(&[]),
        (Event::UserAdds, Apart { .. }) => to(apart(Outgoing::Requested, Incoming::None), &[SendRequest]),

        (Event::UserAccepts, Accepted) => stay(&[]),
        (Event::UserAccepts, Apart { .. }) => Err(ContactError::NoRequest),

        (Event::UserRejects, Apart { outgoing, incoming: Incoming::Pending }) => {
            to(apart(outgoing, Incoming::RejectedByMe), &[SendReject])
        }
        (Event::UserRejects, Apart { incoming: Incoming::RejectedByMe, .. }) => stay(&[]),
        (Event::UserRejects, _) => Err(ContactError::NoRequest),

        (Event::UserRemoves, Relation::NONE) => Err(ContactError::NotAContact),
        (
            Event::UserRemoves,
            Accepted | Apart { outgoing: Outgoing::Requested, .. } | Apart { incoming: Incoming::Pending, .. },
        ) => to(Relation::NONE, &[SendRemove, RejectQueued, RevokeToken]),
        (Event::UserRemoves, Apart { .. }) => to(Relation::NONE, &[RejectQueued]),

        // They did not get our accept, or lost it: it is sent as often as they ask.
        (Event::RequestArrives { .. }, Accepted) => stay(&[SendAccept]),
        (Event::RequestArrives { .. }, Apart { incoming: Incoming::Pending, .. }) => stay(&[]),
        (Event::RequestArrives { repeated: true }, Apart { incoming: Incoming::RejectedByMe, .. }) => {
            stay(&[SendReject])
        }
        // One that was answered or taken back, again.
        (Event::RequestArrives { repeated: true }, Apart { .. }) => stay(&[]),
        (Event::RequestArrives { repeated: false }, Apart { outgoing, .. }) => {
            to(apart(outgoing, Incoming::Pending), &[AnnounceRequest])
        }

        (Event::AcceptArrives { .. }, Accepted) => stay(&[]),
        // Both have asked, and their yes may be older than their request: theirs is answered as well, or they would wait.
        (
            Event::AcceptArrives { current: true },
            Apart { outgoing: Outgoing::Requested, incoming: Incoming::Pending },
        ) => to(Accepted, &[SendAccept, AnnounceAccepted, ReleaseQueued]),
        (Event::AcceptArrives { current: true }, Apart { outgoing: Outgoing::Requested, .. }) => {
            to(Accepted, &[AnnounceAccepted, ReleaseQueued])
        }
        (Event::AcceptArrives { current: false }, Apart { outgoing: Outgoing::Requested, .. }) => stay(&[]),
        // It comes late, and was asked for all the same. The token on our card was made worthless meanwhile: a new one goes out.
        (Event::AcceptArrives { current: true }, Apart { outgoing: Outgoing::GivenUp, .. }) => {
            to(Accepted, &[SendAccept, AnnounceAccepted, ReleaseQueued])
        }
        // They take us for a contact, and we want none: it changes nothing here, and they are told.
        (Event::AcceptArrives { .. }, Apart { .. }) => stay(&[SendRemove]),

        (Event::RejectArrives { current: true }, Apart { outgoing: Outgoing::Requested, incoming }) => {
            to(apart(Outgoing::RejectedByThem, incoming), &[AnnounceRejected, RejectQueued])
        }
        (Event::RejectArrives { .. }, _) => stay(&[]),

        (Event::RequestEnds { .. }, Apart { outgoing: Outgoing::Requested, incoming }) => {
            to(apart(Outgoing::GivenUp, incoming), &[AnnounceGivenUp, RejectQueued, RevokeToken])
        }
        (Event::RequestEnds { .. }, _) => stay(&[]),

        (Event::RemoveArrives, Accepted) => to(Relation::NONE, &[AnnounceRejected, RejectQueued, RevokeToken]),
        (Event::RemoveArrives, Apart { outgoing: Outgoing::Requested, .. }) => {
            to(apart(Outgoing::RejectedByThem, Incoming::None), &[AnnounceRejected, RejectQueued, RevokeToken])
        }
        (Event::RemoveArrives, Apart { outgoing, .. }) => to(apart(outgoing, Incoming::None), &[]),

        (Event::UserBlocks | Event::UserUnblocks, _) => stay(&[]),
    }
}

#[cfg(test)]
#[path = "contact_tests.rs"]
mod tests;
