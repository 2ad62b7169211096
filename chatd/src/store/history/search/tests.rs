//! Alice searches her messages while they are stored, deleted, and while her index is behind, missing or damaged.

#![allow(clippy::unwrap_used)]

mod scan;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::model::ids::ConversationRow;
use crate::store::error::SearchError;
use crate::store::history::search::account::Progress;
use crate::store::history::search::{Indexer, MAX_TAIL_ROWS, Search};

/// Alice's main store, as far as the search sees it.
struct Alice {
    dir: TempDir,
    main: Connection,
    indexer: Indexer,
}

impl Alice {
    fn new() -> Alice {
        let dir = tempfile::tempdir().unwrap();
        let main = Connection::open(dir.path().join("messages.db")).unwrap();
        main.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, conversation INTEGER NOT NULL,
                                    body TEXT NOT NULL) STRICT;
             CREATE TABLE search_deletions (n INTEGER PRIMARY KEY AUTOINCREMENT, message INTEGER NOT NULL) STRICT;",
        )
        .unwrap();
        Alice { dir, main, indexer: Indexer::start() }
    }

    fn index_path(&self) -> PathBuf {
        self.dir.path().join("search.db")
    }

    fn search(&self) -> Search {
        Search::open(&self.indexer, self.dir.path().join("messages.db"), self.index_path()).unwrap()
    }

    fn store(&self, conversation: i64, body: &str) -> i64 {
        self.main
            .prepare_cached("INSERT INTO messages (conversation, body) VALUES (?1, ?2)")
            .unwrap()
            .execute(params![conversation, body])
            .unwrap();
        self.main.last_insert_rowid()
    }

    fn store_many(&self, bodies: impl Iterator<Item = String>) -> i64 {
        self.main.execute_batch("BEGIN").unwrap();
        let last = bodies.map(|body| self.store(1, &body)).last().unwrap();
        self.main.execute_batch("COMMIT").unwrap();
        last
    }

    fn delete(&self, id: i64) {
        let tx = self.main.unchecked_transaction().unwrap();
        tx.execute("DELETE FROM messages WHERE id = ?1", [id]).unwrap();
        tx.execute("INSERT INTO search_deletions (message) VALUES (?1)", [id]).unwrap();
        tx.commit().unwrap();
    }

    /// Keeps the indexer from writing for as long as the answer lives. The index must exist.
    fn block_indexer(&self) -> Connection {
        let conn = Connection::open(self.index_path()).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn
    }
}

fn until(search: &Search, what: &str, done: impl Fn(&Progress) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    assert!(done(&search.account.wait(end, &done)), "never: {what}");
}

fn until_indexed(search: &Search, id: i64) {
    search.shared.hurry(&search.account);
    until(search, "indexed", |p| p.watermark >= id);
}

fn find(search: &Search, words: &str) -> Vec<i64> {
    search.query(words, None, 50, None).unwrap()
}

#[test]
fn a_message_is_found_the_moment_it_is_stored() {
    let alice = Alice::new();
    let search = alice.search();
    assert_eq!(find(&search, "bob"), Vec::<i64>::new());
    let _blocked = alice.block_indexer();
    let first = alice.store(1, "Hello Bob, déjà vu?");
    assert_eq!(find(&search, "bob"), [first]);
    let second = alice.store(2, "bob again");
    search.nudge(second);
    assert_eq!(find(&search, "BOB"), [second, first]);
    assert_eq!(find(&search, "deja"), [first]);
    assert_eq!(search.query("bob", Some(ConversationRow(1)), 50, None).unwrap(), [first]);
    assert_eq!(search.watermark(), 0, "this test is about the tail");
    alice.delete(second);
    assert_eq!(find(&search, "bob"), [first]);
}

#[test]
fn hits_are_the_same_once_indexed() {
    let alice = Alice::new();
    let search = alice.search();
    let ids: Vec<i64> = (0..6).map(|i| alice.store(i % 2, &format!("lunch with bob number {i}"))).collect();
    search.nudge(ids[5]);
    until(&search, "indexed by the nudge alone", |p| p.watermark == ids[5]);
    let newest_first: Vec<i64> = ids.iter().rev().copied().collect();
    assert_eq!(find(&search, "bob lunch"), newest_first);
    assert_eq!(search.query("bob", None, 2, None).unwrap(), newest_first[..2]);
    assert_eq!(search.query("bob", None, 2, Some(newest_first[1])).unwrap(), newest_first[2..4]);
    assert_eq!(search.query("bob", Some(ConversationRow(1)), 50, None).unwrap(), [ids[5], ids[3], ids[1]]);
    assert_eq!(search.query("bob", Some(ConversationRow(7)), 50, None).unwrap(), Vec::<i64>::new());
    assert_eq!(search.query("bob", None, 0, None).unwrap(), Vec::<i64>::new());
    // Hits from the tail and from the index make one list.
    let _blocked = alice.block_indexer();
    let newer = alice.store(0, "bob is late for lunch");
    assert_eq!(search.query("bob lunch", Some(ConversationRow(0)), 2, None).unwrap(), [newer, ids[4]]);
    assert_eq!(search.query("bob", None, 50, Some(newer)).unwrap(), newest_first);
}

#[test]
fn phrases_and_words_of_several_tokens_are_exact() {
    let alice = Alice::new();
    let search = alice.search();
    let right = alice.store(1, "Bob said: see you soon. Don't wait");
    let wrong = alice.store(1, "soon you will see; I don t; can't, and wait");
    for indexed in [false, true] {
        if indexed {
            until_indexed(&search, wrong);
        }
        assert_eq!(find(&search, "see you soon"), [wrong, right]);
        assert_eq!(find(&search, "\"see you soon\""), [right]);
        assert_eq!(find(&search, "\"see you soon\" wait"), [right]);
        assert_eq!(find(&search, "can't"), [wrong]);
        assert_eq!(find(&search, "... wait !"), [wrong, right]);
    }
}

#[test]
fn deleted_messages_are_no_hits() {
    let alice = Alice::new();
    let search = alice.search();
    let ids: Vec<i64> = (0..4).map(|_| alice.store(1, "secret")).collect();
    until_indexed(&search, ids[3]);
    {
        let _blocked = alice.block_indexer();
        alice.delete(ids[1]);
        assert_eq!(find(&search, "secret"), [ids[3], ids[2], ids[0]]);
    }
    search.nudge(0);
    until(&search, "deletion done", |p| p.deletions == 1);
    let index = Connection::open(alice.index_path()).unwrap();
    let left: i64 = index.query_row("SELECT count(*) FROM words WHERE words MATCH 'secret'", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 3, "the deleted message has left the index");
    assert_eq!(find(&search, "secret"), [ids[3], ids[2], ids[0]]);
    // The newest is deleted before it is indexed, and the queue is pruned as far as allowed.
    let newest = alice.store(1, "secret");
    alice.delete(newest);
    search.nudge(0);
    until(&search, "deletion done", |p| p.deletions == 2);
    alice.main.execute("DELETE FROM search_deletions WHERE n <= 2", []).unwrap();
    alice.delete(ids[3]);
    search.nudge(0);
    until(&search, "deletion done", |p| p.deletions == 3);
    assert_eq!(find(&search, "secret"), [ids[2], ids[0]]);
}

#[test]
fn a_missing_or_damaged_index_is_built_anew() {
    type Spoil = fn(&std::path::Path);
    let spoils: [(&str, Spoil); 7] = [
        ("untouched", |_| {}),
        ("removed", |p| std::fs::remove_file(p).unwrap()),
        ("cut by other rules", |p| {
            let index = Connection::open(p).unwrap();
            index.execute_batch("UPDATE state SET tokens = '0'; DELETE FROM words WHERE rowid = 8").unwrap();
        }),
        ("empty", |p| std::fs::write(p, b"").unwrap()),
        ("garbage", |p| std::fs::write(p, vec![0xa5; 50_000]).unwrap()),
        ("cut", |p| {
            let bytes = std::fs::read(p).unwrap();
            std::fs::write(p, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("foreign", |p| {
            std::fs::remove_file(p).unwrap();
            Connection::open(p).unwrap().execute_batch("CREATE TABLE words (a); PRAGMA user_version = 1").unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let mut alice = Alice::new();
        let last = alice.store_many((0..2_000).map(|i| format!("bob wrote letter x{i}")));
        let search = alice.search();
        until_indexed(&search, last);
        drop(search);
        // As in a restart: nothing is open while the file changes.
        alice.indexer = Indexer::start();
        for suffix in ["-wal", "-shm"] {
            assert!(!alice.dir.path().join(format!("search.db{suffix}")).exists());
        }
        spoil(&alice.index_path());
        let search = alice.search();
        assert_eq!(find(&search, "\"x7\""), [8], "{what}");
        assert_eq!(search.query("bob", None, 5_000, None).unwrap().len(), super::MAX_HITS, "{what}");
        until_indexed(&search, last);
        assert_eq!(find(&search, "x1999 letter"), [last], "{what}");
    }
}

#[test]
fn damage_that_only_a_query_meets_is_cured() {
    let alice = Alice::new();
    let search = alice.search();
    let last = alice.store_many((0..3_000).map(|i| format!("bob wrote letter x{i}")));
    until_indexed(&search, last);
    // The words' blocks, through SQLite, so that the file as such stays sound.
    let spoiler = Connection::open(alice.index_path()).unwrap();
    spoiler.execute_batch("UPDATE words_data SET block = x'00ff00ff00ff' WHERE id > 1000").unwrap();
    assert_eq!(find(&search, "x2999"), [last]);
    assert_eq!(find(&search, "x5 bob letter"), [6]);
    assert_eq!(search.account.progress().rebuilds, 1);
}

#[test]
fn an_index_that_is_behind_catches_up() {
    let mut alice = Alice::new();
    let search = alice.search();
    let first = alice.store(1, "before the crash");
    until_indexed(&search, first);
    drop(search);
    alice.indexer = Indexer::start();
    // Stored, but the daemon was killed before the indexer heard of it.
    let rows = i64::try_from(MAX_TAIL_ROWS).unwrap() + 500;
    let last = alice.store_many((0..rows).map(|i| format!("after the crash y{i}")));
    let search = alice.search();
    assert_eq!(find(&search, "y0"), [first + 1]);
    assert_eq!(find(&search, "crash").len(), 50);
    until_indexed(&search, last);
}

#[test]
fn a_long_tail_waits_for_the_indexer_or_says_why_not() {
    let alice = Alice::new();
    let search = alice.search();
    assert_eq!(find(&search, "bob"), Vec::<i64>::new());
    let blocked = alice.block_indexer();
    // Few rows, many bytes.
    let last = alice.store_many((0..200).map(|i| format!("big{i} {}", "x".repeat(60_000))));
    match search.query("big7", None, 50, None) {
        Err(SearchError::Unavailable { reason }) => assert!(reason.contains("locked"), "{reason}"),
        other => panic!("{other:?}"),
    }
    blocked.execute_batch("ROLLBACK").unwrap();
    assert_eq!(find(&search, "\"big7\""), [8]);
    until_indexed(&search, last);
    // A main store that cannot be read is said, not taken for damage of the index.
    alice.main.execute_batch("ALTER TABLE messages RENAME TO elsewhere").unwrap();
    assert!(matches!(search.query("bob", None, 50, None), Err(SearchError::Main { .. })));
    assert_eq!(search.account.progress().rebuilds, 0);
}

#[test]
fn hostile_queries_are_words_or_typed_errors() {
    let alice = Alice::new();
    let search = alice.search();
    let id = alice.store(1, "near col body say \"hi\" a-b x*y and or not 100% \u{1}2 bob");
    for indexed in [false, true] {
        if indexed {
            until_indexed(&search, id);
        }
        for query in [
            "NEAR(",
            "NEAR(col body, 2)",
            "col:",
            "body:near",
            "\"",
            "\"\"\"",
            "x*",
            "*",
            "^near",
            "-",
            "-bob",
            "+",
            "(",
            ")",
            "a AND",
            "OR",
            "NOT",
            "'; DROP TABLE words; --",
            "{body}: near",
            "\0bob",
            "near\0(",
            "\u{1}2",
            "%",
            "\u{202e}bob",
            "\u{fffd}",
            "日本語",
            "👩‍👩‍👧",
            "a\"b",
            "\\\"",
            "words : \"bob\"",
            "rank",
            "",
        ] {
            match search.query(query, Some(ConversationRow(1)), 50, None) {
                Ok(hits) => assert!(hits.is_empty() || hits == [id], "{query:?}"),
                Err(error) => assert!(matches!(error, SearchError::NoWords), "{query:?}: {error:?}"),
            }
        }
        assert_eq!(find(&search, "OR NOT near"), [id]);
        // Neither can the text of a message claim another conversation, nor punctuation stand for all of one.
        assert_eq!(search.query("bob", Some(ConversationRow(2)), 50, None).unwrap(), Vec::<i64>::new());
        assert!(matches!(search.query("?!", Some(ConversationRow(1)), 50, None), Err(SearchError::NoWords)));
        // Letters to us, separators to FTS5 (or the other way round), are no hits, not everything.
        let letters = search.query("\u{2160}\u{1F130}", Some(ConversationRow(1)), 50, None);
        assert_eq!(letters.unwrap_or_default(), Vec::<i64>::new());
    }
}

#[test]
fn dropping_the_indexer_ends_everything() {
    let alice = Alice::new();
    let search = alice.search();
    assert_eq!(find(&search, "letter"), Vec::<i64>::new());
    let _blocked = alice.block_indexer();
    let last = alice.store_many((0..=MAX_TAIL_ROWS).map(|i| format!("letter {i}")));
    search.nudge(last);
    let Alice { indexer, dir, main: _main } = alice;
    drop(indexer);
    assert!(matches!(search.query("letter", None, 50, None), Err(SearchError::Stopped)));
    search.nudge(last);
    drop((search, dir));
}

#[test]
fn many_accounts_share_one_indexer_and_few_files() {
    let alices: Vec<Alice> = (0..24).map(|_| Alice::new()).collect();
    let indexer = Indexer::start();
    let searches: Vec<Search> = alices
        .iter()
        .map(|a| Search::open(&indexer, a.dir.path().join("messages.db"), a.index_path()).unwrap())
        .collect();
    for (alice, search) in alices.iter().zip(&searches) {
        let id = alice.store(1, "hi bob");
        search.nudge(id);
        assert_eq!(find(search, "bob"), [id]);
    }
    for search in &searches {
        until_indexed(search, 1);
    }
    // A WAL is removed with its last connection: what is left shows which indexes are open. 8 by the indexer, 16 by queries.
    let open = alices.iter().filter(|a| a.dir.path().join("search.db-wal").exists()).count();
    assert!(open <= 24, "{open}");
    let readers =
        searches.iter().filter(|s| !s.account.close_idle_reader(Instant::now() - Duration::from_secs(60))).count();
    assert!(readers <= 16, "{readers}");
}

/// Bytes of the index for each message: beginnings of words and pairs of characters have their price.
#[test]
fn the_index_takes_a_bounded_part_of_the_disk() {
    const MANY: usize = 20_000;
    let words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "bob", "sleeps"];
    let latin = |n: usize| format!("{:.91} {n:08}", [words, words].concat().join(" "));
    let random = |n: usize| {
        let mut state = n as u64 + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        (0..14).map(|_| format!("w{:05}", next() % 30_000)).collect::<Vec<_>>().join(" ")
    };
    let han =
        |n: usize| (0..33).map(|at| char::from_u32(0x4e00 + ((n * 37 + at * 101) % 5_000) as u32).unwrap()).collect();
    type Text<'a> = &'a dyn Fn(usize) -> String;
    let texts: [(&str, Text<'_>, u64); 3] = [
        ("12 words and a number", &latin, 250),
        ("14 of 30,000 words", &random, 400),
        ("33 Han characters", &han, 600),
    ];
    for (what, text, most) in texts {
        let alice = Alice::new();
        let last = alice.store_many((0..MANY).map(text));
        let search = alice.search();
        until_indexed(&search, last);
        drop((search, alice.indexer));
        let index = std::fs::metadata(alice.dir.path().join("search.db")).unwrap().len() / MANY as u64;
        println!("figure: index of messages of 100 bytes, {what}: {index} bytes for each");
        assert!(index < most, "{what}: {index} bytes");
    }
}
