//! The mailbox of an account at its directory: `POST /v1/mailbox/{account}` deposits an envelope, and the session of the
//! device that it is for takes it out.
//!
//! Pushed envelopes are binary WebSocket messages: the number as u64be, then the exact bytes of the encoded
//! [`crate::wire::envelope::Outer`]. Numbers grow over the whole directory and never come again; a sender or device
//! that is told one which is not above all it was told before knows that the directory was restored from a backup.

use serde::{Deserialize, Serialize};

/// Bytes of a deposited envelope at most: what a link would carry.
pub const MAX_DEPOSIT_BYTES: usize = crate::wire::MAX_FRAME_BYTES;
/// Numbers in one `delete` or `release` frame at most.
pub const MAX_DELETE_NUMBERS: usize = 256;
/// Envelopes pushed to a device and neither deleted nor released by it at most.
pub const PUSH_WINDOW: usize = 64;
/// Bytes of them at most, unless it is a single one.
pub const PUSH_WINDOW_BYTES: usize = 4 << 20;

/// The answer to a deposit, given after it is on the disk (201, or 200 if exactly these bytes lie there already).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositAnswer {
    /// The envelope's number.
    pub number: u64,
    /// Seconds that it will be kept at least, unless it is deleted before.
    pub expires_in: u64,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

/// What a stranger's envelope has to show ([`crate::wire::work`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkWanted {
    /// Zero bits.
    pub bits: u8,
    /// The window that it is now.
    pub window: u64,
}

/// `"chatd/mbox-del/1\0" || sized(origin) || each number as u64be`, signed by the device key.
pub fn delete_message(origin: &str, numbers: &[u64]) -> Vec<u8> {
    let mut message = Vec::with_capacity(19 + origin.len() + numbers.len() * 8);
    message.extend_from_slice(b"chatd/mbox-del/1\0");
    message.extend_from_slice(&super::api::sized(origin.as_bytes()));
    numbers.iter().for_each(|number| message.extend_from_slice(&number.to_be_bytes()));
    message
}

/// A binary message of the session.
pub fn encode_push(number: u64, envelope: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), envelope].concat()
}

/// The number and the envelope of a binary message; `None` if it is too short to hold both.
pub fn decode_push(message: &[u8]) -> Option<(u64, &[u8])> {
    let (number, envelope) = message.split_first_chunk::<8>()?;
    (!envelope.is_empty()).then_some((u64::from_be_bytes(*number), envelope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact() {
        assert_eq!(
            delete_message("example.org", &[1, 256]),
            b"chatd/mbox-del/1\0\0\x0bexample.org\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\0"
        );
        assert_eq!(encode_push(7, b"ab"), b"\0\0\0\0\0\0\0\x07ab");
        assert_eq!(decode_push(b"\0\0\0\0\0\0\0\x07ab"), Some((7, &b"ab"[..])));
        for short in [&b""[..], b"1234567", b"12345678"] {
            assert_eq!(decode_push(short), None);
        }
    }
}
