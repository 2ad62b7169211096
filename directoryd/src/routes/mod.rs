//! The REST API: one table of routes, and what all of them share.
//!
//! Invariant: every answer is JSON with `time`, except the page, the metrics and the description of the API; every
//! error has one shape; what is not there and what is not for the one who asks look the same.

mod identity;
mod mailbox;
mod page;
mod publish;
mod reach;
mod records;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use proto::directory::api::{
    Base64, DEPOSIT_TOKEN_HEADER, ErrorCode, HealthAnswer, MAX_BODY_BYTES, MAX_DEPOSIT_BYTES, NonceAnswer, token_hash,
};
use proto::ids::AccountId;
use proto::name::Name;
use serde::de::DeserializeOwned;

use crate::Directory;
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::limits::{Class, Source};
use crate::metrics::Op;
use crate::store::Checked;

pub use crate::http::limits::Peer;

type App = State<Arc<Directory>>;
type Body = Result<Bytes, BytesRejection>;
type PathText = Result<Path<String>, PathRejection>;

const OPENAPI: &str = include_str!("openapi.json");

/// A path, its methods in lower case, and what serves them.
pub type Route = (&'static str, &'static [&'static str], MethodRouter<Arc<Directory>>);

/// Every route, which the test of `/openapi.json` walks too.
pub fn table() -> Vec<Route> {
    vec![
        ("/v1/directory", &["get"], get(identity::directory)),
        ("/v1/membership", &["get"], get(identity::membership)),
        ("/v1/nonce", &["get"], get(nonce)),
        (
            "/v1/records/{name}",
            &["get", "put", "delete"],
            get(records::by_name).put(publish::publish).delete(publish::unregister),
        ),
        ("/v1/accounts/{account}", &["get"], get(records::by_account)),
        ("/v1/reach", &["put"], put(reach::publish)),
        ("/v1/reach/{account}", &["get"], get(reach::reach)),
        ("/v1/mailbox/{account}", &["post"], post(mailbox::deposit).layer(DefaultBodyLimit::max(MAX_DEPOSIT_BYTES))),
        ("/v1/users", &["get"], get(users::users)),
        ("/v1/session", &["get"], get(crate::session::upgrade)),
        ("/healthz", &["get"], get(healthz)),
        ("/metrics", &["get"], get(metrics)),
        ("/openapi.json", &["get"], get(openapi)),
        ("/", &["get"], get(page::page)),
    ]
}

/// The service, without its connections.
pub fn router(directory: Arc<Directory>) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, (path, _, methods)| router.route(path, methods))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(directory)
}

/// Who asks: a member by the token of a live session, else an address. A token that is not, or no longer, a session's
/// is refused, so that a client notices that it must reconnect.
fn source(directory: &Directory, peer: Peer, headers: &HeaderMap) -> Result<Source, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Source::Address(peer.address)) };
    let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    token
        .and_then(|token| directory.presence.member(token))
        .map(Source::Member)
        .ok_or_else(|| Refusal::new(ErrorCode::NotAllowed, "the session of this token has ended; open a new one"))
}

/// Counts a request that is no registration.
fn lookup_allowed(directory: &Directory, peer: Peer, headers: &HeaderMap) -> Result<Source, Refusal> {
    let source = source(directory, peer, headers)?;
    directory.limiter.get().check(source, peer, Class::Lookup).map_err(Refusal::rate_limited)?;
    Ok(source)
}

/// The hash of the deposit token that a request carries, if it does.
fn token(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refusal> {
    let Some(value) = headers.get(DEPOSIT_TOKEN_HEADER) else { return Ok(None) };
    let token = value.to_str().ok().and_then(Base64::parse).and_then(|token| <[u8; 32]>::try_from(token.0).ok());
    let token = token.ok_or_else(|| Refusal::new(ErrorCode::Malformed, "a deposit token is 32 bytes in base64url"))?;
    Ok(Some(token_hash(&token)))
}

fn path_text(path: PathText) -> Result<String, Refusal> {
    path.map(|Path(text)| text).map_err(|_| Refusal::new(ErrorCode::Malformed, "the path is not UTF-8"))
}

fn path_name(text: &str) -> Result<Name, Refusal> {
    Name::parse(text).map_err(|error| Refusal::new(ErrorCode::NameNotAllowed, error.to_string()))
}

fn path_account(text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|_| Refusal::new(ErrorCode::Malformed, "an account id has 32 hex digits"))
}

/// The body of a request that may have `limit` bytes.
fn whole(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Refusal::new(ErrorCode::TooLarge, format!("a request here has at most {limit} bytes"))
        } else {
            Refusal::new(ErrorCode::Malformed, "the request's body broke off")
        }
    })
}

/// The JSON of a request.
fn json<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = whole(body, MAX_BODY_BYTES)?;
    serde_json::from_slice(&body).map_err(|error| Refusal::new(ErrorCode::Malformed, error.to_string()))
}

fn signature(bytes: &Base64) -> Result<[u8; 64], Refusal> {
    <[u8; 64]>::try_from(&bytes[..]).map_err(|_| Refusal::new(ErrorCode::Malformed, "a signature has 64 bytes"))
}

fn query_refused(rejection: &QueryRejection) -> Refusal {
    Refusal::new(ErrorCode::Malformed, rejection.body_text())
}

async fn nonce(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Nonce, peer.address, "", &directory.metrics);
    let time = unix_now();
    let nonce = Base64(directory.nonces.issue(peer.address, time).to_vec());
    operation.finish(Ok((StatusCode::OK, NonceAnswer { nonce, origin: directory.config.origin.clone(), time })))
}

async fn healthz(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "healthz", &directory.metrics);
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

async fn metrics(State(directory): App) -> Response {
    let text = directory.metrics.render(directory.index.len(), directory.presence.sessions());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn no_route(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "", &directory.metrics);
    let refusal = Refusal::new(ErrorCode::NotFound, "there is no such path; /openapi.json lists those there are");
    operation.finish::<()>(Err(refusal))
}

async fn no_method(State(directory): App, Extension(peer): Extension<Peer>) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "", &directory.metrics);
    let refusal = Refusal::new(ErrorCode::Malformed, "this path does not take that method; see /openapi.json");
    let mut response = operation.finish::<()>(Err(refusal));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// A header that every answer could do without, and that costs a browser's mistakes.
const NO_SNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
