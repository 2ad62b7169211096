//! The numbers and words by which the database knows states of messages, kinds of events and outcomes of attempts. One that was
//! ever given never means anything else.

use proto::reason::Reason;

use crate::model::{ContactChange, EventKind, Failure, MessageState, Outcome};

/// The word of an outcome in `attempts`; statements compare it.
pub(in crate::store) fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Deposited => "deposited",
        Outcome::Failed(failure) => failure.reason.as_str(),
    }
}

/// The reverse of [`outcome_word`], with the details that are kept beside it.
pub(in crate::store) fn outcome_of(word: &str, detail: String) -> Option<Outcome> {
    Some(match word {
        "sent" => Outcome::Sent,
        "deposited" => Outcome::Deposited,
        word => Outcome::Failed(Failure { reason: Reason::of_word(word)?, detail }),
    })
}

/// Details of an outcome.
pub(in crate::store) fn outcome_detail(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Sent | Outcome::Deposited => "",
        Outcome::Failed(failure) => &failure.detail,
    }
}

/// The number of a state in `marks` and in the bodies of `events`.
pub(in crate::store) fn state_number(state: MessageState) -> i64 {
    match state {
        MessageState::Queued => 0,
        MessageState::Sent => 1,
        MessageState::Mailboxed => 2,
        MessageState::Delivered => 3,
        MessageState::Read => 4,
        MessageState::Rejected => 5,
        MessageState::Expired => 6,
        MessageState::Withdrawn => 7,
    }
}

/// The reverse of [`state_number`].
pub(in crate::store) fn state_of(number: i64) -> Option<MessageState> {
    MessageState::ALL.into_iter().find(|state| state_number(*state) == number)
}

/// The number of a kind in `events.type`. A number that was ever given never means anything else.
pub(in crate::store) fn kind_number(kind: EventKind) -> i64 {
    match kind {
        EventKind::MessageReceived => 0,
        EventKind::MessageState => 1,
        EventKind::MessageGap => 2,
        EventKind::Contact(ContactChange::Requested) => 3,
        EventKind::Contact(ContactChange::Accepted) => 4,
        EventKind::Contact(ContactChange::Rejected) => 5,
        EventKind::Contact(ContactChange::Removed) => 6,
        EventKind::Contact(ContactChange::KeyChanged) => 7,
        EventKind::Contact(ContactChange::Profile) => 8,
        EventKind::Presence => 9,
        EventKind::FeedLagged => 10,
        EventKind::Contact(ContactChange::GivenUp) => 11,
    }
}

/// The reverse of [`kind_number`].
pub(in crate::store) fn kind_of(number: i64) -> Option<EventKind> {
    Some(match number {
        0 => EventKind::MessageReceived,
        1 => EventKind::MessageState,
        2 => EventKind::MessageGap,
        3 => EventKind::Contact(ContactChange::Requested),
        4 => EventKind::Contact(ContactChange::Accepted),
        5 => EventKind::Contact(ContactChange::Rejected),
        6 => EventKind::Contact(ContactChange::Removed),
        7 => EventKind::Contact(ContactChange::KeyChanged),
        8 => EventKind::Contact(ContactChange::Profile),
        9 => EventKind::Presence,
        10 => EventKind::FeedLagged,
        11 => EventKind::Contact(ContactChange::GivenUp),
        _ => return None,
    })
}
