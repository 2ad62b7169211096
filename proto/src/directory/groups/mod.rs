//! The log of a group at a directory: what its entries are hashed by ([`chain`]), what its keys sign ([`statement`], [`slot`]), who may
//! read and write ([`access`]), a request to append ([`append`]), and the JSON of its calls ([`api`]). docs/directory-api.md is the prose.
//!
//! A directory knows a log by the hash of its first root key. It is told no group, no name and no member: entries are ciphertext, tokens
//! are hashes, and slots are named by keys that stand nowhere else.
//!
//! Not the job: what is in an entry (`group`), and what it means (the fold in chatd).
//!
//! Invariants: decoders keep every limit of this file, whatever the bytes; signatures and hashes cover bytes as received; each
//! begins with a domain string of its own.

pub mod access;
pub mod api;
pub mod append;
pub mod chain;
pub mod slot;
pub mod statement;

pub use append::{Append, Place, Proof};
pub use chain::{EntryKind, Pushed, Running, entry_hash};
pub use slot::SignedSlot;
pub use statement::{Header, Root, SignedHeader, SignedRoot};

pub use crate::group::{MAX_ENTRY_BYTES, MAX_LOG_BYTES, MAX_NAME_BYTES};

/// Keys entries that are staged for one event at most: seeds for the devices of 1,024 accounts.
pub const MAX_STAGED: usize = 128;
/// Bytes of an encoded [`Append`] at most: an entry, the hashes of what was staged for it, and statements.
pub const MAX_APPEND_BYTES: usize = MAX_ENTRY_BYTES + MAX_STAGED * 34 + MAX_ROOT_BYTES + MAX_HEADER_BYTES + 512;
/// Bytes of an encoded [`SignedRoot`] at most.
pub const MAX_ROOT_BYTES: usize = 256;
/// Bytes of an encoded [`SignedHeader`] at most.
pub const MAX_HEADER_BYTES: usize = 2_304;
/// Entries pushed to a session and not read by it at most; of bytes as many as of mail.
pub const FOLLOW_WINDOW: usize = 256;
/// Logs to which a header says that the group may go at most.
pub const MAX_SUCCESSORS: usize = 3;
/// Bytes in a slot at most: marks of all who are listened to, and a prekey.
pub const MAX_SLOT_BYTES: usize = 16_384;
/// The highest number of a statement or a slot: 2^53 - 1, the highest integer that is exact in JSON everywhere (RFC 8259, section 6).
pub const MAX_NUMBER: u64 = (1 << 53) - 1;
/// How far a number may go up at once: a thief of a key cannot use them all up.
pub const MAX_STEP: u64 = 1 << 32;
