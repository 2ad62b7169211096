//! The session with the directory: one WebSocket that makes the account's device present, kept alive for as long as
//! the account is logged in.
//!
//! Not the job: remembering what to watch. A session begins empty; after each [`SessionEvent::Up`] the caller sends its
//! watches (and its tokens, when the directory's counters show that it went back in time) again. Commands that arrive
//! while there is no session are dropped for that reason.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use proto::directory::api::{
    Base64, ClientFrame, ErrorCode, MAX_FRAME_ENTRIES, MAX_SESSION_FRAME_BYTES, ServerFrame, SessionHello, Watch,
    session_message,
};
use proto::ids::{AccountId, DeviceId, hex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use super::DirectoryClient;
use super::client::CONNECT_TIMEOUT;

/// The first wait after a session ended, doubled with each failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait: a directory that was restarted has its clients back within so long.
const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// The wait after the directory said that this device's key is in use elsewhere: two copies must not take turns.
const CLONED_PAUSE: Duration = Duration::from_secs(60);
/// From the upgrade to the directory's `ready`.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// The directory pings every 10 s; one that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(25);
/// For the directory to take a frame, and to answer a close.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

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
    /// The directory refused a command; the session goes on.
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
}

type Socket = WebSocketStream<TcpStream>;

/// Why a session ended.
struct Ended {
    reason: String,
    code: Option<ErrorCode>,
}

impl Ended {
    fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), code: None }
    }
}

/// Keeps a session until `shutdown` is cancelled, the commands' sender is gone or nobody takes the events. Ends with a
/// clean close, so that the directory shows the device as offline at once.
pub async fn run(
    client: DirectoryClient,
    account: AccountId,
    device: DeviceId,
    sign: SessionSign,
    mut commands: mpsc::Receiver<SessionCommand>,
    events: mpsc::Sender<SessionEvent>,
    shutdown: CancellationToken,
) {
    let mut keeper = Keeper { client, account, device, sign, events, previous: None, cloned: false };
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
        tracing::debug!(%account, reason = ended.reason, "no session with the directory");
        let event = SessionEvent::Down { reason: ended.reason, code: ended.code };
        if keeper.events.send(event).await.is_err() {
            return;
        }
        let pause = if std::mem::take(&mut keeper.cloned) { CLONED_PAUSE } else { backoff(failures) };
        failures += 1;
        tokio::select! {
            () = sleep(pause) => {}
            asked = retry_asked(&mut commands) => if !asked { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// Doubles from [`BACKOFF_FIRST`] to [`BACKOFF_MOST`], of which a random half is taken off: clients of a directory that
/// comes back must not arrive all at once.
fn backoff(failures: u32) -> Duration {
    let whole = BACKOFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACKOFF_MOST);
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

struct Keeper {
    client: DirectoryClient,
    account: AccountId,
    device: DeviceId,
    sign: SessionSign,
    events: mpsc::Sender<SessionEvent>,
    /// The last session's token: tells the directory that this is a reconnect, and no clone.
    previous: Option<String>,
    cloned: bool,
}

impl Keeper {
    /// Connects, proves the device's key, and waits for `ready`.
    async fn open(&mut self) -> Result<(Socket, SessionEvent), Ended> {
        let nonce = self.client.nonce().await.map_err(|error| Ended::new(chain(&error)))?;
        let base = self.client.base();
        let host = base.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = base.port_or_known_default().unwrap_or(80);
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await;
        let stream = stream.map_err(Ended::new)?.map_err(Ended::new)?;
        stream.set_nodelay(true).map_err(Ended::new)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_SESSION_FRAME_BYTES))
            .max_frame_size(Some(MAX_SESSION_FRAME_BYTES));
        let mut url = base.clone();
        url.set_path("/v1/session");
        let url = url.as_str().replacen("http", "ws", 1);
        let upgrade = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
        let (mut socket, _) = timeout(READY_TIMEOUT, upgrade).await.map_err(Ended::new)?.map_err(Ended::new)?;
        let hello = SessionHello {
            account: self.account,
            device: self.device,
            signature: Base64((self.sign)(&session_message(&nonce.origin, &nonce.nonce)).to_vec()),
            nonce: nonce.nonce,
            previous: self.previous.clone(),
        };
        send(&mut socket, serde_json::to_string(&hello).map_err(Ended::new)?).await?;
        let ready = timeout(READY_TIMEOUT, next_frame(&mut socket)).await.map_err(Ended::new)?;
        match ready? {
            ServerFrame::Ready { token, session_counter, record_seq, time } => {
                self.previous = Some(token.clone());
                Ok((socket, SessionEvent::Up { token, session_counter, record_seq, time }))
            }
            ServerFrame::Error { code, message } => Err(Ended { reason: message, code: Some(code) }),
            _ => Err(Ended::new("the directory did not say that the session is ready")),
        }
    }

    /// Serves an open session; `None` when the caller wants no more.
    async fn serve(
        &mut self,
        mut socket: Socket,
        up: SessionEvent,
        commands: &mut mpsc::Receiver<SessionCommand>,
        shutdown: &CancellationToken,
    ) -> Option<Ended> {
        self.events.send(up).await.ok()?;
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.tell(&text).await.ok()?,
                        Some(Ok(Message::Close(_))) | None => return Some(Ended::new("the directory closed the session")),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Some(Ended::new(error)),
                    }
                }
                command = commands.recv() => match command {
                    Some(command) => {
                        if let Err(ended) = pass_on(&mut socket, command).await {
                            return Some(ended);
                        }
                    }
                    None => {
                        close(&mut socket).await;
                        return None;
                    }
                },
                () = sleep_until(heard + SILENCE) => return Some(Ended::new("the directory is silent")),
                () = shutdown.cancelled() => {
                    close(&mut socket).await;
                    return None;
                }
            }
        }
    }

    async fn tell(&mut self, text: &str) -> Result<(), mpsc::error::SendError<SessionEvent>> {
        let event = match serde_json::from_str(text) {
            Ok(ServerFrame::Presence { account, online, since }) => SessionEvent::Presence { account, online, since },
            Ok(ServerFrame::TokensStored { count }) => SessionEvent::TokensStored { count },
            Ok(ServerFrame::Cloned) => {
                self.cloned = true;
                SessionEvent::Cloned
            }
            Ok(ServerFrame::Error { code, message }) => SessionEvent::Refused { code, message },
            // Newer than this program, or out of place: nothing depends on it.
            Ok(
                ServerFrame::Ready { .. }
                | ServerFrame::Drained { .. }
                | ServerFrame::Deleted { .. }
                | ServerFrame::Unknown,
            )
            | Err(_) => return Ok(()),
        };
        self.events.send(event).await
    }
}

/// Sends a command in as many frames as it takes.
async fn pass_on(socket: &mut Socket, command: SessionCommand) -> Result<(), Ended> {
    let mut frames = Vec::new();
    match command {
        SessionCommand::Tokens { add, remove } => {
            let hexes = |hashes: &[[u8; 32]]| hashes.iter().map(|hash| hex(hash)).collect::<Vec<_>>();
            // Removals first: they make room, and a revocation must not wait for anything.
            frames.extend(
                remove.chunks(MAX_FRAME_ENTRIES).map(|some| ClientFrame::Tokens { add: vec![], remove: hexes(some) }),
            );
            frames.extend(
                add.chunks(MAX_FRAME_ENTRIES).map(|some| ClientFrame::Tokens { add: hexes(some), remove: vec![] }),
            );
        }
        SessionCommand::Watch(accounts) => frames.extend(accounts.chunks(MAX_FRAME_ENTRIES).map(|some| {
            let watch =
                |(account, token): &(AccountId, [u8; 32])| Watch { account: *account, token: Base64(token.to_vec()) };
            ClientFrame::Watch { accounts: some.iter().map(watch).collect() }
        })),
        SessionCommand::Unwatch(accounts) => frames
            .extend(accounts.chunks(MAX_FRAME_ENTRIES).map(|some| ClientFrame::Unwatch { accounts: some.to_vec() })),
        SessionCommand::Retry => {}
    }
    for frame in &frames {
        send(socket, serde_json::to_string(frame).map_err(Ended::new)?).await?;
    }
    Ok(())
}

async fn next_frame(socket: &mut Socket) -> Result<ServerFrame, Ended> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(Ended::new),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) | None => return Err(Ended::new("the directory closed the session")),
            Some(Err(error)) => return Err(Ended::new(error)),
        }
    }
}

async fn send(socket: &mut Socket, text: String) -> Result<(), Ended> {
    let sent = timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into()))).await;
    sent.map_err(Ended::new)?.map_err(Ended::new)
}

/// Says goodbye, and waits a little for the answer: then the directory has shown us as offline.
async fn close(socket: &mut Socket) {
    let farewell = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        for failures in 0..100 {
            let pause = backoff(failures);
            assert!(pause >= BACKOFF_FIRST / 2 && pause <= BACKOFF_MOST, "{failures}: {pause:?}");
        }
        assert!(backoff(0) <= BACKOFF_FIRST && backoff(50) >= BACKOFF_MOST / 2);
        assert!((0..20).any(|_| backoff(9) != backoff(9)));
    }
}
