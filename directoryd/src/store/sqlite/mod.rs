//! The store in SQLite: one file, one thread that writes, some connections that read.

pub(super) mod files;
pub(super) mod health;
pub(super) mod read;
pub(super) mod schema;
pub(super) mod writer;
