//! `GET /relay`: the WebSocket of the relay. `GET /ping`: how nodes measure the way to it.

use axum::RequestPartsExt;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use iroh_relay::http::ProtocolVersion;
use proto::directory::api::ErrorCode;

use crate::http::answer::{Operation, Refusal};
use crate::http::connection::Connection;
use crate::http::limits::{Class, Peer, Source};
use crate::metrics::Op;
use crate::relay::MAX_MESSAGE_BYTES;
use crate::state::App;

/// Read ahead of a node. The library's 128 KiB would be there for each connection before it has proved a key.
const READ_BUFFER_BYTES: usize = 4_096;
/// Of frames that a node does not take, in bytes: it is given up soon.
const MAX_WRITE_BUFFER_BYTES: usize = 4 * MAX_MESSAGE_BYTES;

/// Begins a node's connection.
pub async fn upgrade(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Response {
    let operation = Operation::new(Op::Relay, peer.address, "", &directory.front.metrics);
    let allowed = directory.front.limiter.get().check(Source::Address(peer.address), peer, Class::Lookup);
    let (mut parts, _) = request.into_parts();
    let socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection> = parts.extract().await;
    let (socket, relay) = match (allowed, socket, directory.relay.clone()) {
        (Err(wait), _, _) => return operation.end(Err(Refusal::rate_limited(wait))),
        (_, _, None) => return operation.end(Err(Refusal::new(ErrorCode::NotFound, "this directory has no relay"))),
        (_, Err(_), _) => return operation.end(Err(Refusal::new(ErrorCode::Malformed, "this path is a WebSocket"))),
        (Ok(()), Ok(socket), Some(relay)) => (socket, relay),
    };
    let socket = socket
        .protocols(ProtocolVersion::all())
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        // Packets are written as they come: nothing would be gained by collecting them.
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES);
    let chosen = socket.selected_protocol().and_then(|chosen| chosen.to_str().ok());
    let Some(version) = chosen.and_then(ProtocolVersion::match_from_str) else {
        let text = format!("the relay speaks {}", ProtocolVersion::all_joined());
        return operation.end(Err(Refusal::new(ErrorCode::Malformed, text)));
    };
    let tasks = directory.front.tasks.clone();
    let upgraded = socket.on_upgrade(move |socket| async move {
        tasks.track_future(relay.serve(socket, parts, version, connection)).await;
    });
    operation.end(Ok(upgraded))
}

/// Something to measure by.
pub async fn probe() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "").into_response()
}
