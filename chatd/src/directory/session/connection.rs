//! One session at a time: opening it, and carrying frames both ways.

use std::time::Duration;

use daemonkit::chain::chain;
use futures_util::{SinkExt, StreamExt};
use proto::advice::Advice;
use proto::directory::api::{
    Base64, ClientFrame, ErrorCode, MAX_DELETE_NUMBERS, MAX_FRAME_ENTRIES, MAX_SESSION_FRAME_BYTES, MAX_SESSION_NUMBER,
    ServerFrame, SessionHello, Watch, decode_push, delete_message, session_message,
};
use proto::ids::{AccountId, hex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use super::again::Failure;
use super::talk::{Counted, Mail, Member, SessionCommand, SessionEvent, SessionNumber, SessionSign};
use crate::directory::client::DirectoryClient;
use crate::directory::error::{DirectoryError, told};
use crate::directory::net::connect::ConnectError;
use crate::directory::net::stream::Stream;

/// From the upgrade to the directory's `ready`.
pub(super) const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// The directory pings every 10 s; one that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(25);
/// For the directory to take a frame, and to answer a close.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// For an answer that was awaited when this machine's network became another one: a round trip, and what TCP waits before it says
/// something again.
pub(super) const AFTER_MOVE: Duration = Duration::from_millis(1_500);
/// What is said of a session that ended for it.
pub(super) const MOVED: &str = "the network changed, and the directory does not answer as before";

/// The reason of a close, for the older of two sessions that live with one key.
const CLONED: &str = "cloned";

pub(super) type Socket = WebSocketStream<Stream>;

/// For how long a directory may say nothing.
pub(super) struct Silence {
    pub until: Instant,
    pub why: &'static str,
}

impl Silence {
    /// It just said something.
    pub fn new() -> Self {
        Self { until: Instant::now() + SILENCE, why: "the directory is silent" }
    }

    /// The connection may lead nowhere any more: the directory is asked to say something.
    pub async fn ask(&mut self, socket: &mut Socket) -> Result<(), Ended> {
        let asked = timeout(AFTER_MOVE, socket.send(Message::Ping(Default::default()))).await;
        asked.map_err(|_| Ended::new(MOVED))?.map_err(Ended::new)?;
        *self = Self { until: self.until.min(Instant::now() + AFTER_MOVE), why: MOVED };
        Ok(())
    }
}

/// Why a session ended.
pub(super) struct Ended {
    pub reason: String,
    /// What can be done about it.
    pub advice: Option<Advice>,
    pub code: Option<ErrorCode>,
    /// The directory asked to wait so long.
    pub wait: Option<Duration>,
    /// Whether anybody answered.
    pub failure: Failure,
    /// Another process with this device's key has taken its place.
    pub replaced: bool,
}

impl Ended {
    /// It could not even be asked for.
    pub fn of(error: &DirectoryError) -> Self {
        let below = match error {
            DirectoryError::Unreachable { source, .. } => source.downcast_ref::<ConnectError>(),
            _ => None,
        };
        let is_silence = below.is_some_and(ConnectError::is_silence);
        let failure = if is_silence { Failure::Silent } else { Failure::Failed };
        Self { failure, ..Self::new(chain(error)) }
    }

    pub fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            advice: None,
            code: None,
            wait: None,
            failure: Failure::Failed,
            replaced: false,
        }
    }
}

pub(super) struct Connection {
    pub client: DirectoryClient,
    pub member: Member,
    pub sign: SessionSign,
    pub number: SessionNumber,
    pub events: mpsc::Sender<SessionEvent>,
    pub mail: mpsc::Sender<Mail>,
    /// The last session's token: tells the directory that this is a reconnect, and no clone.
    pub previous: Option<String>,
    pub cloned: bool,
    /// Counts sessions of this process.
    pub session: u64,
}

impl Connection {
    /// Connects, proves the device's key, and waits for `ready`.
    pub async fn open(&mut self) -> Result<(Socket, SessionEvent), Ended> {
        // A session lives for days: whom it is with is asked anew.
        self.client.pin().doubt();
        let nonce = self.client.nonce().await.map_err(|error| {
            let wait = if let DirectoryError::RateLimited { retry_after } = &error { Some(*retry_after) } else { None };
            Ended { wait, advice: error.advice(), ..Ended::of(&error) }
        })?;
        if nonce.origin != self.member.origin {
            return Err(Ended::new(format!(
                "the directory at {} serves {} now, and this account is of {}",
                self.client.url(),
                nonce.origin,
                self.member.origin
            )));
        }
        let mut socket = upgrade(&self.client).await?;
        // Only now: attempts that come to nothing need none.
        let number = (self.number)().await;
        let hello = SessionHello {
            account: self.member.account,
            device: self.member.device,
            signature: Base64((self.sign)(&session_message(&nonce.origin, &nonce.nonce)).to_vec()),
            nonce: nonce.nonce,
            previous: self.previous.clone(),
            number,
        };
        send(&mut socket, serde_json::to_string(&hello).map_err(Ended::new)?).await?;
        let ready = timeout(READY_TIMEOUT, next_frame(&mut socket)).await.map_err(Ended::new)?;
        match ready? {
            ServerFrame::Ready { session_counter, .. } if session_counter > MAX_SESSION_NUMBER => {
                Err(Ended::new("the directory says that this session has a number that there is not"))
            }
            ServerFrame::Ready { token, session_counter, counted, record_seq, relay, time } => {
                self.client.offered(socket.get_ref(), relay);
                self.previous = Some(token.clone());
                self.session += 1;
                let counted = Counted { said: number, number: session_counter, before: counted };
                Ok((socket, SessionEvent::Up { token, counted, record_seq, time }))
            }
            ServerFrame::Error { code, message } => Err(Ended { code: Some(code), ..Ended::new(told(&message)) }),
            _ => Err(Ended::new("the directory did not say that the session is ready")),
        }
    }

    /// Serves an open session; `None` when the caller wants no more.
    pub async fn serve(
        &mut self,
        mut socket: Socket,
        up: SessionEvent,
        commands: &mut mpsc::Receiver<SessionCommand>,
        shutdown: &CancellationToken,
    ) -> Option<Ended> {
        self.events.send(up).await.ok()?;
        let (mut silent, mut moves) = (Silence::new(), self.client.moves());
        loop {
            let events = self.events.clone();
            tokio::select! {
                // Nothing is read for which there is no room; commands are taken meanwhile, for who takes the events may be
                // waiting to give one.
                read = async {
                    let room = events.reserve().await.ok()?;
                    Some((room, socket.next().await))
                } => {
                    silent = Silence::new();
                    let (room, message) = read?;
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            if let Some(event) = self.understand(&text) {
                                room.send(event);
                            }
                        }
                        Some(Ok(Message::Binary(bytes))) => {
                            if let Err(ended) = self.mail(&bytes) {
                                return Some(ended);
                            }
                        }
                        Some(Ok(Message::Close(said))) => {
                            let replaced = said.is_some_and(|said| said.reason.as_str() == CLONED);
                            return Some(Ended { replaced, ..Ended::new("the directory closed the session") });
                        }
                        None => return Some(Ended::new("the directory closed the session")),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Some(Ended::new(error)),
                    }
                }
                command = commands.recv() => match command {
                    Some(command) => {
                        if let Err(ended) = self.pass_on(&mut socket, command).await {
                            return Some(ended);
                        }
                    }
                    None => {
                        close(&mut socket).await;
                        return None;
                    }
                },
                () = moves.next() => {
                    if let Err(ended) = silent.ask(&mut socket).await {
                        return Some(ended);
                    }
                }
                () = sleep_until(silent.until) => return Some(Ended::new(silent.why)),
                () = shutdown.cancelled() => {
                    // What was said before the goodbye is still passed on.
                    while let Ok(command) = commands.try_recv() {
                        if let Err(ended) = self.pass_on(&mut socket, command).await {
                            return Some(ended);
                        }
                    }
                    close(&mut socket).await;
                    return None;
                }
            }
        }
    }

    /// What a frame of the directory says that the caller should know.
    fn understand(&mut self, text: &str) -> Option<SessionEvent> {
        match serde_json::from_str(text) {
            Ok(ServerFrame::Presence { account, online, since }) => {
                Some(SessionEvent::Presence { account, online, since })
            }
            Ok(ServerFrame::TokensStored { count }) => Some(SessionEvent::TokensStored { count }),
            Ok(ServerFrame::Cloned) => {
                self.cloned = true;
                Some(SessionEvent::Cloned)
            }
            Ok(ServerFrame::Error { code, message }) => Some(SessionEvent::Refused { code, message: told(&message) }),
            Ok(ServerFrame::Drained { .. }) => {
                // It is only a hint for upkeep: without room for it, the next one does.
                let _ = self.mail.try_send(Mail::Drained);
                None
            }
            // Newer than this program, or out of place: nothing depends on it.
            Ok(
                ServerFrame::Ready { .. }
                | ServerFrame::Welcome { .. }
                | ServerFrame::Deleted { .. }
                // No log is followed yet.
                | ServerFrame::Head { .. }
                | ServerFrame::Gone { .. }
                | ServerFrame::Unknown,
            )
            | Err(_) => None,
        }
    }

    /// Hands on a pushed envelope. Never waits: a directory keeps to its window.
    fn mail(&self, bytes: &[u8]) -> Result<(), Ended> {
        let Some((number, outer)) = decode_push(bytes) else {
            return Err(Ended::new("the directory pushed something that is no envelope"));
        };
        let mail = Mail::Envelope { session: self.session, number, outer: outer.to_vec() };
        self.mail.try_send(mail).map_err(|_| Ended::new("the directory pushes more than its window"))
    }

    /// Sends a command in as many frames as it takes.
    async fn pass_on(&self, socket: &mut Socket, command: SessionCommand) -> Result<(), Ended> {
        let frames = match command {
            SessionCommand::Mailbox => vec![ClientFrame::Mailbox],
            // Of a session before: there, the numbers may have meant something else.
            SessionCommand::Delete(session, _) | SessionCommand::Release(session, _) if session != self.session => {
                vec![]
            }
            SessionCommand::Delete(_, numbers) => {
                let frame = |some: &[u64]| ClientFrame::Delete {
                    numbers: some.to_vec(),
                    signature: Base64((self.sign)(&delete_message(&self.member.origin, some)).to_vec()),
                };
                numbers.chunks(MAX_DELETE_NUMBERS).map(frame).collect()
            }
            SessionCommand::Release(_, numbers) => {
                numbers.chunks(MAX_DELETE_NUMBERS).map(|some| ClientFrame::Release { numbers: some.to_vec() }).collect()
            }
            other => frames(other),
        };
        for frame in &frames {
            send(socket, serde_json::to_string(frame).map_err(Ended::new)?).await?;
        }
        Ok(())
    }
}

/// A command that needs no signature, in as many frames as it takes.
pub(super) fn frames(command: SessionCommand) -> Vec<ClientFrame> {
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
        SessionCommand::Retry | SessionCommand::Mailbox | SessionCommand::Delete(..) | SessionCommand::Release(..) => {}
    }
    frames
}

/// A WebSocket for a session, on which nothing was said yet.
pub(super) async fn upgrade(client: &DirectoryClient) -> Result<Socket, Ended> {
    let stream = client.connect().await.map_err(|error| Ended::of(&error))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_SESSION_FRAME_BYTES))
        .max_frame_size(Some(MAX_SESSION_FRAME_BYTES));
    let mut url = client.base().clone();
    url.set_path("/v1/session");
    let url = url.as_str().replacen("http", "ws", 1);
    let upgrade = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
    let (socket, _) = timeout(READY_TIMEOUT, upgrade).await.map_err(Ended::new)?.map_err(Ended::new)?;
    Ok(socket)
}

pub(super) async fn next_frame(socket: &mut Socket) -> Result<ServerFrame, Ended> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(Ended::new),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) | None => return Err(Ended::new("the directory closed the session")),
            Some(Err(error)) => return Err(Ended::new(error)),
        }
    }
}

pub(super) async fn send(socket: &mut Socket, text: String) -> Result<(), Ended> {
    let sent = timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into()))).await;
    sent.map_err(Ended::new)?.map_err(Ended::new)
}

/// Says goodbye, and waits a little for the answer: then the directory has shown us as offline.
pub(super) async fn close(socket: &mut Socket) {
    let farewell = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, farewell).await;
}
