//! Messages: sent, waited for, read, found, traced.

use serde::{Deserialize, Serialize};

use super::is_zero;
use crate::advice::Advice;
use crate::ids::{AccountId, ConversationId, MessageId};
use crate::time::Timestamp;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Mailboxed => "mailboxed",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// How a body is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// As it is.
    #[default]
    Plain,
    /// With emphasis, links and code marked.
    Markdown,
}

/// How urgent the sender thinks a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Can wait.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Notify even where notifications are reduced.
    High,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, the same on both sides.
    pub id: MessageId,
    /// The conversation's id.
    pub conversation: ConversationId,
    /// The sender's name, as `chatctl` takes it: see [`Contact::who`](super::Contact::who). Never a name that is not confirmed.
    pub from: String,
    /// The recipient's name.
    pub to: String,
    /// The account of the other side, whatever it is called.
    pub peer: AccountId,
    /// The owner's label for the other side, if it has one that names nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// When this daemon committed it (absent for own messages).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// Where it stands.
    pub state: MessageState,
    /// Why it stands there, where that needs a `Reason`: its word, or its word, a colon and details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it came to stand there, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_at: Option<Timestamp>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Arrived after a gap was shown in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// So many messages of the sender were missing before this one when it was shown; those that came since are `late`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
}

/// `message.send`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// To whom.
    pub to: String,
    /// At most 61,440 bytes of UTF-8.
    pub body: String,
    /// How to show it.
    #[serde(default)]
    pub format: Format,
    /// At most 16, each at most 64 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// How urgent.
    #[serde(default)]
    pub priority: Priority,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Chosen by the client, so that repeating the call cannot send twice; made by the daemon if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Seconds after which the message ends by itself if it was not delivered; 0 for never; that of the settings if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// `message.send`: stored durably; and `message.wait`: as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendResult {
    /// The message.
    pub id: MessageId,
    /// Where it stands.
    pub state: MessageState,
    /// Why, see [`Message::reason`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `message.wait`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The message.
    pub id: MessageId,
    /// Answer when it is in this state or a later one (or in an end).
    pub state: MessageState,
    /// Answer by then with whatever it is in, in milliseconds, at most 3,600,000.
    pub timeout_ms: u64,
}

/// `message.history`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// With whom.
    pub who: String,
    /// Messages at most, 1..=1,000; 50 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only older than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
    /// Only newer than this one (then the oldest of them come).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<MessageId>,
    /// Only with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// `message.find`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageFindParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// An id, the end of one (8 digits at least; dashes are passed over), or `last`.
    pub id: String,
    /// Only in the conversation with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Only own messages, or only received ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
}

/// `message.find`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageFindResult {
    /// The newest first; 10 at most. More than one: the ending is ambiguous.
    pub messages: Vec<FoundMessage>,
}

/// What tells a message from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundMessage {
    /// Its id.
    pub id: MessageId,
    /// With whom, as `chatctl` takes it.
    pub who: String,
    /// Who wrote it.
    pub from: String,
    /// When it was sent, or came.
    pub at: Timestamp,
    /// The first 80 characters of its text.
    pub text: String,
}

/// `message.history`, `message.search`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessagesResult {
    /// History: oldest first. Search: newest first.
    pub messages: Vec<Message>,
    /// More exist beyond the limit.
    pub more: bool,
    /// The account is damaged, and messages may be missing here: what, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// What can be done about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Advice>,
}

/// `message.search`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Words, all of which must occur; the last may be the beginning of one. "Words in quotes" are exact.
    pub query: String,
    /// Only in the conversation with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Hits at most, 1..=1,000; 50 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only what came before this message: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
}

/// `message.unread`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnreadResult {
    /// Conversations with unread messages, in the order of names.
    pub conversations: Vec<Unread>,
    /// All together, on all pages.
    pub total: u64,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One conversation in [`UnreadResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unread {
    /// With whom, see [`Contact::who`](super::Contact::who).
    pub who: String,
    /// With which account.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Unread messages.
    pub count: u64,
}

/// `message.read`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// With whom.
    pub who: String,
    /// Up to and including this one; everything if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<MessageId>,
}

/// `message.read`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadResult {
    /// Messages newly marked.
    pub marked: u64,
}

/// `message.trace`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The message.
    pub id: MessageId,
}

/// `message.trace`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceResult {
    /// The message without its text.
    pub id: MessageId,
    /// To whom (or from whom), see [`Contact::who`](super::Contact::who).
    pub who: String,
    /// That person's account.
    pub peer: AccountId,
    /// Where it stands.
    pub state: MessageState,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Oldest first: states reached and attempts made.
    pub steps: Vec<TraceStep>,
    /// Sent from here; else received.
    pub own: bool,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The peer's daemon has the frame.
    Sent,
    /// The mailbox took it.
    Deposited,
    /// It did not come there, or is there no longer; the reason says why.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Deposited, Self::Failed];
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceStep {
    /// When.
    pub at: Timestamp,
    /// `queued`, `attempt`, `sent`, `delivered`, `read`, `rejected`...
    pub what: String,
    /// `direct`, `local`, `relay`, `mailbox`, for attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What came of it, for attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why an attempt failed, or why a state came: a `Reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many other messages shared the attempt, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u64>,
}
