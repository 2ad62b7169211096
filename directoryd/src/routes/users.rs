//! `GET /v1/users`: who is in the directory, in pages by name, under the operator's `--list` policy.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{ErrorCode, User, UsersPage, UsersQuery};
use proto::ids::AccountId;
use proto::name::{Name, fold_query};

use super::records::shown;
use crate::cluster::Entry;
use crate::cluster::Status;
use crate::config::ListPolicy;
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::query_refused;
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};

/// Users on a page, if the client does not say.
const DEFAULT_LIMIT: u32 = 100;
/// Users on a page at most: some 150 KB of JSON.
const MAX_LIMIT: u32 = 1_000;
/// Bytes of a search term at most.
const MAX_TERM_BYTES: usize = 256;

pub(super) async fn users(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Result<Query<UsersQuery>, QueryRejection>,
) -> Response {
    let shown = query.as_ref().ok().and_then(|q| q.name.clone().or_else(|| q.query.clone())).unwrap_or_default();
    let operation = Operation::new(Op::Users, peer.address, shown, &directory.front.metrics);
    let result = directory.lookup_allowed(peer, &headers).and_then(|source| {
        let Query(query) = query.map_err(|rejection| query_refused(&rejection))?;
        list(&directory, source, &query)
    });
    operation.finish(result)
}

/// An address to search for: with a port, or any.
#[derive(Clone, Copy)]
enum Wanted {
    Ip(IpAddr),
    Socket(SocketAddr),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let ip = text.parse().map(|ip: IpAddr| Self::Ip(ip.to_canonical()));
        ip.or_else(|_| text.parse().map(Self::Socket))
            .map_err(|_| Refusal::new(ErrorCode::Malformed, "address: an IP address, or one with :port"))
    }

    fn matches(self, address: &SocketAddr) -> bool {
        match self {
            Self::Ip(ip) => address.ip().to_canonical() == ip,
            Self::Socket(socket) => *address == socket,
        }
    }
}

fn list(directory: &Directory, source: Source, query: &UsersQuery) -> Result<(StatusCode, UsersPage), Refusal> {
    let exact = query.name.as_deref().map(Name::parse).transpose();
    let exact = exact.map_err(|error| Refusal::new(ErrorCode::NameNotAllowed, error.to_string()))?;
    may_list(directory, source, query)?;
    let term = query.query.as_deref().map(fold_query).unwrap_or_default();
    if term.len() > MAX_TERM_BYTES {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("a query has at most {MAX_TERM_BYTES} bytes")));
    }
    let address = query.address.as_deref().map(Wanted::parse).transpose()?;
    let after = query.after.as_deref().map(Name::parse).transpose();
    let after = after.map_err(|_| Refusal::new(ErrorCode::Malformed, "after: the `next` of the page before"))?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Refusal::new(ErrorCode::Malformed, format!("limit: 1 to {MAX_LIMIT}")));
    }
    // Taken before the index's lock, because nothing else is locked under that one.
    let live: HashSet<AccountId> = query.online.map(|_| directory.cluster.connected()).unwrap_or_default();
    let keep = |entry: &Entry| {
        entry.name.as_str().contains(&term)
            && exact.as_ref().is_none_or(|name| *name == entry.name)
            && address.is_none_or(|wanted| entry.list_address && entry.addresses.iter().any(|a| wanted.matches(a)))
            && query.online.is_none_or(|online| entry.show_online && live.contains(&entry.account) == online)
    };
    let (entries, more) = match &exact {
        // Not a walk through all names for one.
        Some(name) => (directory.cluster.by_name(name).into_iter().filter(|entry| keep(entry)).collect(), false),
        None => directory.cluster.page(after.as_ref(), limit as usize, &keep),
    };
    let next = entries.last().filter(|_| more).map(|entry| entry.name.to_string());
    let users = entries.iter().map(|entry| {
        let status = shown(directory, source, entry).then(|| directory.cluster.status(entry.account));
        user(entry, status)
    });
    let users = users.collect();
    Ok((StatusCode::OK, UsersPage { users, next, time: unix_now() }))
}

/// Under `off`, and for strangers under `members`, a directory still answers for an exact name: as a lookup does.
fn may_list(directory: &Directory, source: Source, query: &UsersQuery) -> Result<(), Refusal> {
    let exact = query.name.is_some() && query.query.is_none() && query.address.is_none() && query.online.is_none();
    match (directory.front.live.get().list, source) {
        (ListPolicy::Public, _) | (ListPolicy::Members, Source::Member(_)) => Ok(()),
        _ if exact => Ok(()),
        (ListPolicy::Members, Source::Address(_)) => {
            Err(Refusal::new(ErrorCode::NotAllowed, "only members of this directory may list and search it"))
        }
        (ListPolicy::Off, _) => {
            Err(Refusal::new(ErrorCode::NotAllowed, "this directory lists nobody; look an exact name up"))
        }
    }
}

fn user(entry: &Entry, status: Option<Status>) -> User {
    User {
        name: entry.name.clone(),
        account: entry.account,
        online: status.map(|status| status.online),
        since: status.and_then(|status| status.since),
        addresses: entry.addresses.iter().map(SocketAddr::to_string).collect(),
    }
}
