//! Entries of a log: appended, staged, read.

use std::sync::atomic::Ordering;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{Base64, EntryAnswer, ErrorCode};
use proto::directory::groups::api::{AppendAnswer, EntriesAnswer, EntriesQuery, StagedAnswer};
use proto::directory::groups::{Append, EntryKind, MAX_APPEND_BYTES};
use proto::ids::{Hex32, LogId};

use super::{log_of, malformed, may_read, may_write, stated, writer};
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, group_token, query_refused, whole};
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};
use crate::store::{EntriesFetch, Entry, GroupAppend, Statements, StoreError};

/// Entries on a page at most, and if nothing is said.
const MAX_PAGE: u32 = 1_000;
const PAGE: u32 = 100;
/// Bytes of them at most, unless it is one.
const PAGE_BYTES: usize = 1 << 20;

pub async fn append(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let operation = Operation::new(Op::Append, peer.address, "", &directory.front.metrics);
    let result = match asked(&directory, peer, &headers, path, body) {
        Ok(asked) => put(&directory, asked).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

pub async fn stage(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let operation = Operation::new(Op::Append, peer.address, "", &directory.front.metrics);
    let result = match asked(&directory, peer, &headers, path, body) {
        Ok(asked) if asked.append.kind != EntryKind::Keys || asked.append.at.is_some() => {
            Err(Refusal::new(ErrorCode::Malformed, "keys are staged, for an event that brings them; nothing else is"))
        }
        Ok(asked) => put_by(&directory, asked).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

/// A request to append or stage, as far as it can be read.
struct Asked {
    source: Source,
    exempt: bool,
    log: LogId,
    token: [u8; 32],
    append: Append,
}

fn asked(directory: &Directory, peer: Peer, headers: &HeaderMap, path: PathText, body: Body) -> Result<Asked, Refusal> {
    let source = may_write(directory, peer, headers)?;
    let log = log_of(path)?;
    let token = group_token(headers)?;
    let append = Append::decode(&whole(body, MAX_APPEND_BYTES)?).map_err(malformed)?;
    Ok(Asked { source, exempt: peer.exempt, log, token, append })
}

async fn put(directory: &Directory, asked: Asked) -> Result<(StatusCode, AppendAnswer), Refusal> {
    let log = asked.log;
    let new = verify(directory, asked).await?;
    let appended = directory.store.append(new).await.map_err(|error| counted(directory, error))?;
    if appended.created {
        directory.cluster.log_came(log);
    }
    let status = if appended.created { StatusCode::CREATED } else { StatusCode::OK };
    let (number, hash) = (appended.place.number, Hex32(appended.place.hash));
    Ok((status, AppendAnswer { number, hash, time: unix_now() }))
}

async fn put_by(directory: &Directory, asked: Asked) -> Result<(StatusCode, StagedAnswer), Refusal> {
    let new = verify(directory, asked).await?;
    let hash = Hex32(new.hash);
    let staged = directory.store.stage(new).await.map_err(|error| counted(directory, error))?;
    let status = if staged.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, StagedAnswer { hash, expires_in: staged.expires_in, time: unix_now() }))
}

/// Checks the signatures that come with it.
async fn verify(directory: &Directory, asked: Asked) -> Result<GroupAppend, Refusal> {
    let Asked { source, exempt, log, token, append } = asked;
    let signed = append.proof.is_some() || append.root.is_some() || append.header.is_some();
    let (mut statements, mut proved_by) = (Some(Statements::default()), None);
    if signed {
        let keys = directory.store.readers().group_keys(log).await?.ok_or(StoreError::NoSuchGroup)?;
        statements = match stated(append.root.as_deref(), append.header.as_deref(), Some(&keys)) {
            Ok(statements) => Some(statements),
            Err(refusal) if refusal.code == ErrorCode::BadSignature => None,
            Err(refusal) => return Err(refusal),
        };
        proved_by = Some(keys.log_key).filter(|log_key| append.is_proved_by(log, log_key));
    }
    let (writer, hash) = (writer(directory, log, source), append.hash());
    Ok(GroupAppend { log, token, writer, exempt, append, hash, proved_by, statements })
}

fn counted(directory: &Directory, error: StoreError) -> Refusal {
    let metrics = &directory.front.metrics.groups;
    match &error {
        StoreError::GroupFull(_) => drop(metrics.full.fetch_add(1, Ordering::Relaxed)),
        StoreError::TooOften(_) => drop(metrics.often.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    }
    error.into()
}

pub async fn read(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    query: Result<Query<EntriesQuery>, QueryRejection>,
) -> Response {
    let operation = Operation::new(Op::ReadGroup, peer.address, "", &directory.front.metrics);
    let asked = may_read(&directory, peer, &headers, path).and_then(|(log, token)| {
        let Query(query) = query.map_err(|rejection| query_refused(&rejection))?;
        let count = query.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&count) {
            return Err(Refusal::new(ErrorCode::Malformed, format!("limit is 1 to {MAX_PAGE}")));
        }
        let (count, bytes, after) = (count as usize, PAGE_BYTES, query.after);
        Ok((token, EntriesFetch { log, after, messages: true, keys: true, count, bytes, now: 0 }))
    });
    let result = match asked {
        Ok((token, fetch)) => directory.store.readers().entries(token, fetch).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    operation.finish(result.map(|read| {
        let head = read.current.then(|| read.group.head.into());
        let entries = read.entries.entries.into_iter().map(entry).collect();
        let (more, before, event) = (read.entries.more, read.before.map(Hex32), read.group.event);
        (StatusCode::OK, EntriesAnswer { entries, more, before, head, event, time: unix_now() })
    }))
}

fn entry(entry: Entry) -> EntryAnswer {
    let hash = entry.entry.is_none().then_some(Hex32(entry.hash));
    EntryAnswer { number: entry.number, kind: entry.kind, entry: entry.entry.map(Base64), hash }
}
