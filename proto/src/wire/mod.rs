//! What goes between peers: the envelope's parts ([`envelope`]), the kinds of message inside ([`payload`]) and the
//! frames of a link ([`frame`]). docs/wire.md is the prose.
//!
//! Everything is a MessagePack array in a fixed order. Decoders read from a slice, copy nothing larger than the slice,
//! and refuse trailing bytes; there is no recursion, so depth cannot be abused.

pub mod envelope;
pub mod frame;
pub mod payload;
pub(crate) mod reader;
mod refuse;
mod stamp;
pub mod work;

pub use reader::{Reader, WireError};

/// The version byte of envelope, core and link.
pub const VERSION: u8 = 1;
/// Suite 2: age with one hybrid recipient, ML-KEM-768 and X25519 (`mlkem768x25519`). Suite 1 was X25519 alone, and is gone.
pub const SUITE_HYBRID: u8 = 2;
/// Bytes of an age plaintext at most: one age chunk, so that it is all or nothing.
pub const MAX_PLAINTEXT_BYTES: usize = 65_536;
/// Bytes of a message text at most.
pub const MAX_TEXT_BYTES: usize = 61_440;
/// Bytes of one encoded core at most: text, and room for names, tags and the fixed fields.
pub const MAX_CORE_BYTES: usize = 63_488;
/// Plaintext bytes of a stranger's envelope at most (contact requests).
pub const MAX_STRANGER_PLAINTEXT_BYTES: usize = 16_384;
/// Bytes of a whole envelope from a stranger at most: 18 KiB.
pub const MAX_STRANGER_ENVELOPE_BYTES: usize = 18_432;
/// Bytes of a link frame at most, without its length prefix.
pub const MAX_FRAME_BYTES: usize = 73_728;
/// Seconds that a mailbox keeps an envelope at most: 7 days.
pub const MAX_TTL_SECONDS: u32 = 604_800;
/// Acknowledgement entries in one wrap or frame at most.
pub const MAX_ACK_ENTRIES: usize = 256;
/// Ranges above the contiguous mark in one acknowledgement at most.
pub const MAX_ACK_RANGES: usize = 8;
/// Text of a contact request at most, in bytes.
pub const MAX_REQUEST_TEXT_BYTES: usize = 1_024;
/// The application protocol of a link.
pub const ALPN: &[u8] = b"chatd/link/1";
