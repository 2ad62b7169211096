//! Messages and their states, both ways where clients name them.

use proto::rpc::types::{
    Format, FoundMessage, Message, MessageState, MessagesResult, Priority, SendParams, SendResult,
};

use crate::model;

impl From<model::MessageState> for MessageState {
    fn from(state: model::MessageState) -> Self {
        match state {
            model::MessageState::Queued => Self::Queued,
            model::MessageState::Sent => Self::Sent,
            model::MessageState::Mailboxed => Self::Mailboxed,
            model::MessageState::Delivered => Self::Delivered,
            model::MessageState::Read => Self::Read,
            model::MessageState::Rejected => Self::Rejected,
            model::MessageState::Expired => Self::Expired,
            model::MessageState::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<MessageState> for model::MessageState {
    fn from(state: MessageState) -> Self {
        match state {
            MessageState::Queued => Self::Queued,
            MessageState::Sent => Self::Sent,
            MessageState::Mailboxed => Self::Mailboxed,
            MessageState::Delivered => Self::Delivered,
            MessageState::Read => Self::Read,
            MessageState::Rejected => Self::Rejected,
            MessageState::Expired => Self::Expired,
            MessageState::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<model::Format> for Format {
    fn from(format: model::Format) -> Self {
        match format {
            model::Format::Plain => Self::Plain,
            model::Format::Markdown => Self::Markdown,
        }
    }
}

impl From<Format> for model::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Plain => Self::Plain,
            Format::Markdown => Self::Markdown,
        }
    }
}

impl From<model::Priority> for Priority {
    fn from(priority: model::Priority) -> Self {
        match priority {
            model::Priority::Low => Self::Low,
            model::Priority::Normal => Self::Normal,
            model::Priority::High => Self::High,
        }
    }
}

impl From<Priority> for model::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

impl From<model::Message> for Message {
    fn from(message: model::Message) -> Self {
        let model::Message {
            id,
            conversation,
            from,
            to,
            peer,
            label,
            body,
            format,
            tags,
            priority,
            sent_at,
            received_at,
            state,
            reason,
            state_at,
            reply_to,
            late,
            missing,
        } = message;
        Self {
            id,
            conversation,
            from,
            to,
            peer,
            label,
            body,
            format: format.into(),
            tags,
            priority: priority.into(),
            sent_at,
            received_at,
            state: state.into(),
            reason,
            state_at,
            reply_to,
            late,
            missing,
        }
    }
}

impl From<SendParams> for model::Draft {
    fn from(params: SendParams) -> Self {
        let SendParams { account, to, body, format, tags, priority, reply_to, id, lifetime } = params;
        Self { account, to, id, body, format: format.into(), tags, priority: priority.into(), reply_to, lifetime }
    }
}

impl From<model::Progress> for SendResult {
    fn from(progress: model::Progress) -> Self {
        let model::Progress { id, state, reason } = progress;
        Self { id, state: state.into(), reason }
    }
}

impl From<model::Messages> for MessagesResult {
    fn from(found: model::Messages) -> Self {
        let model::Messages { messages, more, damage } = found;
        let (damaged, repair) = damage.map_or((None, None), |damage| (Some(damage.text), damage.advice));
        Self { messages: messages.into_iter().map(Into::into).collect(), more, damaged, repair }
    }
}

impl From<model::FoundMessage> for FoundMessage {
    fn from(found: model::FoundMessage) -> Self {
        let model::FoundMessage { id, who, from, at, text } = found;
        Self { id, who, from, at, text }
    }
}
