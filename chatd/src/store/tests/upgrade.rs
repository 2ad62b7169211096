//! From the first schema to the newest, killed at every step.

use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use crate::store::Store;
use crate::store::disk::checksum::{self, Header, PAGE_BYTES, RESERVED};
use crate::store::engine::{migrate, schema};
use crate::store::error::StoreError;
use crate::store::history::search::Indexer;
use crate::store::tests::fixture::{rows, tables};

/// Names the folder whose store a child process upgrades.
const FOLDER: &str = "CHATD_TEST_UPGRADE";

/// Tables of the first schema with their columns.
pub(super) type Tables = Vec<(String, String)>;

/// A store of the first schema as its release left it, with rows in every table.
pub(super) fn first_schema(folder: &Path, count: i64) -> (Tables, Vec<[u8; 32]>) {
    checksum::install();
    let conn = Connection::open(folder.join("messages.db")).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF; BEGIN").unwrap();
    conn.execute_batch(schema::V1).unwrap();
    conn.execute_batch("PRAGMA user_version = 1").unwrap();
    let mut known = Vec::new();
    for table in tables(&conn).unwrap() {
        let mut info = conn.prepare(&format!("SELECT name, type FROM pragma_table_info('{table}')")).unwrap();
        let columns: Vec<(String, String)> =
            info.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
        let names = columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        if table.starts_with("sqlite_") {
            continue;
        }
        for n in 1..=if table == "account" { 1 } else { count } {
            let value = |(name, kind): &(String, String)| match kind.as_str() {
                _ if name == "one" => "1".to_owned(),
                "INTEGER" => n.to_string(),
                "TEXT" => format!("'{name} {n} {}'", "text ".repeat(usize::try_from(n % 40).unwrap())),
                _ => format!("x'{:032x}'", n),
            };
            let values = columns.iter().map(value).collect::<Vec<_>>().join(", ");
            conn.execute_batch(&format!("INSERT INTO {table} ({names}) VALUES ({values})")).unwrap();
        }
        known.push((table, names));
    }
    conn.execute_batch("COMMIT").unwrap();
    let written = rows(&conn, &known).unwrap();
    assert!(known.len() > 14 && written.len() as i64 == (known.len() as i64 - 1) * count + 1);
    // As after a crash: the WAL holds it.
    use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    conn.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    conn.close().unwrap();
    (known, written)
}

/// Opens it as a start does, and compares.
pub(super) fn is_whole(folder: &Path, known: &Tables, written: &[[u8; 32]]) {
    let indexer = Indexer::start();
    let store = Store::open(folder, &indexer).unwrap();
    let read = store.read_blocking(|conn| rows(conn, known)).unwrap();
    assert!(read == written, "everything is there");
    let version: i64 =
        store.read_blocking(|conn| Ok(conn.query_row("PRAGMA user_version", [], |row| row.get(0))?)).unwrap();
    assert_eq!(version, schema::NEWEST);
    super::fixture::run(store.close());
    drop(store);
    let bytes = std::fs::read(folder.join("messages.db")).unwrap();
    assert_eq!(Header::parse(&bytes).unwrap().reserved, RESERVED);
    assert!(bytes.chunks(PAGE_BYTES).all(checksum::is_whole));
    // The backup is whole, and still of the first schema.
    let backup = Connection::open(folder.join("messages.db.v1.bak")).unwrap();
    assert!(rows(&backup, known).unwrap() == written);
    assert_eq!(backup.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".tmp") && !name.ends_with(".checked"), "{name} was left");
    }
}

#[test]
fn an_old_store_is_upgraded_with_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    // An older backup of the same name is replaced.
    std::fs::write(folder.path().join("messages.db.v1.bak"), "old").unwrap();
    let (known, written) = first_schema(folder.path(), 200);
    is_whole(folder.path(), &known, &written);
    is_whole(folder.path(), &known, &written);
}

#[test]
fn a_newer_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    first_schema(folder.path(), 5);
    let path = folder.path().join("messages.db");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", schema::NEWEST + 1).unwrap();
    conn.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(folder.path(), &Indexer::start()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { .. }) && !error.is_damage(), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no backup, no WAL");
}

/// The child process of the next test: ends at the fail point that its environment names.
#[test]
fn child_that_upgrades() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        migrate::open(&Path::new(&folder).join("messages.db")).unwrap();
        println!("upgraded");
    }
}

#[test]
fn an_upgrade_killed_at_any_step_is_made_by_the_next_start() {
    let steps =
        ["begin:1", "vacuumed:1", "backup:1", "vacuumed:2", "copied:1", "closed:1", "renamed:1", "commit:1", "done:1"];
    let counts: &[i64] = if std::env::var_os("CHATD_TORTURE").is_some() { &[1, 60, 4_000] } else { &[60] };
    let mut killed = 0;
    for count in counts {
        for step in steps {
            let folder = tempfile::tempdir().unwrap();
            let (known, written) = first_schema(folder.path(), *count);
            // Twice: what the first left is in the way of the second.
            for _ in 0..2 {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "store::tests::upgrade::child_that_upgrades", "--nocapture"])
                    .env(FOLDER, folder.path())
                    .env("CHATD_FAULT", format!("store.upgrade.{step}"))
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                if said.contains("fail point store.upgrade.") {
                    killed += 1;
                } else {
                    assert!(output.status.success(), "{step}: {said}");
                }
            }
            is_whole(folder.path(), &known, &written);
        }
    }
    println!("figure: upgrades killed: {killed}, failures: 0");
    assert!(killed >= counts.len() * (2 * steps.len() - 4), "{killed}");
}
