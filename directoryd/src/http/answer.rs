//! How an operation ends: as JSON with the directory's time, as one line in the log, as one count in the metrics.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proto::directory::api::{Base64, EntryAnswer, ErrorAnswer, ErrorBody, ErrorCode, WorkWanted};
use proto::time::Timestamp;
use proto::wire::work::window_of;
use serde::Serialize;

use crate::metrics::{Metrics, Op, Outcome};
use crate::store::StoreError;

/// Of a value that a client chose, in a line of the log.
const MAX_LOGGED_BYTES: usize = 256;

/// The directory's clock in Unix seconds.
pub fn unix_now() -> i64 {
    Timestamp::now().unix_seconds()
}

/// Why a request is not granted.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    record: Option<Base64>,
    work: Option<WorkWanted>,
    reserved_until: Option<i64>,
    newer: Option<Box<Newer>>,
    retry_after: Option<u64>,
    misdirected: bool,
}

/// What came first. Apart, for a refusal is passed on by value, and nearly none has any.
#[derive(Debug, Clone)]
struct Newer(Vec<EntryAnswer>);

impl Refusal {
    /// With a code and words.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            record: None,
            work: None,
            reserved_until: None,
            newer: None,
            retry_after: None,
            misdirected: false,
        }
    }

    /// The one answer for what is not there and for what is not for the one who asks.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "there is no such account here")
    }

    /// Too many requests.
    pub fn rate_limited(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let message = format!("too many requests; try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// It was sent to us under a name that we do not have.
    pub fn misdirected(message: impl Into<String>) -> Self {
        Self { misdirected: true, ..Self::new(ErrorCode::NotAllowed, message) }
    }

    fn status(&self) -> StatusCode {
        match self.code {
            // RFC 9110, section 15.5.20.
            _ if self.misdirected => StatusCode::MISDIRECTED_REQUEST,
            ErrorCode::NameTaken | ErrorCode::Conflict | ErrorCode::LostRace => StatusCode::CONFLICT,
            ErrorCode::NameNotAllowed | ErrorCode::Malformed | ErrorCode::Expired => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::BadSignature | ErrorCode::NotAllowed | ErrorCode::TokenRevoked => StatusCode::FORBIDDEN,
            ErrorCode::MailboxFull | ErrorCode::GroupFull => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::StaleNonce => StatusCode::UNAUTHORIZED,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Unavailable | ErrorCode::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn outcome(&self) -> Outcome {
        if self.code == ErrorCode::Unavailable { Outcome::Failed } else { Outcome::Refused }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NameTaken | StoreError::Resting(_) => ErrorCode::NameTaken,
            StoreError::LooksLike(_) => ErrorCode::NameNotAllowed,
            StoreError::OtherName(_) | StoreError::Conflict { .. } => ErrorCode::Conflict,
            StoreError::NotFound => return Self::not_found(),
            StoreError::Full(_) => ErrorCode::NotAllowed,
            StoreError::TokenRevoked => ErrorCode::TokenRevoked,
            StoreError::MailboxFull(_) | StoreError::StrangersFull { .. } => ErrorCode::MailboxFull,
            StoreError::BadSignature(_) => ErrorCode::BadSignature,
            StoreError::NoSuchGroup => ErrorCode::NotFound,
            StoreError::OldToken => ErrorCode::TokenRevoked,
            StoreError::GroupFull(_) => ErrorCode::GroupFull,
            StoreError::LostRace { .. } => ErrorCode::LostRace,
            StoreError::TooOften(_) => ErrorCode::RateLimited,
            StoreError::Unavailable(_) => ErrorCode::Unavailable,
        };
        let message = match &error {
            StoreError::NameTaken => "the name is taken; choose another one".into(),
            StoreError::Resting(_) => {
                "the name was given up, and rests for 30 days; whoever has the recovery key of the account \
                                       that had it can take it back at once"
                    .into()
            }
            other => other.to_string(),
        };
        let work = match error {
            StoreError::StrangersFull { bits } => Some(WorkWanted { bits, window: window_of(unix_now()) }),
            _ => None,
        };
        let mut refusal = Self { work, ..Self::new(code, message) };
        match error {
            StoreError::Conflict { stored, .. } => refusal.record = stored,
            StoreError::Resting(until) => refusal.reserved_until = Some(until),
            StoreError::LostRace { newer, wait } => {
                (refusal.newer, refusal.retry_after) = (Some(Box::new(Newer(newer))), wait)
            }
            StoreError::TooOften(wait) => refusal.retry_after = Some(wait),
            _ => {}
        }
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let Self { code, message, record, work, reserved_until, newer, retry_after, misdirected: _ } = self;
        let newer = newer.map(|newer| newer.0).unwrap_or_default();
        let error = ErrorBody { code, message, record, work, reserved_until, newer, retry_after };
        let mut response = (status, Json(ErrorAnswer { error, time: unix_now() })).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A value for the log: its beginning, if there is more of it than a line should hold.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_LOGGED_BYTES {
        let whole = text.len();
        text.truncate(text.floor_char_boundary(MAX_LOGGED_BYTES));
        text.push_str(&format!("... ({whole} bytes)"));
    }
    text
}

/// One request, from its arrival to its line in the log.
#[derive(Debug)]
pub struct Operation<'a> {
    op: Op,
    address: IpAddr,
    /// Who it is about: a name or an id, as far as it was understood.
    name: String,
    metrics: &'a Metrics,
    started: Instant,
}

impl<'a> Operation<'a> {
    /// Begins.
    pub fn new(op: Op, address: IpAddr, name: impl Into<String>, metrics: &'a Metrics) -> Self {
        Self { op, address, name: bounded(name.into()), metrics, started: Instant::now() }
    }

    /// Ends, with the answer to send.
    pub fn finish<T: Serialize>(self, result: Result<(StatusCode, T), Refusal>) -> Response {
        self.end(result.map(|(status, body)| (status, Json(body)).into_response()))
    }

    /// Ends, with an answer that is no JSON.
    pub fn end(self, result: Result<Response, Refusal>) -> Response {
        let took = self.started.elapsed();
        let (operation, address) = (self.op.name(), self.address);
        // Of the directory itself it is no name: a word for one of its own paths.
        let (name, path) = match self.op {
            Op::Other => (None, Some(self.name.as_str())),
            _ => (Some(self.name.as_str()), None),
        };
        tracing::debug!(operation, name, "who it is about");
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match result {
            Ok(response) => {
                self.metrics.operation(self.op, Outcome::Ok, took);
                let status = response.status().as_u16();
                tracing::info!(operation, name, path, %address, status, micros, "done");
                response
            }
            Err(refusal) => {
                self.metrics.operation(self.op, refusal.outcome(), took);
                let (status, code, reason) =
                    (refusal.status().as_u16(), refusal.code, bounded(refusal.message.clone()));
                if refusal.outcome() == Outcome::Failed {
                    tracing::error!(operation, name, path, %address, status, micros, reason, "failed");
                } else {
                    // Whoever asks for nonsense all day gets a line a minute, not one for each question.
                    let often = format!("{operation} {status}");
                    tracing::info!(often, operation, name, path, %address, status, micros, ?code, "refused");
                    // It may repeat what was asked.
                    tracing::debug!(operation, name, reason, "why it was refused");
                }
                refusal.into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_for_the_log() {
        assert_eq!(bounded("bob".into()), "bob");
        let cut = bounded("é".repeat(15_000));
        assert!(cut.len() < MAX_LOGGED_BYTES + 32 && cut.ends_with("(30000 bytes)"), "{cut}");
    }
}
