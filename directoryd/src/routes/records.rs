//! `GET /v1/records/{name}` and `GET /v1/accounts/{account}`: the record behind an exact name or id.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{Base64, RecordAnswer};

use crate::cluster::Entry;
use crate::config::ListPolicy;
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{PathText, path_account, path_name, path_text};
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};

pub(super) async fn by_name(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Lookup, peer.address, shown, &directory.front.metrics);
    let result = match (directory.lookup_allowed(peer, &headers), path) {
        (Ok(source), Ok(text)) => match path_name(&text) {
            Ok(name) => found(&directory, source, directory.cluster.by_name(&name).as_deref()).await,
            Err(refusal) => Err(refusal),
        },
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    };
    operation.finish(result)
}

pub(super) async fn by_account(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Lookup, peer.address, shown, &directory.front.metrics);
    let result = match (directory.lookup_allowed(peer, &headers), path) {
        (Ok(source), Ok(text)) => match path_account(&text) {
            Ok(account) => found(&directory, source, directory.cluster.by_account(account).as_deref()).await,
            Err(refusal) => Err(refusal),
        },
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    };
    operation.finish(result)
}

async fn found(
    directory: &Directory,
    source: Source,
    entry: Option<&Entry>,
) -> Result<(StatusCode, RecordAnswer), Refusal> {
    let entry = entry.ok_or_else(Refusal::not_found)?;
    let record = match &entry.record {
        Some(bytes) => bytes.to_vec(),
        // Beyond the index's budget, or given up since.
        None => directory.store.readers().record(entry.account).await?.ok_or_else(Refusal::not_found)?,
    };
    let status = shown(directory, source, entry).then(|| directory.cluster.status(entry.account));
    let answer = RecordAnswer {
        account: entry.account,
        name: entry.name.clone(),
        record: Base64(record),
        online: status.map(|status| status.online),
        since: status.and_then(|status| status.since),
        time: unix_now(),
    };
    Ok((StatusCode::OK, answer))
}

/// Whether the one who asks may see the account's presence without a contact's token: what lists would show them.
pub(super) fn shown(directory: &Directory, source: Source, entry: &Entry) -> bool {
    match source {
        Source::Member(account) => entry.show_online || account == entry.account,
        Source::Address(_) => entry.show_online && directory.front.live.get().list == ListPolicy::Public,
    }
}
