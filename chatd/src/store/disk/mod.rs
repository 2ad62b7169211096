//! The files below SQLite: checksums of pages, a write-ahead log that a crash left, damage, room on the disk, and each user's share of it.

pub(super) mod checksum;
pub(super) mod connection;
pub(super) mod health;
pub(super) mod pages;
pub mod reserve;
pub mod share;
pub(super) mod vfs;
pub(super) mod wal;
