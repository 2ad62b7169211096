//! What an account and its session say to each other.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use proto::advice::Advice;
use proto::directory::api::{ErrorCode, PUSH_WINDOW};
use proto::ids::{AccountId, DeviceId};
use tokio::sync::mpsc;

/// Signs with the device's key.
pub type SessionSign = Arc<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;

/// Gives the next session its number, after it is on this disk ([`proto::directory::api::SessionHello`]); none if it cannot be kept.
pub type SessionNumber = Arc<dyn Fn() -> BoxFuture<'static, Option<u64>> + Send + Sync>;

/// What the caller wants of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// Hashes ([`proto::directory::api::token_hash`]) of deposit tokens that hold from now on, and that no longer do.
    Tokens {
        /// New ones.
        add: Vec<[u8; 32]>,
        /// Revoked ones.
        remove: Vec<[u8; 32]>,
    },
    /// Tell of these accounts' presence; each with the deposit token that it gave us.
    Watch(Vec<(AccountId, [u8; 32])>),
    /// No longer.
    Unwatch(Vec<AccountId>),
    /// Push what lies in the mailbox.
    Mailbox,
    /// These envelopes of the mailbox, pushed in the session of this number, are committed here and may go.
    Delete(u64, Vec<u64>),
    /// These could not be stored now, and stay.
    Release(u64, Vec<u64>),
    /// If there is no session, try at once: the record was published, or the network changed.
    Retry,
}

/// What the session tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The session stands.
    Up {
        /// The bearer token for requests; ends with the session.
        token: String,
        /// What the sessions' numbers tell.
        counted: Counted,
        /// The seq of the record that the directory holds.
        record_seq: u64,
        /// The directory's clock in Unix seconds.
        time: i64,
    },
    /// There is no session any more, or an attempt failed; it is tried again.
    Down {
        /// In words.
        reason: String,
        /// What can be done about it.
        advice: Option<Advice>,
        /// If the directory refused.
        code: Option<ErrorCode>,
    },
    /// The answer to [`SessionCommand::Tokens`]: they are durable.
    TokensStored {
        /// How many the account has there.
        count: u64,
    },
    /// Of a watched account.
    Presence {
        /// Who.
        account: AccountId,
        /// Whether a device is connected. One that may not be told looks offline.
        online: bool,
        /// Since when, in Unix seconds, if known.
        since: Option<i64>,
    },
    /// Another process has a session with this device's key.
    Cloned,
    /// And it was the later one: this session is over, and none is opened again.
    Replaced,
    /// The directory refused a command; the session goes on.
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
}

/// Numbers of sessions, which tell whether a device or its directory went back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The number that this device gave to the session, if it could keep it.
    pub said: Option<u64>,
    /// The number that the session has at the directory.
    pub number: u64,
    /// The highest one that the directory knew before.
    pub before: u64,
}

/// What comes out of the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// An envelope.
    Envelope {
        /// The number of the session that pushed it: in another, its number may mean something else.
        session: u64,
        /// Its number in the mailbox.
        number: u64,
        /// The encoded [`proto::wire::envelope::Outer`].
        outer: Vec<u8>,
    },
    /// Everything that lay there when it was asked for has come.
    Drained,
}

/// Mail that waits for whoever stores it at most: the directory's window, and the word that it is all.
pub const MAIL_QUEUE: usize = PUSH_WINDOW + 8;

/// Whose session it is.
#[derive(Debug, Clone)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// Its device here.
    pub device: DeviceId,
    /// The domain of its directory: a signature for another one is not given, whatever a directory says that it is.
    pub origin: String,
}

/// Where the session's news go.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// Everything but mail.
    pub events: mpsc::Sender<SessionEvent>,
    /// Mail; has room for [`MAIL_QUEUE`].
    pub mail: mpsc::Sender<Mail>,
}
