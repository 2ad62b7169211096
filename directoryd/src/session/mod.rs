//! `GET /v1/session`: the WebSocket that makes a device present, tells it of its contacts, and brings its mail
//! (the `push` module).
//!
//! One task for each session. It proves the device's key, counts the start durably, and from then on answers frames,
//! pings every 10 s, and ends when the client has been silent for 25 s ([`crate::config::Timing`]): a killed client is
//! offline within 30 s, one whose connection closes at once.

mod push;

pub(crate) use push::PUSHING;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proto::directory::api::{
    ClientFrame, ErrorCode, MAX_FRAME_ENTRIES, MAX_SESSION_FRAME_BYTES, ServerFrame, SessionHello, Watch,
    session_message, token_hash,
};
use proto::directory::verified;
use proto::ids::{AccountId, DeviceId, unhex};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Directory;
use crate::cluster::presence::{Joined, Status, ToSession, presence};
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::connection::Connection;
use crate::http::limits::{Class, Source};
use crate::metrics::Op;
use crate::routes::Peer;

/// From the upgrade to a valid hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// For the client to take a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Read ahead of a session. The library's 128 KiB would be there for each connection before it has said who it is.
const READ_BUFFER_BYTES: usize = 4_096;
/// Of frames that the client does not take, in bytes: two of the largest. More than that ends the session.
const MAX_WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

type Ended = Result<(), &'static str>;

/// Begins a session.
pub async fn upgrade(
    State(directory): State<Arc<Directory>>,
    Extension(peer): Extension<Peer>,
    Extension(connection): Extension<Connection>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let allowed = directory.limiter.get().check(Source::Address(peer.address), peer, Class::Lookup);
    let refusal = match (allowed, socket) {
        (Ok(()), Ok(socket)) => {
            let socket = socket
                .max_message_size(MAX_SESSION_FRAME_BYTES)
                .max_frame_size(MAX_SESSION_FRAME_BYTES)
                .read_buffer_size(READ_BUFFER_BYTES)
                // Frames are written as they come: nothing would be gained by collecting them.
                .write_buffer_size(0)
                .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES);
            return socket.on_upgrade(move |socket| async move {
                let tasks = directory.tasks.clone();
                tasks.track_future(serve(directory, peer, socket)).await;
                // Counted as a connection until here.
                drop(connection);
            });
        }
        (Err(wait), _) => Refusal::rate_limited(wait),
        (_, Err(_)) => Refusal::new(ErrorCode::Malformed, "this path is a WebSocket"),
    };
    Operation::new(Op::Session, peer.address, "", &directory.metrics).finish::<()>(Err(refusal)).into_response()
}

async fn serve(directory: Arc<Directory>, peer: Peer, mut socket: WebSocket) {
    let begun = timeout(HELLO_TIMEOUT, begin(&directory, peer, &mut socket));
    let begun = begun.await.unwrap_or_else(|_| Err(Refusal::new(ErrorCode::Malformed, "no hello came")));
    let (hello, counter, record_seq) = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            let frame = ServerFrame::Error { code: refusal.code, message: refusal.message.clone() };
            let mut socket = Socket { socket };
            let _ = socket.send(&frame).await;
            socket.close(POLICY, "refused").await;
            Operation::new(Op::Session, peer.address, "", &directory.metrics).finish::<()>(Err(refusal));
            return;
        }
    };
    let name = directory.index.by_account(hello.account).map(|entry| entry.name.to_string()).unwrap_or_default();
    let joined = directory.presence.join(hello.account, hello.device, hello.previous.as_deref(), unix_now());
    tracing::info!(operation = "session", name, address = %peer.address, counter, "begun");
    let operation = Operation::new(Op::Session, peer.address, name, &directory.metrics);
    let id = joined.id;
    let mut session = Session {
        directory: &directory,
        account: hello.account,
        device: hello.device,
        peer,
        joined,
        push: push::Push::default(),
        socket: Socket { socket },
        heard: Instant::now(),
        probe: None,
    };
    let ended = session.run(counter, record_seq).await;
    directory.presence.leave(id, unix_now());
    let reason = ended.err().unwrap_or("closed by the client");
    tracing::debug!(operation = "session", reason, "ended");
    operation.finish(Ok((StatusCode::OK, reason)));
}

/// Takes the hello and checks it.
async fn begin(directory: &Directory, peer: Peer, socket: &mut WebSocket) -> Result<(SessionHello, u64, u64), Refusal> {
    let malformed = |message: String| Refusal::new(ErrorCode::Malformed, message);
    let hello: SessionHello = loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                break serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(malformed("the first frame is the hello, as text".into())),
        }
    };
    if !directory.nonces.valid(&hello.nonce, peer.address, unix_now()) {
        return Err(Refusal::new(ErrorCode::StaleNonce, "the nonce is not from here or too old; get a new one"));
    }
    let entry = directory.index.by_account(hello.account).ok_or_else(Refusal::not_found)?;
    let key = entry.device_key(hello.device).ok_or_else(|| {
        Refusal::new(ErrorCode::BadSignature, "the stored record does not name this device; publish it first")
    })?;
    let message = session_message(&directory.config.origin, &hello.nonce);
    let signature =
        <[u8; 64]>::try_from(&hello.signature[..]).map_err(|_| malformed("a signature has 64 bytes".into()))?;
    if !verified(key, &message, &signature) {
        return Err(Refusal::new(ErrorCode::BadSignature, "the hello is not signed by the device's key"));
    }
    let counter = directory.store.session(hello.account, hello.device).await?;
    Ok((hello, counter, entry.seq))
}

struct Session<'a> {
    directory: &'a Directory,
    account: AccountId,
    device: DeviceId,
    peer: Peer,
    joined: Joined,
    push: push::Push,
    socket: Socket,
    heard: Instant,
    /// A newer session of the same device, and until when this one may show that it lives.
    probe: Option<(tokio::sync::mpsc::Sender<ToSession>, Instant)>,
}

impl Session<'_> {
    async fn run(&mut self, session_counter: u64, record_seq: u64) -> Ended {
        let timing = self.directory.config.timing;
        let token = self.joined.token.clone();
        self.socket.send(&ServerFrame::Ready { token, session_counter, record_seq, time: unix_now() }).await?;
        let mut ping = tokio::time::interval(timing.ping);
        ping.reset();
        let mail = Arc::clone(&self.joined.mail);
        loop {
            // While it is not known which of two sessions of this device lives, nothing more is pushed.
            let pushing = self.push.wants() && self.probe.is_none();
            let deadline = match &self.probe {
                Some((_, until)) => (self.heard + timing.silence).min(*until),
                None => self.heard + timing.silence,
            };
            tokio::select! {
                frame = self.socket.socket.recv() => {
                    self.heard = Instant::now();
                    if self.probe.is_some() {
                        return self.cloned().await;
                    }
                    match frame {
                        Some(Ok(Message::Text(text))) => self.frame(&text).await?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(Message::Binary(_))) => return Err("a binary frame"),
                        Some(Err(_)) => return Err("the connection broke"),
                    }
                }
                told = self.joined.queue.recv() => match told {
                    Some(told) => self.told(told).await?,
                    None => return Err("too slow to take what it was told"),
                },
                () = mail.notified() => self.push.wake(),
                // Branches that are ready take turns at random: frames are answered while there is much to push.
                () = std::future::ready(()), if pushing => self.push().await?,
                _ = ping.tick() => self.socket.ping().await?,
                () = sleep_until(deadline) => {
                    // A dead connection that a reconnect has replaced is no clone.
                    return Err(if self.probe.is_some() { "replaced by a reconnect" } else { "silent" });
                }
                () = self.directory.stop.cancelled() => {
                    self.socket.close(GOING_AWAY, "the directory stops").await;
                    return Err("the directory stops");
                }
            }
        }
    }

    async fn told(&mut self, told: ToSession) -> Ended {
        match told {
            ToSession::Frame(frame) => self.socket.send(&frame).await,
            ToSession::Superseded { same_process: true, .. } => {
                self.socket.close(POLICY, "replaced").await;
                Err("replaced by a reconnect")
            }
            ToSession::Superseded { newer, same_process: false } => {
                self.probe = Some((newer, Instant::now() + self.directory.config.timing.probe));
                self.socket.ping().await
            }
            ToSession::Unregistered => {
                self.socket.close(POLICY, "no longer registered").await;
                Err("the account or this device is no longer registered")
            }
        }
    }

    /// This session lives, and so does the newer one: two processes have one key.
    async fn cloned(&mut self) -> Ended {
        if let Some((newer, _)) = self.probe.take() {
            let _ = newer.try_send(ToSession::Frame(ServerFrame::Cloned));
        }
        self.socket.send(&ServerFrame::Cloned).await?;
        self.socket.close(POLICY, "cloned").await;
        Err("cloned")
    }

    async fn frame(&mut self, text: &str) -> Ended {
        let done = match serde_json::from_str(text) {
            // The answer to a push is not a request, and is bounded by the window.
            Ok(ClientFrame::Delete { numbers, signature }) if self.push.has_any(&numbers) => {
                self.delete(&numbers, &signature).await
            }
            Ok(ClientFrame::Release { numbers }) if self.push.has_any(&numbers) => self.release(&numbers),
            parsed => {
                match self.directory.limiter.get().check(Source::Member(self.account), self.peer, Class::Lookup) {
                    Ok(()) => self.request(parsed).await,
                    Err(wait) => Err(Refusal::rate_limited(wait)),
                }
            }
        };
        match done {
            Ok(frames) => {
                for frame in &frames {
                    self.socket.send(frame).await?;
                }
                Ok(())
            }
            // The session goes on: one frame too many is no reason to be offline.
            Err(refusal) => {
                self.socket.send(&ServerFrame::Error { code: refusal.code, message: refusal.message }).await
            }
        }
    }

    async fn request(&mut self, parsed: serde_json::Result<ClientFrame>) -> Result<Vec<ServerFrame>, Refusal> {
        match parsed.map_err(|error| Refusal::new(ErrorCode::Malformed, error.to_string()))? {
            ClientFrame::Tokens { add, remove } => self.tokens(&add, &remove).await,
            ClientFrame::Watch { accounts } => self.watch(&accounts).await,
            ClientFrame::Unwatch { accounts } => {
                self.directory.presence.unwatch(self.joined.id, &accounts);
                Ok(Vec::new())
            }
            ClientFrame::Mailbox => self.mailbox().await,
            ClientFrame::Delete { numbers, signature } => self.delete(&numbers, &signature).await,
            ClientFrame::Release { numbers } => self.release(&numbers),
        }
    }

    async fn tokens(&mut self, add: &[String], remove: &[String]) -> Result<Vec<ServerFrame>, Refusal> {
        few(add.len() + remove.len())?;
        let hashes = |texts: &[String]| -> Result<Vec<[u8; 32]>, Refusal> {
            let hash = |text: &String| {
                unhex(text).ok_or_else(|| Refusal::new(ErrorCode::Malformed, "a token hash has 64 hex digits"))
            };
            texts.iter().map(hash).collect()
        };
        let (add, remove) = (hashes(add)?, hashes(remove)?);
        let count = self.directory.store.tokens(self.account, add, remove.clone()).await?;
        self.directory.presence.revoke(self.account, &remove);
        Ok(vec![ServerFrame::TokensStored { count }])
    }

    /// Who is no account here, or does not honour the token, looks offline.
    async fn watch(&mut self, watches: &[Watch]) -> Result<Vec<ServerFrame>, Refusal> {
        few(watches.len())?;
        let pairs: Vec<(AccountId, [u8; 32])> = watches
            .iter()
            .map(|watch| {
                let token = <[u8; 32]>::try_from(&watch.token[..]);
                let token = token.map_err(|_| Refusal::new(ErrorCode::Malformed, "a token has 32 bytes"))?;
                Ok((watch.account, token_hash(&token)))
            })
            .collect::<Result<_, Refusal>>()?;
        let honoured = self.directory.store.readers().honours(pairs.clone()).await?;
        let allowed: Vec<_> = pairs.iter().zip(honoured).filter(|(_, yes)| *yes).map(|(pair, _)| *pair).collect();
        let told = self.directory.presence.watch(self.joined.id, &allowed);
        let status = |account: AccountId| told.iter().find(|(id, _)| *id == account).map(|(_, status)| *status);
        let frames = pairs.iter().map(|(account, _)| presence(*account, status(*account).unwrap_or(Status::default())));
        Ok(frames.collect())
    }
}

fn few(entries: usize) -> Result<(), Refusal> {
    if entries <= MAX_FRAME_ENTRIES {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::TooLarge, format!("a frame has at most {MAX_FRAME_ENTRIES} entries")))
}

/// Sending with a limit on how long the client may take.
struct Socket {
    socket: WebSocket,
}

impl Socket {
    async fn send(&mut self, frame: &ServerFrame) -> Ended {
        let text = serde_json::to_string(frame).map_err(|_| "a frame that has no JSON")?;
        self.message(Message::Text(text.into())).await
    }

    async fn binary(&mut self, bytes: Vec<u8>) -> Ended {
        self.message(Message::Binary(bytes.into())).await
    }

    async fn ping(&mut self) -> Ended {
        self.message(Message::Ping(axum::body::Bytes::new())).await
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.message(Message::Close(Some(frame))).await;
    }

    async fn message(&mut self, message: Message) -> Ended {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the connection broke"),
            Err(_) => Err("too slow to take a frame"),
        }
    }
}
