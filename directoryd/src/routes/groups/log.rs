//! `/v1/groups/{log}`: a log that is made, told, changed and given up; and what whoever has the log key may do (`/keeper`).

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{Base64, ErrorCode};
use proto::directory::groups::access::{MAX_KEPT, keep_message};
use proto::directory::groups::api::{
    GroupAnswer, GroupGoneAnswer, GroupRequest, KeeperAnswer, KeeperRequest, WriterAnswer,
};
use proto::directory::verified;
use proto::ids::{LogId, hex};

use super::{log_of, may_read, stated};
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, json, signature};
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};
use crate::store::{Group, Keep, NewGroup, StoreError, Writer};

pub async fn look(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
) -> Response {
    // Which log somebody reads, no line of the log tells.
    let operation = Operation::new(Op::Group, peer.address, "", &directory.front.metrics);
    let result = match may_read(&directory, peer, &headers, path) {
        Ok((log, token)) => directory.store.readers().group(log, token).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    operation.finish(result.map(|read| (StatusCode::OK, answer(&read.group, read.current))))
}

fn answer(group: &Group, current: bool) -> GroupAnswer {
    GroupAnswer {
        log: group.log,
        root: Base64(group.root.clone()),
        header: Base64(group.header.clone()),
        head: current.then(|| group.head.into()),
        event: group.event,
        time: unix_now(),
    }
}

pub async fn state(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let operation = Operation::new(Op::Group, peer.address, "", &directory.front.metrics);
    let asked = directory.lookup_allowed(peer, &headers).and_then(|source| {
        let log = log_of(path)?;
        Ok((source, log, json::<GroupRequest>(body)?))
    });
    let result = match asked {
        Ok((source, log, request)) => put(&directory, source, log, &request).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

/// Makes the log if it is not there, and else changes what holds of it.
async fn put(
    directory: &Directory,
    source: Source,
    log: LogId,
    request: &GroupRequest,
) -> Result<(StatusCode, GroupGoneAnswer), Refusal> {
    let (root, header) = (request.root.as_deref(), request.header.as_deref());
    let keys = directory.store.readers().group_keys(log).await?;
    let done = |status| Ok((status, GroupGoneAnswer { log, time: unix_now() }));
    // The first root is its own proof, whether the log is there or not: a repetition is answered as one.
    let first = stated(root, header, None).ok().and_then(|first| first.root.zip(first.header));
    let first = first.filter(|(root, header)| root.says.is_first() && root.says.log == log && header.says.log == log);
    if let (Some((root, header)), Source::Member(account)) = (first, source) {
        let made = directory.store.create_group(NewGroup { account, root, header }).await?;
        return done(if made { StatusCode::CREATED } else { StatusCode::OK });
    }
    let Some(keys) = keys else {
        // Whoever may make logs is told why it was none; others are told no more than that it is not there.
        stated(root, header, None)?;
        return Err(match source {
            Source::Member(_) => {
                Refusal::new(ErrorCode::BadSignature, "a log begins with a root that it is named by, and a header")
            }
            Source::Address(_) => StoreError::NoSuchGroup.into(),
        });
    };
    directory.store.state_group(log, stated(root, header, Some(&keys))?).await?;
    directory.cluster.log_came(log);
    done(StatusCode::OK)
}

pub async fn remove(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
) -> Response {
    let operation = Operation::new(Op::Group, peer.address, "", &directory.front.metrics);
    let asked = directory.lookup_allowed(peer, &headers).and_then(|source| {
        let log = log_of(path)?;
        match source {
            Source::Member(account) => Ok((account, log)),
            Source::Address(_) => Err(StoreError::NoSuchGroup.into()),
        }
    });
    let result = match asked {
        Ok((account, log)) => directory.store.remove_group(account, log).await.map(|()| log).map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    if let Ok(log) = &result {
        directory.cluster.log_came(*log);
    }
    operation.finish(result.map(|log| (StatusCode::OK, GroupGoneAnswer { log, time: unix_now() })))
}

pub async fn keep(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let operation = Operation::new(Op::Group, peer.address, "", &directory.front.metrics);
    let asked = directory.lookup_allowed(peer, &headers).and_then(|_| {
        let log = log_of(path)?;
        Ok((log, json::<KeeperRequest>(body)?))
    });
    let result = match asked {
        Ok((log, request)) => kept(&directory, peer, log, request).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

async fn kept(
    directory: &Directory,
    peer: Peer,
    log: LogId,
    request: KeeperRequest,
) -> Result<(StatusCode, KeeperAnswer), Refusal> {
    if request.numbers.len() > MAX_KEPT || request.slots.len() > MAX_KEPT {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("a request names at most {MAX_KEPT} entries, and as many slots"),
        ));
    }
    let signature = signature(&request.signature)?;
    if !directory.cluster.nonce_holds(&request.nonce, peer.address, unix_now()) {
        return Err(Refusal::new(ErrorCode::StaleNonce, "the nonce is not from here or too old; get a new one"));
    }
    let slots: Vec<[u8; 32]> = request.slots.iter().map(|key| key.0).collect();
    let origin = &directory.config.origin;
    let message = keep_message(origin, &request.nonce, log, request.drop, &request.numbers, &slots);
    // One answer, whether there is no such log or the key is not its.
    let refused = || Refusal::new(ErrorCode::BadSignature, "not signed by the key of such a log here");
    let by = directory.store.readers().group_keys(log).await?.ok_or_else(refused)?.log_key;
    if !verified(&by, &message, &signature) {
        return Err(refused());
    }
    let KeeperRequest { drop, numbers, .. } = request;
    let kept = directory.store.keep(Keep { log, by, drop, numbers, slots }).await?;
    let writers = kept.writers.into_iter().map(|(number, writer)| match writer {
        Writer::Account(account) => WriterAnswer { number, account: Some(account), place: None },
        Writer::Place(place) => WriterAnswer { number, account: None, place: Some(hex(&place)) },
    });
    Ok((StatusCode::OK, KeeperAnswer { writers: writers.collect(), dropped: kept.dropped, time: unix_now() }))
}
