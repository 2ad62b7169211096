//! Messages, and where they stand.

use proto::ids::{AccountId, ConversationId, MessageId};
use proto::time::Timestamp;

/// Where a message stands. Ordered: later ones are further, and from [`MessageState::Rejected`] on they are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// Stored here; not yet on its way.
    Queued,
    /// The peer's daemon has the frame.
    Sent,
    /// In the recipient's mailbox.
    Mailboxed,
    /// The recipient's daemon committed it. Messages of others are always at least this.
    Delivered,
    /// The recipient read it (for messages of others: read here).
    Read,
    /// The recipient refused it.
    Rejected,
    /// The sender's own lifetime for it ran out.
    Expired,
    /// The sender gave it up by removing or blocking the recipient, or by taking a request back.
    Withdrawn,
}

impl MessageState {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sent,
        Self::Mailboxed,
        Self::Delivered,
        Self::Read,
        Self::Rejected,
        Self::Expired,
        Self::Withdrawn,
    ];
}

/// How a body is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As it is.
    #[default]
    Plain,
    /// With emphasis, links and code marked.
    Markdown,
}

/// How urgent the sender thinks a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Can wait.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Notify even where notifications are reduced.
    High,
}

/// A message, as the owner of the account sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id, the same on both sides.
    pub id: MessageId,
    /// The conversation's id.
    pub conversation: ConversationId,
    /// The sender's name: of others, [`Called::who`](super::Called::who).
    pub from: String,
    /// The recipient's name.
    pub to: String,
    /// The account of the other side, whatever it is called.
    pub peer: AccountId,
    /// The owner's label for the other side, if it has one that names nobody else.
    pub label: Option<String>,
    /// The text.
    pub body: String,
    /// How to show it.
    pub format: Format,
    /// The sender's tags.
    pub tags: Vec<String>,
    /// The sender's priority.
    pub priority: Priority,
    /// The sender's clock. Display only.
    pub sent_at: Timestamp,
    /// When this daemon committed it; `None` for own messages.
    pub received_at: Option<Timestamp>,
    /// Where it stands.
    pub state: MessageState,
    /// Why it stands there, where that needs a `Reason`: its word, or its word, a colon and details.
    pub reason: Option<String>,
    /// When it came to stand there, where that is known.
    pub state_at: Option<Timestamp>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// Arrived after a gap was shown in its place.
    pub late: bool,
    /// So many messages of the sender were missing before this one when it was shown.
    pub missing: u64,
}

/// What tells a message from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMessage {
    /// Its id.
    pub id: MessageId,
    /// With whom: see [`Called::form`](super::Called::form).
    pub who: String,
    /// Who wrote it.
    pub from: String,
    /// When it was sent, or came.
    pub at: Timestamp,
    /// The beginning of its text.
    pub text: String,
}

/// A message that somebody wants to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// From which account, if one is named.
    pub account: Option<String>,
    /// To whom: a word that means somebody.
    pub to: String,
    /// Its id, if the sender has given it one: the same id is sent once.
    pub id: Option<MessageId>,
    /// The text.
    pub body: String,
    /// How it is to be shown.
    pub format: Format,
    /// Words by which it can be found.
    pub tags: Vec<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// Seconds that it lives while it is not delivered; 0 for ever; `None`: as the account's settings say.
    pub lifetime: Option<u64>,
}

/// Where an own message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub id: MessageId,
    /// Where.
    pub state: MessageState,
    /// Why.
    pub reason: Option<String>,
}

/// Messages of a history or a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Messages {
    /// The messages.
    pub messages: Vec<Message>,
    /// There are more.
    pub more: bool,
    /// What may be missing here, of a damaged account.
    pub damage: Option<super::Damage>,
}

/// What is unread.
#[derive(Debug, Clone, PartialEq)]
pub struct UnreadPage {
    /// Conversations in which something is unread.
    pub page: super::Page<super::Unread>,
    /// Unread messages, of all conversations.
    pub total: u64,
}
