//! The files below SQLite: checksums of pages, a write-ahead log that a crash left, damage, and room on the disk.

pub(super) mod checksum;
pub(super) mod connection;
pub(super) mod health;
pub(super) mod pages;
pub mod reserve;
pub(super) mod vfs;
pub(super) mod wal;
