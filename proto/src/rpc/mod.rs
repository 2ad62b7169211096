//! MessagePack-RPC between a daemon and its clients: the types of every method ([`types`], [`methods`]) and event
//! ([`event`]), the framing ([`codec`]) and a typed client ([`client`]).
//!
//! The protocol is the MessagePack-RPC specification as it stands: `[0, id, method, params]`, `[1, id, error, result]`,
//! `[2, method, params]`. `params` is an array that holds one map; `error` is `[code, text]`. In RPC, structures are maps
//! with string keys, ids and times are strings: a stock MessagePack library in any language is enough to be a client.

pub mod client;
pub mod codec;
pub mod event;
pub mod methods;
pub mod secret;
pub mod socket;
pub mod types;

use crate::advice::Advice;

/// The API's version, told by `system.hello`. Fields and methods are only ever added within one version.
pub const API_VERSION: u32 = 1;
/// Bytes of one RPC message at most, in both directions.
pub const MAX_MESSAGE_BYTES: usize = 1_048_576;
/// Nesting of a message at most. A decoder without such a limit overflows its stack.
pub const MAX_DEPTH: usize = 16;

/// Error codes on the wire: the first element of `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The message is no MessagePack-RPC request; the connection is closed after it.
    Malformed,
    /// No such method.
    UnknownMethod,
    /// A parameter is unknown, missing or of the wrong type.
    InvalidParams,
    /// The socket's owner may not do this: another user's account, or a system user.
    NotAllowed,
    /// No account, or none of that name, belongs to the caller.
    NoAccount,
    /// Several accounts, and none was named.
    AmbiguousAccount,
    /// A word that names more than one person.
    AmbiguousWho,
    /// Already there: account or name exists on this daemon.
    AlreadyExists,
    /// The name breaks the rules for names.
    NameNotAllowed,
    /// The directory gave the name to another key.
    NameTaken,
    /// Nobody of that name, no such message, no such request.
    NotFound,
    /// The person is known but is not a contact.
    NotAContact,
    /// The account is logged out.
    LoggedOut,
    /// The account is logged in already.
    AlreadyLoggedIn,
    /// Text too long, empty where it must not be, and the like.
    InvalidText,
    /// The directory cannot be reached.
    DirectoryUnreachable,
    /// Whoever is meant cannot be reached now.
    PeerUnreachable,
    /// The directory refused, with its reason in the text.
    DirectoryRefused,
    /// The contact's key changed without a valid rotation, or a safety number differs.
    KeyNotTrusted,
    /// Over a rate limit.
    RateLimited,
    /// Over a limit on accounts, clients or subscriptions.
    LimitReached,
    /// Somebody else does that already: a durable consumer has one reader at a time.
    InUse,
    /// Did not happen in time; the message stays queued.
    TimedOut,
    /// The peer refused (rejected request, blocked).
    Refused,
    /// A backup does not open, is damaged, or is none.
    BackupUnusable,
    /// The daemon cannot write: disk full or damaged store.
    StoreUnavailable,
    /// The daemon is stopping.
    ShuttingDown,
    /// A defect of the daemon.
    Internal,
}

impl ErrorCode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownMethod => "unknown_method",
            Self::InvalidParams => "invalid_params",
            Self::NotAllowed => "not_allowed",
            Self::NoAccount => "no_account",
            Self::AmbiguousAccount => "ambiguous_account",
            Self::AmbiguousWho => "ambiguous_who",
            Self::AlreadyExists => "already_exists",
            Self::NameNotAllowed => "name_not_allowed",
            Self::NameTaken => "name_taken",
            Self::NotFound => "not_found",
            Self::NotAContact => "not_a_contact",
            Self::LoggedOut => "logged_out",
            Self::AlreadyLoggedIn => "already_logged_in",
            Self::InvalidText => "invalid_text",
            Self::DirectoryUnreachable => "directory_unreachable",
            Self::PeerUnreachable => "peer_unreachable",
            Self::DirectoryRefused => "directory_refused",
            Self::KeyNotTrusted => "key_not_trusted",
            Self::RateLimited => "rate_limited",
            Self::LimitReached => "limit_reached",
            Self::InUse => "in_use",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::BackupUnusable => "backup_unusable",
            Self::StoreUnavailable => "store_unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
        }
    }
}

/// An error as it travels: `[code, text]`, or `[code, text, advice]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RpcError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what failed, and where.
    pub text: String,
    /// What to do next, if there is a call for it.
    pub advice: Option<Box<Advice>>,
}

impl RpcError {
    /// An error of this code and text.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), advice: None }
    }

    /// The same with this advice.
    #[must_use]
    pub fn advise(mut self, advice: Option<Advice>) -> Self {
        self.advice = advice.map(Box::new);
        self
    }
}
