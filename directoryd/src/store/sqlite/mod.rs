//! The store in SQLite: one file, one thread that writes, some connections that read.
//!
//! The write connection belongs to the thread. Requests reach it through a bounded channel; everything that waits goes
//! into one transaction, and every answer is given after COMMIT (`synchronous=FULL`), when the other tasks of this process
//! see the new state as well. Readers have connections of their own, which cannot write.

mod commands;
pub(super) mod files;
mod group_queries;
mod groups;
pub(super) mod health;
pub(super) mod queries;
pub(super) mod readers;
pub(super) mod schema;
pub(super) mod writer;

use std::path::Path;

use rusqlite::Connection;

use self::queries::Sql;
use super::command::{Failure, Queries, Sums};
use super::error::OpenError;
use crate::identity::Identity;

/// The directory's own key, remembered if it is another than the database knows.
pub(super) fn identity(folder: &Path, db: &Connection, anew: bool) -> Result<Identity, OpenError> {
    let path = folder.join("directory.db");
    let failed = |source| OpenError::Database { path: path.clone(), source };
    let known = schema::known_key(db).map_err(failed)?;
    let (identity, other) = Identity::open(folder, known.as_deref(), anew)?;
    if other {
        // After the file is durable: a crash between the two finds the file at the next start.
        schema::remember_key(db, &identity.public()).map_err(failed)?;
    }
    Ok(identity)
}

/// The mailbox's clock as it was saved, and what there is.
pub(super) fn state(db: &Connection, path: &Path) -> Result<(u64, Sums), OpenError> {
    let sql = Sql(db);
    let read = sql.saved_uptime().and_then(|uptime| Ok((uptime, sql.sums()?)));
    read.map_err(|failure| match failure {
        Failure::Engine(source) => OpenError::Database { path: path.to_owned(), source },
        Failure::Refused(error) => OpenError::Damaged { path: path.to_owned(), reason: error.to_string() },
    })
}
