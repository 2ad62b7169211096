//! The session with the directory: one WebSocket that makes the account's device present, kept alive for as long as
//! the account is logged in.
//!
//! Not the job: remembering what to watch. A session begins empty; after each [`SessionEvent::Up`] the caller sends its
//! watches (and its tokens, when the directory's counters show that it went back in time) again. Commands that arrive
//! while there is no session are dropped for that reason.

use std::sync::Arc;
use std::time::Duration;

use proto::advice::Advice;
use proto::directory::api::{ErrorCode, PUSH_WINDOW};
use proto::ids::{AccountId, DeviceId};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::DirectoryClient;
use super::keeper::Keeper;

/// The first wait after a session ended, doubled with each failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait: a directory that was restarted has its clients back within so long.
const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// The longest wait while the directory refuses the session: what it wants will not be different soon.
const REFUSED_MOST: Duration = Duration::from_secs(3_600);
/// The wait after the directory said that this device's key is in use elsewhere: two copies must not take turns.
const CLONED_PAUSE: Duration = Duration::from_secs(60);

/// Signs with the device's key.
pub type SessionSign = Arc<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;

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
        /// How many sessions of this device the directory has counted, this one included.
        session_counter: u64,
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

/// Keeps a session until `shutdown` is cancelled, the commands' sender is gone or nobody takes the events. Ends with a
/// clean close, so that the directory shows the device as offline at once.
pub async fn run(
    client: DirectoryClient,
    member: Member,
    sign: SessionSign,
    mut commands: mpsc::Receiver<SessionCommand>,
    outlets: Outlets,
    shutdown: CancellationToken,
) {
    let account = member.account;
    let Outlets { events, mail } = outlets;
    let mut keeper = Keeper { client, member, sign, events, mail, previous: None, cloned: false, session: 0 };
    let mut failures = 0;
    loop {
        let ended = tokio::select! {
            // Dropping a half-open session leaves nothing behind but a closed connection.
            opened = keeper.open() => match opened {
                Ok((socket, up)) => {
                    failures = 0;
                    match keeper.serve(socket, up, &mut commands, &shutdown).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
                Err(ended) => ended,
            },
            () = shutdown.cancelled() => return,
        };
        // Whoever answers there from now on may be somebody else.
        keeper.client.pin().doubt();
        tracing::debug!(%account, reason = ended.reason, "no session with the directory");
        // What passes by itself is no refusal: the directory may be well again in a moment.
        let passes = [ErrorCode::Unavailable, ErrorCode::RateLimited, ErrorCode::StaleNonce, ErrorCode::Malformed];
        let refused = ended.code.is_some_and(|code| !passes.contains(&code));
        let event = SessionEvent::Down { reason: ended.reason, advice: ended.advice, code: ended.code };
        if keeper.events.send(event).await.is_err() {
            return;
        }
        if ended.replaced {
            let _ = keeper.events.send(SessionEvent::Replaced).await;
            return;
        }
        let pause = if std::mem::take(&mut keeper.cloned) { CLONED_PAUSE } else { backoff(failures, refused) };
        let pause = pause.max(ended.wait.unwrap_or_default());
        failures += 1;
        tokio::select! {
            () = sleep(pause) => {}
            asked = retry_asked(&mut commands) => if !asked { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// Doubles from [`BACKOFF_FIRST`] to [`BACKOFF_MOST`], or [`REFUSED_MOST`] if it was refused, of which a random half is taken off:
/// clients of a directory that comes back must not arrive all at once.
fn backoff(failures: u32, refused: bool) -> Duration {
    let most = if refused { REFUSED_MOST } else { BACKOFF_MOST };
    let whole = BACKOFF_FIRST.saturating_mul(1 << failures.min(20)).min(most);
    whole.mul_f64(rand::random_range(0.5..1.0))
}

/// Waits for a [`SessionCommand::Retry`], dropping others; false when the sender is gone.
async fn retry_asked(commands: &mut mpsc::Receiver<SessionCommand>) -> bool {
    loop {
        match commands.recv().await {
            Some(SessionCommand::Retry) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        for failures in 0..100 {
            let (pause, refused) = (backoff(failures, false), backoff(failures, true));
            assert!(pause >= BACKOFF_FIRST / 2 && pause <= BACKOFF_MOST, "{failures}: {pause:?}");
            assert!(refused >= BACKOFF_FIRST / 2 && refused <= REFUSED_MOST, "{failures}: {refused:?}");
        }
        assert!(backoff(0, true) <= BACKOFF_FIRST && backoff(50, false) >= BACKOFF_MOST / 2);
        assert!(backoff(50, true) >= REFUSED_MOST / 2);
        assert!((0..20).any(|_| backoff(9, false) != backoff(9, false)));
    }
}
