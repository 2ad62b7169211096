//! Bytes that the disk turned: nothing panics, and nothing wrong is read.

use std::path::{Path, PathBuf};

use crate::crypto::prekey::PrekeySecret;
use crate::model::ids::OutStreamRow;
use crate::store::Store;
use crate::store::delivery::outbox;
use crate::store::disk::checksum::{self, PAGE_BYTES};
use crate::store::error::StoreError;
use crate::store::history::search::Indexer;
use crate::store::log::outgoing;
use crate::store::tests::fixture::{Person, dump, message, run};

/// Alice, with some of everything that bob and she wrote.
fn written() -> (Person, Person) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    for round in 0..12 {
        let texts: Vec<String> = (0..8).map(|n| format!("{round}/{n} {}", "word ".repeat(n * 30))).collect();
        alice.send(&bob, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        bob.send(&alice, &["an answer", &"long ".repeat(2_000)]);
        if round % 2 == 0 {
            alice.deliver(&bob);
            bob.deliver(&alice);
        }
    }
    (alice, bob)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["messages.db", "messages.db-wal", "prekeys.db", "search.db"] {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
        }
    }
    folder
}

fn flip(path: &Path, at: usize, with: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= with;
    std::fs::write(path, bytes).unwrap();
}

/// What is read is what was written, or an error; never anything else.
#[derive(Debug, Default)]
struct Figures {
    tries: usize,
    refused: usize,
    noticed_on_read: usize,
    the_same: usize,
    earlier: usize,
    wrong: usize,
}

fn judge(figures: &mut Figures, indexer: &Indexer, folder: &Path, states: &[Vec<[u8; 32]>]) {
    figures.tries += 1;
    let store = match Store::open(folder, indexer) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.is_damage() || matches!(error, StoreError::NewerSchema { .. }), "{error}");
            figures.refused += 1;
            let store = Store::open_damaged(folder, indexer, error.to_string()).unwrap();
            assert!(matches!(run(store.write(|_| Ok(()))), Err(StoreError::ReadOnly(_))));
            if let Ok(read) = dump(&store) {
                figures.wrong += usize::from(!states.contains(&read));
            }
            return;
        }
    };
    match dump(&store) {
        Err(error) => {
            assert!(error.is_damage(), "{error}");
            let text = store.damage().unwrap();
            assert!(text.contains("messages.db"), "{text}");
            assert!(matches!(run(store.write(|_| Ok(()))), Err(StoreError::ReadOnly(_))));
            figures.noticed_on_read += 1;
        }
        Ok(read) if Some(&read) == states.last() => figures.the_same += 1,
        Ok(read) if states.contains(&read) => figures.earlier += 1,
        Ok(_) => figures.wrong += 1,
    }
    run(store.close());
}

#[test]
fn flipped_bytes_in_each_page_are_noticed() {
    let indexer = Indexer::start();
    let (alice, _bob) = written();
    let whole = dump(&alice.store).unwrap();
    run(alice.store.close());
    let database = alice.folder.path().join("messages.db");
    let size = std::fs::metadata(&database).unwrap().len() as usize;
    assert!(std::fs::metadata(checksum::wal_of(&database)).map_or(0, |meta| meta.len()) == 0);
    let spots: &[usize] = if std::env::var_os("CHATD_TORTURE").is_some() {
        &[0, 3, 18, 19, 20, 27, 60, 63, 99, 100, 1_000, 2_047, 3_000, PAGE_BYTES - 9, PAGE_BYTES - 1]
    } else {
        &[20]
    };
    let mut figures = Figures::default();
    for page in 0..size / PAGE_BYTES {
        // By default one byte of each page, at another place in each.
        for spot in spots.iter().map(|spot| if spots.len() == 1 { (spot + page * 613) % PAGE_BYTES } else { *spot }) {
            let folder = copy(alice.folder.path());
            flip(&folder.path().join("messages.db"), page * PAGE_BYTES + spot, 0x10 | (spot % 7) as u8);
            judge(&mut figures, &indexer, folder.path(), std::slice::from_ref(&whole));
        }
    }
    println!("figure: bytes flipped in each of {} pages: {figures:?}", size / PAGE_BYTES);
    assert_eq!(figures.wrong, 0);
    // What is not noticed by a read is in pages that nothing uses.
    let folder = copy(alice.folder.path());
    let free: i64 = rusqlite::Connection::open(folder.path().join("messages.db"))
        .unwrap()
        .query_row("PRAGMA freelist_count", [], |row| row.get(0))
        .unwrap();
    assert!(figures.the_same <= free as usize * spots.len() + spots.len(), "{figures:?}, {free} free pages");
    // A page that the disk lost.
    let folder = copy(alice.folder.path());
    let path = folder.path().join("messages.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - PAGE_BYTES;
    bytes[last..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let mut lost = Figures::default();
    judge(&mut lost, &indexer, folder.path(), &[whole]);
    assert_eq!((lost.wrong, lost.tries), (0, 1));
}

#[test]
fn a_wal_that_is_cut_or_flipped_gives_what_was_committed_or_nothing() {
    let indexer = Indexer::start();
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let contact = alice.id(&bob);
    // With an empty WAL to begin with: every state that it can lead to is known.
    run(alice.store.close());
    let store = Store::open(alice.folder.path(), &indexer).unwrap();
    let mut states = vec![dump(&store).unwrap()];
    for n in 0..24 {
        let text = format!("{n} {}", "x".repeat(n * 400));
        run(store.write(move |tx| outgoing::send(tx, contact, &[message(&text)]))).unwrap();
        states.push(dump(&store).unwrap());
    }
    // As a kill leaves it: the WAL is there.
    let crashed = copy(alice.folder.path());
    let wal = |folder: &Path| folder.join("messages.db-wal");
    let size = std::fs::metadata(wal(crashed.path())).unwrap().len() as usize;
    let frame = PAGE_BYTES + 24;
    let all = std::env::var_os("CHATD_TORTURE").is_some();
    let mut cut = Figures::default();
    for at in (0..size).rev().step_by(if all { 509 } else { 9_001 }) {
        let folder = copy(crashed.path());
        let file = std::fs::File::options().write(true).open(wal(folder.path())).unwrap();
        file.set_len(at as u64).unwrap();
        judge(&mut cut, &indexer, folder.path(), &states);
    }
    let mut flipped = Figures::default();
    for at in (0..size).step_by(if all { 1_021 } else { 14_983 }) {
        let folder = copy(crashed.path());
        flip(&wal(folder.path()), at, 0x41);
        judge(&mut flipped, &indexer, folder.path(), &states);
    }
    println!("figure: WAL of {} frames: cut {cut:?}; flipped {flipped:?}", size / frame);
    assert_eq!((cut.wrong, flipped.wrong), (0, 0));
    // Only the last commit may go without a word: a tear there is what a power cut leaves of one that nobody was told of.
    assert!(flipped.refused > 9 * flipped.earlier, "{flipped:?}");
}

#[test]
fn a_page_that_turns_bad_while_the_store_runs_stops_writing() {
    let (alice, bob) = written();
    alice.write(|_| Ok(())).unwrap();
    run(alice.store.close());
    let indexer = Indexer::start();
    let store = Store::open(alice.folder.path(), &indexer).unwrap();
    let to = bob.as_device(alice.row(&bob).id);
    let path = alice.folder.path().join("messages.db");
    let size = std::fs::metadata(&path).unwrap().len() as usize;
    for page in 1..size / PAGE_BYTES {
        flip(&path, page * PAGE_BYTES + 1_234, 1);
    }
    let mut watch = store.damage_watch();
    // Nothing of it is in memory yet.
    let read = store.read_blocking(|conn| outbox::outbox_after(conn, to, (OutStreamRow(0), 0), usize::MAX));
    assert!(read.is_err_and(|error| error.is_damage()));
    assert!(watch.has_changed().unwrap() && watch.borrow_and_update().is_some());
    let before = std::fs::read(&path).unwrap();
    let answer = run(store.write(move |tx| outgoing::send(tx, to.peer, &[message("never")]).map(drop)));
    assert!(matches!(&answer, Err(StoreError::ReadOnly(text)) if text.contains(", page ")), "{answer:?}");
    run(store.close());
    drop(store);
    assert!(std::fs::read(&path).unwrap() == before, "a damaged file is left as it is");
}

#[test]
fn the_other_databases_notice_too() {
    let indexer = Indexer::start();
    let (alice, _bob) = written();
    let prekeys = crate::store::PrekeyStore::open(alice.folder.path()).unwrap();
    prekeys.insert(&alice.prekey, 0).unwrap();
    drop(prekeys);
    let hits = |store: &Store| store.search().query("answer", None, 500, None).unwrap().len();
    run(alice.store.close());
    let own = Indexer::start();
    let store = Store::open(alice.folder.path(), &own).unwrap();
    assert_eq!(hits(&store), 11);
    run(store.close());
    drop((store, own));
    let search = rusqlite::Connection::open(alice.folder.path().join("search.db")).unwrap();
    search.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let pages = |name: &str| std::fs::metadata(alice.folder.path().join(name)).unwrap().len() as usize / PAGE_BYTES;
    for page in 0..pages("prekeys.db") {
        let folder = copy(alice.folder.path());
        flip(&folder.path().join("prekeys.db"), page * PAGE_BYTES + 2_000, 4);
        let read = crate::store::PrekeyStore::open(folder.path()).and_then(|store| {
            store.checkpoint()?;
            store.all()
        });
        // The third page is that of an index which this does not read.
        let same = |all: Vec<PrekeySecret>| all.len() == 1 && all[0].secret_bytes() == alice.prekey.secret_bytes();
        assert!(read.map_or(true, |all| page == 2 && same(all)), "page {page}");
    }
    // The search index is made anew.
    for page in 0..pages("search.db") {
        let folder = copy(alice.folder.path());
        flip(&folder.path().join("search.db"), page * PAGE_BYTES + 500 + page, 4);
        let store = Store::open(folder.path(), &indexer).unwrap();
        assert_eq!(hits(&store), 11, "page {page}");
        run(store.close());
    }
    println!(
        "figure: prekeys.db: {} pages, search.db: {} pages, each flipped",
        pages("prekeys.db"),
        pages("search.db")
    );
}

/// The folder's own `sqlite3` or any other tool reads the files; so does one that knows the checksums.
#[test]
fn a_large_copy_has_all_checksums() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let text = "z".repeat(60_000);
    for _ in 0..20 {
        alice.send(&bob, &[text.as_str(); 10]);
    }
    let copied: PathBuf = alice.folder.path().join("copy.db");
    let to = copied.to_str().unwrap().to_owned();
    run(alice.store.close());
    let database = alice.folder.path().join("messages.db");
    rusqlite::Connection::open(&database).unwrap().execute("VACUUM INTO ?1", [to]).unwrap();
    for path in [database, copied] {
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() > 8 << 20);
        assert!(bytes.chunks(PAGE_BYTES).all(checksum::is_whole), "{}", path.display());
    }
}
