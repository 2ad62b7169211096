//! `GET /v1/directory`: who this directory is, with proof. `GET /v1/membership`: its word that a member is one.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use ed25519_dalek::Signer;
use proto::directory::SignedMembership;
use proto::directory::api::{Base64, DirectoryAnswer, ErrorCode, MembershipAnswer};
use proto::directory::membership::{CHALLENGE_BYTES, identity_message};
use serde::Deserialize;

use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::query_refused;
use crate::http::limits::{Peer, Source};
use crate::metrics::Op;
use crate::state::App;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityQuery {
    challenge: Option<Base64>,
}

pub(super) async fn directory(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Result<Query<IdentityQuery>, QueryRejection>,
) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "directory", &directory.front.metrics);
    let result = directory.lookup_allowed(peer, &headers).and_then(|_| {
        let Query(query) = query.map_err(|rejection| query_refused(&rejection))?;
        let (origin, identity) = (directory.config.origin.clone(), directory.store.identity());
        let signature = match query.challenge {
            Some(challenge) => {
                let challenge: [u8; CHALLENGE_BYTES] = challenge.0.try_into().map_err(|_| {
                    Refusal::new(ErrorCode::Malformed, format!("a challenge has {CHALLENGE_BYTES} bytes, in base64url"))
                })?;
                let signature = identity.key().sign(&identity_message(&origin, &challenge));
                Some(Base64(signature.to_bytes().to_vec()))
            }
            None => None,
        };
        Ok((StatusCode::OK, DirectoryAnswer { origin, key: identity.to_string(), signature, time: unix_now() }))
    });
    operation.finish(result)
}

pub(super) async fn membership(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "membership", &directory.front.metrics);
    let result = directory.lookup_allowed(peer, &headers).and_then(|source| {
        let Source::Member(account) = source else {
            let message = "only a member is told so: open a session, and show its token";
            return Err(Refusal::new(ErrorCode::NotAllowed, message));
        };
        // A session ends with its account's name; that it goes on a moment longer must not make a member.
        directory.cluster.by_account(account).ok_or_else(Refusal::not_found)?;
        let time = unix_now();
        let key = directory.store.identity().key();
        let signed = SignedMembership::issue(&directory.config.origin, account, time, key);
        Ok((StatusCode::OK, MembershipAnswer { membership: Base64(signed.encode()), time }))
    });
    operation.finish(result)
}
