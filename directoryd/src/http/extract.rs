//! What a request says, taken out of its head and body.

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderMap, StatusCode, header};
use proto::directory::api::{Base64, DEPOSIT_TOKEN_HEADER, ErrorCode, MAX_BODY_BYTES, token_hash};
use proto::directory::groups::access::{self, GROUP_TOKEN_HEADER};
use proto::ids::{AccountId, LogId};
use proto::name::Name;
use serde::de::DeserializeOwned;

use super::answer::Refusal;

/// The body, if it came.
pub type Body = Result<Bytes, BytesRejection>;
/// The one variable part of a path, if it is text.
pub type PathText = Result<Path<String>, PathRejection>;

/// The bearer token that a request shows, if it shows something that may be one; the inner `None`: it is none.
pub fn bearer(headers: &HeaderMap) -> Option<Option<&str>> {
    let value = headers.get(header::AUTHORIZATION)?;
    Some(value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")))
}

/// The hash of the deposit token that a request carries, if it does.
pub fn token(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refusal> {
    let Some(value) = headers.get(DEPOSIT_TOKEN_HEADER) else { return Ok(None) };
    let token = value.to_str().ok().and_then(Base64::parse).and_then(|token| <[u8; 32]>::try_from(token.0).ok());
    let token = token.ok_or_else(|| Refusal::new(ErrorCode::Malformed, "a deposit token is 32 bytes in base64url"))?;
    Ok(Some(token_hash(&token)))
}

/// The hash of the token of a log that a request carries.
pub fn group_token(headers: &HeaderMap) -> Result<[u8; 32], Refusal> {
    let malformed = || Refusal::new(ErrorCode::Malformed, "X-Group-Token is missing, or no 32 bytes in base64url");
    let value = headers.get(GROUP_TOKEN_HEADER).ok_or_else(malformed)?;
    let token = value.to_str().ok().and_then(Base64::parse).and_then(|token| <[u8; 32]>::try_from(token.0).ok());
    token.map(|token| access::token_hash(&token)).ok_or_else(malformed)
}

pub fn path_text(path: PathText) -> Result<String, Refusal> {
    path.map(|Path(text)| text).map_err(|_| Refusal::new(ErrorCode::Malformed, "the path is not UTF-8"))
}

pub fn path_name(text: &str) -> Result<Name, Refusal> {
    Name::parse(text).map_err(|error| Refusal::new(ErrorCode::NameNotAllowed, error.to_string()))
}

pub fn path_account(text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|_| Refusal::new(ErrorCode::Malformed, "an account id has 32 hex digits"))
}

pub fn path_log(text: &str) -> Result<LogId, Refusal> {
    text.parse().map_err(|_| Refusal::new(ErrorCode::Malformed, "a log id has 32 hex digits"))
}

/// The body of a request that may have `limit` bytes.
pub fn whole(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Refusal::new(ErrorCode::TooLarge, format!("a request here has at most {limit} bytes"))
        } else {
            Refusal::new(ErrorCode::Malformed, "the request's body broke off")
        }
    })
}

/// The JSON of a request.
pub fn json<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = whole(body, MAX_BODY_BYTES)?;
    serde_json::from_slice(&body).map_err(|error| Refusal::new(ErrorCode::Malformed, error.to_string()))
}

pub fn signature(bytes: &Base64) -> Result<[u8; 64], Refusal> {
    <[u8; 64]>::try_from(&bytes[..]).map_err(|_| Refusal::new(ErrorCode::Malformed, "a signature has 64 bytes"))
}

pub fn query_refused(rejection: &QueryRejection) -> Refusal {
    Refusal::new(ErrorCode::Malformed, rejection.body_text())
}
