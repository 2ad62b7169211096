//! `GET /v1/session`: the WebSocket that makes a device present, tells it of its contacts, and brings its mail
//! (the `push` module) and the logs that it follows (`groups`).
//!
//! One task for each session. It proves the device's key, counts the start durably, and from then on answers frames,
//! pings every 10 s, and ends when the client has been silent for 25 s ([`crate::config::Timing`]): a killed client is
//! offline within 30 s, one whose connection closes at once.

mod groups;
mod guest;
mod live;
mod push;
mod socket;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proto::directory::api::{
    ErrorCode, GuestHello, MAX_SESSION_FRAME_BYTES, MAX_SESSION_NUMBER, ServerFrame, SessionHello, session_message,
};
use proto::directory::verified;
use proto::ids::NodeId;
use tokio::time::timeout;

use self::guest::Guest;
use self::live::Session;
use self::socket::Socket;
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::connection::Connection;
use crate::http::limits::{Class, Peer, Source};
use crate::metrics::Op;
use crate::state::Directory;
use crate::store::Counted;

/// From the upgrade to a valid hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Read ahead of a session. The library's 128 KiB would be there for each connection before it has said who it is.
const READ_BUFFER_BYTES: usize = 4_096;
/// Of frames that the client does not take, in bytes: two of the largest. More than that ends the session.
const MAX_WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// RFC 6455, section 7.4.1.
const POLICY: u16 = 1008;

/// Begins a session.
pub async fn upgrade(
    State(directory): State<Arc<Directory>>,
    Extension(peer): Extension<Peer>,
    Extension(connection): Extension<Connection>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let allowed = directory.front.limiter.get().check(Source::Address(peer.address), peer, Class::Lookup);
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
                let tasks = directory.front.tasks.clone();
                tasks.track_future(serve(directory, peer, socket)).await;
                // Counted as a connection until here.
                drop(connection);
            });
        }
        (Err(wait), _) => Refusal::rate_limited(wait),
        (_, Err(_)) => Refusal::new(ErrorCode::Malformed, "this path is a WebSocket"),
    };
    Operation::new(Op::Session, peer.address, "", &directory.front.metrics).finish::<()>(Err(refusal)).into_response()
}

async fn serve(directory: Arc<Directory>, peer: Peer, mut socket: WebSocket) {
    let begun = timeout(HELLO_TIMEOUT, begin(&directory, peer, &mut socket));
    let begun = begun.await.unwrap_or_else(|_| Err(Refusal::new(ErrorCode::Malformed, "no hello came")));
    let (hello, counter, record_seq) = match begun {
        Ok(Begun::Member(hello, counter, record_seq)) => (hello, counter, record_seq),
        Ok(Begun::Guest(node)) => return serve_guest(&directory, peer, node, socket).await,
        Err(refusal) => {
            let frame = ServerFrame::Error { code: refusal.code, message: refusal.message.clone() };
            let mut socket = Socket { socket };
            let _ = socket.send(&frame).await;
            socket.close(POLICY, "refused").await;
            Operation::new(Op::Session, peer.address, "", &directory.front.metrics).finish::<()>(Err(refusal));
            return;
        }
    };
    let name = directory.cluster.by_account(hello.account).map(|entry| entry.name.to_string()).unwrap_or_default();
    let joined = directory.cluster.join(hello.account, hello.device, hello.previous.as_deref(), unix_now());
    tracing::debug!(operation = "session", name, "who it is about");
    tracing::info!(operation = "session", name, address = %peer.address, counter = counter.number, "begun");
    let operation = Operation::new(Op::Session, peer.address, name, &directory.front.metrics);
    let id = joined.id;
    let who = (hello.account, hello.device);
    let mut session = Session::new(&directory, who, peer, joined, Socket { socket });
    let ended = session.run(counter, record_seq).await;
    directory.cluster.leave(id, unix_now());
    let reason = ended.err().unwrap_or("closed by the client");
    tracing::debug!(operation = "session", reason, "ended");
    operation.finish(Ok((StatusCode::OK, reason)));
}

async fn serve_guest(directory: &Directory, peer: Peer, node: Option<NodeId>, socket: WebSocket) {
    let operation = Operation::new(Op::Session, peer.address, "", &directory.front.metrics);
    let joined = directory.cluster.join_guest();
    let id = joined.id;
    // While it may watch somebody, its node may use the relay.
    let _pass = directory.relay.as_ref().zip(node).and_then(|(relay, node)| relay.pass(node, id));
    let ended = Guest::new(directory, peer, joined, Socket { socket }).run().await;
    directory.cluster.leave(id, unix_now());
    operation.finish(Ok((StatusCode::OK, ended.err().unwrap_or("a guest that left"))));
}

/// Who begins a session.
enum Begun {
    /// A device that has proved its key, the number of this session, and the seq of the stored record.
    Member(SessionHello, Counted, u64),
    /// Somebody of another domain, with a node that may want to use the relay.
    Guest(Option<NodeId>),
}

/// Takes the hello and checks it.
async fn begin(directory: &Directory, peer: Peer, socket: &mut WebSocket) -> Result<Begun, Refusal> {
    let malformed = |message: String| Refusal::new(ErrorCode::Malformed, message);
    let hello: SessionHello = loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                if let Ok(GuestHello { guest: true, node }) = serde_json::from_str(&text) {
                    return Ok(Begun::Guest(node));
                }
                break serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err(malformed("the first frame is the hello, as text".into())),
        }
    };
    if !directory.cluster.nonce_holds(&hello.nonce, peer.address, unix_now()) {
        return Err(Refusal::new(ErrorCode::StaleNonce, "the nonce is not from here or too old; get a new one"));
    }
    let entry = directory.cluster.by_account(hello.account).ok_or_else(Refusal::not_found)?;
    let key = entry.device_key(hello.device).ok_or_else(|| {
        Refusal::new(ErrorCode::BadSignature, "the stored record does not name this device; publish it first")
    })?;
    if hello.number.is_some_and(|number| !(1..=MAX_SESSION_NUMBER).contains(&number)) {
        return Err(malformed(format!("a session's number is 1 to {MAX_SESSION_NUMBER}")));
    }
    let message = session_message(&directory.config.origin, &hello.nonce);
    let signature =
        <[u8; 64]>::try_from(&hello.signature[..]).map_err(|_| malformed("a signature has 64 bytes".into()))?;
    if !verified(key, &message, &signature) {
        return Err(Refusal::new(ErrorCode::BadSignature, "the hello is not signed by the device's key"));
    }
    let counter = directory.store.session(hello.account, hello.device, hello.number).await?;
    Ok(Begun::Member(hello, counter, entry.seq))
}
