//! How connections to `messages.db` are set up.

use rusqlite::Connection;

use crate::store::error::StoreError;

/// Pages (of 4 KiB) in the WAL before it is copied back: so many that checkpoints stay out of bursts.
pub(in crate::store) const CHECKPOINT_PAGES: i64 = 8_000;
/// The same while the disk is full: a small part of the ballast.
pub(in crate::store) const CHECKPOINT_PAGES_LOW: i64 = 128;

/// Plans are made once. Without this, SQLite makes them anew whenever a parameter is bound that was compared with the condition
/// of a partial index, which is each time for some of our statements (sqlite.org/queryplanner-ng.html, QPSG).
pub(in crate::store) fn keep_plans(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Settings of the writing connection. FULL: an answer after COMMIT must survive a power cut.
pub(in crate::store) fn prepare_writer(conn: &Connection) -> Result<(), StoreError> {
    keep_plans(conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "cache_size", -4_096)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(())
}

/// Settings of a reading connection.
pub(in crate::store) fn prepare_reader(conn: &Connection) -> Result<(), StoreError> {
    keep_plans(conn)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -1_024)?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(())
}
