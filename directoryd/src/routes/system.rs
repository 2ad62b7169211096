//! What is about the directory itself: challenges, health, metrics, the description of the API, and paths there are not.

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::directory::api::{Base64, ErrorCode, HealthAnswer, NonceAnswer};

use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::limits::Peer;
use crate::metrics::Op;
use crate::state::App;
use crate::store::Checked;

const OPENAPI: &str = include_str!("openapi.json");

pub async fn nonce(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Nonce, peer.address, "", &directory.front.metrics);
    let time = unix_now();
    let nonce = Base64(directory.cluster.nonce(peer.address, time).to_vec());
    operation.finish(Ok((StatusCode::OK, NonceAnswer { nonce, origin: directory.config.origin.clone(), time })))
}

pub async fn healthz(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "healthz", &directory.front.metrics);
    let alive = directory.store.readers().alive().await.map_err(Refusal::from);
    let checked = directory.store.checked();
    let whole = alive.and_then(|()| match &checked {
        Checked::Damaged(what) => {
            let message = format!("the database is damaged and only read: {what}; put a backup in its place");
            Err(Refusal::new(ErrorCode::Unavailable, message))
        }
        _ => Ok(()),
    });
    operation.finish(whole.map(|()| {
        let (origin, version) = (directory.config.origin.clone(), env!("CARGO_PKG_VERSION").into());
        let database = checked.word().into();
        (StatusCode::OK, HealthAnswer { status: "ok".into(), database, origin, version, time: unix_now() })
    }))
}

pub async fn metrics(State(directory): App) -> Response {
    if let Some(relay) = &directory.relay {
        relay.count();
    }
    let text = {
        let ends = directory.tls.as_ref().and_then(|tls| tls.ends());
        directory.front.metrics.render(directory.cluster.accounts(), directory.cluster.sessions(), ends)
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub async fn no_route(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "", &directory.front.metrics);
    let refusal = Refusal::new(ErrorCode::NotFound, "there is no such path; /openapi.json lists those there are");
    operation.finish::<()>(Err(refusal))
}

pub async fn no_method(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "", &directory.front.metrics);
    let refusal = Refusal::new(ErrorCode::Malformed, "this path does not take that method; see /openapi.json");
    let mut response = operation.finish::<()>(Err(refusal));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}
