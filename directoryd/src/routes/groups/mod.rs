//! Logs of groups. Who has a token may read or write, member or not; only members make a log. What is written is ciphertext, and nothing
//! of it is looked into.

pub mod entries;
pub mod log;
pub mod slots;

use axum::http::HeaderMap;
use proto::directory::api::ErrorCode;
use proto::directory::groups::{Header, Root, SignedHeader, SignedRoot};
use proto::ids::LogId;
use proto::wire::WireError;

use super::place::{networks, place};
use crate::http::answer::Refusal;
use crate::http::extract::{PathText, group_token, path_log, path_text};
use crate::http::limits::{Class, Peer, Source};
use crate::state::Directory;
use crate::store::{GroupKeys, Stated, Statements, Writer};

/// The log that a path names.
fn log_of(path: PathText) -> Result<LogId, Refusal> {
    path_text(path).and_then(|text| path_log(&text))
}

/// Counts a request that reads; which log, and with which token.
fn may_read(
    directory: &Directory,
    peer: Peer,
    headers: &HeaderMap,
    path: PathText,
) -> Result<(LogId, [u8; 32]), Refusal> {
    directory.lookup_allowed(peer, headers)?;
    Ok((log_of(path)?, group_token(headers)?))
}

/// Counts a request that writes; who asks. Somebody of another domain counts by address, as those who leave mail do.
fn may_write(directory: &Directory, peer: Peer, headers: &HeaderMap) -> Result<Source, Refusal> {
    let source = directory.source(peer, headers)?;
    let class = if matches!(source, Source::Member(_)) { Class::Lookup } else { Class::Deposit };
    directory.front.limiter.get().check(source, peer, class).map_err(Refusal::rate_limited)?;
    Ok(source)
}

/// As its share is counted. A place has another name in each log.
fn writer(directory: &Directory, log: LogId, source: Source) -> Writer {
    match source {
        Source::Member(account) => Writer::Account(account),
        Source::Address(address) => {
            Writer::Place(place(directory, &[b"chatd/gwriter/1\0", log.as_bytes()], &networks(address).0))
        }
    }
}

/// Verifies statements by the keys that they can be of: a root by the root key in force, a header by the log key of that root, or of the
/// one that comes with it. The store looks whether these are in force still. The root that is in force already says nothing new: it
/// is signed by the key before.
fn stated(root: Option<&[u8]>, header: Option<&[u8]>, keys: Option<&GroupKeys>) -> Result<Statements, Refusal> {
    let bad = || Refusal::new(ErrorCode::BadSignature, "a root or header is not signed by the key in force");
    let root = match root.filter(|bytes| keys.is_none_or(|keys| keys.root != *bytes)) {
        Some(bytes) => {
            let signed = SignedRoot::decode(bytes).map_err(malformed)?;
            let by = keys.map_or(signed.says.root_key, |keys| keys.root_key);
            let by = Some(by).filter(|by| signed.is_by(by)).ok_or_else(bad)?;
            Some(Stated::<Root> { by, bytes: bytes.to_vec(), says: signed.says })
        }
        None => None,
    };
    let log_key = root.as_ref().map(|root| root.says.log_key).or(keys.map(|keys| keys.log_key));
    let header = match header {
        Some(bytes) => {
            let signed = SignedHeader::decode(bytes).map_err(malformed)?;
            let by = log_key.filter(|by| signed.is_by(by)).ok_or_else(bad)?;
            if signed.says.room.is_some() {
                return Err(Refusal::new(
                    ErrorCode::NotAllowed,
                    "this directory lists no rooms yet; leave the name out",
                ));
            }
            Some(Stated::<Header> { by, bytes: bytes.to_vec(), says: signed.says })
        }
        None => None,
    };
    Ok(Statements { root, header })
}

fn malformed(error: WireError) -> Refusal {
    Refusal::new(ErrorCode::Malformed, error.to_string())
}
