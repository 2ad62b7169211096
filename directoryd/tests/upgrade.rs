//! A database of an earlier schema is brought to the newest one, whatever happens on the way.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::mail::*;
use common::process::*;
use common::*;
use proto::directory::api::*;

/// As a directory with schema 1 left it: alice and bob are registered, and carol has given her name up.
const V1: &str = include_str!("fixtures/directory-v1.sql");
const BACKUP: &str = "directory.db.v1.bak";

fn v1(folder: &Path) {
    rusqlite::Connection::open(folder.join("directory.db")).unwrap().execute_batch(V1).unwrap();
}

fn tables(file: &Path) -> Vec<Vec<rusqlite::types::Value>> {
    let db = rusqlite::Connection::open(file).unwrap();
    let mut all = Vec::new();
    for table in ["accounts", "released", "reach", "tokens", "devices"] {
        let mut query = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| (0..columns).map(|n| row.get(n)).collect()).unwrap();
        all.extend(rows.map(Result::unwrap));
    }
    all
}

fn schema(file: &Path) -> i64 {
    rusqlite::Connection::open(file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// What was there is served, and what is new works.
async fn works(process: &Process) {
    let (directory, alice, bob) = (process.client(), person("alice"), person("bob"));
    let found: RecordAnswer = directory.get("/v1/records/alice").await.json().await.unwrap();
    assert_eq!(found.account, alice.account());
    let mut session = directory.session(&bob).await;
    assert_eq!((session.counter, session.record_seq), (3, 3), "sessions are counted on");
    // The token is from before.
    fill(&directory, &bob, 0, 2).await;
    assert_eq!(session.drain().await.0.len(), 2);
}

#[tokio::test]
async fn the_first_schema_is_upgraded_and_a_copy_is_kept() {
    let data = tempfile::tempdir().unwrap();
    v1(data.path());
    let before = tables(&data.path().join("directory.db"));
    assert!(before.len() >= 6);
    let process = Process::start(data.path(), &[]);
    works(&process).await;
    process.stop();
    let backup = data.path().join(BACKUP);
    assert_eq!((schema(&backup), schema(&data.path().join("directory.db"))), (1, 4));
    assert_eq!(tables(&backup), before);
    // A second start has nothing to do, and leaves the copy alone.
    let made = std::fs::metadata(&backup).unwrap().modified().unwrap();
    Process::start(data.path(), &[]).stop();
    assert_eq!(std::fs::metadata(&backup).unwrap().modified().unwrap(), made);
}

#[tokio::test]
async fn an_upgrade_that_is_killed_at_any_step_is_done_by_the_next_start() {
    let points = [
        "directory.upgrade.before_backup",
        "directory.upgrade.backup_written",
        "directory.upgrade.backup_kept",
        "directory.upgrade.before_commit",
        "directory.upgrade.after_commit",
    ];
    let mut failures = 0;
    for point in points {
        let data = tempfile::tempdir().unwrap();
        v1(data.path());
        let before = tables(&data.path().join("directory.db"));
        // Twice: the second one meets what the first one left.
        for _ in 0..2 {
            let mut killed = command(data.path(), &[]);
            let output = killed.env("CHATD_FAULT", format!("{point}:1")).output();
            // After the commit there is nothing left to upgrade, and nothing to be killed at.
            if point.ends_with("after_commit") && schema(&data.path().join("directory.db")) == 4 {
                break;
            }
            assert!(String::from_utf8_lossy(&output.unwrap().stderr).contains(point), "{point} was not reached");
        }
        let process = Process::start(data.path(), &[]);
        works(&process).await;
        process.stop();
        failures += usize::from(tables(&data.path().join(BACKUP)) != before);
    }
    println!("{} kills while upgrading, failures = {failures}", points.len() * 2 - 1);
    assert_eq!(failures, 0);
}

#[test]
fn without_a_copy_nothing_is_changed() {
    let data = tempfile::tempdir().unwrap();
    v1(data.path());
    // No file can have this name, for a folder has it.
    std::fs::create_dir_all(data.path().join(format!("{BACKUP}.part/x"))).unwrap();
    let output = command(data.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("cannot copy the database") && error.contains(BACKUP), "{error}");
    assert_eq!(schema(&data.path().join("directory.db")), 1);
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("directory.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 5).unwrap();
    let before = std::fs::read(&file).unwrap();
    let output = command(data.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("schema 5") && error.contains("install a newer directoryd"), "{error}");
    assert_eq!(schema(&file), 5);
    assert!(std::fs::read(&file).unwrap() == before, "it was written to");
}
