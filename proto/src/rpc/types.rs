//! Parameters and results of the methods, and the objects in them. The JSON that `chatctl --json` prints has the same
//! fields. Optional parameters may be left out; unknown ones are refused by name.

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::secret::Secret;
use crate::ids::{AccountId, ConversationId, MessageId, NodeId};
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

/// For fields that are left out when there is nothing to count.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, the same on both sides.
    pub id: MessageId,
    /// The conversation's id.
    pub conversation: ConversationId,
    /// The sender's name, as `chatctl` takes it: see [`Contact::who`]. Never a name that is not confirmed.
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
    /// Why it stands there, where that needs a reason: `awaiting_acceptance`, `recipient_keys_expired`, `peer_unreachable`.
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

/// No parameters but the account.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountParams {
    /// One of the caller's accounts: its name, its address, or `id:` and its id; the caller's default, or the only one, if
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// No parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Nothing to tell beyond success.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Done {}

/// Parameters that name a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `bob`, `bob@example.org`, a label, the handle of a request (`%7`), or `id:` and an account id.
    pub who: String,
}

/// Parameters of lists that come in pages.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Entries at most, 1..=1,000; 200 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `system.hello`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// The client's name and version, for the log.
    #[serde(default)]
    pub client: String,
}

/// `system.hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloResult {
    /// `chatd` and its version.
    pub server: String,
    /// [`super::API_VERSION`].
    pub api: u32,
    /// The caller's uid as the kernel told it.
    pub uid: u32,
    /// Names of the caller's accounts.
    pub accounts: Vec<String>,
}

/// `account.register`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterParams {
    /// `alice` or `alice@example.org`.
    pub name: String,
    /// URL or domain of the directory; the daemon's default if left out; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// For contacts to see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A registration token of the directory's operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite_token: Option<String>,
    /// The recovery key of an account that gave the name up: takes the name back while it rests, and stays the recovery key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Secret>,
}

/// `account.register`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterResult {
    /// The new account.
    pub account: AccountInfo,
    /// The recovery key (the one that was given, if so), told this once and never stored by the daemon. It can replace a lost identity key.
    pub recovery_key: Secret,
}

/// An account of this daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountInfo {
    /// Its name.
    pub name: String,
    /// `name@domain`; the name alone without a directory.
    pub address: String,
    /// Its id.
    pub id: AccountId,
    /// The identity key, short, for comparing by eye.
    pub fingerprint: String,
    /// URL of its directory, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The key that it pinned of its directory, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_key: Option<String>,
    /// Logged in.
    pub logged_in: bool,
    /// The directory session is up.
    pub online: bool,
    /// The caller's default among several, see `account.use`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What of it is damaged, where, and what to do; such an account can only be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// `account.unregister`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnregisterParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The account's name once more, typed by the user.
    pub confirm: String,
}

/// `account.unregister`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UnregisterResult {
    /// Until when the directory keeps the name for whoever has the account's keys; absent without a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_until: Option<Timestamp>,
}

/// `account.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountListResult {
    /// The caller's accounts.
    pub accounts: Vec<AccountInfo>,
}

/// `system.status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusResult {
    /// `chatd` and its version.
    pub server: String,
    /// [`super::API_VERSION`].
    pub api: u32,
    /// This daemon's transport key.
    pub node: NodeId,
    /// Addresses on which peers are accepted.
    pub addresses: Vec<String>,
    /// Seconds since start.
    pub uptime: u64,
    /// Open links to other daemons.
    pub links: u64,
    /// RPC clients connected, this one included.
    pub clients: u64,
    /// Those of the caller's user, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_clients: Vec<ClientInfo>,
    /// How many each user has; root alone is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub user_clients: Vec<UserClients>,
    /// One for each of the caller's accounts.
    pub accounts: Vec<AccountStatus>,
}

/// One client in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// What the kernel calls its program, at most 15 bytes; empty if it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Since when it is connected.
    pub since: Timestamp,
    /// What it does: `idle`, `works`, `waits for a message's state`, `follows events`.
    pub does: String,
}

/// A user's clients in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserClients {
    /// Who.
    pub uid: u32,
    /// How many.
    pub clients: u64,
}

/// One account in [`StatusResult`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// Its name.
    pub name: String,
    /// `name@domain`.
    pub address: String,
    /// Logged in.
    pub logged_in: bool,
    /// URL of its directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The directory session is up.
    pub online: bool,
    /// See [`AccountInfo::default`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What is wrong with the directory session, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory_error: Option<String>,
    /// Messages not yet acknowledged by their recipients.
    pub queued: u64,
    /// Unread messages.
    pub unread: u64,
    /// Contact requests that wait for an answer.
    pub requests: u64,
    /// Contacts.
    pub contacts: u64,
    /// The newest event's number.
    pub seq: u64,
    /// Whether the store takes writes; the reason if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
    /// See [`AccountInfo::damaged`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// This machine's clock and others' differ by more than 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStatus>,
}

/// Clocks that differ, in [`AccountStatus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Seconds that this machine's clock is ahead; negative if it is behind.
    pub ahead: i64,
    /// Of whose.
    pub of: ClockWitness,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Whose clock this machine's is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockWitness {
    /// The home directory's.
    Directory,
    /// Those of most contacts that were met of late; only while the directory's is not known.
    Contacts,
}

/// `directory.key`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryKeyParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whose directory, if not the account's own: one that the configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Trust this key from now on, 64 hex digits; it must be the one that the directory shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
}

/// `directory.key`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DirectoryKeyResult {
    /// The domain.
    pub origin: String,
    /// Where it is asked.
    pub url: String,
    /// The key that it is known by, in hex; absent if it was never met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// The key that it shows now, in hex, and has proved to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// Why it shows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// `directory.users`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Case-insensitive part of a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A whole name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An IP address that the account agreed to be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Only who is online.
    #[serde(default)]
    pub online: bool,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Entries at most, 1..=1,000; 200 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `directory.users`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsersResult {
    /// In the order of names.
    pub users: Vec<User>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Somebody in a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// Online, where the person lets it be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// Whether the caller has the person as a contact.
    #[serde(default)]
    pub contact: bool,
}

/// `contact.add`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactAddParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `bob`, `bob@example.org` or an invite (`chat:...`).
    pub who: String,
    /// Shown with the request; at most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a contact's key is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Taken at first contact from the directory.
    Unverified,
    /// Compared by people, or carried by an invite.
    Verified,
    /// Was verified, then rotated with the old key: compare again.
    Rotated,
    /// Changed without a valid rotation: nothing is sent until `verify`.
    Changed,
}

/// Where a contact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// Asked; no answer yet.
    Requested,
    /// Asks us; not answered yet.
    Pending,
    /// Messages flow.
    Accepted,
    /// Refused by them.
    Rejected,
    /// Ended, by either side.
    Removed,
    /// A request of ours that is not repeated any more; `reason` tells why.
    GivenUp,
}

/// A contact, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// The form that names exactly this person, as `chatctl` takes it: the label, the name, `name@domain`, the handle, or
    /// `id:` and the account id; the first of these that nobody else has.
    pub who: String,
    /// The name in its directory; while `confirmed` is false, the words of whoever it is.
    pub name: String,
    /// `name@domain`; the name alone without a directory. See `name`.
    pub address: String,
    /// The caller's own label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of the newest request that came: `%7`. It never names another person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// The account.
    pub account: AccountId,
    /// The conversation with it.
    pub conversation: ConversationId,
    /// Where it stands.
    pub state: ContactState,
    /// `request_expired`: nobody answered our request in 30 days. `account_gone`: its directory knows no such account any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How far its key is trusted.
    pub trust: Trust,
    /// The identity key, short.
    pub fingerprint: String,
    /// While `trust` is `changed`: the key that waits for `verify`, short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_fingerprint: Option<String>,
    /// Its directory confirmed that name and domain are this account's. If not, nobody is found by this name.
    pub confirmed: bool,
    /// Blocked by the caller.
    pub blocked: bool,
    /// Muted until then; absent when not muted. `9999-12-31T23:59:59.000Z` means until unmuted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Online, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// When that was learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_since: Option<Timestamp>,
    /// Unread messages from it.
    pub unread: u64,
    /// Its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// The text that came with its request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the request came or went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// `contact.list`, `contact.requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContactsResult {
    /// In the order of names.
    pub contacts: Vec<Contact>,
    /// Give as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `contact.rename`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// The new label; empty takes the label away.
    pub label: String,
}

/// `contact.mute`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// For how long; for ever if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// `contact.verify`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom.
    pub who: String,
    /// The safety number that the other side sees; digits, spaces ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_number: Option<String>,
    /// Take a changed key without comparing.
    #[serde(default)]
    pub accept_unverified: bool,
}

/// `contact.verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyResult {
    /// Sixty digits in groups of five; the same on both sides. Of a key that changed, the number of the new one.
    pub safety_number: String,
    /// The contact after it.
    pub contact: Contact,
}

/// `message.send`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// See [`AccountParams::account`].
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
    /// See [`AccountParams::account`].
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
    /// See [`AccountParams::account`].
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
    /// See [`AccountParams::account`].
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
    /// The account is damaged, and messages may be missing here: what, where, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// `message.search`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Words, all of which must occur; the last may be the beginning of one. "Words in quotes" are exact.
    pub query: String,
    /// Only in the conversation with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Hits at most, 1..=1,000; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
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
    /// With whom, see [`Contact::who`].
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
    /// See [`AccountParams::account`].
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

/// `message.forget`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// With whom.
    pub who: String,
    /// Only what was stored here before this time; everything if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// `message.forget`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForgetResult {
    /// Messages deleted here. What waits for its recipient stays.
    pub forgotten: u64,
}

/// `message.trace`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceParams {
    /// See [`AccountParams::account`].
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
    /// To whom (or from whom), see [`Contact::who`].
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
    /// What the daemon will do next, in words.
    pub next: String,
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
    /// Outcome or cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// `feed.subscribe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Begin after this event; with neither `since` nor `consumer`, begin with what comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// A durable consumer's name: begin after what `feed.ack` acknowledged under it. A new name begins at the present, or
    /// after `since`. A name has one reader at a time; its place is free when the subscription or its connection ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// With `consumer`: begin after this event if that is later. For a reader that lost its connection, and has not
    /// acknowledged all that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<u64>,
    /// Only events about this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Only these types; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Name of the notification; `feed.event` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// `feed.subscribe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscribeResult {
    /// Names the subscription in `feed.unsubscribe`.
    pub subscription: u64,
    /// Events up to this one lie before the subscription.
    pub seq: u64,
    /// The newest event at this moment.
    pub head: u64,
}

/// `feed.unsubscribe`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeParams {
    /// From [`SubscribeResult`].
    pub subscription: u64,
}

/// `feed.ack`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedAckParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// Everything up to this event was dealt with. Never goes back.
    pub seq: u64,
}

/// `feed.attempt`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedAttemptParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// The event that it is about to deal with: the first that is not acknowledged.
    pub seq: u64,
}

/// `feed.attempt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedAttemptResult {
    /// Attempts on this event with this one, over all connections and restarts; 1 for the first.
    pub attempts: u64,
}

/// `feed.give_up`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedGiveUpParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The durable consumer.
    pub consumer: String,
    /// The event. Everything up to it counts as acknowledged.
    pub seq: u64,
    /// Why, in at most 256 bytes.
    pub reason: String,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Everything up to this event is acknowledged.
    pub seq: u64,
    /// When it last acknowledged something.
    pub at: Timestamp,
    /// Events since, of all types.
    pub waiting: u64,
    /// Attempts on the first event that is not acknowledged, if it counts them.
    pub attempts: u64,
    /// Events that it gave up.
    pub dead_letters: u64,
    /// Whether somebody reads it at the moment.
    pub reading: bool,
}

/// `consumer.list`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerListParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Begin after this name: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Consumers at most, 1..=1,000; 200 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `consumer.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsumersResult {
    /// In the order of names.
    pub consumers: Vec<Consumer>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `consumer.reset`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerResetParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its name.
    pub consumer: String,
    /// Go on after this event; from the present if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// `consumer.remove`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its name.
    pub consumer: String,
}

/// `consumer.dead_letters`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The consumer.
    pub consumer: String,
    /// Begin after this event: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Dead letters at most, 1..=1,000; 100 if left out. Fewer come when they would not fit one RPC message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `consumer.dead_letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLettersResult {
    /// Oldest first.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// An event that a consumer gave up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The event's number.
    pub seq: u64,
    /// When it was given up.
    pub at: Timestamp,
    /// Attempts that were made.
    pub attempts: u64,
    /// Why the last one failed.
    pub reason: String,
    /// The event; absent when its message was deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// At most 128 bytes.
    #[serde(default)]
    pub display_name: String,
    /// At most 256 bytes.
    #[serde(default)]
    pub status: String,
    /// At most 1,024 bytes.
    #[serde(default)]
    pub bio: String,
}

/// `profile.show`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileShowParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A contact; oneself if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// `profile.set`: what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSetParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// New display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// New status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// New bio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
}

/// `account.settings`: what is left out stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether contacts are told what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_receipts: Option<bool>,
    /// Seconds that messages live which are not delivered, unless `message.send` says otherwise; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// `account.settings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsResult {
    /// Whether contacts are told what was read.
    pub read_receipts: bool,
    /// Seconds that messages live which are not delivered; absent when they never end by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
}

/// `key.recover`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecoverParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The recovery key that `account.register` told, or the last `key.recover`.
    pub recovery_key: Secret,
}

/// `key.rotate`, `key.recover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyResult {
    /// The account with its new key.
    pub account: AccountInfo,
    /// After `key.recover`: the new recovery key, told this once; the one before is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<Secret>,
    /// Whether the directory has the new key; if not, the daemon tells it as soon as it can.
    pub published: bool,
}

/// `backup.begin`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupBeginParams {
    /// See [`AccountParams::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom the file is encrypted to, as `age1...`; 16 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Or a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// `backup.begin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupBeginResult {
    /// Names the backup in `backup.read` and `backup.end`. It is dropped after two minutes without a call.
    pub transfer: String,
    /// Bytes of the file.
    pub size: u64,
    /// The account that is in it.
    pub account: AccountInfo,
}

/// `backup.read`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupReadParams {
    /// From `backup.begin`.
    pub transfer: String,
    /// From this byte of the file.
    pub offset: u64,
}

/// `backup.read`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReadResult {
    /// At most 524,288 bytes; empty at the end.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// `backup.end`, and `restore.end`, which drops what was uploaded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferParams {
    /// From `backup.begin` or `restore.begin`.
    pub transfer: String,
}

/// `restore.begin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreBeginResult {
    /// Names the upload in `restore.write` and `restore.finish`. It is dropped after two minutes without a call.
    pub transfer: String,
}

/// `restore.write`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreWriteParams {
    /// From `restore.begin`.
    pub transfer: String,
    /// The next part of the file, at most 524,288 bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// `restore.finish`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreFinishParams {
    /// From `restore.begin`.
    pub transfer: String,
    /// Keys of age that may open the file, as `AGE-SECRET-KEY-1...`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Secret>,
    /// Or its passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// `restore.finish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreResult {
    /// The account, online.
    pub account: AccountInfo,
    /// When the backup was made.
    pub made: Timestamp,
    /// Whether the directory knows the new device; if not, the daemon tells it as soon as it can.
    pub published: bool,
}
