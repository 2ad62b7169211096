//! `PUT` and `DELETE /v1/records/{name}`: claiming a name, publishing a newer record, giving a name up.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use proto::directory::api::{
    ErrorCode, PublishAnswer, PublishRequest, RecoveryProof, UnregisterAnswer, UnregisterRequest, publish_message,
    reclaim_message, unregister_message,
};
use proto::directory::record::MAX_RECORD_BYTES;
use proto::directory::{Record, RecordError, SignedRecord, recovery_hash, verified};
use proto::name::Name;

use crate::http::answer::{Operation, Refusal, unix_now};
use crate::http::extract::{Body, PathText, json, path_name, path_text, signature};
use crate::http::limits::{Class, Peer, Source};
use crate::metrics::Op;
use crate::state::{App, Directory};
use crate::store::{Publish, RESERVED_SECONDS};

/// How far a client's clock may run ahead of the directory's when it issues a record.
const MAX_CLOCK_AHEAD_SECONDS: i64 = 300;

pub(super) async fn publish(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    path: PathText,
    body: Body,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Publish, peer.address, shown, &directory.front.metrics);
    let result = match path {
        Ok(text) => store_record(&directory, peer, &text, body).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

async fn store_record(
    directory: &Directory,
    peer: Peer,
    path: &str,
    body: Body,
) -> Result<(StatusCode, PublishAnswer), Refusal> {
    let name = path_name(path)?;
    let request: PublishRequest = json(body)?;
    if request.record.len() > MAX_RECORD_BYTES {
        let message = format!("a record has at most {MAX_RECORD_BYTES} bytes, this one has {}", request.record.len());
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let now = unix_now();
    // The cheap checks first: a flood of bad requests must not buy signature checks.
    if !directory.cluster.nonce_holds(&request.nonce, peer.address, now) {
        return Err(stale_nonce());
    }
    let signed = SignedRecord::decode(&request.record).map_err(|error| bad_record(&error))?;
    let claimed = signed.peek().map_err(|error| bad_record(&error))?;
    allowed_here(directory, peer, &name, &claimed, now)?;
    let record = signed.verify().map_err(|error| bad_record(&error))?;
    let message = publish_message(&directory.config.origin, &request.nonce, &request.record);
    if !verified(&record.identity_key, &message, &signature(&request.signature)?) {
        return Err(Refusal::new(ErrorCode::BadSignature, "the request is not signed by the record's identity key"));
    }
    let recovery = match &request.recovery {
        Some(proof) => Some(recovery_shown(directory, &request, proof)?),
        None => None,
    };
    let account = record.account();
    let devices: Vec<_> = record.devices.iter().map(|device| device.id).collect();
    let before = directory.cluster.by_account(account);
    let publish = Publish { bytes: request.record.0, signed, record, recovery, now };
    let published = directory.store.publish(publish).await?;
    if before.is_some_and(|old| old.devices.iter().any(|device| !devices.contains(&device.id))) {
        directory.cluster.keep_devices(account, &devices);
    }
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, PublishAnswer { account, name, seq: published.seq, time: now }))
}

/// The hash of the recovery key that signed the request.
fn recovery_shown(directory: &Directory, request: &PublishRequest, proof: &RecoveryProof) -> Result<[u8; 32], Refusal> {
    let key: [u8; 32] = proof.key.0.as_slice().try_into().map_err(|_| {
        Refusal::new(ErrorCode::Malformed, format!("a recovery key has 32 bytes, this one has {}", proof.key.0.len()))
    })?;
    let message = reclaim_message(&directory.config.origin, &request.nonce, &request.record);
    if !verified(&key, &message, &signature(&proof.signature)?) {
        return Err(Refusal::new(ErrorCode::BadSignature, "the recovery key has not signed this request"));
    }
    Ok(recovery_hash(&key))
}

/// What can be judged before any signature is.
fn allowed_here(directory: &Directory, peer: Peer, name: &Name, record: &Record, now: i64) -> Result<(), Refusal> {
    let malformed = |message: String| Err(Refusal::new(ErrorCode::Malformed, message));
    if record.name != *name {
        return malformed(format!("the record is of {}, not of {name}", record.name));
    }
    if record.origin != directory.config.origin {
        return malformed(format!("the record's origin is {:?}, this is {}", record.origin, directory.config.origin));
    }
    if record.expires <= now {
        return Err(Refusal::new(ErrorCode::Expired, "the record has expired; is the clock right?"));
    }
    if record.issued > now + MAX_CLOCK_AHEAD_SECONDS {
        return malformed("the record is issued in the future; is the clock right?".into());
    }
    let account = record.account();
    let class = if directory.cluster.by_account(account).is_some() { Class::Lookup } else { Class::Register };
    directory.front.limiter.get().check(Source::Address(peer.address), peer, class).map_err(Refusal::rate_limited)?;
    // The store decides again inside its transaction; this only spares the work.
    match directory.cluster.by_name(name) {
        Some(held) if held.account != account => {
            Err(Refusal::new(ErrorCode::NameTaken, "the name is taken; choose another one"))
        }
        _ => Ok(()),
    }
}

fn bad_record(error: &RecordError) -> Refusal {
    let code = match error {
        RecordError::Signature | RecordError::Rotation(_) => ErrorCode::BadSignature,
        RecordError::Field { field: "name", .. } => ErrorCode::NameNotAllowed,
        _ => ErrorCode::Malformed,
    };
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    Refusal::new(code, message)
}

fn stale_nonce() -> Refusal {
    Refusal::new(ErrorCode::StaleNonce, "the nonce is not from here or too old; get a new one and sign again")
}

pub(super) async fn unregister(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    path: PathText,
    body: Body,
) -> Response {
    let path = path_text(path);
    let shown = path.clone().unwrap_or_default();
    let operation = Operation::new(Op::Unregister, peer.address, shown, &directory.front.metrics);
    let result = match path {
        Ok(text) => release(&directory, peer, &text, body).await,
        Err(refusal) => Err(refusal),
    };
    operation.finish(result)
}

async fn release(
    directory: &Directory,
    peer: Peer,
    path: &str,
    body: Body,
) -> Result<(StatusCode, UnregisterAnswer), Refusal> {
    let name = path_name(path)?;
    let request: UnregisterRequest = json(body)?;
    directory
        .front
        .limiter
        .get()
        .check(Source::Address(peer.address), peer, Class::Lookup)
        .map_err(Refusal::rate_limited)?;
    let now = unix_now();
    if !directory.cluster.nonce_holds(&request.nonce, peer.address, now) {
        return Err(stale_nonce());
    }
    let entry = directory.cluster.by_name(&name).ok_or_else(Refusal::not_found)?;
    let message = unregister_message(&directory.config.origin, &request.nonce);
    if !verified(&entry.identity_key, &message, &signature(&request.signature)?) {
        return Err(Refusal::new(ErrorCode::BadSignature, "only the account that has the name can give it up"));
    }
    let name = directory.store.release(entry.account).await?;
    directory.cluster.unregistered(entry.account);
    Ok((StatusCode::OK, UnregisterAnswer { name, reserved_until: now + RESERVED_SECONDS, time: now }))
}
