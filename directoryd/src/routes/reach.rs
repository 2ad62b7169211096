//! `PUT /v1/reach` and `GET /v1/reach/{account}`: where a device is, and who may know.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{Base64, ErrorCode, PublishReachAnswer, PublishReachRequest, ReachAnswer};
use proto::directory::{ContactPolicy, ReachError, SignedReach, SignedRecord};
use proto::ids::AccountId;

use crate::cluster::Entry;
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, json, path_account, path_text, token};
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};
use crate::store::StoreReach;

pub(super) async fn publish(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let allowed = directory.lookup_allowed(peer, &headers);
    let signed = allowed.and_then(|_| json::<PublishReachRequest>(body)).and_then(|request| {
        let signed = SignedReach::decode(&request.reach).map_err(|error| bad_reach(&error))?;
        let reach = signed.peek().map_err(|error| bad_reach(&error))?;
        Ok((request.reach.0, signed, reach.account))
    });
    let entry = signed.as_ref().ok().and_then(|(_, _, account)| directory.cluster.by_account(*account));
    let shown = entry.as_ref().map(|entry| entry.name.to_string()).unwrap_or_default();
    let operation = Operation::new(Op::PublishReach, peer.address, shown, &directory.front.metrics);
    let result = match (signed, entry) {
        (Ok((bytes, signed, _)), Some(entry)) => store_reach(&directory, &entry, bytes, &signed).await,
        (Ok(_), None) => Err(Refusal::not_found()),
        (Err(refusal), _) => Err(refusal),
    };
    operation.finish(result)
}

async fn store_reach(
    directory: &Directory,
    entry: &Entry,
    bytes: Vec<u8>,
    signed: &SignedReach,
) -> Result<(StatusCode, PublishReachAnswer), Refusal> {
    let record = match &entry.record {
        Some(record) => record.to_vec(),
        None => directory.store.readers().record(entry.account).await?.ok_or_else(Refusal::not_found)?,
    };
    let record = SignedRecord::decode(&record).and_then(|record| record.peek());
    let record = record.map_err(|error| Refusal::new(ErrorCode::Unavailable, error.to_string()))?;
    let reach = signed.verify(&record).map_err(|error| bad_reach(&error))?;
    let stored = StoreReach { account: reach.account, device: reach.device, node: reach.node, seq: reach.seq, bytes };
    let seq = directory.store.reach(stored).await?;
    Ok((StatusCode::OK, PublishReachAnswer { seq, time: unix_now() }))
}

fn bad_reach(error: &ReachError) -> Refusal {
    let code = match error {
        ReachError::Wire(_) => ErrorCode::Malformed,
        _ => ErrorCode::BadSignature,
    };
    Refusal::new(code, error.to_string())
}

pub(super) async fn reach(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Reach, peer.address, shown, &directory.front.metrics);
    let result = match (directory.lookup_allowed(peer, &headers), path) {
        (Ok(source), Ok(text)) => match path_account(&text) {
            Ok(account) => tell(&directory, source, &headers, account).await,
            Err(refusal) => Err(refusal),
        },
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    };
    operation.finish(result)
}

async fn tell(
    directory: &Directory,
    source: Source,
    headers: &HeaderMap,
    account: AccountId,
) -> Result<(StatusCode, ReachAnswer), Refusal> {
    let entry = directory.cluster.by_account(account).ok_or_else(Refusal::not_found)?;
    let by_policy = match (entry.policy, source) {
        (_, Source::Member(member)) if member == account => true,
        (ContactPolicy::Open, _) | (ContactPolicy::Members, Source::Member(_)) => true,
        _ => false,
    };
    if !by_policy && !presents_token(directory, headers, account).await? {
        return Err(Refusal::not_found());
    }
    let reach = directory.store.readers().reach(account).await?;
    Ok((StatusCode::OK, ReachAnswer { reach: reach.into_iter().map(Base64).collect(), time: unix_now() }))
}

/// Whether the request carries a deposit token that the account honours.
async fn presents_token(directory: &Directory, headers: &HeaderMap, account: AccountId) -> Result<bool, Refusal> {
    let Ok(Some(hash)) = token(headers) else { return Ok(false) };
    let honoured = directory.store.readers().honours(vec![(account, hash)]).await?;
    Ok(honoured.first() == Some(&true))
}
