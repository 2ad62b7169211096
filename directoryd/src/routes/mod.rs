//! The REST API: one table of routes, and what all of them share.
//!
//! Invariant: every answer is JSON with `time`, except the page, the metrics, the description of the API and what nodes ask the relay; every
//! error has one shape; what is not there and what is not for the one who asks look the same.

mod groups;
mod identity;
mod mailbox;
mod page;
mod place;
mod publish;
mod reach;
mod records;
mod relay;
mod system;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post, put};
use proto::directory::api::{MAX_BODY_BYTES, MAX_DEPOSIT_BYTES};
use proto::directory::groups::MAX_APPEND_BYTES;

use crate::state::Directory;

/// A path, its methods in lower case, and what serves them.
pub type Route = (&'static str, &'static [&'static str], MethodRouter<Arc<Directory>>);

/// Every route, which the test of `/openapi.json` walks too.
pub fn table() -> Vec<Route> {
    vec![
        ("/v1/directory", &["get"], get(identity::directory)),
        ("/v1/membership", &["get"], get(identity::membership)),
        ("/v1/nonce", &["get"], get(system::nonce)),
        (
            "/v1/records/{name}",
            &["get", "put", "delete"],
            get(records::by_name).put(publish::publish).delete(publish::unregister),
        ),
        ("/v1/accounts/{account}", &["get"], get(records::by_account)),
        ("/v1/reach", &["put"], put(reach::publish)),
        ("/v1/reach/{account}", &["get"], get(reach::reach)),
        ("/v1/mailbox/{account}", &["post"], post(mailbox::deposit).layer(DefaultBodyLimit::max(MAX_DEPOSIT_BYTES))),
        (
            "/v1/groups/{log}",
            &["get", "put", "delete"],
            get(groups::log::look).put(groups::log::state).delete(groups::log::remove),
        ),
        (
            "/v1/groups/{log}/entries",
            &["get", "post"],
            get(groups::entries::read).post(groups::entries::append).layer(DefaultBodyLimit::max(MAX_APPEND_BYTES)),
        ),
        (
            "/v1/groups/{log}/staged",
            &["post"],
            post(groups::entries::stage).layer(DefaultBodyLimit::max(MAX_APPEND_BYTES)),
        ),
        ("/v1/groups/{log}/slots", &["get", "put"], get(groups::slots::read).put(groups::slots::put)),
        ("/v1/groups/{log}/keeper", &["post"], post(groups::log::keep)),
        ("/v1/users", &["get"], get(users::users)),
        ("/v1/session", &["get"], get(crate::session::upgrade)),
        ("/relay", &["get"], get(relay::upgrade)),
        ("/ping", &["get"], get(relay::probe)),
        ("/healthz", &["get"], get(system::healthz)),
        ("/metrics", &["get"], get(system::metrics)),
        ("/openapi.json", &["get"], get(system::openapi)),
        ("/", &["get"], get(page::page)),
    ]
}

/// The service, without its connections.
pub fn router(directory: Arc<Directory>) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, (path, _, methods)| router.route(path, methods))
        .fallback(system::no_route)
        .method_not_allowed_fallback(system::no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(directory)
}
