//! Slots of a log.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use proto::directory::api::{Base64, ErrorCode};
use proto::directory::groups::SignedSlot;
use proto::directory::groups::api::{SlotAnswer, SlotRequest, SlotsAnswer, SlotsQuery};
use proto::ids::Hex32;

use super::{log_of, malformed, may_read, may_write, writer};
use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, group_token, json, query_refused};
use crate::http::limits::Peer;
use crate::metrics::Op;
use crate::state::App;
use crate::store::PutSlot;

/// Slots on a page at most, and their bytes.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

pub async fn put(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    body: Body,
) -> Response {
    let operation = Operation::new(Op::Slots, peer.address, "", &directory.front.metrics);
    let asked = may_write(&directory, peer, &headers).and_then(|source| {
        let log = log_of(path)?;
        let (token, request) = (group_token(&headers)?, json::<SlotRequest>(body)?);
        let slot = SignedSlot::decode(&request.slot).map_err(malformed)?;
        if slot.log != log || !slot.holds() {
            return Err(Refusal::new(
                ErrorCode::BadSignature,
                "the slot is not signed by its own key, or is of another log",
            ));
        }
        Ok(PutSlot { token, writer: writer(&directory, log, source), slot, bytes: request.slot.0 })
    });
    let result = match asked {
        Ok(new) => directory.store.put_slot(new).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    operation.finish(result.map(|counter| (StatusCode::OK, SlotAnswer { counter, time: unix_now() })))
}

pub async fn read(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    path: PathText,
    query: Result<Query<SlotsQuery>, QueryRejection>,
) -> Response {
    let operation = Operation::new(Op::Slots, peer.address, "", &directory.front.metrics);
    let asked = may_read(&directory, peer, &headers, path).and_then(|(log, token)| {
        let Query(query) = query.map_err(|rejection| query_refused(&rejection))?;
        Ok((log, token, query))
    });
    let result = match asked {
        Ok((log, token, query)) => {
            let which = (query.after.map(|key| key.0), query.key.map(|key| key.0));
            directory.store.readers().slots((log, token), which, (PAGE, PAGE_BYTES)).await.map_err(Refusal::from)
        }
        Err(refusal) => Err(refusal),
    };
    operation.finish(result.map(|found| {
        let next = found.slots.last().filter(|_| found.more).map(|(key, _)| Hex32(*key));
        let slots = found.slots.into_iter().map(|(_, slot)| Base64(slot)).collect();
        (StatusCode::OK, SlotsAnswer { slots, next, time: unix_now() })
    }))
}
