//! The session with the directory: one WebSocket that makes the account's device present, kept alive for as long as
//! the account is logged in.
//!
//! Not the job: remembering what to watch. A session begins empty; after each [`SessionEvent::Up`] the caller sends its
//! watches (and its tokens, when the directory's counters show that it went back in time) again. Commands that arrive
//! while there is no session are dropped for that reason.

mod again;
mod connection;
mod guest;
mod talk;

use std::time::{Duration, Instant};

use proto::directory::api::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::again::{Again, Failure};
use self::connection::{AFTER_MOVE, Connection, Ended, MOVED};
pub use self::guest::{GuestEvent, Watched, run as run_guest};
pub use self::talk::{
    Counted, MAIL_QUEUE, Mail, Member, Outlets, SessionCommand, SessionEvent, SessionNumber, SessionSign,
};
use super::client::DirectoryClient;

/// The wait after the directory said that this device's key is in use elsewhere: two copies must not take turns.
const CLONED_PAUSE: Duration = Duration::from_secs(60);

/// Keeps a session until `shutdown` is cancelled, the commands' sender is gone or nobody takes the events. Ends with a
/// clean close, so that the directory shows the device as offline at once.
pub async fn run(
    client: DirectoryClient,
    member: Member,
    (sign, number): (SessionSign, SessionNumber),
    mut commands: mpsc::Receiver<SessionCommand>,
    outlets: Outlets,
    shutdown: CancellationToken,
) {
    let (account, mut moves) = (member.account, client.moves());
    let Outlets { events, mail } = outlets;
    let mut connection =
        Connection { client, member, sign, number, events, mail, previous: None, cloned: false, session: 0 };
    let mut again = Again::default();
    loop {
        let ended = tokio::select! {
            // Dropping a half-open session leaves nothing behind but a closed connection.
            opened = moves.clone().cut(AFTER_MOVE, connection.open()) => match opened.unwrap_or_else(|| Err(Ended::new(MOVED))) {
                Ok((socket, up)) => {
                    again.begin();
                    match connection.serve(socket, up, &mut commands, &shutdown).await {
                        Some(ended) => ended,
                        None => return,
                    }
                }
                Err(ended) => ended,
            },
            () = shutdown.cancelled() => return,
        };
        // Whoever answers there from now on may be somebody else.
        connection.client.pin().doubt();
        tracing::debug!(%account, reason = ended.reason, "no session with the directory");
        // What passes by itself is no refusal: the directory may be well again in a moment.
        let passes = [ErrorCode::Unavailable, ErrorCode::RateLimited, ErrorCode::StaleNonce, ErrorCode::Malformed];
        let refused = ended.code.is_some_and(|code| !passes.contains(&code));
        let why = if refused { Failure::Refused } else { ended.failure };
        let event = SessionEvent::Down { reason: ended.reason, advice: ended.advice, code: ended.code };
        if connection.events.send(event).await.is_err() {
            return;
        }
        if ended.replaced {
            let _ = connection.events.send(SessionEvent::Replaced).await;
            return;
        }
        let pause = if std::mem::take(&mut connection.cloned) {
            CLONED_PAUSE
        } else {
            again.pause(why, Instant::now(), rand::random())
        };
        let pause = pause.max(ended.wait.unwrap_or_default());
        moves.count();
        tokio::select! {
            () = sleep(pause) => {}
            () = moves.next() => again.begin(),
            asked = retry_asked(&mut commands) => if !asked { return },
            () = shutdown.cancelled() => return,
        }
    }
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
