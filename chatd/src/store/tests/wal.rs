//! A commit is one write, and what was just written is not read again.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::store::disk::health;
use crate::store::engine::migrate;

/// Reads and writes that this thread asked of the system.
fn calls() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap();
    (of("syscr:"), of("syscw:"))
}

/// Those of `act`, without what looking costs.
fn cost(act: impl FnOnce()) -> (u64, u64) {
    let (before, looked) = (calls(), calls());
    act();
    let after = calls();
    let own = (looked.0 - before.0, looked.1 - before.1);
    (after.0 - looked.0 - own.0, after.1 - looked.1 - own.1)
}

fn database(path: &Path) -> Connection {
    let conn = migrate::create(path).unwrap();
    conn.execute_batch("CREATE TABLE kept (id INTEGER PRIMARY KEY, text BLOB) STRICT").unwrap();
    conn
}

fn fill(conn: &Connection, ids: std::ops::Range<i64>, byte: u8) {
    for id in ids {
        conn.execute("INSERT OR REPLACE INTO kept VALUES (?1, ?2)", params![id, vec![byte; 3_000]]).unwrap();
    }
}

fn sum(conn: &Connection) -> i64 {
    conn.query_row("SELECT coalesce(sum(id * unicode(CAST(substr(text, 1, 1) AS TEXT))), 0) FROM kept", [], |row| {
        row.get(0)
    })
    .unwrap()
}

#[test]
fn a_commit_is_one_write_and_is_read_from_memory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("messages.db");
    let mut conn = database(&path);
    let reader = health::connect_reader(&path).unwrap();
    fill(&conn, 0..10, b'a');
    assert_eq!(sum(&reader), 45 * 97);
    for _ in 0..3 {
        let tx = conn.transaction().unwrap();
        fill(&tx, 0..10, b'b');
        let (reads, writes) = cost(|| tx.commit().unwrap());
        assert_eq!((reads, writes), (0, 1), "ten pages and more, in one write");
        let (reads, writes) = cost(|| assert_eq!(sum(&reader), 45 * 98));
        assert_eq!((reads, writes), (0, 0), "what was just written");
    }
    // More than is gathered at once: still no write for each page.
    let tx = conn.transaction().unwrap();
    fill(&tx, 0..200, b'c');
    let (_, writes) = cost(|| tx.commit().unwrap());
    assert!(writes <= 200 / 12, "{writes}");
    assert_eq!(sum(&reader), 199 * 100 * 99);
}

#[test]
fn what_a_transaction_gave_up_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("messages.db");
    let mut conn = database(&path);
    // So small that pages go to the log before the commit, and are mended there when they change again.
    conn.pragma_update(None, "cache_size", 10).unwrap();
    let reader = health::connect_reader(&path).unwrap();
    let mut expected = 0;
    for round in 0..20_u8 {
        let tx = conn.transaction().unwrap();
        fill(&tx, 0..60, b'a' + round);
        fill(&tx, 0..60, b'A' + round);
        if round % 3 == 0 {
            tx.rollback().unwrap();
        } else {
            tx.commit().unwrap();
            expected = 59 * 30 * i64::from(b'A' + round);
        }
        assert_eq!(sum(&reader), expected, "round {round}");
        if round % 7 == 6 {
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
    }
    // What a kill would leave: the files as they are.
    let left = tempfile::tempdir().unwrap();
    for name in ["messages.db", "messages.db-wal"] {
        std::fs::copy(root.path().join(name), left.path().join(name)).unwrap();
    }
    drop((reader, conn));
    for folder in [root.path(), left.path()] {
        let again = migrate::open(&folder.join("messages.db")).unwrap();
        assert_eq!(sum(&again), expected);
        let check: String = again.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
}

#[test]
fn another_file_of_the_same_name_is_read_itself() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("messages.db");
    for byte in [b'a', b'b'] {
        let conn = database(&path);
        fill(&conn, 0..10, byte);
        let reader = health::connect_reader(&path).unwrap();
        assert_eq!(sum(&reader), 45 * i64::from(byte));
        // As a kill leaves it: the log stays.
        let away = root.path().join(format!("{}", byte as char));
        std::fs::create_dir(&away).unwrap();
        for name in ["messages.db", "messages.db-wal"] {
            std::fs::copy(root.path().join(name), away.join(name)).unwrap();
        }
        drop((conn, reader));
        for name in ["messages.db", "messages.db-wal", "messages.db-shm"] {
            let _ = std::fs::remove_file(root.path().join(name));
        }
    }
    for name in ["messages.db", "messages.db-wal"] {
        std::fs::copy(root.path().join("a").join(name), root.path().join(name)).unwrap();
    }
    assert_eq!(sum(&migrate::open(&path).unwrap()), 45 * 97);
}
