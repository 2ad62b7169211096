//! Who may read and write a log: tokens, of which a directory has hashes; and what the log key signs to see who wrote, and to drop.

use crate::directory::api::sized;
use crate::group::hkdf::derive;
use crate::ids::{LogId, sha256};

/// The header with a token of a log, in base64url.
pub const GROUP_TOKEN_HEADER: &str = "x-group-token";
/// Entries, and slots, that one request of the log key names at most.
pub const MAX_KEPT: usize = 256;

/// What lets somebody read. Derived from the token seed, which members have.
pub fn read_token(seed: &[u8; 32]) -> [u8; 32] {
    derive(seed, b"chatd/gtoken-read/1")
}

/// What lets somebody write. Of a channel it is derived from another seed, which writers have.
pub fn write_token(seed: &[u8; 32]) -> [u8; 32] {
    derive(seed, b"chatd/gtoken-write/1")
}

/// What a header names a token by, and a directory stores.
pub fn token_hash(token: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"chatd/gtoken/1\0", token])
}

/// `"chatd/gkeep/1\0" || sized(origin) || sized(nonce) || log || drop || count of numbers as u64be || each number as u64be || each slot's
/// key`, signed by the log key: tell who wrote these, or drop them.
pub fn keep_message(
    origin: &str,
    nonce: &[u8],
    log: LogId,
    drop: bool,
    numbers: &[u64],
    slots: &[[u8; 32]],
) -> Vec<u8> {
    let mut message = b"chatd/gkeep/1\0".to_vec();
    message.extend_from_slice(&sized(origin.as_bytes()));
    message.extend_from_slice(&sized(nonce));
    message.extend_from_slice(log.as_bytes());
    message.push(drop.into());
    message.extend_from_slice(&(numbers.len() as u64).to_be_bytes());
    numbers.iter().for_each(|number| message.extend_from_slice(&number.to_be_bytes()));
    slots.iter().for_each(|slot| message.extend_from_slice(slot));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_apart_and_what_is_signed_is_exact() {
        let seed = [5; 32];
        assert_ne!(read_token(&seed), write_token(&seed));
        assert_ne!(token_hash(&read_token(&seed)), crate::directory::api::token_hash(&read_token(&seed)));
        let log = LogId([1; 16]);
        let message = keep_message("example.org", b"NN", log, true, &[2], &[]);
        let expected = [
            &b"chatd/gkeep/1\0\0\x0bexample.org\0\x02NN"[..],
            &[1; 16],
            &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2],
        ];
        assert_eq!(message, expected.concat());
        assert_ne!(message, keep_message("example.org", b"NN", log, false, &[2], &[]));
    }
}
