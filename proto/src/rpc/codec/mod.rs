//! MessagePack-RPC over a byte stream: where messages end, what they are, and how they are written.
//!
//! Not its job: sockets, and what methods mean.
//!
//! Invariants: nothing is reserved on the word of a length claim; [`MAX_MESSAGE_BYTES`] and [`MAX_DEPTH`] hold before
//! serde sees a byte; no input panics; a message that trickles in is walked once.
//!
//! Source: the MessagePack-RPC specification, <https://github.com/msgpack-rpc/msgpack-rpc/blob/master/spec.md>.

mod params;
mod scan;
#[cfg(test)]
mod tests;

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as WordError, StrDeserializer};
use zeroize::Zeroize;

pub use self::params::{ParamsError, decode_params};
pub use self::scan::{FrameError, Scanner};
use super::{ErrorCode, MAX_DEPTH, MAX_MESSAGE_BYTES, RpcError};
use crate::advice::Advice;

/// Room that [`FrameReader::buffer`] offers to one read: some hundred small messages for one system call.
pub const READ_CHUNK_BYTES: usize = 16 * 1024;
/// A buffer that grew for a message larger than this is given back after it.
const KEEP_BUFFER_BYTES: usize = 4 * READ_CHUNK_BYTES;

/// A complete value that is no MessagePack-RPC message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a MessagePack-RPC message: {0}")]
pub struct DecodeError(&'static str);

/// A value that cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It would exceed [`MAX_MESSAGE_BYTES`].
    #[error("the message would have {0} bytes, and {MAX_MESSAGE_BYTES} is the most")]
    TooLong(usize),
    /// serde refused it.
    #[error("the message cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct FrameReader {
    buf: BytesMut,
    /// Length of the message handed out last; dropped at the next call, so that it can be borrowed until then.
    taken: usize,
    scanner: Scanner,
}

impl FrameReader {
    /// Where to read into (`read_buf`), with [`READ_CHUNK_BYTES`] of room.
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.release();
        if self.buf.capacity() - self.buf.len() < READ_CHUNK_BYTES / 8 {
            self.buf.reserve(READ_CHUNK_BYTES);
        }
        &mut self.buf
    }

    /// The next message's bytes, if all of them came.
    ///
    /// # Errors
    /// [`FrameError`]: the stream cannot be understood any further.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        self.release();
        match self.scanner.scan(&self.buf)? {
            Some(end) => {
                self.taken = end;
                Ok(self.buf.get(..end))
            }
            None => Ok(None),
        }
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.buf.capacity()
    }

    /// Overwrites the message that was handed out last: it held a secret.
    pub fn overwrite(&mut self) {
        let taken = self.taken.min(self.buf.len());
        self.buf[..taken].zeroize();
    }

    /// What is there and was not handed out: after `Ok(None)`, the beginning of a message.
    pub fn rest(&self) -> &[u8] {
        self.buf.get(self.taken..).unwrap_or_default()
    }

    fn release(&mut self) {
        self.buf.advance(self.taken);
        if self.taken > KEEP_BUFFER_BYTES {
            self.buf = BytesMut::from(&self.buf[..]);
        }
        self.taken = 0;
    }
}

/// A message, borrowed from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// `[0, id, method, params]`.
    Request {
        /// Chosen by the client.
        id: u32,
        /// `noun.verb`.
        method: &'a str,
        /// For [`decode_params`].
        params: &'a [u8],
    },
    /// `[1, id, error, result]`.
    Response {
        /// The request's.
        id: u32,
        /// For [`decode_value`].
        outcome: Result<&'a [u8], RpcError>,
    },
    /// `[2, method, params]`.
    Notification {
        /// Its name.
        method: &'a str,
        /// For [`decode_params`].
        params: &'a [u8],
    },
}

/// Takes one complete value (as [`FrameReader`] gives it) apart. What is inside of `params` and `result` is not looked at.
///
/// # Errors
/// [`DecodeError`] when the value is none of the three kinds of message.
pub fn decode(frame: &[u8]) -> Result<Incoming<'_>, DecodeError> {
    let mut rest = frame;
    let Ok(len) = rmp::decode::read_array_len(&mut rest) else { return Err(DecodeError("no array")) };
    let Ok(kind) = rmp::decode::read_int::<u8, _>(&mut rest) else { return Err(DecodeError("no message type")) };
    match (kind, len) {
        (0, 4) => {
            let id = read_id(&mut rest)?;
            let (method, params) = read_method(rest)?;
            Ok(Incoming::Request { id, method, params })
        }
        (1, 4) => {
            let id = read_id(&mut rest)?;
            let Ok(Some(end)) = Scanner::default().scan(rest) else { return Err(DecodeError("no error")) };
            let (error, result) = rest.split_at(end);
            let outcome = if error == [0xc0] { Ok(result) } else { Err(decode_error(error)) };
            Ok(Incoming::Response { id, outcome })
        }
        (2, 3) => {
            let (method, params) = read_method(rest)?;
            Ok(Incoming::Notification { method, params })
        }
        (0..=2, _) => Err(DecodeError("wrong number of elements")),
        _ => Err(DecodeError("unknown message type")),
    }
}

fn read_id(rest: &mut &[u8]) -> Result<u32, DecodeError> {
    rmp::decode::read_int(rest).map_err(|_| DecodeError("the id is no 32-bit unsigned integer"))
}

fn read_method(rest: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    rmp::decode::read_str_from_slice(rest).map_err(|_| DecodeError("the method is no string"))
}

/// The id of a request that came only in part or is wrong further on, so that its sender can be told.
pub fn salvage_id(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes;
    let is_array = rmp::decode::read_array_len(&mut rest).is_ok();
    let is_request = is_array && matches!(rmp::decode::read_int::<u8, _>(&mut rest), Ok(0));
    if is_request { read_id(&mut rest).ok() } else { None }
}

/// Decodes `result`, or the map inside of `params`: maps with string keys, ids and times as strings.
///
/// # Errors
/// rmp-serde's.
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer)
}

/// Advice, or what an older program cannot read.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Advised {
    Known(Advice),
    Unknown(serde::de::IgnoredAny),
}

/// A code that this version does not know becomes [`ErrorCode::Internal`], and so does an error that is none of ours; the
/// text stays. Advice that it does not know is none.
fn decode_error(bytes: &[u8]) -> RpcError {
    let pair = decode_value::<(String, String)>(bytes).map(|(word, text)| (word, text, None));
    let read = pair.or_else(|_| {
        decode_value::<(String, String, Advised)>(bytes).map(|(word, text, advised)| match advised {
            Advised::Known(advice) => (word, text, Some(advice)),
            Advised::Unknown(_) => (word, text, None),
        })
    });
    if let Ok((word, text, advice)) = read {
        let known = serde::Deserialize::deserialize(StrDeserializer::<WordError>::new(&word));
        return match known {
            Ok(code) => RpcError::new(code, text).advise(advice),
            Err(_) => RpcError::new(ErrorCode::Internal, format!("{word}: {text}")),
        };
    }
    let text = decode_value::<String>(bytes).unwrap_or_else(|_| "an error without a text".to_owned());
    RpcError::new(ErrorCode::Internal, text)
}

/// Appends `[0, id, method, [params]]`.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub fn encode_request<P: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    id: u32,
    method: &str,
    params: &P,
) -> Result<(), EncodeError> {
    append(out, |out| {
        out.extend_from_slice(&[0x94, 0x00]);
        put_uint(out, id);
        put_str(out, method);
        out.push(0x91);
        put_value(out, params)
    })
}

/// Appends `[1, id, nil, result]`.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub fn encode_response<R: Serialize + ?Sized>(out: &mut Vec<u8>, id: u32, result: &R) -> Result<(), EncodeError> {
    append(out, |out| {
        out.extend_from_slice(&[0x94, 0x01]);
        put_uint(out, id);
        out.push(0xc0);
        put_value(out, result)
    })
}

/// Appends `[1, id, [code, text], nil]`, or with advice `[1, id, [code, text, advice], nil]`; the id is nil if the request's
/// could not be read. A text that is too long is cut.
pub fn encode_error(out: &mut Vec<u8>, id: Option<u32>, error: &RpcError) {
    const MAX_TEXT_BYTES: usize = 4096;
    out.extend_from_slice(&[0x94, 0x01]);
    match id {
        Some(id) => put_uint(out, id),
        None => out.push(0xc0),
    }
    let pair = out.len();
    out.push(0x92);
    put_str(out, error.code.as_str());
    put_str(out, error.text.get(..error.text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default());
    if let Some(advice) = &error.advice
        && append(out, |out| put_value(out, advice)).is_ok()
    {
        out[pair] = 0x93;
    }
    out.push(0xc0);
}

/// Appends `[2, method, [params]]`.
///
/// # Errors
/// [`EncodeError`]; `out` is then as it was.
pub fn encode_notification<P: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    method: &str,
    params: &P,
) -> Result<(), EncodeError> {
    append(out, |out| {
        out.extend_from_slice(&[0x93, 0x02]);
        put_str(out, method);
        out.push(0x91);
        put_value(out, params)
    })
}

fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
    let start = out.len();
    let written = write(out).and_then(|()| match out.len() - start {
        0..=MAX_MESSAGE_BYTES => Ok(()),
        long => Err(EncodeError::TooLong(long)),
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn put_value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
    Ok(value.serialize(&mut serializer)?)
}

// Writing into a Vec cannot fail, which rmp's own writers do not know.

fn put_uint(out: &mut Vec<u8>, value: u32) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        _ => {
            out.push(0xce);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    let len = text.len() as u32;
    match len {
        0..=31 => out.push(0xa0 | len as u8),
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}
